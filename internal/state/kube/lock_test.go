package kube_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/internal/state/kube"
)

const lease = 15 * time.Second

// replica is a store with a clock of its own, as another machine has it.
type replica struct {
	*kube.Store
	clock *clocktesting.FakeClock
	lost  atomic.Int64
}

func newReplica(c client.Client, ns string) *replica {
	// Not what the calendar says, and not the same on two machines.
	r := &replica{clock: clocktesting.NewFakeClock(time.Date(1970, 1, 1, 0, 0, int(namespaces.Add(1)), 0, time.UTC))}
	r.Store = kube.New(kube.Options{Client: c, Namespace: ns, LeaseDuration: lease, Clock: r.clock, Lost: func(string) { r.lost.Add(1) }})
	return r
}

func (r *replica) take(t *testing.T, user string) func() error {
	t.Helper()
	release, err := r.Lock(t.Context(), "a", state.Holder{User: user})
	if err != nil {
		t.Fatal(err)
	}
	return release
}

// locked holds that the run is another's.
func (r *replica) locked(t *testing.T, by string) {
	t.Helper()
	_, err := r.Lock(t.Context(), "a", state.Holder{User: "me"})
	held, ok := errors.AsType[*state.LockedError](err)
	if !ok || held.Holder.User != by {
		t.Errorf("Lock: got %v, want that %s holds it", err, by)
	}
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 5*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) { return f(), nil })
	if err != nil {
		t.Fatalf("waiting until %s: %v", what, err)
	}
}

// pass lets a third of a lease's duration pass for a holder, once it waits to renew, and waits for what that brings.
func (r *replica) pass(t *testing.T, what string, f func() bool) {
	t.Helper()
	eventually(t, "it waits to renew", r.clock.HasWaiters)
	r.clock.Step(lease / 3)
	eventually(t, what, f)
}

func leaseOf(t *testing.T, c client.Client, ns string) *coordinationv1.Lease {
	t.Helper()
	l := &coordinationv1.Lease{}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "tkgfix-a"}, l); err != nil {
		t.Fatal(err)
	}
	return l
}

// TestTakeover has a holder whose machine stands still, so that it cannot know. It is locked out once another has been seeing its lease
// unchanged for long enough, and can do nothing when it wakes.
func TestTakeover(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	ns := newNamespace(t, c)
	ann, bob := newReplica(c, ns), newReplica(c, ns)
	fill(t, ann, 1, 1)
	releaseAnn := ann.take(t, "ann")
	bob.locked(t, "ann")
	bob.clock.Step(lease - 1)
	bob.locked(t, "ann")
	bob.clock.Step(1)
	releaseBob := bob.take(t, "bob")
	if got := *leaseOf(t, c, ns).Spec.LeaseTransitions; got != 1 {
		t.Errorf("the lease was handed on %d times, want 1", got)
	}

	// It wakes, and its plugin's answer is there to be written down. Nobody has appended since, so only the time tells.
	ann.clock.Step(lease)
	if _, err := ann.Append(t.Context(), "a", 2, draft(2, 100)); !errors.Is(err, state.ErrConflict) {
		t.Errorf("append of a holder that slept: got %v, want ErrConflict", err)
	}
	eventually(t, "the loss is told", func() bool { return ann.lost.Load() > 0 })
	ann.locked(t, "ann") // what it began may not have ended
	if err := releaseAnn(); !errors.Is(err, state.ErrNotLocked) {
		t.Errorf("release of a lost lock: got %v, want ErrNotLocked", err)
	}
	ann.locked(t, "bob")
	fill(t, bob, 2, 2)
	if err := releaseBob(); err != nil {
		t.Error(err)
	}
	if got := ann.lost.Load(); got != 1 {
		t.Errorf("the loss was told %d times", got)
	}
	if got := bob.lost.Load(); got != 0 {
		t.Errorf("what was released was told to be lost %d times", got)
	}
	if err := ann.take(t, "ann")(); err != nil {
		t.Error(err)
	}
}

