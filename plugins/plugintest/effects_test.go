package plugintest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// declared is a step that does what the workflow says, and passes. A test breaks one thing of it.
type declared struct {
	good
	// deaf takes any effect.
	deaf bool
	// known gives its changes a Before.
	known bool
}

func (d declared) Describe() plugins.Description {
	out := d.good.Describe()
	out.Effect, out.Connections = plugins.Declared, nil
	return out
}

func (d declared) Plan(ctx context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	if _, err := d.input(req.Input); err != nil {
		return plugins.PlanResponse{}, err
	}
	action := plugins.Update
	switch req.Effect {
	case plugins.Read:
		return plugins.PlanResponse{Outputs: json.RawMessage(`{"uid":"u"}`)}, ctx.Err()
	case plugins.Change:
	case plugins.Destroy:
		action = plugins.Delete
	default:
		if !d.deaf {
			return plugins.PlanResponse{}, fmt.Errorf("effect %q", req.Effect)
		}
	}
	change := plugins.PlannedChange{
		Action: action, Target: plugins.Target{Kind: "Command", Name: "x"}, Reason: "asked to",
		After: json.RawMessage(`{"command":["x"]}`), Undo: "none",
	}
	if d.known {
		change.Before = json.RawMessage(`{}`)
	}
	return plugins.PlanResponse{Outputs: json.RawMessage(`{}`), Changes: []plugins.PlannedChange{change}}, ctx.Err()
}

func (d declared) Apply(ctx context.Context, req plugins.ApplyRequest, host plugins.Host) (plugins.ApplyResponse, error) {
	if req.Effect == plugins.Read && !d.deaf {
		return plugins.ApplyResponse{}, errors.New("only reads")
	}
	return d.good.Apply(ctx, req, host)
}

func TestConformanceOfDeclared(t *testing.T) {
	t.Parallel()
	seen := map[int]int{}
	s := sample()
	s.Check = func(_ *testing.T, resp plugins.PlanResponse) { seen[len(resp.Changes)]++ }
	Conformance(t, declared{}, Cases{Samples: map[string]Sample{"One": s}})
	if seen[0] != 2 || seen[1] != 4 {
		t.Errorf("checked %v times, want the read twice without changes and the others four times with one", seen)
	}
}

func TestConformanceFindsInDeclared(t *testing.T) {
	t.Parallel()
	under := func(effect plugins.Effect) Sample {
		s := sample()
		s.Effect = effect
		return s
	}
	cases := map[string]struct {
		reason string
		step   plugins.Step
		sample Sample
		want   string
	}{
		"Passes":  {reason: "the step that the rest is measured against", step: declared{}, sample: sample()},
		"NotAll":  {reason: "an effect that nothing shows", step: declared{}, sample: under(plugins.Read), want: "no sample shows the effect destroy"},
		"Unknown": {reason: "an effect that cannot be declared", step: declared{}, sample: under(plugins.Announce), want: `plan: effect "announce"`},
		"Deaf":    {reason: "planning under no effect", step: declared{deaf: true}, sample: sample(), want: "plans although the workflow declared no effect"},
		"Applies": {reason: "applying a step that reads", step: declared{deaf: true}, sample: sample(), want: "applies although the workflow declared that it reads"},
		"Before":  {reason: "knowing what it cannot know", step: declared{known: true}, sample: sample(), want: "before is given if and only if"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			schemas, problems := describeProblems(tc.step)
			problems = append(problems, declaredProblems(t.Context(), tc.step, schemas, Cases{Samples: map[string]Sample{"One": tc.sample}})...)
			for _, s := range schemas.each(tc.sample) {
				_, more := planProblems(t.Context(), tc.step, schemas, s)
				problems = append(problems, more...)
			}
			judge(t, tc.reason, tc.want, problems)
		})
	}
}

func judge(t *testing.T, reason, want string, problems []string) {
	t.Helper()
	got := strings.Join(problems, "\n")
	if (want == "") != (got == "") || !strings.Contains(got, want) {
		t.Errorf("%s: want %q, got:\n%s", reason, want, got)
	}
}

// announcer is a step that tells, and passes. A test breaks one thing of it.
type announcer struct {
	told *atomic.Int64
	// chatty tells while it plans; deaf does not heed the journal; stubborn cannot go on after a crash.
	chatty, deaf, stubborn bool
	changes                int
}

