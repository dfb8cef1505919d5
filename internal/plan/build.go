package plan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/attempt"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/workflow"
)

// Builder plans the steps of a workflow.
type Builder struct {
	Workflow *workflow.Workflow
	// Values are the inputs as expressions see them.
	Values map[string]any
	// Step finds the step that a uses: names, ready to be called.
	Step func(ctx context.Context, uses string) (plugins.Step, error)
	// Effects tells each used step's effect.
	Effects map[string]plugins.Effect
	// Began and Ended, if set, are told as a step is asked, and as it is planned.
	Began func(Step)
	Ended func(Step)
	// Around, if set, is called before a step or instance is asked. The step is asked with the context that it returns, and when that is
	// planned the function that it returns is called.
	Around func(context.Context, *Step) (context.Context, func())
	// Trying, if set, is told of each attempt that will be followed by another; an error ends the attempts.
	Trying func(id string, t attempt.Try) error
	// Dir is the folder in which relative paths of steps begin.
	Dir string
	// Wait says that a condition that is not yet true is waited for. While a plan is made it is not: it is said, and looked at
	// again when the run gets there.
	Wait bool
}

// Build plans all steps in order into p, which holds everything but steps and gates. It blocks while the reading steps
// read. The error is ctx's or an internal one: what a step could not do is in the plan.
func (b *Builder) Build(ctx context.Context, p *Plan) error {
	for _, id := range b.Workflow.Order() {
		s, err := b.PlanStep(ctx, p, id, nil)
		if err != nil {
			return err
		}
		if s.Status == Failed && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		p.Steps = append(p.Steps, s)
		g, err := b.Gate(p, s)
		if err != nil {
			return err
		}
		if g != nil {
			p.Gates = append(p.Gates, *g)
		}
	}
	return nil
}

// Gate returns the gate that a step's changes need; nil if they need none.
func (b *Builder) Gate(p *Plan, s Step) (*Gate, error) {
	if len(s.PlannedChanges()) == 0 || s.Effect == plugins.Announce {
		return nil, nil
	}
	digest, err := p.Digest(s)
	if err != nil {
		return nil, err
	}
	ws := b.Workflow.Step(s.ID)
	message, err := b.Workflow.EvalMessage(ws, b.scope(p))
	if err != nil {
		return nil, fmt.Errorf("approval message of step %s: %w", s.ID, err)
	}
	policy := approval.Policy{Required: 1, Requester: true, Signed: p.AllowedSigners != nil}
	if a := ws.Approval; a != nil {
		policy.Required, policy.Requester, policy.Approvers, policy.ExpiresAfter = a.Required, a.Requester, a.Approvers, a.ExpiresAfter
	}
	return &Gate{Step: s.ID, Effect: s.Effect, Message: message, Digest: digest, Policy: policy}, nil
}

// PlanStep plans one step on the ground of those that p holds already. used says how many attempts were spent before on the step
// or instance of an id; nil means none.
func (b *Builder) PlanStep(ctx context.Context, p *Plan, id string, used func(id string) int) (Step, error) {
	t := b.take(p, b.Workflow.Step(id), used)
	s := Step{ID: id, Uses: t.ws.Uses, Effect: b.effect(t.ws)}
	var err error
	switch {
	case !b.ready(p, t.ws, &s):
	case t.ws.ForEach.IsZero():
		err = b.one(ctx, t, &s)
	default:
		err = b.each(ctx, t, &s)
	}
	if err == nil && b.Ended != nil {
		b.Ended(s)
	}
	return s, err
}

// effect returns what the step does: what its plugin says, or what the workflow declares when that leaves it open.
func (b *Builder) effect(ws *workflow.Step) plugins.Effect {
	if e := b.Effects[ws.Uses]; e != plugins.Declared {
		return e
	}
	return plugins.Effect(ws.Effect)
}

