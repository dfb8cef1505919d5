package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/plugins"
)

// step takes one step as far as it needs.
func (x *execution) step(ctx context.Context, b *plan.Builder, id string) error {
	s, err := x.planned(id)
	if err != nil {
		return err
	}
	// A reading step whose look stopped an earlier attempt looks again: what stood in the way may be gone.
	if s.Status == plan.Deferred || s.Status == plan.Failed || s.Status != plan.Changes && blocked(s) != nil {
		if err := x.planAgain(ctx, b, id); err != nil {
			return err
		}
		if s, err = x.planned(id); err != nil {
			return err
		}
	}
	if err := unplannable(s); err != nil {
		return err
	}
	if s.Status != plan.Changes {
		return blocked(s)
	}
	return x.change(ctx, b, id)
}

// blocked returns the reason why nothing that comes after a step may be done; nil if there is none. Before a run has acted the whole plan is
// asked; of what is known only then, such as the second look of a workflow, this is the one place that asks.
func blocked(s *plan.Step) error {
	blocks := s.AllBlocks()
	if len(blocks) == 0 {
		return nil
	}
	return plugins.Hint(fmt.Errorf("step %s is blocked: %s", s.ID, blocks[0].Reason), "%s", blocks[0].Hint)
}

// unplannable returns why a step's plan cannot be carried out; nil if it can.
func unplannable(s *plan.Step) error {
	switch s.Status {
	case plan.Failed:
		return plugins.Hint(fmt.Errorf("step %s: %s", s.ID, s.Why), "%s", s.Hint)
	case plan.Deferred:
		return fmt.Errorf("step %s cannot be planned: %s", s.ID, s.Why)
	}
	return nil
}

// planned returns the step or instance as it is planned now.
func (x *execution) planned(id string) (*plan.Step, error) {
	s, ok := x.snapshot().Step(id)
	if !ok {
		return nil, fmt.Errorf("the plan has no step %q", id)
	}
	return s, nil
}

// planAgain plans a whole step now and journals it.
func (x *execution) planAgain(ctx context.Context, b *plan.Builder, id string) error {
	x.tell(Event{Kind: EventPlanning, ID: id})
	p := x.snapshot()
	s, err := b.PlanStep(ctx, p, id, x.used)
	if err != nil {
		return err
	}
	if s.Status == plan.Failed && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	entry := replanned{Step: s}
	if entry.Gate, err = b.Gate(p, s); err != nil {
		return err
	}
	if err := x.record(ctx, kindReplanned, entry); err != nil {
		return err
	}
	x.tell(Event{Kind: EventPlanned, ID: id, Step: &s})
	return nil
}

