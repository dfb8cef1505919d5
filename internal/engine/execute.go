package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.opentelemetry.io/otel/trace"

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
	// cancel ends the attempt, with the cause.
	cancel context.CancelCauseFunc
	// attemptSpan is the attempt's in the run's trace; nil if there is none.
	attemptSpan trace.Span

	// mu guards what follows and the end of the journal: plugins write effects from their own goroutines.
	mu       sync.Mutex
	run      *Run
	stopping bool
	// applying are the steps and instances that are being applied now.
	applying map[string]bool
}

// errStop ends an execution whose outcome is already in the journal.
var errStop = errors.New("stop")

func (x *execution) execute(ctx context.Context) error {
	ctx, x.cancel = context.WithCancelCause(ctx)
	defer x.cancel(nil)
	if err := x.prepare(ctx); err != nil {
		return err
	}
	if err := x.record(ctx, kindResumed, resumed{By: x.Me}); err != nil {
		return err
	}
	return x.traced(ctx, x.attempt)
}

// attempt carries the run further, from its plan on, and journals how that ends.
func (x *execution) attempt(ctx context.Context) error {
	x.plugins = x.Launch(x.run.Created.Connections, func(ctx context.Context, p Process) error { return x.record(ctx, kindProcess, p) })
	defer func() { _ = x.plugins.Close(context.WithoutCancel(ctx)) }()
	defer x.watchStop(ctx)()

	err := x.proceed(ctx)
	if errors.Is(err, errStop) {
		return nil
	}
	if err != nil {
		return x.fail(ctx, err)
	}
	return x.record(ctx, kindFinished, finished{Status: Done})
}

// prepare reads the run's workflow and proves the plugins of earlier attempts dead.
func (x *execution) prepare(ctx context.Context) error {
	w, diags := workflow.Parse(x.run.Created.File, []byte(x.run.Created.Source))
	if err := diags.Err(); err != nil {
		return fmt.Errorf("read the workflow that run %s was begun with: %w", x.run.ID, err)
	}
	// A step without an approval is no fault here: its gate waits, and --auto-approve was the way past validation. Neither are approvers
	// without signers: whose word counts is judged at the gate.
	if err := w.Validate(x.Catalog).Without(workflow.KindUnapproved, workflow.KindUnproven).Err(); err != nil {
		return fmt.Errorf("validate the workflow that run %s was begun with: %w", x.run.ID, err)
	}
	x.workflow = w
	return x.endPlugins(ctx, x.run)
}

// endPlugins proves the plugins of earlier attempts dead. One that outlived its engine may still be acting: nothing is observed
// or done before.
func (e *Engine) endPlugins(ctx context.Context, r *Run) error {
	for _, p := range r.processes {
		if err := e.End(ctx, p); err != nil {
			return fmt.Errorf("prove plugin %s (pid %d) of an earlier attempt dead: %w", p.Name, p.PID, err)
		}
	}
	return nil
}

// fail journals why the execution ends. A run that was interrupted, or whose steps failed, can be resumed.
func (x *execution) fail(ctx context.Context, cause error) error {
	end := finished{Status: Failed, Error: cause.Error(), Hint: plugins.HintOf(cause)}
	var na *plan.NotApproved
	var closed *GuardError
	switch {
	case errors.Is(cause, state.ErrConflict):
		return cause // another writer has the journal now; this one must not touch it
	case ctx.Err() != nil:
		end = finished{Status: Interrupted, Error: "interrupted"}
		cause = context.Cause(ctx)
	case errors.As(cause, &na):
		end.Status = Rejected
	case errors.As(cause, &closed):
		end.Status, end.Guard = Blocked, closed.Guard
	case x.run.Plan != nil && x.run.Plan.Blocked() && !x.run.acted():
		end.Status = Blocked
	}
	ctx = context.WithoutCancel(ctx)
	if end.Status != Interrupted {
		x.afterFailure(ctx, end)
	}
	if err := x.record(ctx, kindFinished, end); err != nil {
		return errors.Join(cause, err)
	}
	return cause
}

// proceed plans if need be, then takes the steps in order.
func (x *execution) proceed(ctx context.Context) error {
	if err := x.ensurePlan(ctx); err != nil {
		return err
	}
	p := x.snapshot()
	x.tell(Event{Kind: EventPlan, Plan: p})
	if err := p.Err(); err != nil && !x.run.acted() {
		return err
	}
	if x.PlanOnly && p.HasChanges() && !x.run.acted() {
		return x.waitAt(ctx)
	}
	b := x.builder(p, x.run.Created.Dir)
	b.Wait = true
	b.Trying = func(id string, t attempt.Try) error { return x.retried(ctx, id, t) }
	for _, id := range x.workflow.Order() {
		if err := x.step(ctx, b, id); err != nil {
			return err
		}
	}
	return nil
}

// retried journals an attempt that will be followed by another, so that a crash does not give the budget back.
func (x *execution) retried(ctx context.Context, id string, t attempt.Try) error {
	x.tell(Event{Kind: EventRetry, ID: id, Text: t.Err.Error()})
	if t.Number == 0 {
		return nil // waiting for a condition costs no budget
	}
	x.event(trace.SpanFromContext(ctx), "retry", attrStep.String(id), attrTry.Int(t.Number))
	return x.record(ctx, kindAttempt, attempted{Step: id, Number: t.Number, Error: t.Err.Error(), Next: t.Next})
}

// used returns how many attempts a step or instance has spent.
func (x *execution) used(id string) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	if p := x.run.Steps[id]; p != nil {
		return p.Attempts
	}
	return 0
}

// snapshot returns the plan as it is now, to be read while others write.
func (x *execution) snapshot() *plan.Plan {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.run.Plan.Clone()
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
