package plugintest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

var errBoom = errors.New("boom")

// good is a step that passes. A test breaks one thing of it.
type good struct {
	describe func(*plugins.Description)
	plan     func(context.Context, plugins.PlanRequest, *plugins.PlanResponse) error
	lenient  bool
}

type goodInput struct {
	Cluster string `json:"cluster"`
	Count   int    `json:"count"`
}

func (g good) Describe() plugins.Description {
	d := plugins.Description{
		Name: "good-step", Version: "1.0.0-rc.1", Summary: "Deletes a cluster.", Effect: plugins.Destroy,
		Connections: []string{plugins.ConnSupervisor},
		Input: json.RawMessage(`{"type":"object","additionalProperties":false,"required":["cluster"],"properties":{
			"cluster":{"type":"string","description":"namespace/name"},"count":{"type":"integer","description":"how many"}}}`),
		Output: json.RawMessage(`{"type":"object","required":["uid"],"properties":{
			"uid":{"type":"string","description":"the new one"},
			"nodes":{"type":"array","description":"all","items":{"type":"object","properties":{"name":{"type":"string","description":"its name"}}}}}}`),
	}
	if g.describe != nil {
		g.describe(&d)
	}
	return d
}

func (g good) Plan(ctx context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	if _, err := g.input(req.Input); err != nil {
		return plugins.PlanResponse{}, err
	}
	resp := plugins.PlanResponse{
		Outputs: json.RawMessage(`{"nodes":[{"name":"n"}]}`),
		Changes: []plugins.PlannedChange{{
			Action: plugins.Delete, Target: plugins.Target{Kind: "TanzuKubernetesCluster", Name: "dev1"}, Reason: "must go",
			Before: json.RawMessage(`{}`), Lost: []string{"volumes"},
			Preconditions: []plugins.Precondition{{Field: "metadata.uid", Value: "u"}},
		}},
		Evidence: []plugins.Evidence{{Subject: "dev1", Check: "owner", Verdict: plugins.Info, Text: "is there"}},
	}
	if g.plan != nil {
		return resp, g.plan(ctx, req, &resp)
	}
	return resp, ctx.Err()
}

func (g good) Apply(ctx context.Context, req plugins.ApplyRequest, host plugins.Host) (plugins.ApplyResponse, error) {
	if g.lenient {
		if err := host.Progress(ctx, "begin"); err != nil {
			return plugins.ApplyResponse{}, err
		}
	}
	_, err := g.input(req.Input)
	return plugins.ApplyResponse{}, err
}

func (g good) input(raw json.RawMessage) (goodInput, error) {
	if g.lenient {
		var in goodInput
		return in, json.Unmarshal(raw, &in)
	}
	return sdk.Input[goodInput](raw)
}

func sample() Sample {
	return Sample{Reason: "a good sample", Input: json.RawMessage(`{"cluster":"a/b"}`)}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	checked := 0
	s := sample()
	s.Check = func(t *testing.T, resp plugins.PlanResponse) {
		t.Helper()
		checked++
		if len(resp.Changes) != 1 {
			t.Errorf("changes: %v", resp.Changes)
		}
	}
	Conformance(t, good{}, Cases{Samples: map[string]Sample{"One": s}})
	Conformance(t, good{}, Cases{})
	if checked != 2 {
		t.Errorf("the sample was checked %d times, want 2", checked)
	}
}

// problems runs every check on a step.
func problems(t *testing.T, step plugins.Step, s Sample) []string {
	t.Helper()
	schemas, out := describeProblems(step)
	if schemas == nil {
		return out
	}
	out = append(out, refusalProblems(t.Context(), step, schemas, s)...)
	out = append(out, cancelProblems(t.Context(), step, schemas, s)...)
	_, more := planProblems(t.Context(), step, schemas, s)
	return append(out, more...)
}

