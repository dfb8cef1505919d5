package engine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/state/mem"
)

// TestVouched gives decisions that stand elsewhere: who decided is who is vouched for there, and asked again before the step acts.
func TestVouched(t *testing.T) {
	t.Parallel()
	errGone := fmt.Errorf("no such approval: %w", approval.ErrNotCounted)
	errDown := errors.New("the API server does not answer")
	bob := approval.Identity{Name: "bob", Verified: true}
	for name, tc := range map[string]struct {
		reason string
		// first and then are what is answered when the decision is taken and when the step acts.
		first, then func() (approval.Identity, error)
		taken       bool
		want        engine.Status
	}{
		"Stands":    {"it still stands there", is(bob, nil), is(bob, nil), true, engine.Done},
		"Withdrawn": {"it does not stand there any more", is(bob, nil), is(approval.Identity{}, errGone), true, engine.Waiting},
		"Other":     {"it is another's by now", is(bob, nil), is(approval.Identity{Name: "eve", Verified: true}, nil), true, engine.Waiting},
		"Nobody":    {"nobody vouches for it", is(approval.Identity{}, errGone), nil, false, engine.Waiting},
		"Unknown":   {"it cannot be told whether it stands there", is(bob, nil), is(approval.Identity{}, errDown), true, engine.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &world{serial: "s1"}
			e := newEngine(w, mem.New())
			create(t, e)
			gate := run(t, e, engine.Waiting).PendingGates(e.Now())[0]
			answer := tc.first
			e.Vouch = func(context.Context, string, approval.Decision) (approval.Identity, error) { return answer() }
			d := approval.Decision{Gate: "turn", Digest: gate.Digest, Approved: true, By: approval.Identity{Name: "mallory"}, Ref: "there", At: e.Now()}
			r, err := e.Decide(t.Context(), "r", d)
			if (err == nil) != tc.taken {
				t.Fatalf("%s: decide: %v", tc.reason, err)
			}
			if tc.taken && r.Decisions[0].By != bob {
				t.Errorf("%s: decided by %v, want %v", tc.reason, r.Decisions[0].By, bob)
			}
			if tc.then != nil {
				answer = tc.then
			}
			r = run(t, e, tc.want)
			if tc.want == engine.Waiting && len(r.PendingGates(e.Now())) != 1 {
				t.Errorf("%s: nothing waits for another's word", tc.reason)
			}
			if acted := w.turned > 0; acted != (tc.want == engine.Done) {
				t.Errorf("%s: acted: %t", tc.reason, acted)
			}
		})
	}
}

func is(i approval.Identity, err error) func() (approval.Identity, error) {
	return func() (approval.Identity, error) { return i, err }
}

// TestVouchedNowhere keeps an engine that cannot ask where a decision stands from believing the journal.
func TestVouchedNowhere(t *testing.T) {
	t.Parallel()
	e := newEngine(&world{serial: "s1"}, mem.New())
	create(t, e)
	gate := run(t, e, engine.Waiting).PendingGates(e.Now())[0]
	d := approval.Decision{Gate: "turn", Digest: gate.Digest, Approved: true, By: approval.Identity{Name: "bob", Verified: true}, Ref: "there", At: e.Now()}
	if _, err := e.Decide(t.Context(), "r", d); err == nil {
		t.Error("took a decision that it could not look at")
	}
}

// TestPlanOnly plans and waits, takes approvals, and acts only when it may.
func TestPlanOnly(t *testing.T) {
	t.Parallel()
	w := &world{serial: "s1"}
	e := newEngine(w, mem.New())
	e.PlanOnly = true
	create(t, e)
	gate := run(t, e, engine.Waiting).PendingGates(e.Now())[0]
	if err := approve(t, e, gate.Digest); err != nil {
		t.Fatal(err)
	}
	if run(t, e, engine.Waiting); w.turned != 0 {
		t.Fatal("a run that is to be planned only has acted")
	}
	e.PlanOnly = false
	if run(t, e, engine.Done); w.turned != 1 {
		t.Errorf("acted %d times, want once", w.turned)
	}
}

// TestPlanOnlyNothingToDo ends a plan without changes: nothing waits for anybody.
func TestPlanOnlyNothingToDo(t *testing.T) {
	t.Parallel()
	e := newEngine(&world{serial: "s1", on: true}, mem.New())
	e.PlanOnly = true
	create(t, e)
	run(t, e, engine.Done)
}
