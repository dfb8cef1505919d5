package controller

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/controller/approvals"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/plugins"
)

// judged says whether it is said of an Approval whether it counts.
func judged(a *v1alpha1.Approval) bool {
	return meta.FindStatusCondition(a.Status.Conditions, v1alpha1.ConditionAccepted) != nil
}

// decide hands the Approvals that nobody has judged to the run, in the order in which they were made.
func (t *turn) decide(ctx context.Context, e *engine.Engine) (time.Duration, error) {
	slices.SortFunc(t.undecided, func(a, b v1alpha1.Approval) int {
		return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
	})
	if len(t.undecided) == 0 || !t.r.Final() && t.r.Plan == nil {
		return 0, nil // they are judged when there is a plan
	}
	verdicts := make([]error, len(t.undecided))
	for i := range t.undecided {
		a := &t.undecided[i]
		err := t.decideOne(ctx, e, a)
		if after, locked := t.locked(err); locked {
			return after, nil
		}
		if retry(err) {
			return 0, fmt.Errorf("judge Approval %s: %w", a.Name, err)
		}
		verdicts[i] = err
	}
	// The Run says first what has become of it: an Approval that is judged draws no replica to a Run that looks as if it were at rest.
	if err := t.showDecided(ctx); err != nil {
		return 0, err
	}
	for i, err := range verdicts {
		if err := t.accept(ctx, &t.undecided[i], err); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// showDecided says in the status which gates are open now, and whether the run goes on.
func (t *turn) showDecided(ctx context.Context) error {
	s, goesOn := &t.run.Status, t.due()
	t.account(s)
	if goesOn {
		s.Phase = v1alpha1.PhaseRunning
	}
	conditions(t.run, verdict(t.run, t.r, t.trouble))
	return t.save(ctx)
}

// decideOne hands one Approval to the run. One that the journal holds already is taken for handed over: the replica that did it died
// before it could say so.
func (t *turn) decideOne(ctx context.Context, e *engine.Engine, a *v1alpha1.Approval) error {
	ref := approvals.Ref(a)
	if slices.ContainsFunc(t.r.Decisions, func(d approval.Decision) bool { return d.Ref == ref }) {
		return nil
	}
	if t.r.Final() {
		return fmt.Errorf("run %s ended %s: %w", t.id, t.r.Status, engine.ErrFinal)
	}
	by, err := t.judge.Who(ctx, a)
	if err != nil {
		return err
	}
	r, err := e.Decide(ctx, t.id, approvals.Decision(a, by))
	if r != nil {
		t.r = r
	}
	return err
}

// retry says whether an error says nothing about the Approval itself.
func retry(err error) bool {
	switch {
	case err == nil, errors.Is(err, approval.ErrNotCounted):
		return false
	case errors.Is(err, state.ErrConflict), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return true
	}
	answered := apierrors.ReasonForError(err) != metav1.StatusReasonUnknown
	_, unreached := errors.AsType[net.Error](err)
	return answered || unreached
}

// accept writes into an Approval whether it counts, and why not.
func (t *turn) accept(ctx context.Context, a *v1alpha1.Approval, err error) error {
	before := a.DeepCopy()
	condition := metav1.Condition{
		Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionTrue, Reason: "Counts", Message: a.Spec.Approver + " decided: " + a.Spec.Decision,
		ObservedGeneration: a.Generation, LastTransitionTime: metav1.NewTime(t.opts.Engine.Now()),
	}
	if err != nil {
		condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, because(err), short(err.Error(), hint(t.run.Namespace, plugins.HintOf(err)))
	}
	meta.SetStatusCondition(&a.Status.Conditions, condition)
	if perr := t.direct.Status().Patch(ctx, a, client.MergeFrom(before)); client.IgnoreNotFound(perr) != nil {
		return fmt.Errorf("write the status of Approval %s: %w", a.Name, perr)
	}
	t.counts.Judged(judgement(a, err))
	if err != nil {
		t.say(t.run, warning, "ApprovalRefused", fmt.Sprintf("Approval %s does not count: %s", a.Name, err))
		return nil
	}
	t.say(t.run, normal, "Decided", fmt.Sprintf("gate %s: %s by %s", a.Spec.Gate, a.Spec.Decision, a.Spec.Approver))
	return nil
}

// because names in one word why an Approval does not count.
func because(err error) string {
	for reason, is := range map[string]error{
		"Digest": approval.ErrDigest, "Expired": approval.ErrExpired, "Requester": approval.ErrRequester, "Approver": approval.ErrApprover,
		"Unsigned": approval.ErrUnsigned, "Twice": approval.ErrTwice, "RunOver": engine.ErrFinal,
	} {
		if errors.Is(err, is) {
			return reason
		}
	}
	return "NotProven"
}
