package controller

import (
	"errors"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/metrics"
	"github.com/tkgfix/tkgfix/internal/state"
)

// outcome returns what an attempt is counted as. r is the run as it left it; it may be nil.
func outcome(r *engine.Run, err error, planOnly bool) metrics.Outcome {
	if _, locked := errors.AsType[*state.LockedError](err); locked {
		return metrics.Locked
	}
	switch {
	case errors.Is(err, state.ErrConflict):
		return metrics.Fenced
	case r == nil:
		return metrics.Errored
	case r.Status == engine.Waiting && planOnly:
		return metrics.Planned
	}
	switch r.Status {
	case engine.Waiting:
		return metrics.Waiting
	case engine.Done:
		return metrics.Done
	case engine.Failed:
		return metrics.Failed
	case engine.Blocked:
		return metrics.Blocked
	case engine.Rejected:
		return metrics.Rejected
	case engine.Interrupted:
		return metrics.Interrupted
	}
	return metrics.Errored // it could not even be journalled how it ended
}

// judgement returns what an Approval is counted as that does not count if err is not nil.
func judgement(a *v1alpha1.Approval, err error) metrics.Judgement {
	switch {
	case err != nil:
		return metrics.Refused
	case a.Spec.Decision == v1alpha1.DecisionApprove:
		return metrics.Approved
	}
	return metrics.Declined
}