func (a announcer) Describe() plugins.Description {
	return plugins.Description{
		Name: "announcer", Version: "1.0.0", Summary: "Tells.", Effect: plugins.Announce,
		Input:  json.RawMessage(`{"type":"object","additionalProperties":false,"properties":{"text":{"type":"string","description":"what"}}}`),
		Output: json.RawMessage(`{"type":"object"}`),
	}
}

type announcerInput struct {
	Text string `json:"text"`
}

func (a announcer) Plan(ctx context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	if _, err := sdk.Input[announcerInput](req.Input); err != nil {
		return plugins.PlanResponse{}, err
	}
	if a.chatty {
		a.told.Add(1)
	}
	resp := plugins.PlanResponse{Outputs: json.RawMessage(`{}`)}
	for i := range a.changes {
		resp.Changes = append(resp.Changes, plugins.PlannedChange{
			Action: plugins.Create, Target: plugins.Target{Kind: "Notification", Name: fmt.Sprint(i)}, Reason: "asked to",
			After: json.RawMessage(`{}`), Undo: "cannot be taken back",
		})
	}
	return resp, ctx.Err()
}

func (a announcer) Apply(ctx context.Context, req plugins.ApplyRequest, host plugins.Host) (plugins.ApplyResponse, error) {
	if _, err := sdk.Input[announcerInput](req.Input); err != nil {
		return plugins.ApplyResponse{}, err
	}
	const key = "tell"
	state, err := host.Effect(ctx, key)
	switch {
	case err != nil:
		return plugins.ApplyResponse{}, err
	case state == plugins.EffectDone && !a.deaf:
		return plugins.ApplyResponse{}, nil
	case state == plugins.EffectIntended && a.stubborn:
		return plugins.ApplyResponse{}, errors.New("who knows")
	case state == plugins.EffectNone:
		if err := host.Intend(ctx, plugins.EffectSpec{Key: key}); err != nil {
			return plugins.ApplyResponse{}, err
		}
	}
	a.told.Add(1)
	if state == plugins.EffectDone {
		return plugins.ApplyResponse{}, nil
	}
	return plugins.ApplyResponse{}, host.Done(ctx, key, "")
}

func TestConformanceOfAnnounce(t *testing.T) {
	t.Parallel()
	var told atomic.Int64
	count := func() int { return int(told.Load()) }
	s := Sample{Reason: "a good sample", Input: json.RawMessage(`{"text":"hello"}`)}
	Conformance(t, announcer{told: &told, changes: 1}, Cases{Told: count, Samples: map[string]Sample{"One": s}})
	if count() != 4 {
		t.Errorf("told %d times, want twice directly and twice over the wire", count())
	}
}

func TestConformanceFindsInAnnounce(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason  string
		step    announcer
		counted bool
		want    string
	}{
		"Passes":    {reason: "the step that the rest is measured against", step: announcer{changes: 1}, counted: true},
		"Uncounted": {reason: "what nobody counts proves nothing", step: announcer{changes: 1}, want: "give Cases.Told"},
		"Chatty":    {reason: "a plan tells nobody", step: announcer{changes: 1, chatty: true}, counted: true, want: "tells 2 things while it plans"},
		"Many":      {reason: "a change for each thing", step: announcer{changes: 2}, counted: true, want: "plans 2 changes and tells 1 things"},
		"Silent":    {reason: "nothing to tell", step: announcer{}, counted: true, want: "plans to tell nothing"},
		"Deaf":      {reason: "the journal has the word", step: announcer{changes: 1, deaf: true}, counted: true, want: "tells 1 things although the journal"},
		"Stubborn":  {reason: "a crash must not stop it", step: announcer{changes: 1, stubborn: true}, counted: true, want: "after a crash: apply: who knows"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var told atomic.Int64
			tc.step.told = &told
			var given Cases
			if tc.counted {
				given.Told = func() int { return int(told.Load()) }
			}
			schemas, problems := describeProblems(tc.step)
			s := Sample{Input: json.RawMessage(`{}`)}
			before := given.told()
			resp, more := planProblems(t.Context(), tc.step, schemas, s)
			problems = append(problems, more...)
			problems = append(problems, announceProblems(t.Context(), tc.step, s, announced{cases: given, before: before, plan: resp})...)
			judge(t, tc.reason, tc.want, problems)
		})
	}
}
