package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
	"github.com/tkgfix/tkgfix/workflow"
)

// garden is what the steps of these tests look at and change: fences that must be painted.
type garden struct {
	mu      sync.Mutex
	fences  []string
	colour  map[string]string // what a plan stands on
	painted map[string]int    // how often each was painted
	told    []string
	busy    int
	most    int // how many were painted at once

	// painting, if set, is called while a fence is being painted, after the act took hold.
	painting func(ctx context.Context, name string) error
	// inspecting, if set, is called while a fence is being inspected.
	inspecting func(name string) error
	// rotten are the reasons that an inspection finds not to go on.
	rotten map[string]*plugins.Block
	// asked are the Supervisors that inspecting and spraying was given, by what was done.
	asked map[string][]string
	// doubt are fences of which nobody can tell whether they are painted.
	doubt map[string]bool
}

func newGarden(fences ...string) *garden {
	g := &garden{fences: fences, colour: map[string]string{}, painted: map[string]int{}, asked: map[string][]string{}, doubt: map[string]bool{}}
	for _, f := range fences {
		g.colour[f] = "grey"
	}
	return g
}

func (g *garden) times() []int {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []int
	for _, f := range g.fences {
		out = append(out, g.painted[f])
	}
	return out
}

// list reads the fences.
type list struct{ g *garden }

func (list) Describe() plugins.Description {
	return plugins.Description{
		Name: "list", Version: "1.0.0", Summary: "lists the fences", Effect: plugins.Read,
		Input: json.RawMessage(`{"type":"object","additionalProperties":false}`),
		Output: json.RawMessage(`{"type":"object","required":["fences"],"properties":{
			"fences":{"type":"array","items":{"type":"object","required":["name"],"properties":{"name":{"type":"string"}}}}}}`),
	}
}

func (s list) Plan(context.Context, plugins.PlanRequest) (plugins.PlanResponse, error) {
	s.g.mu.Lock()
	defer s.g.mu.Unlock()
	out := []map[string]string{}
	for _, f := range s.g.fences {
		out = append(out, map[string]string{"name": f})
	}
	raw, err := json.Marshal(map[string]any{"fences": out})
	return plugins.PlanResponse{Outputs: raw}, err
}

func (list) Apply(context.Context, plugins.ApplyRequest, plugins.Host) (plugins.ApplyResponse, error) {
	return plugins.ApplyResponse{}, errors.New("a reading step was applied")
}

// paint paints one fence.
type paint struct {
	g      *garden
	name   string
	effect plugins.Effect
	conns  []string
}

func (s paint) Describe() plugins.Description {
	return plugins.Description{
		Name: s.name, Version: "1.0.0", Summary: "paints a fence", Effect: s.effect, Connections: s.conns,
		Input:  json.RawMessage(`{"type":"object","additionalProperties":false,"required":["name"],"properties":{"name":{"type":"string"}}}`),
		Output: json.RawMessage(`{"type":"object","required":["painted"],"properties":{"painted":{"type":"string"}}}`),
	}
}

func (s paint) fence(raw json.RawMessage) (string, plugins.Target, error) {
	var in struct{ Name string }
	err := json.Unmarshal(raw, &in)
	return in.Name, plugins.Target{Kind: "Fence", Name: in.Name, UID: "u-" + in.Name}, err
}

func (s paint) Plan(_ context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	name, target, err := s.fence(req.Input)
	if err != nil {
		return plugins.PlanResponse{}, err
	}
	s.g.ask("plan "+name, req.Connections)
	s.g.mu.Lock()
	defer s.g.mu.Unlock()
	out := plugins.PlanResponse{Outputs: json.RawMessage(fmt.Sprintf(`{"painted":%q}`, name))}
	if s.g.painted[name] == 0 {
		action := plugins.Update
		if s.effect == plugins.Destroy {
			action = plugins.Delete
		}
		out.Changes = []plugins.PlannedChange{{
			Action: action, Target: target, Reason: "it is bare",
			Preconditions: []plugins.Precondition{{Target: target, Field: "spec.colour", Value: s.g.colour[name]}},
		}}
	}
	return out, nil
}

