package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// step is the step silence. It keeps nothing between calls.
type step struct {
	env sdk.Env
}

var _ plugins.Step = (*step)(nil)

func newStep(env sdk.Env) *step { return &step{env: env.Complete()} }

// The schemas. The names of the labels are free, all else is closed.
const (
	inputSchema = `{
  "type": "object",
  "additionalProperties": false,
  "required": ["url", "labels"],
  "properties": {
    "url": {"type": "string", "description": "address of the Alertmanager, without a password"},
    "labels": {
      "type": "object", "minProperties": 1, "additionalProperties": {"type": "string"},
      "description": "the labels of the alerts to be silent about, such as cluster: dev1"
    },
    "hours": {"type": "integer", "minimum": 1, "maximum": 72, "description": "how long, in hours; 2 if it is not given"}
  }
}`
	outputSchema = `{
  "type": "object",
  "required": ["silence"],
  "properties": {"silence": {"type": "string", "description": "the silence's id"}}
}`
)

// input is what a workflow gives.
type input struct {
	URL    string            `json:"url"`
	Labels map[string]string `json:"labels"`
	Hours  int               `json:"hours"`
}

type output struct {
	Silence string `json:"silence,omitempty"`
}

// Describe returns what the step is.
func (s *step) Describe() plugins.Description {
	return plugins.Description{
		Name: "silence", Version: "1.0.0", Summary: "Keeps Alertmanager quiet about a cluster for the time of a maintenance.",
		Effect: plugins.Change, Input: json.RawMessage(inputSchema), Output: json.RawMessage(outputSchema),
	}
}

// read checks the input. The engine has held it against the schema; a step that checks by itself can be trusted by itself.
func read(raw json.RawMessage) (input, *alertmanager, error) {
	in, err := sdk.Input[input](raw)
	if err != nil {
		return in, nil, err
	}
	if in.Hours == 0 {
		in.Hours = 2
	}
	if len(in.Labels) == 0 {
		return in, nil, errors.New(`input "labels" must name a label: a silence of all alerts is none that anybody wants`)
	}
	if in.Hours < 1 || in.Hours > 72 {
		return in, nil, errors.New(`input "hours" must be between 1 and 72`)
	}
	am, err := newAlertmanager(in.URL)
	return in, am, err
}

// Plan looks for a silence that is there already, and changes nothing.
func (s *step) Plan(ctx context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	in, am, err := read(req.Input)
	if err != nil {
		return plugins.PlanResponse{}, err
	}
	all, err := am.list(ctx)
	if err != nil {
		return plugins.PlanResponse{}, err
	}
	want := matchers(in.Labels)
	until := s.env.Now().Add(time.Duration(in.Hours) * time.Hour)
	if i := slices.IndexFunc(all, func(have silence) bool {
		return !have.over() && same(want, have.Matchers) && !have.EndsAt.Before(until)
	}); i >= 0 {
		out, err := sdk.Output(output{Silence: all[i].ID})
		return plugins.PlanResponse{
			Outputs: out, Summary: "silence " + all[i].ID + " covers this already",
			Evidence: []plugins.Evidence{seen(am, plugins.OK, "silence "+all[i].ID+" by "+all[i].CreatedBy+" lasts until "+all[i].EndsAt.UTC().Format(time.RFC3339))},
		}, err
	}
	// What an approval covers must be the same when it is planned again: hours, and no time of day.
	after, err := sdk.Output(map[string]any{"matchers": want, "hours": in.Hours})
	if err != nil {
		return plugins.PlanResponse{}, err
	}
	return plugins.PlanResponse{
		Outputs: json.RawMessage(`{}`), // the id is known after the apply
		Changes: []plugins.PlannedChange{{
			Action: plugins.Create, Target: target(in), After: after,
			Reason: "alerts about what is being repaired would wake somebody for nothing",
			Undo:   "amtool silence expire ID, or wait: it ends by itself",
		}},
		Summary:  fmt.Sprintf("to be silent for %d hours", in.Hours),
		Evidence: []plugins.Evidence{seen(am, plugins.Info, fmt.Sprintf("none of %d silences covers this", len(all)))},
	}, nil
}

func seen(am *alertmanager, verdict plugins.Verdict, text string) plugins.Evidence {
	return plugins.Evidence{Subject: am.base.Host, Check: "alertmanager-silences", Verdict: verdict, Text: text}
}

// target names what is acted on: a silence has no name until it is made, so it is called after the alerts.
func target(in input) plugins.Target {
	labels := url.Values{}
	for name, value := range in.Labels {
		labels.Set(name, value)
	}
	return plugins.Target{Group: "alertmanager", Version: "v2", Kind: "Silence", Name: labels.Encode()}
}

// Apply makes the silence, once for each run however often it is called.
func (s *step) Apply(ctx context.Context, req plugins.ApplyRequest, host plugins.Host) (plugins.ApplyResponse, error) {
	in, am, err := read(req.Input)
	if err != nil {
		return plugins.ApplyResponse{}, err
	}
	// Alertmanager gives out the ids, so the comment says whose silence it is: by that it is found again after a crash.
	mark := fmt.Sprintf("tkgfix run %s, step %s", req.RunID, req.StepID)
	var id string
	observe := func(ctx context.Context) (sdk.Observation, error) {
		all, err := am.list(ctx)
		if err != nil {
			return sdk.Observation{}, err
		}
		for _, have := range all {
			if have.Comment == mark && same(matchers(in.Labels), have.Matchers) {
				id = have.ID
				return sdk.Observation{State: sdk.Yes, Note: "silence " + have.ID + " is there"}, nil
			}
		}
		return sdk.Observation{State: sdk.No}, nil
	}
	act := func(ctx context.Context) error {
		now := s.env.Now().UTC()
		return am.create(ctx, silence{
			Matchers: matchers(in.Labels), StartsAt: now, EndsAt: now.Add(time.Duration(in.Hours) * time.Hour), CreatedBy: "tkgfix", Comment: mark,
		})
	}
	if err := sdk.Effect(ctx, host, plugins.EffectSpec{Key: "silence", Target: target(in)}, observe, act); err != nil {
		return plugins.ApplyResponse{}, err
	}
	if id == "" { // the journal had it as done, so nothing was observed
		if _, err := observe(ctx); err != nil {
			return plugins.ApplyResponse{}, err
		}
	}
	out, err := sdk.Output(output{Silence: id})
	return plugins.ApplyResponse{Outputs: out, Summary: "silence " + id, Evidence: []plugins.Evidence{seen(am, plugins.OK, "silence "+id+" is there")}}, err
}
