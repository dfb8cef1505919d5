package controller_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
)

// TestJudgedIsShown holds that a Run no longer looks as if it waited once the Approval is judged for which it did: a replica that dies then
// must leave a Run that draws another, as the Approval will not.
func TestJudgedIsShown(t *testing.T) {
	t.Parallel()
	ns := team(t)
	workflowOf(t, ns, "lamp", lampSpec(ns, ", required: 1, approvers: [bob]"))
	run := until(t, runOf(t, ns, "desk", "lamp", nil), v1alpha1.PhaseWaiting)
	list := &v1alpha1.ApprovalList{}
	w, err := watching.Watch(t.Context(), list, client.InNamespace(ns))
	must(t, err)
	defer w.Stop()
	approve(t, run, "bob", nil)
	for e := range w.ResultChan() {
		a, ok := e.Object.(*v1alpha1.Approval)
		if !ok || meta.FindStatusCondition(a.Status.Conditions, v1alpha1.ConditionAccepted) == nil {
			continue
		}
		must(t, admin.Get(t.Context(), client.ObjectKeyFromObject(run), run))
		if run.Status.Phase == v1alpha1.PhaseWaiting || len(run.Status.Gates) > 0 {
			t.Errorf("the Approval is judged and the Run is %s, with gates %v", run.Status.Phase, run.Status.Gates)
		}
		until(t, run, v1alpha1.PhaseDone)
		return
	}
	t.Fatal("the watch ended")
}