// change brings a changing step through its gate and applies it, instance by instance.
func (x *execution) change(ctx context.Context, b *plan.Builder, id string) error {
	t := &taking{execution: x, b: b, id: id, failed: map[string]error{}}
	for {
		// What was begun is finished first, with the approval that it was begun with.
		if err := t.finishBegun(ctx); err != nil {
			return err
		}
		s, err := x.planned(id)
		if err != nil {
			return err
		}
		if s.Status != plan.Changes {
			return unplannable(s) // done, or what was to be changed has come about by itself
		}
		ok, err := x.open(ctx, id)
		var closed *plan.NotApproved
		if errors.As(err, &closed) && closed.Outcome.Verdict == approval.Pending {
			if err := x.wait(ctx, closed.Gate); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		moved, err := t.approved(ctx, ok)
		if err != nil {
			return err
		}
		if len(moved) == 0 {
			return nil
		}
		// The gate shows something else now.
		if err := x.void(ctx, b, id, moved); err != nil {
			return err
		}
	}
}

// open returns what of a step is approved.
func (x *execution) open(ctx context.Context, id string) (plan.Approved, error) {
	p := x.snapshot()
	s, ok := p.Step(id)
	if !ok {
		return plan.Approved{}, fmt.Errorf("the plan has no step %q", id)
	}
	if err := blocked(s); err != nil {
		return plan.Approved{}, err
	}
	if s.Effect == plugins.Announce {
		return plan.Announce(s)
	}
	j, err := x.judgement(ctx, false)
	if err != nil {
		return plan.Approved{}, err
	}
	return plan.Approve(p, id, j)
}

// judgement is the ground on which gates are judged now. Who decided is found out again: nothing that only the journal says counts. A
// decision that does not count any more where it stands is journalled as withdrawn, so that another may be given. What was begun is
// finished with the decisions that it was begun with: begun takes those that stand elsewhere from the journal.
func (x *execution) judgement(ctx context.Context, begun bool) (plan.Judgement, error) {
	x.mu.Lock()
	j := x.run.judgement(x.Now())
	r := x.run
	x.mu.Unlock()
	var count []approval.Decision
	for _, d := range j.Decisions {
		if begun && d.Ref != "" {
			count = append(count, d)
			continue
		}
		by, err := x.identify(ctx, r, d)
		if err == nil && by == d.By {
			count = append(count, d)
		}
		if d.Ref == "" {
			continue
		}
		if err == nil && by != d.By {
			err = fmt.Errorf("%w: it is %s's and not %s's", approval.ErrNotCounted, by.Name, d.By.Name)
		}
		switch {
		case errors.Is(err, approval.ErrNotCounted):
			err = x.record(ctx, kindWithdrawn, withdrawn{Ref: d.Ref, Why: err.Error()})
		case err != nil:
			err = fmt.Errorf("verify again who decided on gate %s: %w", d.Gate, err)
		}
		if err != nil {
			return j, err
		}
	}
	j.Decisions = count
	return j, nil
}

// instance plans one approved instance again and applies it if its ground stands; else it returns its new plan.
func (x *execution) instance(ctx context.Context, b *plan.Builder, id string, ok plan.Approved) (*replanned, error) {
	if ok.Step().Effect != plugins.Announce {
		if err := x.guard(b); err != nil {
			return nil, err
		}
	}
	now, err := x.look(ctx, b, id, ok)
	if err != nil || now != nil {
		return now, err
	}
	if err := x.record(ctx, kindStarted, started{Step: ok.Step().ID, Digest: ok.Digest(), By: ok.By()}); err != nil {
		return nil, err
	}
	return nil, x.apply(ctx, id, ok)
}

// look plans an approved instance again. It returns the new plan if it differs from what was approved.
func (x *execution) look(ctx context.Context, b *plan.Builder, id string, ok plan.Approved) (*replanned, error) {
	was := ok.Step()
	x.tell(planning(&was))
	p := x.snapshot()
	entry := replanned{}
	var err error
	if was.ID == id {
		entry.Step, err = b.PlanStep(ctx, p, id, x.used)
	} else {
		entry.Of = id
		entry.Step, err = b.PlanInstance(ctx, p, id, was.ID, x.used)
	}
	switch {
	case err != nil:
		return nil, err
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case entry.Step.Status == plan.Failed:
		err := plugins.Hint(fmt.Errorf("plan again before acting: %s", entry.Step.Why), "%s", entry.Step.Hint)
		return nil, x.applyFailed(ctx, was.ID, err)
	}
	before, err := p.Digest(was)
	if err != nil {
		return nil, err
	}
	after, err := p.Digest(entry.Step)
	if err != nil {
		return nil, err
	}
	if before != after || len(entry.Step.AllBlocks()) > 0 {
		entry.Moved = plan.Moved(was, entry.Step)
		return &entry, nil
	}
	return nil, nil
}

// void journals new plans of instances, and with them the gate that shows them: what was approved of the old ones is void.
func (x *execution) void(ctx context.Context, b *plan.Builder, id string, moved []replanned) error {
	for _, entry := range moved {
		p := x.snapshot()
		s, ok := p.Step(entry.Step.ID)
		if !ok {
			return fmt.Errorf("the plan has no step %q", entry.Step.ID)
		}
		*s = entry.Step
		whole, _ := p.Step(id)
		whole.Gather()
		var err error
		if entry.Gate, err = b.Gate(p, *whole); err != nil {
			return err
		}
		if err := x.record(ctx, kindReplanned, entry); err != nil {
			return err
		}
		x.tell(Event{Kind: EventPlanned, ID: entry.Step.ID, Step: &entry.Step})
		if len(entry.Moved) > 0 {
			x.tell(Event{Kind: EventVoided, ID: entry.Step.ID, Moved: entry.Moved, Step: &entry.Step})
		}
	}
	return nil
}

// wait asks a person, or ends the execution with the gate waiting.
func (x *execution) wait(ctx context.Context, g plan.Gate) error {
	x.event(x.attemptSpan, "gate", attrGates.StringSlice([]string{g.Step}))
	d, asked, err := x.ask(ctx, g)
	if err != nil {
		return fmt.Errorf("ask at gate %s: %w", g.Step, err)
	}
	if asked {
		return x.decide(ctx, g, d)
	}
	return x.waitAt(ctx)
}

// waitAt ends the execution with the gates that are pending.
func (x *execution) waitAt(ctx context.Context) error {
	x.mu.Lock()
	var names []string
	for _, g := range x.run.PendingGates(x.Now()) {
		names = append(names, g.Step)
	}
	x.mu.Unlock()
	x.event(x.attemptSpan, "waiting", attrGates.StringSlice(names))
	if err := x.record(ctx, kindWaiting, waiting{Gates: names}); err != nil {
		return err
	}
	return errStop
}

// ask returns the approval that was given ahead, or that of the person at the terminal, if there is one whose word may count.
func (x *execution) ask(ctx context.Context, g plan.Gate) (approval.Decision, bool, error) {
	own := approval.Decision{Gate: g.Step, Digest: g.Digest, Approved: true, By: x.Me.Identity, At: x.Now()}
	x.mu.Lock()
	refused := x.run.gate(g).Check(own, x.run.Decisions, own.At)
	x.mu.Unlock()
	if refused != nil {
		return approval.Decision{}, false, nil
	}
	if x.AutoApprove == plugins.Destroy || x.AutoApprove == plugins.Change && g.Effect == plugins.Change {
		own.Auto, own.Reason = true, "--auto-approve"
		return own, true, nil
	}
	if x.Ask == nil {
		return approval.Decision{}, false, nil
	}
	s, err := x.planned(g.Step)
	if err != nil {
		return approval.Decision{}, false, err
	}
	return x.Ask(ctx, g, *s)
}

// decide journals a decision that was just given.
func (x *execution) decide(ctx context.Context, g plan.Gate, d approval.Decision) error {
	x.mu.Lock()
	err := x.run.gate(g).Check(d, x.run.Decisions, x.Now())
	x.mu.Unlock()
	if err != nil {
		return err
	}
	x.event(x.attemptSpan, "decided", attrGates.StringSlice([]string{g.Step}))
	return x.record(ctx, kindDecided, d)
}
