package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tkgfix/tkgfix/internal/attempt"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/plugins"
)

// apply lets a step or instance do what was approved. id is the workflow's step.
func (x *execution) apply(ctx context.Context, id string, ok plan.Approved) (err error) {
	s := ok.Step()
	ctx, span := x.span(ctx, "apply step", attrStep.String(s.ID), attrUses.String(s.Uses))
	defer func() { x.end(span, err) }()
	impl, err := x.plugins.Step(ctx, s.Uses)
	if err != nil {
		return fmt.Errorf("start step %s: %w", s.ID, err)
	}
	ws := x.find(id)
	if ws == nil {
		return fmt.Errorf("the workflow has no step %q", id)
	}
	policy := plan.StepPolicy(ws)
	policy.Used = x.used(s.ID)
	x.tell(Event{Kind: EventApplying, ID: s.ID, Step: &s})
	req := plugins.ApplyRequest{
		RunID: x.run.ID, StepID: s.ID, Effect: s.Effect, Input: s.Input, Changes: s.Changes,
		Connections: s.Connections(x.run.Created.Connections, impl.Describe()),
	}
	defer x.begin(s.ID)()
	var resp plugins.ApplyResponse
	err = attempt.Do(ctx, policy, func(t attempt.Try) error { return x.retried(ctx, s.ID, t) },
		func(ctx context.Context) (err error) {
			resp, err = impl.Apply(ctx, req, &host{x: x, ok: ok, span: span})
			return err
		})
	if err != nil {
		return x.applyFailed(ctx, s.ID, err)
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

func (x *execution) applyFailed(ctx context.Context, id string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if open := x.openEffects(); plugins.KindOf(err) == plugins.KindUnknowable && len(open) > 0 {
		err = plugins.Hint(err, "%s", unknowable(x.run.ID, plugins.HintOf(err), open))
	}
	entry := failed{Step: id, Kind: plugins.KindOf(err), Error: err.Error(), Hint: plugins.HintOf(err)}
	if rerr := x.record(ctx, kindFailed, entry); rerr != nil {
		return errors.Join(err, rerr)
	}
	x.tell(Event{Kind: EventFailed, ID: id, Text: err.Error()})
	return &stepError{fmt.Errorf("step %s: %w", id, err)}
}

// unknowable returns what to do about effects of which nobody can tell whether they happened.
func unknowable(run, check string, open []string) string {
	if check != "" {
		check += "; then "
	}
	return fmt.Sprintf("%ssay what happened: tkgfix resolve %s %s done|absent, then: tkgfix resume %s", check, run, open[0], run)
}
