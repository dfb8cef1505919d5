package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/workflow"
)

// afterFailure takes the workflow's onFailure steps. What goes wrong in them is journalled and told, and changes nothing about how
// the run ended.
func (x *execution) afterFailure(ctx context.Context, end finished) {
	x.mu.Lock()
	turn := x.run.failures + 1
	failure := map[string]string{"run": x.run.ID, "step": x.run.failedStep, "error": end.Error, "status": string(end.Status)}
	x.mu.Unlock()
	for i := range x.workflow.OnFailure {
		ws := &x.workflow.OnFailure[i]
		// The number keeps apart what is told of one failure from what is told of the next, after a resume.
		id := fmt.Sprintf("%s#%d", ws.ID, turn)
		if err := x.failureStep(ctx, ws, id, failure); err != nil {
			x.tell(Event{Kind: EventFailed, ID: id, Text: err.Error()})
		}
	}
}

func (x *execution) failureStep(ctx context.Context, ws *workflow.Step, id string, failure map[string]string) error {
	head, err := x.head(x.run.Created)
	if err != nil {
		return err
	}
	b := x.builder(head, x.run.Created.Dir)
	s, err := b.PlanFailure(ctx, head, ws, id, failure)
	if err != nil {
		return err
	}
	switch {
	case s.Status == plan.Failed:
		err := plugins.Hint(fmt.Errorf("step %s: %s", id, s.Why), "%s", s.Hint)
		return errors.Join(err, x.record(ctx, kindFailed, failed{Step: id, Kind: plugins.KindFailed, Error: s.Why, Hint: s.Hint}))
	case s.Status == plan.Done:
		return x.record(ctx, kindApplied, applied{Step: id, Outputs: s.Outputs, Summary: s.Summary, Evidence: s.Evidence})
	case s.Status != plan.Changes:
		return nil
	}
	ok, err := plan.Announce(&s)
	if err != nil {
		return err
	}
	if err := x.record(ctx, kindStarted, started{Step: id}); err != nil {
		return err
	}
	return x.apply(ctx, ws.ID, ok)
}

// find returns the workflow's step of that id, an onFailure one included.
func (x *execution) find(id string) *workflow.Step {
	if s := x.workflow.Step(id); s != nil {
		return s
	}
	for i := range x.workflow.OnFailure {
		if x.workflow.OnFailure[i].ID == id {
			return &x.workflow.OnFailure[i]
		}
	}
	return nil
}
