package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/internal/state/mem"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/workflow"
)

// fleet inspects each fence and paints those that are bare, each on a Supervisor of its own.
const fleet = `
  defaults: {retry: {attempts: 1}}
  connections: {supervisor: {}}
  inputs: {home: {type: string, default: ""}}
  steps:
    - {id: list, uses: list}
    - id: inspect
      uses: inspect
      forEach: "${{ steps.list.fences }}"
      supervisor: {context: "${{ item.name == 'a' ? '' : 'of-' + item.name }}"}
      strategy: {maxFailures: %d}
      with: {name: "${{ item.name }}"}
    - id: spray
      uses: spray
      forEach: "${{ steps.list.fences }}"
      supervisor: {kubeconfig: "${{ item.name == 'c' ? 'c.conf' : '' }}", context: "${{ item.name == 'a' ? '' : inputs.home + 'of-' + item.name }}"}
      strategy: %s
      if: "${{ its.inspect.bare }}"
      with: {name: "${{ item.name }}"}
      approval: {message: "paints"}
`

// beginFleet creates run r of the fleet.
func beginFleet(t *testing.T, e *engine.Engine, tolerate int, strategy, home string) engine.Request {
	t.Helper()
	src := "apiVersion: tkgfix.dev/v1alpha1\nkind: Workflow\nmetadata: {name: fleet}\nspec:\n" + fmt.Sprintf(fleet, tolerate, strategy)
	w, diags := workflow.Check("fleet.yaml", []byte(src), e.Catalog)
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	req := engine.Request{
		ID: "r", Workflow: w, Dir: "/desk", Inputs: []plan.Input{{Name: "home", Value: home}},
		Connections: plugins.Connections{Supervisor: &plugins.Kube{Kubeconfig: "/own.conf", Context: "own"}, Nodes: &plugins.Nodes{Via: "ssh"}},
	}
	if err := e.Create(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	return req
}

// TestSeveralSupervisors holds that each instance is planned, planned again and applied on its own Supervisor, also after a resume in another
// process, and that what is approved names it.
func TestSeveralSupervisors(t *testing.T) {
	t.Parallel()
	g := newGarden("a", "b", "c")
	store := mem.New()
	e := gardener(g, store)
	req := beginFleet(t, e, 0, "{maxParallel: 3}", "")
	r := run(t, e, engine.Waiting)
	agree(t, e, r)
	g.painting = failing("c")
	r = run(t, e, engine.Failed)
	g.painting = nil
	run(t, gardener(g, store), engine.Done)
	want := map[string][]string{
		"inspect a": {"/own.conf own"}, "plan a": {"/own.conf own"}, "apply a": {"/own.conf own"},
		"inspect b": {"/own.conf of-b"}, "plan b": {"/own.conf of-b"}, "apply b": {"/own.conf of-b"},
		"inspect c": {"/own.conf of-c"}, "plan c": {"/desk/c.conf of-c"}, "apply c": {"/desk/c.conf of-c"},
	}
	if diff := cmp.Diff(want, g.asked); diff != "" {
		t.Errorf("which Supervisor was given (-want, +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int{1, 1, 1}, g.times()); diff != "" {
		t.Errorf("how often painted (-want, +got):\n%s", diff)
	}
	// A plan of the same on another Supervisor is another thing to approve.
	p, err := gardener(newGarden("a", "b", "c"), mem.New()).Plan(t.Context(), engine.Request{
		ID: req.ID, Workflow: req.Workflow, Dir: "/other", Inputs: req.Inputs, Connections: req.Connections,
	})
	if err != nil {
		t.Fatal(err)
	}
	if p.Gates[0].Digest == r.Plan.Gates[0].Digest {
		t.Error("c.conf in another folder has the same digest")
	}
	s, _ := p.Step("spray[2]")
	if got := s.Title(); got != "spray[2] c on of-c" {
		t.Errorf("an instance on another Supervisor is called %q", got)
	}
}

// TestFailingRead lets one fence not be inspected. The others are looked at in any case; they are painted only if the strategy says so.
func TestFailingRead(t *testing.T) {
	t.Parallel()
	dark := plugins.Hint(errors.New("it is too dark"), "bring a lamp")
	rotten := plugins.Block{Reason: "the wood is rotten", Hint: "buy wood"}
	const left = "skipped: uses what step inspect finds for this item, which failed"
	for name, tc := range map[string]struct {
		reason   string
		tolerate int
		err      error
		block    *plugins.Block
		first    engine.Status
		second   string
		times    []int
		ends     string
		hint     string
	}{
		"Stops":        {"nothing is changed while it is not known what the strategy wants to be known", 0, dark, nil, engine.Failed, left, []int{0, 0, 0}, "inspect[1]: it is too dark", "bring a lamp"},
		"Tolerated":    {"the others are painted", 1, dark, nil, engine.Waiting, left, []int{1, 0, 1}, "", ""},
		"Blocks":       {"a reason not to go on holds for all", 0, nil, &rotten, engine.Blocked, "changes: ", []int{0, 0, 0}, "the wood is rotten", "buy wood"},
		"BlockLeftOut": {"one that may fail is left out", 1, nil, &rotten, engine.Waiting, left, []int{1, 0, 1}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGarden("a", "b", "c")
			g.inspecting = func(name string) error {
				if name == "b" {
					return tc.err
				}
				return nil
			}
			g.rotten = map[string]*plugins.Block{"b": tc.block}
			e := gardener(g, mem.New())
			beginFleet(t, e, tc.tolerate, "{}", "")
			r := run(t, e, tc.first)
			var got []string
			for i := range 3 {
				s, ok := r.Plan.Step(plan.InstanceID("spray", i))
				if !ok {
					t.Fatalf("%s: the others were not looked at: %+v", tc.reason, r.Plan.Steps[2])
				}
				got = append(got, string(s.Status)+": "+s.Why)
			}
			want := []string{"changes: ", tc.second, "changes: "}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
			if r.Hint != tc.hint || !strings.Contains(r.Error, tc.ends) {
				t.Errorf("%s: it ended with %q, hint %q", tc.reason, r.Error, r.Hint)
			}
			if tc.first == engine.Waiting {
				agree(t, e, r)
				run(t, e, engine.Done)
			}
			if diff := cmp.Diff(tc.times, g.times()); diff != "" {
				t.Errorf("%s: how often painted (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// TestBrake holds what is told of a brake, and what a resume does about it.
func TestBrake(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason, strategy string
		bad              []string
		times            []int
		notBegun         []string
		errors           []string
		after            []int
	}{
		"Canary": {
			"a failed canary holds all others back, and goes first again", "{canary: 1, maxParallel: 3, maxFailures: 2}", []string{"a"}, []int{1, 0, 0, 0},
			[]string{"spray[1]", "spray[2]", "spray[3]"}, []string{"spray[0]: the brush broke", "the canary failed: spray[0] a", "not begun", "spray[1] b on of-b"},
			[]int{1, 1, 1, 1},
		},
		"TooMany": {
			"one more than may fail", "{maxParallel: 1, maxFailures: 1}", []string{"b", "c"}, []int{1, 1, 1, 0},
			[]string{"spray[3]"}, []string{"spray[1]: the brush broke", "spray[2]: the brush broke", "failed: 2, and maxFailures is 1"},
			[]int{1, 1, 1, 1},
		},
		"Last": {
			"nothing is left to be held back", "{maxParallel: 1}", []string{"d"}, []int{1, 1, 1, 1}, nil, []string{"spray[3]: the brush broke"}, []int{1, 1, 1, 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGarden("a", "b", "c", "d")
			g.painting = failing(tc.bad...)
			store := mem.New()
			e := gardener(g, store)
			var told []string
			e.Watch = func(ev engine.Event) {
				if ev.Kind == engine.EventBrake {
					told = append(told, ev.NotBegun...)
				}
			}
			beginFleet(t, e, 0, tc.strategy, "")
			agree(t, e, run(t, e, engine.Waiting))
			r := run(t, e, engine.Failed)
			if diff := cmp.Diff(tc.times, g.times()); diff != "" {
				t.Errorf("%s: how often painted (-want, +got):\n%s", tc.reason, diff)
			}
			for _, part := range tc.errors {
				if !strings.Contains(r.Error, part) {
					t.Errorf("%s: want %q in %q", tc.reason, part, r.Error)
				}
			}
			if r.Hint != "buy a brush" {
				t.Errorf("%s: hint %q", tc.reason, r.Hint)
			}
			if diff := cmp.Diff(tc.notBegun, told); diff != "" {
				t.Errorf("%s: told (-want, +got):\n%s", tc.reason, diff)
			}
			for _, id := range tc.notBegun {
				if !strings.HasPrefix(r.NotBegun[id], "not begun: brake: ") {
					t.Errorf("%s: %s: %q", tc.reason, id, r.NotBegun[id])
				}
			}
			g.mu.Lock()
			g.painting = nil
			g.mu.Unlock()
			r = run(t, gardener(g, store), engine.Done)
			if diff := cmp.Diff(tc.after, g.times()); diff != "" || len(r.NotBegun) > 0 {
				t.Errorf("%s: after the resume %v is held back, and painted were (-want, +got):\n%s", tc.reason, r.NotBegun, diff)
			}
		})
	}
}

// TestBrakeHoldsInResume lets a canary's look fail before it has begun anything: in the resume it is the canary still, and the others wait.
func TestBrakeHoldsInResume(t *testing.T) {
	t.Parallel()
	g := newGarden("a", "b", "c")
	store := mem.New()
	e := gardener(g, store)
	beginFleet(t, e, 0, "{canary: 1, maxParallel: 3, maxFailures: 3}", "")
	agree(t, e, run(t, e, engine.Waiting))
	var order []string
	fail := true
	g.painting = func(_ context.Context, name string) error {
		g.mu.Lock()
		defer g.mu.Unlock()
		order = append(order, name)
		if fail && name == "a" {
			g.painted["a"]-- // it did not take hold
			return errors.New("the brush broke")
		}
		return nil
	}
	run(t, e, engine.Failed)
	run(t, gardener(g, store), engine.Failed) // still broken
	if diff := cmp.Diff([]string{"a", "a"}, order); diff != "" {
		t.Fatalf("painted while the canary fails (-want, +got):\n%s", diff)
	}
	g.mu.Lock()
	fail = false
	g.mu.Unlock()
	run(t, gardener(g, store), engine.Done)
	slices.Sort(order[3:])
	if diff := cmp.Diff([]string{"a", "a", "a", "b", "c"}, order); diff != "" {
		t.Errorf("the canary goes first (-want, +got):\n%s", diff)
	}
}

// TestToleranceHoldsInResume kills the engine when one tolerated failure is journalled and the step is not done: the failure is no reason
// for the resume to fail.
func TestToleranceHoldsInResume(t *testing.T) {
	t.Parallel()
	survived := 0
	for n := 1; ; n++ {
		g := newGarden("a", "b", "c")
		g.painting = func(_ context.Context, name string) error {
			if name != "b" {
				return nil
			}
			g.mu.Lock()
			defer g.mu.Unlock()
			g.painted["b"]-- // it did not take hold
			return errors.New("the brush broke")
		}
		store := mem.New()
		beginFleet(t, gardener(g, store), 0, "{maxFailures: 1}", "")
		agree(t, gardener(g, store), run(t, gardener(g, store), engine.Waiting))
		c := &crashing{Store: store, left: n}
		_, err := gardener(g, c).Run(t.Context(), "r")
		if !errors.Is(err, errCrash) {
			break
		}
		r := run(t, gardener(g, store), engine.Done)
		if s, _ := r.Plan.Step("spray"); s.Status != plan.Done {
			t.Errorf("append %d: the step ended %s: %s", n, s.Status, s.Why)
		}
		if got := g.times(); got[0] != 1 || got[1] != 0 || got[2] != 1 {
			t.Errorf("append %d: painted %v", n, got)
		}
		survived++
	}
	if survived < 10 {
		t.Errorf("only %d crashes were met", survived)
	}
}
