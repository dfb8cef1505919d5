//go:build gitops

package gitops

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
)

// TestEngine shows that what the other tests stand on is there: a commit is applied as who it should be, an edit is, and what is removed
// from the repository is taken away.
func TestEngine(t *testing.T) {
	t.Parallel()
	const namespace = "engine"
	create(t, &corev1.Namespace{ObjectMeta: named("", namespace)})
	user := account(t, namespace, "gitops-runs", reads(), rule("tkgfix.dev", "workflows runs", "create update patch delete"))
	h := newHost(t, map[string][]string{"runs.git": {rita}})
	repository := h.clone(t, "runs.git", rita)
	repository.commit(t, "begin", map[string]string{"team-a/workflow.yaml": engineWorkflow})
	agent(t, namespace, "gitops-runs", h.pull(t, "runs.git"), "team-a")

	workflow := &v1alpha1.Workflow{ObjectMeta: named(namespace, "look")}
	wantThere(t, workflow, func() bool { return true })
	run := &v1alpha1.Run{ObjectMeta: named(namespace, "first")}
	repository.commit(t, "look at dev1", map[string]string{"team-a/run.yaml": engineRun(true)})
	wantThere(t, run, func() bool { return run.Spec.PlanOnly })
	uid := run.UID
	repository.commit(t, "and mend it", map[string]string{"team-a/run.yaml": engineRun(false)})
	wantThere(t, run, func() bool { return !run.Spec.PlanOnly })
	if run.UID != uid {
		t.Errorf("the edit made another Run: %s and now %s", uid, run.UID)
	}
	repository.commit(t, "over", map[string]string{"team-a/run.yaml": ""})
	gone(t, run)
	wantThere(t, workflow, func() bool { return true })
	var verbs []string
	for _, a := range audit(t, func(a audited) bool { return a.User.Username == user && a.ObjectRef.Resource == "runs" && a.writes() }) {
		verbs = append(verbs, a.Verb)
	}
	wantSame(t, "what the account wrote", []string{"create", "patch", "delete"}, verbs)
}

// wantThere waits until an object is there, and as it should be.
func wantThere(t *testing.T, o client.Object, as func() bool) {
	t.Helper()
	eventually(t, fmt.Sprintf("%T %s is as committed", o, o.GetName()), func(ctx context.Context) (bool, string) {
		err := admin.Get(ctx, client.ObjectKeyFromObject(o), o)
		return err == nil && as(), fmt.Sprint(err)
	})
}

const engineWorkflow = `apiVersion: tkgfix.dev/v1alpha1
kind: Workflow
metadata:
  name: look
  namespace: engine
spec:
  steps:
  - id: detect
    uses: detect
    with: {cluster: team-a/dev1}
`

func engineRun(planOnly bool) string {
	return fmt.Sprintf(`apiVersion: tkgfix.dev/v1alpha1
kind: Run
metadata:
  name: first
  namespace: engine
spec:
  workflow: {name: look}
  requester: %s
  planOnly: %t
`, rita, planOnly)
}