// one plans a step that is taken once, or one instance.
func (b *Builder) one(ctx context.Context, t take, s *Step) error {
	if !b.prepare(t, s) {
		return nil
	}
	if b.Began != nil {
		b.Began(*s)
	}
	if b.Around != nil {
		around, end := b.Around(ctx, s)
		defer end()
		ctx = around
	}
	impl, err := b.Step(ctx, t.ws.Uses)
	if err != nil {
		return fmt.Errorf("start step %s: %w", s.ID, err)
	}
	return b.ask(ctx, t, impl, s)
}

// ready says whether what the step stands on is there; if not, the step is settled.
func (b *Builder) ready(p *Plan, ws *workflow.Step, s *Step) bool {
	for _, need := range ws.Needs {
		dep, ok := p.Step(need)
		if !ok {
			return s.settle(Deferred, "step "+need+" comes first")
		}
		switch {
		case dep.Status == Skipped && (ws.References[need] || ws.Its[need]):
			return s.settle(Skipped, "uses what step "+need+" finds, which was skipped")
		case dep.Status == Failed && !ws.NeedsAll(need) && len(dep.Instances) > 0:
			// Too many of its items failed for the plan to be carried out. What it found for the others is still worth a look.
		case dep.Status == Failed:
			return s.settle(Deferred, "step "+need+" failed")
		case dep.Status == Deferred:
			return s.settle(Deferred, dep.Why)
		}
	}
	// What a reading step would see now is not what it will see once the changes before it are made.
	if s.Effect == plugins.Read {
		if id, pending := b.pending(p, ws); pending {
			return s.settle(Deferred, "known after "+id)
		}
	}
	return true
}

// prepare settles what can be settled without calling the step, and says whether the step must be called.
func (b *Builder) prepare(t take, s *Step) bool {
	yes, err := b.Workflow.EvalIf(t.ws, t.scope)
	if err != nil {
		return s.unknown("if", err)
	}
	if !yes {
		return s.settle(Skipped, "if: is false")
	}
	if s.Input, err = b.Workflow.EvalWith(t.ws, t.scope); err != nil {
		return s.unknown("with", err)
	}
	other, err := b.Workflow.EvalSupervisor(t.ws, t.scope)
	if err != nil {
		return s.unknown("supervisor", err)
	}
	s.Supervisor = b.supervisor(t.conns.Supervisor, other)
	return true
}

func (s *Step) settle(status Status, why string) bool {
	s.Status, s.Why = status, why
	return false
}

func (s *Step) unknown(where string, err error) bool {
	if u, ok := errors.AsType[*workflow.UnknownError](err); ok {
		return s.settle(Deferred, "known after "+u.Step)
	}
	return s.settle(Failed, fmt.Sprintf("evaluate %s: %v", where, err))
}

// pending returns a step with unmade changes that comes before ws, however far.
func (b *Builder) pending(p *Plan, ws *workflow.Step) (string, bool) {
	seen := map[string]bool{}
	todo := slices.Clone(ws.Needs)
	for len(todo) > 0 {
		id := todo[0]
		todo = todo[1:]
		if seen[id] {
			continue
		}
		seen[id] = true
		if dep, ok := p.Step(id); ok && dep.Status == Changes && dep.Effect != plugins.Announce {
			return id, true
		}
		todo = append(todo, b.Workflow.Step(id).Needs...)
	}
	return "", false
}

func (b *Builder) ask(ctx context.Context, t take, impl plugins.Step, s *Step) error {
	req := plugins.PlanRequest{StepID: s.ID, Effect: s.Effect, Input: s.Input, Connections: s.Connections(t.conns, impl.Describe())}
	var resp plugins.PlanResponse
	policy := StepPolicy(t.ws)
	policy.Used = t.used(s.ID)
	if !b.Wait {
		policy.Poll = 0
	}
	err := attempt.Do(ctx, policy, func(try attempt.Try) error {
		if b.Trying == nil {
			return nil
		}
		return b.Trying(s.ID, try)
	}, func(ctx context.Context) (err error) {
		resp, err = impl.Plan(ctx, req)
		return err
	})
	switch {
	case err != nil && plugins.KindOf(err) == plugins.KindNotYet && !b.Wait:
		s.settle(Deferred, err.Error())
		return nil
	case err != nil:
		s.settle(Failed, err.Error())
		s.Hint = plugins.HintOf(err)
		return nil
	}
	return s.take(resp)
}

