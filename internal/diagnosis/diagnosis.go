// Package diagnosis finds out why the pods of a cluster cannot pull, with the steps of a workflow that is part of tkgfix and only
// reads.
//
// It goes the way of a plan, and no run is made of it. Unlike a plan it does not end with the first step that fails: what the others
// saw is judged, and what could not be seen is said beside it.
package diagnosis

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/workflow"
)

// file is the name of the embedded workflow in diagnostics.
const file = "diagnose.yaml"

//go:embed diagnose.yaml
var source []byte

// Looks is the checked workflow. It is safe for use by several goroutines.
type Looks struct {
	workflow *workflow.Workflow
	effects  map[string]plugins.Effect
	// connects tells the steps that wait for others from those that only think.
	connects map[string]bool
}

// New checks the workflow against the steps that there are. The error says that one of them does more than read, or does not fit.
func New(known workflow.Schemas) (*Looks, error) {
	return check(source, known)
}

func check(src []byte, known workflow.Schemas) (*Looks, error) {
	w, diags := workflow.Check(file, src, known)
	if err := diags.Err(); err != nil {
		return nil, fmt.Errorf("check the workflow of a diagnosis: %w", err)
	}
	l := &Looks{workflow: w, effects: map[string]plugins.Effect{}, connects: map[string]bool{}}
	for i := range w.Steps {
		s := &w.Steps[i]
		info, _ := known.Step(s.Uses)
		if w.Effect(s, info.Effect) != string(plugins.Read) {
			return nil, fmt.Errorf("%s: step %s does not only read, and a diagnosis changes nothing", s.Pos, s.ID)
		}
		l.effects[s.Uses] = plugins.Read
		l.connects[s.ID] = len(info.Connections) > 0
	}
	return l, nil
}

// Request asks for the diagnosis of one cluster.
type Request struct {
	// Cluster is namespace/name.
	Cluster string
	// Registry is host[:port]; that of the failing pods if it is empty.
	Registry string
	// CA is the absolute path of a PEM file of certificates to try; none if it is empty.
	CA          string
	Connections plugins.Connections
	// Timeout bounds all looks at the cluster together. What was seen until then is judged.
	Timeout time.Duration
	// Step finds the step that a uses: names, ready to be called.
	Step func(ctx context.Context, uses string) (plugins.Step, error)
	// Began, if set, is told as a look begins, by the step's id.
	Began func(id string)
}

// Diagnose takes the looks one after the other and concludes. It blocks until then. The error is ctx's: what a look could not see, or
// not within the timeout, is in the Diagnosis.
func (l *Looks) Diagnose(ctx context.Context, req Request) (Diagnosis, error) {
	values, err := l.workflow.BindInputs(map[string]string{"cluster": req.Cluster, "registry": req.Registry, "ca": req.CA})
	if err != nil {
		return Diagnosis{}, err
	}
	b := plan.Builder{Workflow: l.workflow, Values: values, Step: req.Step, Effects: l.effects}
	p := &plan.Plan{Workflow: l.workflow.Name, Connections: req.Connections}
	within, cancel := context.WithTimeoutCause(ctx, req.Timeout, plugins.Hint(fmt.Errorf("not done within %s", req.Timeout),
		"give it more time: tkgfix diagnose %s --timeout %s", req.Cluster, 2*req.Timeout))
	defer cancel()
	for _, id := range l.workflow.Order() {
		looking := ctx
		if l.connects[id] {
			looking = within
		}
		if req.Began != nil && looking.Err() == nil {
			b.Began = func(plan.Step) { req.Began(id) }
		}
		s, err := l.look(looking, &b, p, id)
		if ctx.Err() != nil {
			return Diagnosis{}, context.Cause(ctx)
		}
		if err != nil {
			lose(&s, err)
		}
		p.Steps = append(p.Steps, s)
	}
	return conclude(req, p), nil
}

// look takes one look. An error is not the step's: its plugin could not be asked at all.
func (l *Looks) look(ctx context.Context, b *plan.Builder, p *plan.Plan, id string) (plan.Step, error) {
	if ctx.Err() != nil {
		ws := l.workflow.Step(id)
		return plan.Step{ID: id, Uses: ws.Uses, Effect: plugins.Read}, context.Cause(ctx)
	}
	s, err := b.PlanStep(ctx, p, id, nil)
	if err != nil && ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)) {
		err = context.Cause(ctx)
	}
	return s, err
}

// lose makes of a look that could not be taken one that failed, so that the others are judged without it.
func lose(s *plan.Step, err error) {
	s.ForEach, s.Strategy.MaxFailures = true, 1
	s.Instances = []plan.Step{{
		ID: plan.InstanceID(s.ID, 0), Uses: s.Uses, Effect: s.Effect, Status: plan.Failed, Why: err.Error(), Hint: plugins.HintOf(err),
	}}
	s.Gather()
}
