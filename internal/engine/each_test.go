package engine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/internal/state/mem"
)

// TestForEach paints three fences under one gate.
func TestForEach(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason   string
		strategy string
		painting func(context.Context, string) error
		want     engine.Status
		times    []int
	}{
		"All":         {"each is painted once", "", nil, engine.Done, []int{1, 1, 1}},
		"Parallel":    {"at once, and each once", "{maxParallel: 3}", nil, engine.Done, []int{1, 1, 1}},
		"FirstFails":  {"without a tolerance one failure ends the step", "", failing("a"), engine.Failed, []int{1, 0, 0}},
		"SecondFails": {"those before it are done", "", failing("b"), engine.Failed, []int{1, 1, 0}},
		"Tolerated":   {"one may fail, and the others are done", "{maxFailures: 1}", failing("b"), engine.Done, []int{1, 1, 1}},
		"TooMany":     {"two are more than one", "{maxFailures: 1}", failing("a", "b"), engine.Failed, []int{1, 1, 0}},
		"Canary":      {"a canary may never fail", "{canary: 1, maxFailures: 3, maxParallel: 3}", failing("a"), engine.Failed, []int{1, 0, 0}},
		"AfterCanary": {"after the canary the tolerance holds", "{canary: 1, maxFailures: 1}", failing("c"), engine.Done, []int{1, 1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGarden("a", "b", "c")
			g.painting = tc.painting
			e := gardener(g, mem.New())
			begin(t, e, eachFence(tc.strategy))
			r := run(t, e, engine.Waiting)
			gates := r.PendingGates(e.Now())
			if len(gates) != 1 || gates[0].Message != "paints 3 fences" {
				t.Fatalf("gates: %+v", gates)
			}
			agree(t, e, r)
			r, err := e.Run(t.Context(), "r")
			if r.Status != tc.want {
				t.Errorf("%s: status %s (%v), want %s", tc.reason, r.Status, err, tc.want)
			}
			if diff := cmp.Diff(tc.times, g.times()); diff != "" {
				t.Errorf("%s: how often painted (-want, +got):\n%s", tc.reason, diff)
			}
			if r.Status == engine.Done {
				if s, _ := r.Plan.Step("check"); s.Status != plan.Done {
					t.Errorf("the step that uses the list of outputs: %+v", s)
				}
			}
		})
	}
}

// TestMaxParallel has each painter wait for the others of its turn: with fewer at once than allowed the test would not end, and
// more than allowed are counted.
func TestMaxParallel(t *testing.T) {
	t.Parallel()
	g := newGarden("a", "b", "c", "d")
	pairs := make(chan struct{})
	g.painting = func(ctx context.Context, _ string) error {
		select { // two meet
		case pairs <- struct{}{}:
		case <-pairs:
		case <-ctx.Done():
			return ctx.Err()
		}
		return nil
	}
	e := gardener(g, mem.New())
	begin(t, e, eachFence("{maxParallel: 2}"))
	agree(t, e, run(t, e, engine.Waiting))
	run(t, e, engine.Done)
	if g.most != 2 {
		t.Errorf("%d were painted at once, want 2", g.most)
	}
}

// TestInstanceWhoseGroundMoved changes one fence between the approval and its turn: the others were painted or are not touched,
// the gate is asked again, and nothing is painted twice.
func TestInstanceWhoseGroundMoved(t *testing.T) {
	t.Parallel()
	g := newGarden("a", "b", "c")
	g.painting = func(_ context.Context, name string) error {
		if name == "a" {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.colour["b"] = "pink"
		}
		return nil
	}
	e := gardener(g, mem.New())
	begin(t, e, eachFence(""))
	agree(t, e, run(t, e, engine.Waiting))
	r := run(t, e, engine.Waiting)
	if diff := cmp.Diff([]int{1, 0, 0}, g.times()); diff != "" {
		t.Fatalf("how often painted (-want, +got):\n%s", diff)
	}
	want := map[string][]string{"paint[1]": {"Fence b spec.colour moved from grey to pink"}}
	if diff := cmp.Diff(want, r.Moved); diff != "" {
		t.Errorf("what moved (-want, +got):\n%s", diff)
	}
	agree(t, e, r)
	run(t, e, engine.Done)
	if diff := cmp.Diff([]int{1, 1, 1}, g.times()); diff != "" {
		t.Errorf("how often painted (-want, +got):\n%s", diff)
	}
}

// TestNothingForEach has no items.
func TestNothingForEach(t *testing.T) {
	t.Parallel()
	e := gardener(newGarden(), mem.New())
	begin(t, e, eachFence(""))
	if r := run(t, e, engine.Done); r.Plan.HasChanges() {
		t.Errorf("changes for no items: %+v", r.Plan)
	}
}

// TestCrashAtEveryBoundaryOfForEach kills the engine at each append of a run with instances, one after the other and at once.
func TestCrashAtEveryBoundaryOfForEach(t *testing.T) {
	t.Parallel()
	for _, parallel := range []int{1, 3} {
		boundaries := 0
		for _, after := range []bool{false, true} {
			for n := 1; ; n++ {
				g := newGarden("a", "b", "c")
				store := mem.New()
				begin(t, gardener(g, store), eachFence(fmt.Sprintf("{maxParallel: %d}", parallel)))
				c := &crashing{Store: store, left: n, after: after}
				name := fmt.Sprintf("%d at once, append %d, durable %t", parallel, n, after)
				if !overCrash(t, name, gardener(g, c), gardener(g, store)) {
					break
				}
				if diff := cmp.Diff([]int{1, 1, 1}, g.times()); diff != "" {
					t.Errorf("%s: how often painted (-want, +got):\n%s", name, diff)
				}
				boundaries++
			}
		}
		if boundaries < 30 {
			t.Errorf("only %d boundaries were met", boundaries)
		}
	}
}

// overCrash drives a run with the engine that dies, then with the one that lives, and says whether the first died.
func overCrash(t *testing.T, name string, dies, lives *engine.Engine) bool {
	t.Helper()
	died := false
	for range 20 {
		e := dies
		if died {
			e = lives
		}
		r, err := e.Run(t.Context(), "r")
		if errors.Is(err, errCrash) {
			died = true
			continue
		}
		if (err == nil || errors.Is(err, engine.ErrFinal)) && r.Status == engine.Done {
			return died
		}
		if r == nil || r.Status != engine.Waiting {
			t.Fatalf("%s: %v, %v", name, r, err)
		}
		agree(t, lives, r)
	}
	t.Fatalf("%s: the run does not end", name)
	return false
}