// take copies a plugin's answer, which is as hostile as any input.
func (s *Step) take(r plugins.PlanResponse) error {
	s.Outputs, s.Summary, s.Changes = r.Outputs, r.Summary, r.Changes
	s.Blocks, s.Warnings, s.Evidence = r.Blocks, r.Warnings, r.Evidence
	if len(s.Outputs) == 0 {
		s.Outputs = json.RawMessage("{}")
	}
	var object map[string]any
	if err := json.Unmarshal(s.Outputs, &object); err != nil {
		return fmt.Errorf("step %s (%s) answered with outputs that are no JSON object: %w", s.ID, s.Uses, err)
	}
	switch {
	case s.Effect == plugins.Read && len(s.Changes) > 0:
		return fmt.Errorf("step %s (%s) says that it only reads, and plans %d changes", s.ID, s.Uses, len(s.Changes))
	case s.Effect == plugins.Read:
		s.Status = Done
	case len(s.Changes) > 0:
		s.Status = Changes
	default:
		s.Status = Unchanged
	}
	return nil
}

// supervisor returns the Supervisor that a step names, nil when that is the plan's. A context belongs to a kubeconfig: with another kubeconfig
// it is that one's current context if the step names none.
func (b *Builder) supervisor(own *plugins.Kube, named *workflow.Supervisor) *plugins.Kube {
	if named == nil {
		return nil
	}
	out := plugins.Kube{Kubeconfig: named.Kubeconfig, Context: named.Context}
	switch {
	case out.Kubeconfig == "" && own != nil:
		out.Kubeconfig = own.Kubeconfig
	case out.Kubeconfig != "" && !filepath.IsAbs(out.Kubeconfig):
		out.Kubeconfig = filepath.Join(b.Dir, out.Kubeconfig)
	}
	if own != nil && out == *own {
		return nil
	}
	return &out
}

// Connections returns those that the step or instance is given: of c, with its own Supervisor in the place of c's, what d asks for.
func (s *Step) Connections(c plugins.Connections, d plugins.Description) plugins.Connections {
	if s.Supervisor != nil {
		c.Supervisor = s.Supervisor
	}
	return allowed(c, d)
}

// allowed returns those of c that d asks for.
func allowed(c plugins.Connections, d plugins.Description) plugins.Connections {
	var out plugins.Connections
	if slices.Contains(d.Connections, plugins.ConnSupervisor) {
		out.Supervisor = c.Supervisor
	}
	if slices.Contains(d.Connections, plugins.ConnNodes) {
		out.Nodes = c.Nodes
	}
	return out
}

// scope is what expressions see: the inputs and the outputs that are known.
func (b *Builder) scope(p *Plan) workflow.Scope {
	steps := map[string]any{}
	for _, s := range p.Steps {
		if len(s.Outputs) == 0 {
			continue
		}
		steps[s.ID] = s.Outputs
	}
	return workflow.Scope{Inputs: b.Values, Steps: steps}
}

// StepPolicy returns the timeout and the retries of a workflow's step.
func StepPolicy(ws *workflow.Step) attempt.Policy {
	return attempt.Policy{
		Timeout: ws.Timeout, Attempts: ws.Retry.Attempts, Constant: ws.Retry.Backoff == "constant",
		Initial: ws.Retry.Initial, Max: ws.Retry.Max, Jitter: ws.Retry.Jitter, Poll: PollInterval,
	}
}

// PollInterval is the pause between two looks at a condition that is being waited for.
const PollInterval = 2 * time.Second
