package kube_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/internal/state/kube"
)

// draft returns an entry that does not compress below three quarters of size bytes.
func draft(n uint64, size int) state.Draft {
	raw := make([]byte, size*3/4)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(raw) // it never fails
	data, err := json.Marshal(base64.StdEncoding.EncodeToString(raw))
	if err != nil {
		panic(err)
	}
	return state.Draft{Time: time.Date(2026, 11, 23, 12, 0, int(n), 0, time.UTC), Kind: "test.entry", Data: data}
}

// fill appends entries from number from to number to.
func fill(t *testing.T, s state.Store, from, to uint64) {
	t.Helper()
	for at := from; at <= to; at++ {
		if _, err := s.Append(t.Context(), "a", at, draft(at, 100)); err != nil {
			t.Fatal(err)
		}
	}
}

// whole compares what is large at once and not byte by byte.
var whole = cmp.Comparer(func(a, b json.RawMessage) bool { return bytes.Equal(a, b) })

func drafts(entries []state.Entry) []state.Draft {
	var out []state.Draft
	for _, e := range entries {
		out = append(out, state.Draft{Time: e.Time, Kind: e.Kind, Data: e.Data})
	}
	return out
}

func TestLargeEntries(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	ns := newNamespace(t, c)
	s := kube.New(kube.Options{Client: c, Namespace: ns})
	want := []state.Draft{draft(1, 100), draft(2, 5500<<10), draft(3, 100)}
	if _, err := s.Append(t.Context(), "a", 1, want[0], want[1]); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(t.Context(), "a", 3, want[2]); err != nil {
		t.Fatal(err)
	}
	got, err := kube.New(kube.Options{Client: c, Namespace: ns}).Read(t.Context(), "a", 1)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, drafts(got), whole); diff != "" {
		t.Errorf("entries over 5 MiB come back as they were (-want, +got):\n%.500s", diff)
	}
	if runs, err := s.List(t.Context()); err != nil || !cmp.Equal(runs, []string{"a"}) {
		t.Errorf("List: %q, %v; parts are no runs", runs, err)
	}
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	for name, tc := range map[string]struct {
		reason string
		sizes  []int
	}{
		"AtOnce":     {"what one object and its parts cannot hold is refused", []int{50 << 10, 50 << 10, 50 << 10}},
		"Compressed": {"so is what would need too many parts", []int{100 << 10}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := kube.New(kube.Options{Client: c, Namespace: newNamespace(t, c)}).Small()
			var d []state.Draft
			for i, size := range tc.sizes {
				d = append(d, draft(uint64(i), size))
			}
			if _, err := s.Append(t.Context(), "a", 1, d...); err == nil {
				t.Errorf("%s: it was written", tc.reason)
			}
			if _, err := s.Read(t.Context(), "a", 1); !errors.Is(err, state.ErrNotFound) {
				t.Errorf("%s: it left something behind: %v", tc.reason, err)
			}
		})
	}
	s := kube.New(kube.Options{Client: c, Namespace: newNamespace(t, c)}).Small()
	var err error
	at := uint64(1)
	for ; at < 10 && err == nil; at++ {
		_, err = s.Append(t.Context(), "a", at, draft(at, 60<<10))
	}
	if at != 6 {
		t.Errorf("append %d of 60 KiB ended with %v, want that the fifth is refused", at-1, err)
	}
	if entries, err := s.Read(t.Context(), "a", 1); err != nil || len(entries) != 4 {
		t.Errorf("%d entries, %v; want 4", len(entries), err)
	}
}

// TestOneCall counts what an append costs.
func TestOneCall(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	c := newClient(t)
	counting := interceptor.NewClient(c, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			calls.Add(1)
			return c.Create(ctx, o, opts...)
		},
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			calls.Add(1)
			return c.Get(ctx, key, o, opts...)
		},
		List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
			calls.Add(1)
			return c.List(ctx, l, opts...)
		},
	})
	ns := newNamespace(t, c)
	fill(t, kube.New(kube.Options{Client: counting, Namespace: ns}), 1, 5)
	if got := calls.Load(); got != 5 {
		t.Errorf("5 appends made %d calls", got)
	}
	again := kube.New(kube.Options{Client: counting, Namespace: ns})
	if _, err := again.Read(t.Context(), "a", 1); err != nil {
		t.Fatal(err)
	}
	fill(t, again, 6, 7)
	if got := calls.Load(); got != 8 {
		t.Errorf("a read and 2 appends made %d calls, want 3", got-5)
	}
}

