package controller

import (
	"context"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
)

// signals stops the attempt at a Run that is suspended or deleted. It is a controller of its own, as that of the Run is busy with the
// attempt.
type signals struct {
	client.Client
	attempts *attempts
}

func (s *signals) setup(mgr ctrl.Manager) error {
	every := false
	return ctrl.NewControllerManagedBy(mgr).Named("run-signals").
		For(&v1alpha1.Run{}).
		WithEventFilter(predicate.NewPredicateFuncs(func(o client.Object) bool { return ends(o.(*v1alpha1.Run)) })).
		WithOptions(controller.Options{NeedLeaderElection: &every}).
		Complete(s)
}

// Reconcile implements reconcile.Reconciler.
func (s *signals) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	run := &v1alpha1.Run{}
	if err := s.Get(ctx, req.NamespacedName, run); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if ends(run) {
		s.attempts.stop(v1alpha1.RunID(run))
	}
	return ctrl.Result{}, nil
}

func ends(run *v1alpha1.Run) bool { return run.Spec.Suspend || !run.DeletionTimestamp.IsZero() }
