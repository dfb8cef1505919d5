package plugintest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tkgfix/tkgfix/plugins"
)

// promptly is how soon a Plan whose context has ended must return. A good one needs a millisecond; the rest is for a busy machine.
const promptly = 5 * time.Second

// unknownKey is a key that no step knows.
const unknownKey = "plugintestUnknown"

// sample returns the first sample, or one made from the schema.
func (s *schemas) sample(cases Cases) Sample {
	for _, name := range slices.Sorted(maps.Keys(cases.Samples)) {
		return cases.Samples[name]
	}
	object := map[string]any{}
	for _, name := range s.input.Required {
		object[name] = valueOf(s.input.Properties[name])
	}
	raw, _ := json.Marshal(object) // holds only what valueOf made
	return Sample{Reason: "made from the schema", Input: raw}
}

// refusalProblems says which wrong inputs the step takes.
func refusalProblems(ctx context.Context, step plugins.Step, s *schemas, base Sample) []string {
	wrong := map[string]any{unknownKey: true}
	for name, property := range s.input.Properties {
		if v, ok := wrongFor(property); ok {
			wrong[name] = v
		}
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(wrong)) {
		input, err := with(base.Input, name, wrong[name])
		if err != nil {
			return append(out, fmt.Sprintf("sample input: %v", err))
		}
		wrongly := base
		wrongly.Input = input
		_, err = step.Plan(ctx, s.planRequest(wrongly))
		out = append(out, refusal("plan", name, input, err)...)
		if s.effect(base) == plugins.Read {
			continue
		}
		host := &Host{}
		req := s.applyRequest(wrongly, nil)
		_, err = step.Apply(ctx, req, host)
		out = append(out, refusal("apply", name, input, err)...)
		if calls := host.Calls(); len(calls) > 0 {
			out = append(out, fmt.Sprintf("apply touched its host before it refused %s: %+v", input, calls))
		}
	}
	return out
}

func refusal(method, key string, input json.RawMessage, err error) []string {
	switch {
	case err == nil:
		return []string{fmt.Sprintf("%s takes %s, where %s is wrong", method, input, key)}
	case !strings.Contains(err.Error(), key):
		return []string{fmt.Sprintf("%s refuses %s without naming %s: %v", method, input, key, err)}
	default:
		return nil
	}
}

// cancelProblems says whether Plan goes on although its context has ended.
func cancelProblems(ctx context.Context, step plugins.Step, s *schemas, base Sample) []string {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	answered := make(chan error, 1)
	go func() {
		_, err := step.Plan(ctx, s.planRequest(base))
		answered <- err
	}()
	timer := time.NewTimer(promptly)
	defer timer.Stop()
	select {
	case err := <-answered:
		// A step that needs no connection may well be done before it looks at its context.
		if err == nil && len(step.Describe().Connections) > 0 {
			return []string{"plan succeeds with a context that has ended"}
		}
		return nil
	case <-timer.C:
		return []string{fmt.Sprintf("plan has not returned %s after its context ended", promptly)}
	}
}

// planProblems says what is wrong with the plan of a sample.
func planProblems(ctx context.Context, step plugins.Step, s *schemas, sample Sample) (plugins.PlanResponse, []string) {
	if err := validate(s.input, sample.Input); err != nil {
		return plugins.PlanResponse{}, []string{fmt.Sprintf("sample input is not valid: %v", err)}
	}
	req := s.planRequest(sample)
	resp, err := step.Plan(ctx, req)
	if err != nil {
		return resp, []string{fmt.Sprintf("plan: %v (hint: %q)", err, plugins.HintOf(err))}
	}
	again, err := step.Plan(ctx, req)
	if err != nil {
		return resp, []string{fmt.Sprintf("plan again: %v", err)}
	}
	var out []string
	if diff := cmp.Diff(resp.Changes, again.Changes); diff != "" {
		out = append(out, "changes differ when planned again, so no approval would hold (-first, +second):\n"+diff)
	}
	effect := s.effect(sample)
	schema := s.output
	if effect != plugins.Read {
		schema = s.partial
	}
	if err := validate(schema, resp.Outputs); err != nil {
		out = append(out, fmt.Sprintf("outputs are not valid: %v\n%s", err, resp.Outputs))
	}
	if effect == plugins.Read && len(resp.Changes) > 0 {
		out = append(out, fmt.Sprintf("the step only reads, and plans %d changes", len(resp.Changes)))
	}
	for i, c := range resp.Changes {
		for _, p := range changeProblems(c, effect, s.description.Effect == plugins.Declared) {
			out = append(out, fmt.Sprintf("change %d, %s %s: %s", i, c.Action, c.Target, p))
		}
	}
	for i, e := range resp.Evidence {
		for _, p := range evidenceProblems(e) {
			out = append(out, fmt.Sprintf("evidence %d of %s: %s", i, e.Subject, p))
		}
	}
	for i, b := range resp.Blocks {
		if b.Reason == "" {
			out = append(out, fmt.Sprintf("block %d has no reason", i))
		}
	}
	return resp, out
}

