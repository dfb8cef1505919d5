package kube_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/internal/state/kube"
)

// TestTakeoverIsTold has ann's clock stand still, so that she renews nothing: bob is told that he took the lock from her, and of no other lock.
func TestTakeoverIsTold(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	ns := newNamespace(t, c)
	var told []string
	clocks := map[string]*testingclock.FakeClock{}
	open := func(who string) *kube.Store {
		clocks[who] = testingclock.NewFakeClock(time.Now())
		return kube.New(kube.Options{Client: c, Namespace: ns, Clock: clocks[who], TookOver: func(run string) { told = append(told, who+" "+run) }})
	}
	ann, bob := open("ann"), open("bob")
	for _, run := range []string{"dead", "new"} {
		if _, err := ann.Append(t.Context(), run, 1, state.Draft{Kind: "run.created", Data: []byte("{}")}); err != nil {
			t.Fatal(err)
		}
	}
	releaseAnn, err := ann.Lock(t.Context(), "dead", state.Holder{User: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bob.Lock(t.Context(), "dead", state.Holder{User: "bob"}); err == nil {
		t.Fatal("bob took a lock that he has only just seen")
	}
	clocks["bob"].Step(kube.DefaultLeaseDuration)
	for _, run := range []string{"dead", "new"} {
		release, err := bob.Lock(t.Context(), run, state.Holder{User: "bob"})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := release(); err != nil {
				t.Error(err)
			}
		}()
	}
	if err := releaseAnn(); !errors.Is(err, state.ErrNotLocked) {
		t.Errorf("ann's release: %v", err)
	}
	if diff := cmp.Diff([]string{"bob dead"}, told); diff != "" {
		t.Errorf("told (-want, +got):\n%s", diff)
	}
}
