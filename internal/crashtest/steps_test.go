package crashtest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

const lampWorkflow = `apiVersion: tkgfix.dev/v1alpha1
kind: Workflow
metadata: {name: lamp}
spec:
  inputs:
    server: {type: string, description: where the lamp is}
  steps:
    - id: look
      uses: look
      with: {server: "${{ inputs.server }}"}
    - id: turn
      uses: turn
      if: "${{ !steps.look.lit }}"
      with: {server: "${{ inputs.server }}"}
      approval: {message: "turns the lamp on"}
    - id: swap
      uses: swap
      needs: [turn]
      with: {server: "${{ inputs.server }}"}
      approval: {message: "throws the bulb away and puts another in"}
    - id: check
      uses: look
      needs: [swap]
      with: {server: "${{ inputs.server }}"}
`

// thing is an object of the server of these tests.
type thing struct {
	UID    string `json:"uid"`
	Name   string `json:"name"`
	Serial string `json:"serial"`
	Lit    bool   `json:"lit"`
	// Run says which run made it.
	Run string `json:"run,omitempty"`
}

var (
	lamp    = plugins.Target{Kind: "Lamp", Name: "desk"}
	schema  = json.RawMessage(`{"type":"object","properties":{"server":{"type":"string"}}}`)
	outputs = json.RawMessage(`{"type":"object","properties":{"lit":{"type":"boolean"},"bulb":{"type":"string"}}}`)
)

func description(name string, effect plugins.Effect) plugins.Description {
	return plugins.Description{Name: name, Version: "1.0.0", Summary: name + "s", Effect: effect, Input: schema, Output: outputs}
}

// call asks the server; false if there is no such object.
func call(ctx context.Context, input json.RawMessage, method, path string, body any) (thing, bool, error) {
	var t thing
	in, err := sdk.Input[struct{ Server string }](input)
	if err != nil {
		return t, false, err
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return t, false, err
	}
	req, err := http.NewRequestWithContext(ctx, method, in.Server+path, bytes.NewReader(raw))
	if err != nil {
		return t, false, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return t, false, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	switch {
	case err != nil:
		return t, false, err
	case resp.StatusCode == http.StatusNotFound:
		return t, false, nil
	case resp.StatusCode != http.StatusOK:
		return t, false, fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	return t, true, json.Unmarshal(answer, &t)
}

type look struct{}

func (look) Describe() plugins.Description { return description("look", plugins.Read) }

func (look) Plan(ctx context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	t, _, err := call(ctx, req.Input, http.MethodGet, "/lamps/desk", nil)
	if err != nil {
		return plugins.PlanResponse{}, err
	}
	out, err := json.Marshal(map[string]any{"lit": t.Lit})
	return plugins.PlanResponse{Outputs: out, Evidence: []plugins.Evidence{{Subject: "desk", Check: "lit", Verdict: plugins.Info, Text: string(out)}}}, err
}

func (look) Apply(context.Context, plugins.ApplyRequest, plugins.Host) (plugins.ApplyResponse, error) {
	return plugins.ApplyResponse{}, fmt.Errorf("a reading step was applied")
}

type turn struct{}

func (turn) Describe() plugins.Description { return description("turn", plugins.Change) }

func (turn) Plan(ctx context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	t, _, err := call(ctx, req.Input, http.MethodGet, "/lamps/desk", nil)
	if err != nil || t.Lit {
		return plugins.PlanResponse{Outputs: json.RawMessage(`{"lit":true}`)}, err
	}
	target := lamp
	target.UID = t.UID
	return plugins.PlanResponse{Outputs: json.RawMessage(`{"lit":true}`), Changes: []plugins.PlannedChange{{
		Action: plugins.Update, Target: target, Reason: "it is dark",
		Preconditions: []plugins.Precondition{{Target: target, Field: "serial", Value: t.Serial}},
	}}}, nil
}

func (turn) Apply(ctx context.Context, req plugins.ApplyRequest, host plugins.Host) (plugins.ApplyResponse, error) {
	err := sdk.Effect(ctx, host, plugins.EffectSpec{Key: "turn", Target: req.Changes[0].Target},
		func(ctx context.Context) (sdk.Observation, error) {
			t, _, err := call(ctx, req.Input, http.MethodGet, "/lamps/desk", nil)
			if t.Lit {
				return sdk.Observation{State: sdk.Yes, Note: "it is lit"}, err
			}
			return sdk.Observation{State: sdk.No}, err
		},
		func(ctx context.Context) error {
			_, _, err := call(ctx, req.Input, http.MethodPatch, "/lamps/desk", thing{Lit: true})
			return err
		})
	return plugins.ApplyResponse{Outputs: json.RawMessage(`{"lit":true}`), Summary: "lit"}, err
}

type swap struct{}

func (swap) Describe() plugins.Description { return description("swap", plugins.Destroy) }

func (swap) Plan(ctx context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	old, there, err := call(ctx, req.Input, http.MethodGet, "/bulbs/desk", nil)
	if err != nil {
		return plugins.PlanResponse{}, err
	}
	target := plugins.Target{Kind: "Bulb", Name: "desk", UID: old.UID}
	if !there || old.Run != "" {
		return plugins.PlanResponse{}, nil
	}
	made := target
	made.UID = ""
	return plugins.PlanResponse{Changes: []plugins.PlannedChange{
		{Action: plugins.Delete, Target: target, Reason: "it is old", Preconditions: []plugins.Precondition{{Target: target, Field: "metadata.uid", Value: old.UID}}},
		{Action: plugins.Create, Target: made, Reason: "a lamp needs one"},
	}}, nil
}

func (swap) Apply(ctx context.Context, req plugins.ApplyRequest, host plugins.Host) (plugins.ApplyResponse, error) {
	old := req.Changes[0].Target
	see := func(yes func(thing, bool) bool) func(context.Context) (sdk.Observation, error) {
		return func(ctx context.Context) (sdk.Observation, error) {
			t, there, err := call(ctx, req.Input, http.MethodGet, "/bulbs/desk", nil)
			if yes(t, there) {
				return sdk.Observation{State: sdk.Yes, Note: "seen"}, err
			}
			return sdk.Observation{State: sdk.No}, err
		}
	}
	err := sdk.Effect(ctx, host, plugins.EffectSpec{Key: "throw", Target: old},
		see(func(t thing, there bool) bool { return !there || t.UID != old.UID }),
		func(ctx context.Context) error {
			_, _, err := call(ctx, req.Input, http.MethodDelete, "/bulbs/desk?uid="+old.UID, nil)
			return err
		})
	if err != nil {
		return plugins.ApplyResponse{}, err
	}
	err = sdk.Effect(ctx, host, plugins.EffectSpec{Key: "put", Target: req.Changes[1].Target},
		see(func(t thing, there bool) bool { return there && t.Run == req.RunID }),
		func(ctx context.Context) error {
			_, _, err := call(ctx, req.Input, http.MethodPost, "/bulbs/desk", thing{Run: req.RunID})
			return err
		})
	return plugins.ApplyResponse{Outputs: json.RawMessage(`{"bulb":"new"}`), Summary: "swapped"}, err
}
