package controller

import (
	"context"
	"errors"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/state"
	kubestate "github.com/tkgfix/tkgfix/internal/state/kube"
)

// announced is a Store whose lock is taken for an attempt, which is announced while it is held and before it begins. So nobody announces one
// who cannot have it, and who dies in it leaves a Run that is not at rest.
type announced struct {
	state.Store
	announce func() error
}

// announceError says that an attempt did not begin, because it could not be announced.
type announceError struct{ error }

func (e *announceError) Unwrap() error { return e.error }

// Lock implements state.Store.
func (s announced) Lock(ctx context.Context, run string, holder state.Holder) (func() error, error) {
	release, err := s.Store.Lock(ctx, run, holder)
	if err != nil {
		return nil, err
	}
	if err := s.announce(); err != nil {
		return nil, &announceError{errors.Join(err, release())}
	}
	return release, nil
}

// announce says in the status that an attempt begins.
func (t *turn) announce(ctx context.Context) error {
	s := &t.run.Status
	s.RunID, s.Phase, s.Doing = t.id, v1alpha1.PhaseRunning, ""
	if t.r.Plan == nil {
		s.Phase = v1alpha1.PhasePlanning
	}
	conditions(t.run, progressing(string(s.Phase), "an attempt has begun"))
	return t.save(ctx)
}

// settle waits for the end of an attempt of another replica, of which the journal tells and the status does not yet. If that one died before
// it could say so and give its Lease back, this does it.
func (t *turn) settle(ctx context.Context, e *engine.Engine) (time.Duration, error) {
	if t.phase != v1alpha1.PhaseRunning && t.phase != v1alpha1.PhasePlanning {
		return 0, nil
	}
	// Only what is there already is taken: a Lease that is taken for a moment only is left behind by who dies in that.
	lease := client.ObjectKey{Namespace: t.run.Namespace, Name: kubestate.LeaseName(t.id)}
	if err := t.direct.Get(ctx, lease, &coordinationv1.Lease{}); err != nil {
		return 0, client.IgnoreNotFound(err)
	}
	release, err := e.Store.Lock(ctx, t.id, t.holder(e.Now()))
	if after, locked := t.locked(err); locked {
		return after, nil
	}
	if err != nil {
		return 0, err
	}
	return 0, release()
}