// TestRenewed holds that a lock that is renewed is never taken, however long it is held.
func TestRenewed(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	ns := newNamespace(t, c)
	ann, bob := newReplica(c, ns), newReplica(c, ns)
	fill(t, ann, 1, 1)
	release := ann.take(t, "ann")
	for range 4 {
		bob.locked(t, "ann")
		before := leaseOf(t, c, ns).ResourceVersion
		ann.pass(t, "the lease is renewed", func() bool { return leaseOf(t, c, ns).ResourceVersion != before })
		bob.clock.Step(lease)
	}
	fill(t, ann, 2, 2)
	if err := release(); err != nil {
		t.Error(err)
	}
	if got := ann.lost.Load(); got != 0 {
		t.Errorf("a lock that was held was told to be lost %d times", got)
	}
	if err := release(); !errors.Is(err, state.ErrNotLocked) {
		t.Errorf("second release: got %v, want ErrNotLocked", err)
	}
}

// TestLost takes a lease from its holder in each way. The holder finds out when it renews, and appends nothing more.
func TestLost(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	for name, tc := range map[string]struct {
		reason string
		take   func(t *testing.T, ns string)
	}{
		"Broken": {"another broke the lock", func(t *testing.T, ns string) {
			if h, err := newReplica(c, ns).Break(t.Context(), "a"); err != nil || h.User != "ann" {
				t.Errorf("Break: %v, %v", h, err)
			}
		}},
		"Another's": {"another holds the lock", func(t *testing.T, ns string) {
			l := leaseOf(t, c, ns)
			other := "another"
			l.Spec.HolderIdentity = &other
			if err := c.Update(t.Context(), l); err != nil {
				t.Error(err)
			}
		}},
		"MadeAnew": {"one that was made anew by hand is not the same", func(t *testing.T, ns string) {
			l := leaseOf(t, c, ns)
			if err := c.Delete(t.Context(), l); err != nil {
				t.Error(err)
			}
			if err := c.Create(t.Context(), &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: l.Name}}); err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := newNamespace(t, c)
			ann := newReplica(c, ns)
			fill(t, ann, 1, 1)
			release := ann.take(t, "ann")
			tc.take(t, ns)
			ann.pass(t, "the loss is told", func() bool { return ann.lost.Load() == 1 })
			if _, err := ann.Append(t.Context(), "a", 2, draft(2, 100)); !errors.Is(err, state.ErrConflict) {
				t.Errorf("%s: got %v, want ErrConflict", tc.reason, err)
			}
			if err := release(); !errors.Is(err, state.ErrNotLocked) {
				t.Errorf("%s: release: got %v, want ErrNotLocked", tc.reason, err)
			}
			if entries, err := ann.Read(t.Context(), "a", 1); err != nil || len(entries) != 1 {
				t.Errorf("%s: %d entries, %v; want 1", tc.reason, len(entries), err)
			}
		})
	}
}

