package main

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// step is look or raze.
type step struct{ name string }

var _ plugins.Step = (*step)(nil)

const (
	inputSchema = `{
  "type": "object", "additionalProperties": false, "required": ["namespace", "relic"],
  "properties": {
    "namespace": {"type": "string", "description": "where it is"},
    "relic": {"type": "string", "description": "its name"}
  }
}`
	outputSchema = `{
  "type": "object", "required": ["there"],
  "properties": {"there": {"type": "boolean", "description": "whether it is there"}}
}`
)

type input struct {
	Namespace string `json:"namespace"`
	Relic     string `json:"relic"`
}

type output struct {
	There bool `json:"there"`
}

// Describe implements plugins.Step.
func (s *step) Describe() plugins.Description {
	d := plugins.Description{
		Name: s.name, Version: "1.0.0", Summary: "Looks at a relic.", Effect: plugins.Read,
		Input: json.RawMessage(inputSchema), Output: json.RawMessage(outputSchema), Connections: []string{plugins.ConnSupervisor},
	}
	if s.name == "raze" {
		d.Summary, d.Effect = "Deletes a relic.", plugins.Destroy
	}
	return d
}

func open(raw json.RawMessage, conns plugins.Connections) (*relics, error) {
	in, err := sdk.Input[input](raw)
	if err != nil {
		return nil, err
	}
	if conns.Supervisor == nil {
		return nil, errors.New("there is no Supervisor")
	}
	return dial(*conns.Supervisor, in)
}

// Plan implements plugins.Step.
func (s *step) Plan(ctx context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	r, err := open(req.Input, req.Connections)
	if err != nil {
		return plugins.PlanResponse{}, err
	}
	seen, err := r.get(ctx)
	if err != nil {
		return plugins.PlanResponse{}, err
	}
	if s.name != "raze" || seen == nil {
		out, err := sdk.Output(output{There: seen != nil})
		return plugins.PlanResponse{Outputs: out}, err
	}
	out, err := sdk.Output(output{})
	return plugins.PlanResponse{Outputs: out, Changes: []plugins.PlannedChange{{
		Action: plugins.Delete, Target: r.target(seen.Metadata.UID), Reason: "it is to go", Lost: []string{"the relic"},
	}}}, err
}

// Apply implements plugins.Step: it deletes the relic that was approved, waits until that is gone, and knows it from another of its name.
func (s *step) Apply(ctx context.Context, req plugins.ApplyRequest, host plugins.Host) (plugins.ApplyResponse, error) {
	r, err := open(req.Input, req.Connections)
	if err != nil {
		return plugins.ApplyResponse{}, err
	}
	if len(req.Changes) != 1 {
		return plugins.ApplyResponse{}, errors.New("one change was planned")
	}
	uid := req.Changes[0].Target.UID
	observe := func(ctx context.Context) (sdk.Observation, error) {
		switch seen, err := r.get(ctx); {
		case err != nil:
			return sdk.Observation{}, err
		case seen == nil || seen.Metadata.UID != uid:
			return sdk.Observation{State: sdk.Yes, Note: "it is gone"}, nil
		case seen.Metadata.DeletionTimestamp != "":
			return sdk.Observation{State: sdk.Underway, Note: "it is being deleted"}, nil
		}
		return sdk.Observation{State: sdk.No}, nil
	}
	spec := plugins.EffectSpec{Key: "delete", Target: r.target(uid)}
	if err := sdk.Effect(ctx, host, spec, observe, func(ctx context.Context) error { return r.delete(ctx, uid) }); err != nil {
		return plugins.ApplyResponse{}, err
	}
	out, err := sdk.Output(output{})
	return plugins.ApplyResponse{Outputs: out, Summary: "it is gone"}, err
}
