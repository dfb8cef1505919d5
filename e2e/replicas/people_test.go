//go:build replicas

package replicas

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
)

// as returns a client of a person.
func as(t *testing.T, user string) client.Client {
	t.Helper()
	config, err := management.As(user, user+"-token")
	must(t, err)
	c, err := client.New(config, client.Options{Scheme: scheme})
	must(t, err)
	return c
}

// ask has alice ask for a Run that deletes a relic.
func ask(t *testing.T, alice client.Client, namespace, relic string) *v1alpha1.Run {
	t.Helper()
	r := &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: relic}}
	r.Spec.Requester, r.Spec.Workflow = "alice", &v1alpha1.WorkflowReference{Name: "raze"}
	r.Spec.Inputs = map[string]string{"relic": relic}
	r.Spec.Connections = &v1alpha1.Connections{Supervisor: &v1alpha1.SupervisorConnection{
		SecretRef: &v1alpha1.KeyReference{Name: "supervisor", Key: "kubeconfig"},
	}}
	must(t, alice.Create(t.Context(), r))
	return r
}

// approver is bob, who approves what is shown to him, once.
type approver struct {
	client.Client
	approved map[string]bool
}

func newApprover(t *testing.T) *approver {
	t.Helper()
	// Nobody's word counts before the policies have been in force for a while.
	must(t, wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, settle, true, func(context.Context) (bool, error) {
		return time.Since(inForce) > settle, nil
	}))
	return &approver{Client: as(t, "bob"), approved: map[string]bool{}}
}

// look looks at all Runs of a namespace, approves the gates that wait, and returns the Runs.
func (a *approver) look(ctx context.Context, namespace string) ([]v1alpha1.Run, error) {
	var list v1alpha1.RunList
	if err := a.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	for _, r := range list.Items {
		for _, g := range r.Status.Gates {
			key := r.Status.RunID + g.Digest
			if r.Status.Phase != v1alpha1.PhaseWaiting || a.approved[key] {
				continue
			}
			o := &v1alpha1.Approval{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: r.Name + "-"}}
			o.Spec = v1alpha1.ApprovalSpec{Run: r.Status.RunID, Gate: g.Name, Digest: g.Digest, Decision: v1alpha1.DecisionApprove, Approver: "bob"}
			if err := a.Create(ctx, o); err != nil {
				return nil, err
			}
			a.approved[key] = true
		}
	}
	return list.Items, nil
}

// over says whether all Runs are done. One that will not be is an error.
func over(all []v1alpha1.Run) (bool, error) {
	for _, r := range all {
		switch r.Status.Phase {
		case v1alpha1.PhaseFailed, v1alpha1.PhaseBlocked, v1alpha1.PhaseRejected, v1alpha1.PhaseSuspended:
			return false, fmt.Errorf("Run %s is %s: %s", r.Name, r.Status.Phase, r.Status.Error)
		}
	}
	for _, r := range all {
		if r.Status.Phase != v1alpha1.PhaseDone {
			return false, nil
		}
	}
	return true, nil
}

// unfinished returns what is shown of some of the Runs that are not done, for the message of a test that waited in vain.
func unfinished(all []v1alpha1.Run) string {
	const most = 5
	var out string
	n := 0
	for _, r := range all {
		if r.Status.Phase == v1alpha1.PhaseDone {
			continue
		}
		if n++; n <= most {
			status, err := json.Marshal(r.Status)
			out += fmt.Sprintf("%s: %s %v\n", r.Name, status, err)
		}
	}
	return fmt.Sprintf("%d Runs\n%s", n, out)
}