// TestTouched holds that a lease to which others write what is not theirs stays its holder's.
func TestTouched(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	ns := newNamespace(t, c)
	ann := newReplica(c, ns)
	fill(t, ann, 1, 1)
	release := ann.take(t, "ann")
	l := leaseOf(t, c, ns)
	l.Labels["backup"] = "done"
	if err := c.Update(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	ann.pass(t, "the lease is renewed", func() bool { return leaseOf(t, c, ns).ResourceVersion != l.ResourceVersion })
	fill(t, ann, 2, 2)
	if err := release(); err != nil {
		t.Error(err)
	}
}

// TestUnreachable has an API server that answers no renewals: the holder gives up before anybody else may come, and is free of it at once.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	ns := newNamespace(t, c)
	var hangs atomic.Bool
	ann := newReplica(interceptor.NewClient(c, interceptor.Funcs{
		Update: func(ctx context.Context, _ client.WithWatch, _ client.Object, _ ...client.UpdateOption) error {
			hangs.Store(true)
			<-ctx.Done()
			return ctx.Err()
		},
	}), ns)
	bob := newReplica(c, ns)
	fill(t, ann, 1, 1)
	release := ann.take(t, "ann")
	bob.locked(t, "ann")
	eventually(t, "the holder waits to renew", ann.clock.HasWaiters)
	ann.clock.Step(2*lease/3 - 1)
	eventually(t, "the renewal hangs", hangs.Load)
	fill(t, ann, 2, 2) // it may still
	ann.clock.Step(1)
	if _, err := ann.Append(t.Context(), "a", 3, draft(3, 100)); !errors.Is(err, state.ErrConflict) {
		t.Errorf("append after two thirds: got %v, want ErrConflict", err)
	}
	if entries, err := bob.Read(t.Context(), "a", 1); err != nil || len(entries) != 2 {
		t.Errorf("%d entries, %v; want 2", len(entries), err)
	}
	if got := ann.lost.Load(); got != 1 {
		t.Errorf("the loss was told %d times", got)
	}
	bob.clock.Step(2 * lease / 3)
	bob.locked(t, "ann")
	// It need not wait for the lease to run out: whoever held it says that it has ended.
	if err := release(); !errors.Is(err, state.ErrNotLocked) {
		t.Errorf("release of a lost lock: got %v, want ErrNotLocked", err)
	}
	if err := bob.take(t, "bob")(); err != nil {
		t.Error(err)
	}
}

// TestSleptInAppend stops a holder within its append, for longer than it has the lock: the entry is there, but it is told to have none.
func TestSleptInAppend(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	ns := newNamespace(t, c)
	var ann *replica
	ann = newReplica(interceptor.NewClient(c, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			err := c.Create(ctx, o, opts...)
			if o.GetName() == "a.00000002" {
				ann.clock.Step(2 * lease / 3)
			}
			return err
		},
	}), ns)
	fill(t, ann, 1, 1)
	release := ann.take(t, "ann")
	if _, err := ann.Append(t.Context(), "a", 2, draft(2, 100)); !errors.Is(err, state.ErrConflict) {
		t.Errorf("got %v, want ErrConflict", err)
	}
	if err := release(); !errors.Is(err, state.ErrNotLocked) {
		t.Errorf("release of a lost lock: got %v, want ErrNotLocked", err)
	}
	if entries, err := ann.Read(t.Context(), "a", 1); err != nil || len(entries) != 2 {
		t.Errorf("%d entries, %v; want 2", len(entries), err)
	}
}

// TestHolderByHand holds that a lease names its holder only in a form that can be shown.
func TestHolderByHand(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	for name, tc := range map[string]struct {
		reason, text string
		want         state.Holder
	}{
		"None":    {"a lease by hand names nobody", "", state.Holder{}},
		"Good":    {"a name is shown", `{"user":"ann","host":"pod-1","pid":7}`, state.Holder{User: "ann", Host: "pod-1", PID: 7}},
		"NoJSON":  {"what cannot be read is no name", "ann", state.Holder{}},
		"Control": {"what would move the cursor is no name", `{"user":"a\u001b[2Jnn"}`, state.Holder{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := newNamespace(t, c)
			r := newReplica(c, ns)
			fill(t, r, 1, 1)
			l := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "tkgfix-a", Annotations: map[string]string{"tkgfix.dev/holder": tc.text}}}
			if err := c.Create(t.Context(), l); err != nil {
				t.Fatal(err)
			}
			_, err := r.Lock(t.Context(), "a", state.Holder{User: "bob"})
			locked, ok := errors.AsType[*state.LockedError](err)
			if !ok {
				t.Fatalf("%s: got %v, want a LockedError", tc.reason, err)
			}
			if diff := cmp.Diff(tc.want, locked.Holder); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}
