package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/attempt"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/workflow"
)

// execution is one attempt to carry a run further, under the run's lock.
type execution struct {
	*Engine
	workflow *workflow.Workflow
	plugins  Plugins

	// mu guards run and the end of the journal: plugins write effects from their own goroutines.
	mu  sync.Mutex
	run *Run
}

// errStop ends an execution whose outcome is already in the journal.
var errStop = errors.New("stop")

func (x *execution) execute(ctx context.Context) error {
	w, diags := workflow.Parse(x.run.Created.File, []byte(x.run.Created.Source))
	if err := diags.Err(); err != nil {
		return fmt.Errorf("read the workflow that run %s was begun with: %w", x.run.ID, err)
	}
	if err := w.Validate(x.Catalog).Err(); err != nil {
		return fmt.Errorf("validate the workflow that run %s was begun with: %w", x.run.ID, err)
	}
	x.workflow = w
	// A plugin that outlived its engine may still be acting: nothing is observed or done before it is proved dead.
	for _, p := range x.run.processes {
		if err := x.End(ctx, p); err != nil {
			return fmt.Errorf("prove plugin %s (pid %d) of an earlier attempt dead: %w", p.Name, p.PID, err)
		}
	}
	if err := x.record(ctx, kindResumed, resumed{By: x.Me}); err != nil {
		return err
	}
	x.plugins = x.Launch(func(ctx context.Context, p Process) error { return x.record(ctx, kindProcess, p) })
	defer func() { _ = x.plugins.Close(context.WithoutCancel(ctx)) }()

	err := x.proceed(ctx)
	if errors.Is(err, errStop) {
		return nil
	}
	if err != nil {
		return x.fail(ctx, err)
	}
	return x.record(ctx, kindFinished, finished{Status: Done})
}

// fail journals why the execution ends. A run that was interrupted, or whose steps failed, can be resumed.
func (x *execution) fail(ctx context.Context, cause error) error {
	end := finished{Status: Failed, Error: cause.Error(), Hint: plugins.HintOf(cause)}
	var na *plan.NotApproved
	switch {
	case errors.Is(cause, state.ErrConflict):
		return cause // another writer has the journal now; this one must not touch it
	case ctx.Err() != nil:
		end = finished{Status: Interrupted, Error: "interrupted"}
		cause = context.Cause(ctx)
	case errors.As(cause, &na):
		end.Status = Rejected
	case x.run.Plan != nil && x.run.Plan.Blocked() && len(x.run.Effects) == 0:
		end.Status = Blocked
	}
	if err := x.record(context.WithoutCancel(ctx), kindFinished, end); err != nil {
		return errors.Join(cause, err)
	}
	return cause
}

// proceed plans if need be, then takes the steps in order.
func (x *execution) proceed(ctx context.Context) error {
	if err := x.ensurePlan(ctx); err != nil {
		return err
	}
	x.tell(Event{Kind: EventPlan, Plan: x.run.Plan})
	if err := x.run.Plan.Err(); err != nil && len(x.run.Effects) == 0 {
		return err
	}
	b := x.builder(x.run.Plan)
	b.Wait = true
	b.Trying = func(id string, t attempt.Try) error { return x.retried(ctx, id, t) }
	for _, id := range x.workflow.Order() {
		if err := x.step(ctx, b, id); err != nil {
			return err
		}
	}
	return nil
}

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
		case !reflect.DeepEqual(head.Inputs, p.Inputs):
			why = "the content of an input file is another than when the plan was made"
		case p.Err() != nil && len(x.run.Effects) == 0:
			why = "the plan could not be carried out"
		default:
			return nil
		}
		if len(x.run.Effects) > 0 {
			return plugins.Hint(fmt.Errorf("go on with run %s: %s", x.run.ID, why),
				"it has begun to change things: resume it with tkgfix %s and the files that it was begun with", x.run.Created.Version)
		}
	}
	p, err := x.build(ctx, x.run.Created)
	if err != nil {
		return err
	}
	return x.record(ctx, kindPlanned, planned{Plan: *p, Why: why})
}