// TestConformanceFinds breaks one thing at a time.
func TestConformanceFinds(t *testing.T) {
	t.Parallel()
	describe := func(f func(*plugins.Description)) good { return good{describe: f} }
	plan := func(f func(*plugins.PlanResponse)) good {
		return good{plan: func(ctx context.Context, _ plugins.PlanRequest, r *plugins.PlanResponse) error {
			f(r)
			return ctx.Err()
		}}
	}
	change := func(f func(*plugins.PlannedChange)) good {
		return plan(func(r *plugins.PlanResponse) { f(&r.Changes[0]) })
	}
	input := func(s string) good { return describe(func(d *plugins.Description) { d.Input = json.RawMessage(s) }) }
	output := func(s string) good { return describe(func(d *plugins.Description) { d.Output = json.RawMessage(s) }) }
	times := 0
	cases := map[string]struct {
		step plugins.Step
		want string
	}{
		"Name":        {describe(func(d *plugins.Description) { d.Name = "Good_Step" }), `name "Good_Step" is not in kebab-case`},
		"Version":     {describe(func(d *plugins.Description) { d.Version = "v1.0" }), `version "v1.0" is not`},
		"Summary":     {describe(func(d *plugins.Description) { d.Summary = "" }), "summary is empty"},
		"Effect":      {describe(func(d *plugins.Description) { d.Effect = "wreck" }), `effect "wreck" is unknown`},
		"Connection":  {describe(func(d *plugins.Description) { d.Connections = []string{"moon"} }), `connection "moon" is unknown`},
		"Unstable":    {describe(func(d *plugins.Description) { times++; d.Summary = fmt.Sprint(times) }), "is not the same when asked again"},
		"NoSchema":    {input(``), "input schema: "},
		"BadSchema":   {output(`{"type":"objekt"}`), "output schema: "},
		"OldSchema":   {output(`{"$schema":"http://json-schema.org/draft-07/schema#"}`), "output schema: $schema is"},
		"FarSchema":   {output(`{"$ref":"https://example.com/x.json"}`), "a schema must stand alone"},
		"OpenInput":   {input(`{"type":"object"}`), "additionalProperties: false"},
		"InputType":   {input(`{"additionalProperties":false}`), "input schema is not of type object"},
		"OutputType":  {output(`{}`), "output schema is not of type object"},
		"Undescribed": {output(`{"type":"object","properties":{"a":{"type":"array","description":"d","items":{"properties":{"b":{}}}}}}`), "output.a[].b has no description"},
		"Lenient":     {good{lenient: true}, "plan takes {"},
		"Touched":     {good{lenient: true}, "apply touched its host"},
		"Deaf":        {good{plan: func(context.Context, plugins.PlanRequest, *plugins.PlanResponse) error { return nil }}, "plan succeeds with a context that has ended"},
		"PlanFails":   {good{plan: func(context.Context, plugins.PlanRequest, *plugins.PlanResponse) error { return errBoom }}, "plan: boom"},
		"Outputs":     {plan(func(r *plugins.PlanResponse) { r.Outputs = json.RawMessage(`{"nodes":null}`) }), "outputs are not valid"},
		"NoOutputs":   {plan(func(r *plugins.PlanResponse) { r.Outputs = nil }), "outputs are not valid: there are none"},
		"Reading":     {describe(func(d *plugins.Description) { d.Effect = plugins.Read }), "the step only reads, and plans 1 changes"},
		"ReadPartial": {describe(func(d *plugins.Description) { d.Effect = plugins.Read }), "outputs are not valid"},
		"Deletes":     {describe(func(d *plugins.Description) { d.Effect = plugins.Change }), "effect is not destroy"},
		"Wanders":     {plan(func(r *plugins.PlanResponse) { times++; r.Changes[0].Undo = fmt.Sprint(times) }), "changes differ when planned again"},
		"Action":      {change(func(c *plugins.PlannedChange) { c.Action = "zap" }), "action is unknown"},
		"Before":      {change(func(c *plugins.PlannedChange) { c.Before = nil }), "before is given if and only if"},
		"After":       {change(func(c *plugins.PlannedChange) { c.After = json.RawMessage(`1`) }), "after is given if and only if"},
		"NotJSON":     {change(func(c *plugins.PlannedChange) { c.Before = json.RawMessage(`{`) }), "before is not JSON"},
		"Target":      {change(func(c *plugins.PlannedChange) { c.Target.Name = "" }), "target has no kind or no name"},
		"Reason":      {change(func(c *plugins.PlannedChange) { c.Reason = "" }), "has no reason"},
		"Undo":        {change(func(c *plugins.PlannedChange) { c.Lost = nil }), "neither how to undo"},
		"Field":       {change(func(c *plugins.PlannedChange) { c.Preconditions[0].Value = "" }), "precondition without"},
		"Moves":       {change(func(c *plugins.PlannedChange) { c.Preconditions[0].Field = "metadata.resourceVersion" }), "moves by itself"},
		"Verdict":     {plan(func(r *plugins.PlanResponse) { r.Evidence[0].Verdict = "meh" }), `verdict "meh" is unknown`},
		"Check":       {plan(func(r *plugins.PlanResponse) { r.Evidence[0].Check = "The Check" }), "is not in kebab-case"},
		"Subject":     {plan(func(r *plugins.PlanResponse) { r.Evidence[0].Subject = "" }), "has no subject"},
		"Data":        {plan(func(r *plugins.PlanResponse) { r.Evidence[0].Data = json.RawMessage(strings.Repeat("1", 65537)) }), "data of 65537 bytes"},
		"Block":       {plan(func(r *plugins.PlanResponse) { r.Blocks = []plugins.Block{{}} }), "block 0 has no reason"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(problems(t, tc.step, sample()), "\n"); !strings.Contains(got, tc.want) {
				t.Errorf("want %q, got:\n%s", tc.want, got)
			}
		})
	}
	if got := problems(t, good{}, sample()); len(got) > 0 {
		t.Errorf("the step that all this is measured against is bad itself: %v", got)
	}
	bad := Sample{Input: json.RawMessage(`{"cluster":1}`)}
	if got := strings.Join(problems(t, good{}, bad), "\n"); !strings.Contains(got, "sample input is not valid") {
		t.Errorf("a bad sample passes: %s", got)
	}
}