// changeProblems says what is wrong with one change of a step whose effect is effect. A step that leaves its effect to the workflow does
// not know what it changes: After says what it would run, whatever the action, and there is no Before.
func changeProblems(c plugins.PlannedChange, effect plugins.Effect, declared bool) []string {
	var out []string
	check := func(ok bool, problem string) {
		if !ok {
			out = append(out, problem)
		}
	}
	var wantBefore, wantAfter bool
	switch c.Action {
	case plugins.Create:
		wantAfter = true
	case plugins.Update, plugins.Replace:
		wantBefore, wantAfter = true, true
	case plugins.Delete:
		wantBefore = true
	default:
		out = append(out, "action is unknown")
	}
	if declared {
		wantBefore, wantAfter = false, true
	}
	check((len(c.Before) > 0) == wantBefore, "before is given if and only if there is something before")
	check((len(c.After) > 0) == wantAfter, "after is given if and only if there is something after")
	check(len(c.Before) == 0 || json.Valid(c.Before), "before is not JSON")
	check(len(c.After) == 0 || json.Valid(c.After), "after is not JSON")
	check(c.Target.Kind != "" && c.Target.Name != "", "target has no kind or no name")
	check(c.Reason != "", "has no reason")
	check(c.Undo != "" || len(c.Lost) > 0, "says neither how to undo it nor what is lost")
	check(c.Action != plugins.Delete || effect == plugins.Destroy, "deletes, and the step's effect is not destroy")
	for _, p := range c.Preconditions {
		check(p.Field != "" && p.Value != "", "has a precondition without a field or a value")
		check(!strings.Contains(p.Field, "resourceVersion"), "has a precondition on resourceVersion, which moves by itself")
	}
	return out
}

func evidenceProblems(e plugins.Evidence) []string {
	var out []string
	if !slices.Contains([]plugins.Verdict{plugins.OK, plugins.Bad, plugins.Info}, e.Verdict) {
		out = append(out, fmt.Sprintf("verdict %q is unknown", e.Verdict))
	}
	if !kebabCase.MatchString(e.Check) {
		out = append(out, fmt.Sprintf("check %q is not in kebab-case", e.Check))
	}
	if e.Subject == "" || e.Text == "" {
		out = append(out, "has no subject or no text")
	}
	const most = 64 << 10
	if len(e.Data) > most || (len(e.Data) > 0 && !json.Valid(e.Data)) {
		out = append(out, fmt.Sprintf("data of %d bytes is more than %d or not JSON", len(e.Data), most))
	}
	return out
}

func validate(s *jsonschema.Schema, raw json.RawMessage) error {
	if len(raw) == 0 {
		return errors.New("there are none")
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	return s.Validate(v)
}

// with returns the object with one more key, or another value for it.
func with(raw json.RawMessage, key string, value any) (json.RawMessage, error) {
	object := map[string]json.RawMessage{}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &object); err != nil {
			return nil, err
		}
	}
	v, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	object[key] = v
	return json.Marshal(object)
}

// valueOf makes a value of the schema's type.
func valueOf(s *jsonschema.Schema) any {
	switch kind(s) {
	case "string":
		return "namespace/name"
	case "boolean":
		return false
	case "integer", "number":
		return 1
	case "array":
		return []any{}
	default:
		return map[string]any{}
	}
}

// wrongFor makes a value that is not of the schema's type; there is none for a schema that says no single type.
func wrongFor(s *jsonschema.Schema) (any, bool) {
	switch kind(s) {
	case "":
		return nil, false
	case "string":
		return 42, true
	default:
		return "a string", true
	}
}

func kind(s *jsonschema.Schema) string {
	for s != nil && s.Types == nil && s.Ref != nil {
		s = s.Ref
	}
	if s == nil || s.Types == nil {
		return ""
	}
	if types := s.Types.ToStrings(); len(types) == 1 {
		return types[0]
	}
	return ""
}
