package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/tkgfix/tkgfix/internal/attempt"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/plugins"
)

// ensurePlan plans a run that has no plan, or whose plan no longer stands on the same ground: another tkgfix, an input
// file with other content, or a plan that was blocked and may not be any more.
func (x *execution) ensurePlan(ctx context.Context) error {
	why := ""
	if p := x.run.Plan; p != nil {
		head, err := x.head(x.run.Created)
		if err != nil {
			return err
		}
		switch {
		case !reflect.DeepEqual(head.Plugins, p.Plugins):
			why = "tkgfix or a plugin is another than when the plan was made"
		case !reflect.DeepEqual(head.AllowedSigners, p.AllowedSigners):
			why = "the allowed signers are others than when the plan was made"
		case !sameInputs(head.Inputs, p.Inputs):
			why = "the content of an input file is another than when the plan was made"
		case p.Err() != nil && !x.run.acted():
			why = "the plan could not be carried out"
		default:
			return nil
		}
		if x.run.acted() {
			return plugins.Hint(fmt.Errorf("go on with run %s: %s", x.run.ID, why),
				"it has begun to change things: resume it with tkgfix %s and the files that it was begun with", x.run.Created.Version)
		}
	}
	if why != "" {
		x.tell(Event{Kind: EventAnew, Text: why})
	}
	p, err := x.build(ctx, x.run.Created)
	if err != nil {
		return err
	}
	return x.record(ctx, kindPlanned, planned{Plan: *p, Why: why})
}

// build makes the plan of a run that was created so.
func (x *execution) build(ctx context.Context, c Created) (p *plan.Plan, err error) {
	ctx, span := x.span(ctx, "plan")
	defer func() { x.end(span, err) }()
	p, err = x.head(c)
	if err != nil {
		return nil, err
	}
	b := x.builder(p, c.Dir)
	b.Trying = func(id string, t attempt.Try) error {
		x.tell(Event{Kind: EventRetry, ID: id, Text: t.Err.Error()})
		return nil
	}
	b.Began = func(s plan.Step) { x.tell(planning(&s)) }
	b.Ended = func(s plan.Step) { x.tell(Event{Kind: EventPlanned, ID: s.ID, Step: &s}) }
	if err := b.Build(ctx, p); err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	p.Guards = b.Guards(p, x.Now())
	return p, nil
}

// head returns a plan without steps: the ground that it stands on.
func (x *execution) head(c Created) (*plan.Plan, error) {
	sum := sha256.Sum256([]byte(c.Source))
	p := &plan.Plan{
		Format: plan.Format, Workflow: x.workflow.Name, WorkflowSHA256: hex.EncodeToString(sum[:]),
		Inputs: slices.Clone(c.Inputs), Connections: c.Connections, Steps: []plan.Step{}, Gates: []plan.Gate{},
	}
	for i := range p.Inputs {
		path, ok := p.Inputs[i].Value.(string)
		if p.Inputs[i].SHA256 == "" || !ok {
			continue
		}
		digest, err := x.File(path)
		if err != nil {
			return nil, fmt.Errorf("read input %s: %w", p.Inputs[i].Name, err)
		}
		p.Inputs[i].SHA256 = digest
	}
	if c.AllowedSigners != "" {
		digest, err := x.File(c.AllowedSigners)
		if err != nil {
			return nil, fmt.Errorf("read the allowed signers: %w", err)
		}
		p.AllowedSigners = &plan.Input{Name: "allowedSigners", Value: c.AllowedSigners, SHA256: digest}
	}
	for _, s := range slices.Concat(x.workflow.Steps, x.workflow.OnFailure) {
		pl, err := x.Catalog.Plugin(s.Uses)
		if err != nil {
			return nil, fmt.Errorf("identify the plugin of step %s: %w", s.ID, err)
		}
		if !slices.Contains(p.Plugins, pl) {
			p.Plugins = append(p.Plugins, pl)
		}
	}
	slices.SortFunc(p.Plugins, func(a, b plan.Plugin) int { return strings.Compare(a.Name, b.Name) })
	return p, nil
}

func (x *execution) builder(p *plan.Plan, dir string) *plan.Builder {
	b := &plan.Builder{Workflow: x.workflow, Dir: dir, Values: map[string]any{}, Step: x.plugins.Step, Effects: map[string]plugins.Effect{}, Around: x.planSpan}
	for _, in := range p.Inputs {
		b.Values[in.Name] = in.Value
	}
	for _, s := range slices.Concat(x.workflow.Steps, x.workflow.OnFailure) {
		if info, ok := x.Catalog.Step(s.Uses); ok {
			b.Effects[s.Uses] = plugins.Effect(info.Effect)
		}
	}
	return b
}

// sameInputs compares inputs by what they are written as: numbers that went through the journal are of another Go type.
func sameInputs(a, b []plan.Input) bool {
	left, err := plan.Canonical(a)
	right, err2 := plan.Canonical(b)
	return err == nil && err2 == nil && bytes.Equal(left, right)
}

// planning tells that a step or instance is being looked at; Text says what an instance is about.
func planning(s *plan.Step) Event {
	e := Event{Kind: EventPlanning, ID: s.ID}
	if len(s.Item) > 0 {
		e.Text = s.About()
	}
	return e
}
