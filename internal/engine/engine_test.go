package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/internal/state/mem"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
	"github.com/tkgfix/tkgfix/workflow"
)

// world is what the steps of these tests look at and change: a lamp that must be on.
type world struct {
	on      bool
	serial  string // a field that the change stands on
	turned  int    // how often the lamp was turned on
	looks   int
	blocked string
	lookErr []error // what the next looks answer instead
	actErr  []error // what the next acts answer after having acted
}

const lamp = `apiVersion: tkgfix.dev/v1alpha1
kind: Workflow
metadata: {name: lamp}
spec:
  defaults:
    retry: {attempts: 3, backoff: constant, initial: 1ms, max: 1ms, jitter: 0%}
  steps:
    - id: look
      uses: look
    - id: turn
      uses: turn
      if: "${{ !steps.look.lit }}"
      with: {serial: "${{ steps.look.serial }}"}
      approval: {message: "turns lamp ${{ steps.look.serial }} on"}
    - id: check
      uses: look
      needs: [turn]
`

type look struct{ w *world }

func (look) Describe() plugins.Description {
	return plugins.Description{
		Name: "look", Version: "1.0.0", Summary: "looks at the lamp", Effect: plugins.Read,
		Input:  json.RawMessage(`{"type":"object","additionalProperties":false}`),
		Output: json.RawMessage(`{"type":"object","properties":{"lit":{"type":"boolean"},"serial":{"type":"string"}}}`),
	}
}

func (s look) Plan(context.Context, plugins.PlanRequest) (plugins.PlanResponse, error) {
	s.w.looks++
	if len(s.w.lookErr) > 0 {
		err := s.w.lookErr[0]
		s.w.lookErr = s.w.lookErr[1:]
		return plugins.PlanResponse{}, err
	}
	out, err := json.Marshal(map[string]any{"lit": s.w.on, "serial": s.w.serial})
	return plugins.PlanResponse{Outputs: out, Summary: fmt.Sprintf("lit: %t", s.w.on)}, err
}

func (look) Apply(context.Context, plugins.ApplyRequest, plugins.Host) (plugins.ApplyResponse, error) {
	return plugins.ApplyResponse{}, errors.New("a reading step was applied")
}

type turn struct{ w *world }

func (turn) Describe() plugins.Description {
	return plugins.Description{
		Name: "turn", Version: "1.0.0", Summary: "turns the lamp on", Effect: plugins.Change,
		Input:  json.RawMessage(`{"type":"object","additionalProperties":false,"properties":{"serial":{"type":"string"}}}`),
		Output: json.RawMessage(`{"type":"object","properties":{"on":{"type":"boolean"}}}`),
	}
}

var lampTarget = plugins.Target{Kind: "Lamp", Name: "desk"}

func (s turn) Plan(context.Context, plugins.PlanRequest) (plugins.PlanResponse, error) {
	r := plugins.PlanResponse{Outputs: json.RawMessage(`{"on":true}`)}
	if s.w.blocked != "" {
		r.Blocks = []plugins.Block{{Reason: s.w.blocked, Hint: "replace the bulb"}}
	}
	if !s.w.on {
		r.Changes = []plugins.PlannedChange{{
			Action: plugins.Update, Target: lampTarget, Reason: "it is dark",
			Preconditions: []plugins.Precondition{{Target: lampTarget, Field: "spec.serial", Value: s.w.serial}},
		}}
	}
	return r, nil
}

func (s turn) Apply(ctx context.Context, req plugins.ApplyRequest, h plugins.Host) (plugins.ApplyResponse, error) {
	if was := req.Changes[0].Preconditions[0].Value; was != s.w.serial {
		return plugins.ApplyResponse{}, plugins.WithKind(plugins.KindConflict, fmt.Errorf("spec.serial was %s and is %s", was, s.w.serial))
	}
	err := sdk.Effect(ctx, h, plugins.EffectSpec{Key: "turn", Target: lampTarget},
		func(context.Context) (sdk.Observation, error) {
			if s.w.on {
				return sdk.Observation{State: sdk.Yes, Note: "the lamp is lit"}, nil
			}
			return sdk.Observation{State: sdk.No}, nil
		},
		func(context.Context) error {
			s.w.on = true
			s.w.turned++
			if len(s.w.actErr) > 0 {
				err := s.w.actErr[0]
				s.w.actErr = s.w.actErr[1:]
				return err
			}
			return nil
		})
	return plugins.ApplyResponse{Outputs: json.RawMessage(`{"on":true}`), Summary: "lit"}, err
}

// steps is both the catalog and the plugins of these tests.
type steps struct {
	all    []plugins.Step
	digest string
}

func (s steps) Step(uses string) (workflow.StepInfo, bool) {
	for _, st := range s.all {
		if d := st.Describe(); d.Name == uses {
			return workflow.StepInfo{Effect: string(d.Effect), Input: d.Input, Output: d.Output, Connections: d.Connections}, true
		}
	}
	return workflow.StepInfo{}, false
}

func (s steps) Names() []string { return []string{"look", "turn"} }

