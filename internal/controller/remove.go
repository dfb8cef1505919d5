package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/state"
)

// remove lets a deleted Run go, with its journal, when no replica works on it and nothing that it began is in flight.
func (c *runs) remove(ctx context.Context, run *v1alpha1.Run) (ctrl.Result, error) {
	if !controllerutil.ContainsFinalizer(run, v1alpha1.Finalizer) {
		return ctrl.Result{}, nil
	}
	id := v1alpha1.RunID(run)
	e := c.engine(run)
	r, err := e.Load(ctx, id)
	switch {
	case errors.Is(err, state.ErrNotFound):
		return ctrl.Result{}, c.release(ctx, run)
	case err != nil:
		return ctrl.Result{}, err
	}
	unlock, err := e.Store.Lock(ctx, id, c.holder(e.Now()))
	if _, locked := errors.AsType[*state.LockedError](err); locked {
		return ctrl.Result{RequeueAfter: c.opts.Lease / 2}, nil
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	defer func() { _ = unlock() }()
	if open := r.OpenEffects(); len(open) > 0 {
		c.say(run, warning, "InFlight", fmt.Sprintf("nobody knows what became of %s: look, then let the Run go: "+
			"kubectl patch run %s -n %s --type merge -p '{\"metadata\":{\"finalizers\":null}}'", open[0], run.Name, run.Namespace))
		return ctrl.Result{}, nil
	}
	_ = c.files.Remove(run.Namespace, id) // what is left goes with the replica
	return ctrl.Result{}, c.release(ctx, run)
}

func (c *runs) release(ctx context.Context, run *v1alpha1.Run) error {
	controllerutil.RemoveFinalizer(run, v1alpha1.Finalizer)
	if err := c.direct.Update(ctx, run); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("let Run %s go: %w", run.Name, err)
	}
	return nil
}

// holder is this replica as it holds a run for which it makes no attempt.
func (c *runs) holder(now time.Time) state.Holder {
	return state.Holder{User: "controller", Host: c.opts.Host, PID: c.opts.PID, Since: now}
}
