package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/internal/state/mem"
	"github.com/tkgfix/tkgfix/plugins"
)

// inspect looks whether fence a is painted well, and says what is left to do.
type inspect struct {
	g    *garden
	says *string
}

func (inspect) Describe() plugins.Description {
	return plugins.Description{
		Name: "inspect", Version: "1.0.0", Summary: "inspects", Effect: plugins.Read,
		Input:  json.RawMessage(`{"type":"object","additionalProperties":false}`),
		Output: json.RawMessage(`{"type":"object","required":["remedy"],"properties":{"remedy":{"type":"string"}}}`),
	}
}

func (s inspect) Plan(context.Context, plugins.PlanRequest) (plugins.PlanResponse, error) {
	raw, err := json.Marshal(map[string]string{"remedy": *s.says})
	resp := plugins.PlanResponse{Outputs: raw}
	if *s.says == "hopeless" {
		resp.Blocks = []plugins.Block{{Reason: "the wood is rotten", Hint: "buy wood"}}
	}
	return resp, err
}

func (inspect) Apply(context.Context, plugins.ApplyRequest, plugins.Host) (plugins.ApplyResponse, error) {
	return plugins.ApplyResponse{}, errors.New("a reading step was applied")
}

// escalating is a gentle step that may fail, a second look, and what that asks for.
const escalating = `
  defaults: {retry: {attempts: 1}}
  steps:
    - id: paint
      uses: paint
      forEach: "${{ ['a'] }}"
      strategy: {maxFailures: 1}
      with: {name: "${{ item }}"}
      approval: {message: paints}
    - {id: again, uses: inspect, needs: [paint]}
    - id: raze
      uses: raze
      if: "${{ steps.again.remedy == 'raze' }}"
      with: {name: b}
      approval: {message: razes}
`

// inspected is an engine over a garden of two fences whose second look says what says points to.
func inspected(store state.Store, says *string) (*garden, *engine.Engine) {
	g := newGarden("a", "b")
	e := gardener(g, store)
	s := steps{all: []plugins.Step{list{g}, paint{g: g, name: "paint", effect: plugins.Change}, paint{g: g, name: "raze", effect: plugins.Destroy}, inspect{g, says}}, digest: "d1"}
	e.Catalog = s
	e.Launch = func(plugins.Connections, func(context.Context, engine.Process) error) engine.Plugins {
		return launched{s}
	}
	return g, e
}

// What a run finds out only after it has acted is a gate of its own: nothing that was approved before covers it.
func TestEscalationIsANewGate(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason   string
		fails    bool
		says     string
		auto     plugins.Effect
		waits    bool
		want     engine.Status
		times    []int
		err, tip string
	}{
		"Escalates":     {"the gentle way failed, and the harder one is shown before it is done", true, "raze", "", true, engine.Done, []int{1, 1}, "", ""},
		"InVain":        {"it succeeded and did not help", false, "raze", "", true, engine.Done, []int{1, 1}, "", ""},
		"Helped":        {"nothing is left to do", false, "nothing", "", false, engine.Done, []int{1, 0}, "", ""},
		"Auto":          {"an approval of changes that was given ahead opens no gate of a destruction", true, "raze", plugins.Change, true, engine.Done, []int{1, 1}, "", ""},
		"Hopeless":      {"a reason not to go on that is found only now ends the run", true, "hopeless", "", false, engine.Failed, []int{1, 0}, "the wood is rotten", "buy wood"},
		"HopelessAfter": {"whether or not the gentle way succeeded", false, "hopeless", "", false, engine.Failed, []int{1, 0}, "the wood is rotten", "buy wood"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			says := tc.says
			g, e := inspected(mem.New(), &says)
			e.AutoApprove = tc.auto
			if tc.fails {
				g.painting = failing("a")
			}
			begin(t, e, escalating)
			planned, _ := e.Run(t.Context(), "r")
			if tc.auto == "" {
				if planned.Status != engine.Waiting || len(planned.Plan.Gates) != 1 || planned.Plan.Gates[0].Step != "paint" {
					t.Fatalf("%s: %s with the gates %+v", tc.reason, planned.Status, planned.Plan.Gates)
				}
				for id, why := range map[string]string{"again": "known after paint", "raze": "known after paint"} {
					if s, _ := planned.Plan.Step(id); s.Status != plan.Deferred || s.Why != why {
						t.Errorf("%s: %s is planned %s, %q", tc.reason, id, s.Status, s.Why)
					}
				}
				agree(t, e, planned)
				planned, _ = e.Run(t.Context(), "r")
			}
			if waits := planned.Status == engine.Waiting; waits != tc.waits {
				t.Fatalf("%s: the run is %s: %s", tc.reason, planned.Status, planned.Error)
			}
			r := planned
			if tc.waits {
				gates := planned.PendingGates(e.Now())
				if len(gates) != 1 || gates[0].Step != "raze" || gates[0].Digest == "" || gates[0].Effect != plugins.Destroy {
					t.Fatalf("%s: gates %+v", tc.reason, gates)
				}
				if diff := cmp.Diff([]int{1, 0}, g.times()); diff != "" {
					t.Errorf("%s: done before the second gate (-want, +got):\n%s", tc.reason, diff)
				}
				agree(t, e, planned)
				r, _ = e.Run(t.Context(), "r")
			}
			if r.Status != tc.want || !strings.Contains(r.Error, tc.err) || r.Hint != tc.tip {
				t.Errorf("%s: %s, %q, hint %q; want %s, %q", tc.reason, r.Status, r.Error, r.Hint, tc.want, tc.err)
			}
			if diff := cmp.Diff(tc.times, g.times()); diff != "" {
				t.Errorf("%s: how often (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// A gentle step that cannot even be planned is no failure to tolerate: the plan must say so before anything is approved.
func TestNotOneItemCanBePlanned(t *testing.T) {
	t.Parallel()
	says := "nothing"
	_, e := inspected(mem.New(), &says)
	s := e.Catalog.(steps)
	s.all[1] = unplanned{s.all[1]}
	begin(t, e, escalating)
	r, err := e.Run(t.Context(), "r")
	if err == nil || r.Status != engine.Failed || !strings.Contains(r.Error, "no ladder") || r.Hint != "fetch it" {
		t.Errorf("the run is %s: %q, hint %q", r.Status, r.Error, r.Hint)
	}
}

// unplanned is a step that cannot be planned.
type unplanned struct{ plugins.Step }

func (unplanned) Plan(context.Context, plugins.PlanRequest) (plugins.PlanResponse, error) {
	return plugins.PlanResponse{}, plugins.Hint(errors.New("no ladder"), "fetch it")
}

// What stopped a run may be gone when it is resumed: the look is taken again, and what was done is not done again.
func TestBlockedLookIsTakenAgain(t *testing.T) {
	t.Parallel()
	says := "hopeless"
	g, e := inspected(mem.New(), &says)
	begin(t, e, escalating)
	agree(t, e, run(t, e, engine.Waiting))
	if r, err := e.Run(t.Context(), "r"); err == nil || r.Status != engine.Failed {
		t.Fatalf("the run is %s: %v", r.Status, err)
	}
	says = "nothing"
	run(t, e, engine.Done)
	if diff := cmp.Diff([]int{1, 0}, g.times()); diff != "" {
		t.Errorf("how often (-want, +got):\n%s", diff)
	}
}