func (s steps) Plugin(uses string) (plan.Plugin, error) {
	return plan.Plugin{Name: uses, Version: "1.0.0", SHA256: s.digest}, nil
}

type launched struct{ steps }

func (l launched) Step(_ context.Context, uses string) (plugins.Step, error) {
	for _, st := range l.all {
		if st.Describe().Name == uses {
			return st, nil
		}
	}
	return nil, fmt.Errorf("no step %q", uses)
}

func (launched) Close(context.Context) error { return nil }

func newEngine(w *world, store state.Store) *engine.Engine {
	s := steps{all: []plugins.Step{look{w}, turn{w}}, digest: "d1"}
	clock := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	return &engine.Engine{
		Store: store, Now: func() time.Time { clock = clock.Add(time.Second); return clock },
		Me: engine.Actor{Identity: approval.Identity{Name: "ann@jump"}, Host: "jump", PID: 1}, Version: "test", Catalog: s,
		Launch: func(plugins.Connections, func(context.Context, engine.Process) error) engine.Plugins {
			return launched{s}
		},
		End:  func(context.Context, engine.Process) error { return nil },
		File: func(string) (string, error) { return "", errors.New("no files here") },
	}
}

func create(t *testing.T, e *engine.Engine) {
	t.Helper()
	w, diags := workflow.Parse("lamp.yaml", []byte(lamp))
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	if err := w.Validate(e.Catalog).Err(); err != nil {
		t.Fatal(err)
	}
	if err := e.Create(t.Context(), engine.Request{ID: "r", Workflow: w}); err != nil {
		t.Fatal(err)
	}
}

// run runs and wants the status.
func run(t *testing.T, e *engine.Engine, want engine.Status) *engine.Run {
	t.Helper()
	r, err := e.Run(t.Context(), "r")
	if r == nil || r.Status != want {
		t.Fatalf("run: %+v, %v; want status %s", r, err, want)
	}
	return r
}

func approve(t *testing.T, e *engine.Engine, digest string) error {
	t.Helper()
	_, err := e.Decide(t.Context(), "r", approval.Decision{Gate: "turn", Digest: digest, Approved: true, By: e.Me.Identity, At: e.Now()})
	return err
}

func TestGateWaitsForItsDigest(t *testing.T) {
	t.Parallel()
	w := &world{serial: "s1"}
	e := newEngine(w, mem.New())
	create(t, e)
	r := run(t, e, engine.Waiting)
	if w.turned != 0 {
		t.Fatal("changed before approval")
	}
	g := r.PendingGates(e.Now())
	if len(g) != 1 || g[0].Message != "turns lamp s1 on" {
		t.Fatalf("gates: %+v", g)
	}
	for _, digest := range []string{"", "sha256:0", g[0].Digest[:20], g[0].Digest + "0", strings.ToUpper(g[0].Digest)} {
		if err := approve(t, e, digest); !errors.Is(err, approval.ErrDigest) {
			t.Errorf("approve %q: got %v, want ErrDigest", digest, err)
		}
	}
	run(t, e, engine.Waiting)
	if err := approve(t, e, g[0].Digest); err != nil {
		t.Fatal(err)
	}
	if err := approve(t, e, g[0].Digest); err == nil {
		t.Error("approved twice")
	}
	r = run(t, e, engine.Done)
	if w.turned != 1 {
		t.Errorf("turned %d times, want 1", w.turned)
	}
	if s, _ := r.Plan.Step("check"); s.Status != plan.Done || s.Summary != "lit: true" {
		t.Errorf("the step after the change: %+v", s)
	}
	if _, err := e.Run(t.Context(), "r"); !errors.Is(err, engine.ErrFinal) {
		t.Errorf("running a run that is done: got %v, want ErrFinal", err)
	}
}

func TestNothingToDo(t *testing.T) {
	t.Parallel()
	w := &world{on: true}
	e := newEngine(w, mem.New())
	create(t, e)
	r := run(t, e, engine.Done)
	if w.turned != 0 || r.Plan.HasChanges() {
		t.Errorf("turned %d times, plan %+v", w.turned, r.Plan)
	}
}

func TestMovedGroundVoidsTheApproval(t *testing.T) {
	t.Parallel()
	w := &world{serial: "s1"}
	e := newEngine(w, mem.New())
	create(t, e)
	old := run(t, e, engine.Waiting).PendingGates(e.Now())[0].Digest
	if err := approve(t, e, old); err != nil {
		t.Fatal(err)
	}
	w.serial = "s2"
	r := run(t, e, engine.Waiting)
	if w.turned != 0 {
		t.Fatal("acted on an approval of other changes")
	}
	want := []string{"Lamp desk spec.serial moved from s1 to s2"}
	if diff := cmp.Diff(want, r.Moved["turn"]); diff != "" {
		t.Errorf("what moved (-want, +got):\n%s", diff)
	}
	if err := approve(t, e, old); !errors.Is(err, approval.ErrDigest) {
		t.Errorf("the old digest: got %v, want ErrDigest", err)
	}
	if err := approve(t, e, r.PendingGates(e.Now())[0].Digest); err != nil {
		t.Fatal(err)
	}
	run(t, e, engine.Done)
}