func (s paint) Apply(ctx context.Context, req plugins.ApplyRequest, h plugins.Host) (plugins.ApplyResponse, error) {
	name, target, err := s.fence(req.Input)
	if err != nil {
		return plugins.ApplyResponse{}, err
	}
	s.g.ask("apply "+name, req.Connections)
	err = sdk.Effect(ctx, h, plugins.EffectSpec{Key: "paint", Target: target},
		func(context.Context) (sdk.Observation, error) {
			s.g.mu.Lock()
			defer s.g.mu.Unlock()
			switch {
			case s.g.doubt[name]:
				return sdk.Observation{State: sdk.Unknowable, Note: "look at " + name}, nil
			case s.g.painted[name] > 0:
				return sdk.Observation{State: sdk.Yes, Note: "it is green"}, nil
			}
			return sdk.Observation{State: sdk.No}, nil
		},
		func(ctx context.Context) error { return s.g.paint(ctx, name) })
	return plugins.ApplyResponse{Summary: "painted " + name}, err
}

func (g *garden) paint(ctx context.Context, name string) error {
	g.mu.Lock()
	g.painted[name]++
	g.busy++
	g.most = max(g.most, g.busy)
	hook := g.painting
	g.mu.Unlock()
	var err error
	if hook != nil {
		err = hook(ctx, name)
	}
	g.mu.Lock()
	g.busy--
	g.mu.Unlock()
	return err
}

// ask notes which Supervisor was given.
func (g *garden) ask(what string, conns plugins.Connections) {
	on := "none"
	if k := conns.Supervisor; k != nil {
		on = k.Kubeconfig + " " + k.Context
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !slices.Contains(g.asked[what], on) {
		g.asked[what] = append(g.asked[what], on)
	}
}

// inspectOne reads one fence.
type inspectOne struct{ g *garden }

func (inspectOne) Describe() plugins.Description {
	return plugins.Description{
		Name: "inspect", Version: "1.0.0", Summary: "looks at a fence", Effect: plugins.Read, Connections: []string{plugins.ConnSupervisor},
		Input:  json.RawMessage(`{"type":"object","additionalProperties":false,"required":["name"],"properties":{"name":{"type":"string"}}}`),
		Output: json.RawMessage(`{"type":"object","required":["bare"],"properties":{"bare":{"type":"boolean"}}}`),
	}
}

func (s inspectOne) Plan(_ context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	var in struct{ Name string }
	if err := json.Unmarshal(req.Input, &in); err != nil {
		return plugins.PlanResponse{}, err
	}
	s.g.ask("inspect "+in.Name, req.Connections)
	if s.g.inspecting != nil {
		if err := s.g.inspecting(in.Name); err != nil {
			return plugins.PlanResponse{}, err
		}
	}
	s.g.mu.Lock()
	defer s.g.mu.Unlock()
	resp := plugins.PlanResponse{Outputs: json.RawMessage(fmt.Sprintf(`{"bare":%t}`, s.g.painted[in.Name] == 0))}
	if b := s.g.rotten[in.Name]; b != nil {
		resp.Blocks = []plugins.Block{*b}
	}
	return resp, nil
}

func (inspectOne) Apply(context.Context, plugins.ApplyRequest, plugins.Host) (plugins.ApplyResponse, error) {
	return plugins.ApplyResponse{}, errors.New("a reading step was applied")
}

// tell announces.
type tell struct{ g *garden }

func (tell) Describe() plugins.Description {
	return plugins.Description{
		Name: "tell", Version: "1.0.0", Summary: "tells somebody", Effect: plugins.Announce,
		Input:  json.RawMessage(`{"type":"object","additionalProperties":false,"properties":{"text":{"type":"string"}}}`),
		Output: json.RawMessage(`{"type":"object","properties":{}}`),
	}
}

func (tell) Plan(_ context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	return plugins.PlanResponse{Changes: []plugins.PlannedChange{{
		Action: plugins.Create, Target: plugins.Target{Kind: "Notification", Name: "all"}, Reason: "it was asked for", After: req.Input,
	}}}, nil
}

func (s tell) Apply(ctx context.Context, req plugins.ApplyRequest, h plugins.Host) (plugins.ApplyResponse, error) {
	var in struct{ Text string }
	if err := json.Unmarshal(req.Input, &in); err != nil {
		return plugins.ApplyResponse{}, err
	}
	said := false
	err := sdk.Effect(ctx, h, plugins.EffectSpec{Key: "tell", Target: req.Changes[0].Target},
		func(context.Context) (sdk.Observation, error) {
			if said {
				return sdk.Observation{State: sdk.Yes}, nil
			}
			return sdk.Observation{State: sdk.No}, nil
		},
		func(context.Context) error {
			s.g.mu.Lock()
			defer s.g.mu.Unlock()
			s.g.told = append(s.g.told, in.Text)
			said = true
			return nil
		})
	return plugins.ApplyResponse{}, err
}

// gardener is an engine over a garden. Its clock moves a second at each look.
func gardener(g *garden, store state.Store) *engine.Engine {
	all := []plugins.Step{
		list{g}, inspectOne{g}, paint{g, "paint", plugins.Change, nil}, paint{g, "raze", plugins.Destroy, nil},
		paint{g, "spray", plugins.Change, []string{plugins.ConnSupervisor}}, tell{g},
	}
	e := newEngine(nil, store)
	s := steps{all: all, digest: "d1"}
	var mu sync.Mutex
	clock := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	e.Now = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		clock = clock.Add(time.Second)
		return clock
	}
	e.Catalog = s
	e.Launch = func(plugins.Connections, func(context.Context, engine.Process) error) engine.Plugins {
		return launched{s}
	}
	return e
}

