package controller

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/plugins"
)

// maxProblems is how many diagnostics a status shows.
const maxProblems = 20

// workflows says of each Workflow whether it is valid.
type workflows struct {
	client.Client
	catalog engine.Catalog
	refused map[string]string
}

func (c *workflows) setup(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).Named("workflows").
		For(&v1alpha1.Workflow{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Complete(c)
}

// Reconcile implements reconcile.Reconciler.
func (c *workflows) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	w := &v1alpha1.Workflow{}
	if err := c.Get(ctx, req.NamespacedName, w); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	w = w.DeepCopy() // the cache's own is not to be changed
	before := w.DeepCopy()
	text, err := render(w)
	if err == nil {
		_, err = check("Workflow/"+w.Name, text, c.catalog, c.refused)
	}
	w.Status.ObservedGeneration, w.Status.Problems = w.Generation, nil
	condition := metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: "Valid", Message: "the workflow is valid", ObservedGeneration: w.Generation}
	if err != nil {
		condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, "Invalid", short(err.Error(), plugins.HintOf(err))
		w.Status.Problems = strings.Split(cut(err.Error(), maxSummary), "; ")
		w.Status.Problems = w.Status.Problems[:min(len(w.Status.Problems), maxProblems)]
	}
	meta.SetStatusCondition(&w.Status.Conditions, condition)
	condition.Type = v1alpha1.ConditionStalled
	if condition.Status == metav1.ConditionTrue {
		meta.RemoveStatusCondition(&w.Status.Conditions, condition.Type)
	} else {
		condition.Status = metav1.ConditionTrue
		meta.SetStatusCondition(&w.Status.Conditions, condition)
	}
	if equality.Semantic.DeepEqual(w.Status, before.Status) {
		return ctrl.Result{}, nil
	}
	if err := c.Status().Patch(ctx, w, client.MergeFrom(before)); client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, fmt.Errorf("write the status of Workflow %s: %w", w.Name, err)
	}
	return ctrl.Result{}, nil
}