// TestConflictGoesBackToTheGate has the ground move in the last instant, after the second plan and before the first effect:
// the step finds out, nothing is done, and the run can be approved anew.
func TestConflictGoesBackToTheGate(t *testing.T) {
	t.Parallel()
	w := &world{serial: "s1"}
	e := newEngine(w, mem.New())
	create(t, e)
	if err := approve(t, e, run(t, e, engine.Waiting).PendingGates(e.Now())[0].Digest); err != nil {
		t.Fatal(err)
	}
	e.Watch = func(ev engine.Event) {
		if ev.Kind == engine.EventApplying {
			w.serial = "s2"
		}
	}
	run(t, e, engine.Failed)
	r := run(t, e, engine.Waiting)
	if w.turned != 0 || len(r.Effects) != 0 {
		t.Fatalf("turned %d times, effects %v", w.turned, r.Effects)
	}
	e.Watch = nil
	if err := approve(t, e, r.PendingGates(e.Now())[0].Digest); err != nil {
		t.Fatal(err)
	}
	run(t, e, engine.Done)
}

func TestOtherPluginVoidsTheApproval(t *testing.T) {
	t.Parallel()
	w := &world{serial: "s1"}
	store := mem.New()
	e := newEngine(w, store)
	create(t, e)
	if err := approve(t, e, run(t, e, engine.Waiting).PendingGates(e.Now())[0].Digest); err != nil {
		t.Fatal(err)
	}
	e = newEngine(w, store)
	e.Catalog = steps{all: []plugins.Step{look{w}, turn{w}}, digest: "d2"}
	var why string
	e.Watch = func(ev engine.Event) {
		if ev.Kind == engine.EventAnew {
			why = ev.Text
		}
	}
	run(t, e, engine.Waiting)
	if why != "tkgfix or a plugin is another than when the plan was made" {
		t.Errorf("planned anew because %q", why)
	}
	if w.turned != 0 {
		t.Error("another plugin acted on an approval of the first")
	}
}

func TestRejected(t *testing.T) {
	t.Parallel()
	w := &world{}
	e := newEngine(w, mem.New())
	create(t, e)
	g := run(t, e, engine.Waiting).PendingGates(e.Now())[0]
	d := approval.Decision{Gate: "turn", Digest: g.Digest, By: e.Me.Identity, Reason: "not tonight"}
	if _, err := e.Decide(t.Context(), "r", d); err != nil {
		t.Fatal(err)
	}
	r, err := e.Run(t.Context(), "r")
	if !errors.Is(err, engine.ErrFinal) || r.Status != engine.Rejected || w.turned != 0 {
		t.Errorf("run of a rejected run: %v, status %s, turned %d", err, r.Status, w.turned)
	}
}

func TestBlockedPlanCannotBeApproved(t *testing.T) {
	t.Parallel()
	w := &world{blocked: "the bulb is broken"}
	e := newEngine(w, mem.New())
	create(t, e)
	r, err := e.Run(t.Context(), "r")
	if r.Status != engine.Blocked || plugins.HintOf(err) != "replace the bulb" || !strings.Contains(err.Error(), "the bulb is broken") {
		t.Fatalf("status %s, error %v, hint %q", r.Status, err, plugins.HintOf(err))
	}
	g, ok := r.Plan.Gate("turn")
	if !ok {
		t.Fatal("the blocked plan does not show its gate")
	}
	if err := approve(t, e, g.Digest); err == nil {
		t.Error("a blocked gate was approved")
	}
	w.blocked = ""
	run(t, e, engine.Waiting)
}

func TestRetries(t *testing.T) {
	t.Parallel()
	transient := plugins.WithKind(plugins.KindTransient, errors.New("flicker"))
	for name, tc := range map[string]struct {
		reason string
		errs   []error
		want   engine.Status
		looks  int
	}{
		"Twice":  {"two transient errors are within three attempts", []error{transient, transient}, engine.Waiting, 3},
		"Thrice": {"the third uses the budget up", []error{transient, transient, transient}, engine.Failed, 3},
		"Final":  {"a plain error is not tried again", []error{errors.New("boom")}, engine.Failed, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &world{lookErr: tc.errs}
			e := newEngine(w, mem.New())
			create(t, e)
			r, err := e.Run(t.Context(), "r")
			if r.Status != tc.want || w.looks != tc.looks {
				t.Errorf("%s: status %s (%v) after %d looks, want %s after %d", tc.reason, r.Status, err, w.looks, tc.want, tc.looks)
			}
		})
	}
}

func TestOneEngineAtATime(t *testing.T) {
	t.Parallel()
	store := mem.New()
	e := newEngine(&world{}, store)
	create(t, e)
	release, err := store.Lock(t.Context(), "r", state.Holder{User: "bob", Host: "other", PID: 7})
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	_, err = e.Run(t.Context(), "r")
	locked, ok := errors.AsType[*state.LockedError](err)
	if !ok || locked.Holder.User != "bob" {
		t.Errorf("got %v, want a LockedError that names bob", err)
	}
}