// begin creates run r of a workflow of these steps.
func begin(t *testing.T, e *engine.Engine, spec string) engine.Request {
	t.Helper()
	src := "apiVersion: tkgfix.dev/v1alpha1\nkind: Workflow\nmetadata: {name: garden}\nspec:\n" + spec
	w, diags := workflow.Check("garden.yaml", []byte(src), e.Catalog, workflow.KindUnapproved)
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	req := engine.Request{ID: "r", Workflow: w}
	if w.Approvals != nil {
		req.AllowedSigners = "/signers"
	}
	if err := e.Create(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	return req
}

// agree approves every gate that is pending, as bob, who began nothing.
func agree(t *testing.T, e *engine.Engine, r *engine.Run) {
	t.Helper()
	for _, g := range r.PendingGates(e.Now()) {
		d := approval.Decision{Gate: g.Step, Digest: g.Digest, Approved: true, By: approval.Identity{Name: "bob@desk"}, At: e.Now()}
		if _, err := e.Decide(t.Context(), "r", d); err != nil {
			t.Fatal(err)
		}
	}
}

const fences = `
  defaults: {retry: {attempts: 1}}
  steps:
    - {id: list, uses: list}
    - id: paint
      uses: paint
      forEach: "${{ steps.list.fences }}"
      as: fence
      with: {name: "${{ fence.name }}"}
      approval: {message: "paints ${{ size(steps.list.fences) }} fences"}
      %s
    - id: check
      uses: list
      needs: [paint]
      if: "${{ steps.paint.all(p, p.painted != '') }}"
`

func eachFence(strategy string) string {
	if strategy != "" {
		strategy = "strategy: " + strategy
	}
	return fmt.Sprintf(fences, strategy)
}

func failing(names ...string) func(context.Context, string) error {
	return func(_ context.Context, name string) error {
		if slices.Contains(names, name) {
			return plugins.Hint(errors.New("the brush broke"), "buy a brush")
		}
		return nil
	}
}