// TestLostRace has another append while the parts of a large append are there and its head is not: the other wins, and the parts are nothing.
func TestLostRace(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	ns := newNamespace(t, c)
	winner := kube.New(kube.Options{Client: c, Namespace: ns})
	fill(t, winner, 1, 1)
	parts := 0
	loser := kube.New(kube.Options{Namespace: ns, Client: interceptor.NewClient(c, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if o.GetName() == "a.00000002" {
				fill(t, winner, 2, 2)
			} else {
				parts++
			}
			return c.Create(ctx, o, opts...)
		},
	})}).Small()
	if _, err := loser.Append(t.Context(), "a", 2, draft(9, 3<<10)); !errors.Is(err, state.ErrConflict) || parts < 2 {
		t.Errorf("the loser, with %d parts: got %v, want ErrConflict", parts, err)
	}
	fill(t, winner, 3, 3)
	got, err := loser.Read(t.Context(), "a", 1)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]state.Draft{draft(1, 100), draft(2, 100), draft(3, 100)}, drafts(got)); diff != "" {
		t.Errorf("what is left of the loser does harm (-want, +got):\n%s", diff)
	}
	fill(t, loser, 4, 4)
}

func TestOwner(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	ns := newNamespace(t, c)
	run := &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "nightly"}}
	run.Spec.Requester, run.Spec.Workflow = "alice", &v1alpha1.WorkflowReference{Name: "w"}
	if err := c.Create(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	owner := metav1.NewControllerRef(run, v1alpha1.GroupVersion.WithKind("Run"))
	s := kube.New(kube.Options{Client: c, Namespace: ns, Owner: func(string) *metav1.OwnerReference { return owner }}).Small()
	if _, err := s.Append(t.Context(), "a", 1, draft(1, 2<<10)); err != nil {
		t.Fatal(err)
	}
	release, err := s.Lock(t.Context(), "a", state.Holder{User: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	var (
		entries v1alpha1.JournalEntryList
		leases  coordinationv1.LeaseList
		got     = map[string][]metav1.OwnerReference{}
	)
	if err := errors.Join(c.List(t.Context(), &entries, client.InNamespace(ns)), c.List(t.Context(), &leases, client.InNamespace(ns))); err != nil {
		t.Fatal(err)
	}
	for _, e := range entries.Items {
		got[e.Name] = e.OwnerReferences
	}
	for _, l := range leases.Items {
		got[l.Name] = l.OwnerReferences
	}
	if len(got) < 3 {
		t.Errorf("%d objects, want the entry, its parts and the lease", len(got))
	}
	for name, refs := range got {
		if diff := cmp.Diff([]metav1.OwnerReference{*owner}, refs); diff != "" {
			t.Errorf("owner of %s (-want, +got):\n%s", name, diff)
		}
	}
}

// TestRunIDs holds that a run's id fits into names and labels.
func TestRunIDs(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	s := kube.New(kube.Options{Client: c, Namespace: newNamespace(t, c)})
	long := "a12345678901234567890123456789012345678901234567890123456789012"
	for _, id := range []string{"0", "a--b", long} {
		if _, err := s.Append(t.Context(), id, 1, draft(1, 100)); err != nil {
			t.Errorf("run %q: %v", id, err)
			continue
		}
		release, err := s.Lock(t.Context(), id, state.Holder{})
		if err != nil {
			t.Errorf("lock of run %q: %v", id, err)
			continue
		}
		if err := release(); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Append(t.Context(), "a-", 1, draft(1, 100)); err == nil {
		t.Error("a run was made whose id is no label")
	}
}