// build makes the plan of a run that was created so.
func (x *execution) build(ctx context.Context, c Created) (*plan.Plan, error) {
	p, err := x.head(c)
	if err != nil {
		return nil, err
	}
	b := x.builder(p)
	b.Trying = func(id string, t attempt.Try) error {
		x.tell(Event{Kind: EventRetry, ID: id, Text: t.Err.Error()})
		return nil
	}
	b.Began = func(id string) { x.tell(Event{Kind: EventPlanning, ID: id}) }
	b.Ended = func(s plan.Step) { x.tell(Event{Kind: EventPlanned, ID: s.ID, Step: &s}) }
	if err := b.Build(ctx, p); err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
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
	for _, s := range x.workflow.Steps {
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

func (x *execution) builder(p *plan.Plan) *plan.Builder {
	b := &plan.Builder{Workflow: x.workflow, Values: map[string]any{}, Step: x.plugins.Step, Effects: map[string]plugins.Effect{}}
	for _, in := range p.Inputs {
		b.Values[in.Name] = in.Value
	}
	for _, s := range x.workflow.Steps {
		if info, ok := x.Catalog.Step(s.Uses); ok {
			b.Effects[s.Uses] = plugins.Effect(info.Effect)
		}
	}
	return b
}

// step takes one step as far as it needs.
func (x *execution) step(ctx context.Context, b *plan.Builder, id string) error {
	s, ok := x.run.Plan.Step(id)
	if !ok {
		return fmt.Errorf("the plan has no step %q", id)
	}
	if s.Status == plan.Deferred || s.Status == plan.Failed {
		if err := x.replan(ctx, b, id, nil); err != nil {
			return err
		}
		s, _ = x.run.Plan.Step(id)
	}
	switch {
	case s.Status == plan.Failed:
		return plugins.Hint(fmt.Errorf("step %s: %s", id, s.Why), "%s", s.Hint)
	case s.Status == plan.Deferred:
		return fmt.Errorf("step %s cannot be planned: %s", id, s.Why)
	case len(s.Blocks) > 0 && !x.run.begun(id):
		return plugins.Hint(fmt.Errorf("step %s is blocked: %s", id, s.Blocks[0].Reason), "%s", s.Blocks[0].Hint)
	case s.Status != plan.Changes:
		return nil
	}
	return x.change(ctx, b, id)
}

// replan plans a step now and journals it. With approved changes that the new ones differ from, their approval is void.
func (x *execution) replan(ctx context.Context, b *plan.Builder, id string, approved []plugins.PlannedChange) error {
	x.tell(Event{Kind: EventPlanning, ID: id})
	used := 0
	if p := x.run.Steps[id]; p != nil {
		used = p.Attempts
	}
	s, err := b.PlanStep(ctx, x.run.Plan, id, used)
	if err != nil {
		return err
	}
	if s.Status == plan.Failed && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	entry := replanned{Step: s}
	if len(s.Changes) > 0 {
		g, err := b.Gate(x.run.Plan, s)
		if err != nil {
			return err
		}
		entry.Gate = &g
	}
	if approved != nil && s.Status != plan.Failed {
		entry.Moved = plan.Diff(approved, s.Changes)
	}
	if err := x.record(ctx, kindReplanned, entry); err != nil {
		return err
	}
	x.tell(Event{Kind: EventPlanned, ID: id, Step: &s})
	if len(entry.Moved) > 0 {
		x.tell(Event{Kind: EventVoided, ID: id, Moved: entry.Moved, Step: &s})
	}
	return nil
}

// change brings a changing step through its gate and applies it.
func (x *execution) change(ctx context.Context, b *plan.Builder, id string) error {
	for {
		ok, err := plan.Approve(x.run.Plan, id, x.run.Decisions)
		if x.run.begun(id) {
			if err != nil {
				return fmt.Errorf("go on with step %s, which was begun: %w", id, err)
			}
			return x.apply(ctx, ok)
		}
		var closed *plan.NotApproved
		if errors.As(err, &closed) && closed.Verdict == approval.Pending {
			if err := x.wait(ctx, closed.Gate); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if err := x.replan(ctx, b, id, ok.Changes()); err != nil {
			return err
		}
		s, _ := x.run.Plan.Step(id)
		switch g, _ := x.run.Plan.Gate(id); {
		case s.Status == plan.Failed:
			return plugins.Hint(fmt.Errorf("step %s: plan again before acting: %s", id, s.Why), "%s", s.Hint)
		case len(s.Blocks) > 0:
			return plugins.Hint(fmt.Errorf("step %s is blocked: %s", id, s.Blocks[0].Reason), "%s", s.Blocks[0].Hint)
		case s.Status != plan.Changes:
			return nil // what was to be changed has come about by itself
		case g.Digest != ok.Digest():
			continue // the gate shows something else now
		}
		if err := x.record(ctx, kindStarted, started{Step: id, Digest: ok.Digest(), By: ok.By()}); err != nil {
			return err
		}
		return x.apply(ctx, ok)
	}
}

// wait asks a person, or ends the execution with the gate waiting.
func (x *execution) wait(ctx context.Context, g plan.Gate) error {
	if x.Ask != nil {
		s, _ := x.run.Plan.Step(g.Step)
		d, asked, err := x.Ask(ctx, g, *s)
		if err != nil {
			return fmt.Errorf("ask at gate %s: %w", g.Step, err)
		}
		if asked {
			if err := approval.Check(d, g.Digest); err != nil {
				return err
			}
			return x.record(ctx, kindDecided, d)
		}
	}
	var names []string
	for _, g := range x.run.PendingGates() {
		names = append(names, g.Step)
	}
	if err := x.record(ctx, kindWaiting, waiting{Gates: names}); err != nil {
		return err
	}
	return errStop
}

// apply lets a step do what was approved.
func (x *execution) apply(ctx context.Context, ok plan.Approved) error {
	s := ok.Step()
	impl, err := x.plugins.Step(ctx, s.Uses)
	if err != nil {
		return fmt.Errorf("start step %s: %w", s.ID, err)
	}
	i := slices.IndexFunc(x.workflow.Steps, func(w workflow.Step) bool { return w.ID == s.ID })
	policy := plan.StepPolicy(&x.workflow.Steps[i])
	if p := x.run.Steps[s.ID]; p != nil {
		policy.Used = p.Attempts
	}
	x.tell(Event{Kind: EventApplying, ID: s.ID, Step: &s})
	req := plugins.ApplyRequest{
		RunID: x.run.ID, StepID: s.ID, Input: s.Input, Changes: ok.Changes(),
		Connections: plan.Allowed(x.run.Plan.Connections, impl.Describe()),
	}
	var resp plugins.ApplyResponse
	err = attempt.Do(ctx, policy, func(t attempt.Try) error { return x.retried(ctx, s.ID, t) },
		func(ctx context.Context) (err error) {
			resp, err = impl.Apply(ctx, req, &host{x: x, ok: ok})
			return err
		})
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		entry := failed{Step: s.ID, Kind: plugins.KindOf(err), Error: err.Error(), Hint: plugins.HintOf(err)}
		if rerr := x.record(ctx, kindFailed, entry); rerr != nil {
			return errors.Join(err, rerr)
		}
		x.tell(Event{Kind: EventFailed, ID: s.ID, Text: err.Error()})
		return fmt.Errorf("step %s: %w", s.ID, err)
	}
	if !json.Valid(resp.Outputs) {
		resp.Outputs = nil
	}
	if err := x.record(ctx, kindApplied, applied{Step: s.ID, Outputs: resp.Outputs, Summary: resp.Summary, Evidence: resp.Evidence}); err != nil {
		return err
	}
	x.tell(Event{Kind: EventApplied, ID: s.ID, Text: resp.Summary})
	return nil
}

// retried journals an attempt that will be followed by another, so that a crash does not give the budget back.
func (x *execution) retried(ctx context.Context, id string, t attempt.Try) error {
	x.tell(Event{Kind: EventRetry, ID: id, Text: t.Err.Error()})
	if t.Number == 0 {
		return nil // waiting for a condition costs no budget
	}
	return x.record(ctx, kindAttempt, attempted{Step: id, Number: t.Number, Error: t.Err.Error(), Next: t.Next})
}

// record appends an entry at the expected end of the journal and folds it into the run.
func (x *execution) record(ctx context.Context, kind string, data any) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	d, err := x.draft(kind, data)
	if err != nil {
		return err
	}
	seq, err := x.Store.Append(ctx, x.run.ID, x.run.Seq+1, d)
	if err != nil {
		return fmt.Errorf("journal %s: %w", kind, err)
	}
	return x.run.fold(folds(), state.Entry{Seq: seq, Time: d.Time, Kind: kind, Data: d.Data})
}