func TestHost(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	spec := plugins.EffectSpec{Key: "k", Target: plugins.Target{Kind: "Pod", Name: "p"}}
	host := &Host{}
	if err := host.Done(ctx, "k", ""); err == nil {
		t.Error("done without intent is taken")
	}
	if err := host.Intend(ctx, spec); err != nil {
		t.Errorf("intend: %v", err)
	}
	if err := host.Intend(ctx, spec); err == nil {
		t.Error("a second intent is taken")
	}
	if err := host.Progress(ctx, "p"); err != nil {
		t.Errorf("progress: %v", err)
	}
	if err := host.Done(ctx, "k", "n"); err != nil {
		t.Errorf("done: %v", err)
	}
	if err := host.Done(ctx, "k", "n"); err == nil {
		t.Error("a second done is taken")
	}
	want := []Call{{Method: MethodIntend, Key: "k", Target: spec.Target}, {Method: MethodProgress, Text: "p"}, {Method: MethodDone, Key: "k", Text: "n"}}
	if diff := cmp.Diff(want, host.Calls()); diff != "" {
		t.Errorf("calls (-want, +got):\n%s", diff)
	}
	if diff := cmp.Diff(want[1:2], host.Calls(MethodProgress)); diff != "" {
		t.Errorf("calls of progress (-want, +got):\n%s", diff)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := host.Effect(ended, "k"); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context: %v", err)
	}
}

func TestHostFails(t *testing.T) {
	t.Parallel()
	spec := plugins.EffectSpec{Key: "k"}
	unwritten := &Host{Before: func(Call) error { return errBoom }}
	if err := unwritten.Intend(t.Context(), spec); !errors.Is(err, errBoom) || unwritten.State("k") != plugins.EffectNone {
		t.Errorf("before: err %v, journal %s", err, unwritten.State("k"))
	}
	lost := &Host{After: func(Call) error { return errBoom }}
	if err := lost.Intend(t.Context(), spec); !errors.Is(err, errBoom) || lost.State("k") != plugins.EffectIntended {
		t.Errorf("after: err %v, journal %s", err, lost.State("k"))
	}
}
