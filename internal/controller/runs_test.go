package controller_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
)

func toJSON(t *testing.T, text string) []byte {
	t.Helper()
	data, err := yaml.YAMLToJSON([]byte(text))
	must(t, err)
	return data
}

// lampSpec turns the lamp of a namespace on; policy is put into its approval.
func lampSpec(namespace, policy string) string {
	return fmt.Sprintf(`
connections:
  supervisor: {kubeconfig: "${{ env.KUBECONFIG }}"}
defaults: {retry: {attempts: 1}}
steps:
  - {id: look, uses: look, with: {namespace: %[1]s}}
  - id: turn
    uses: turn
    if: "${{ !steps.look.lit }}"
    with: {namespace: %[1]s}
    approval: {message: turns the lamp on%[2]s}
  - {id: check, uses: look, needs: [turn], with: {namespace: %[1]s}}
`, namespace, policy)
}

func lit(t *testing.T, namespace string) string {
	t.Helper()
	c := &corev1.ConfigMap{}
	must(t, admin.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "lamp"}, c))
	return c.Data["lit"]
}

func condition(run *v1alpha1.Run, kind string) string {
	c := meta.FindStatusCondition(run.Status.Conditions, kind)
	if c == nil {
		return "none"
	}
	return string(c.Status) + " " + c.Reason
}

// TestApproved takes a Run from its plan over an approval to its end, and lets it go with its journal.
func TestApproved(t *testing.T) {
	t.Parallel()
	ns := team(t)
	workflowOf(t, ns, "lamp", lampSpec(ns, ", required: 1, approvers: [bob], expiresAfter: 1h"))
	run := until(t, runOf(t, ns, "desk", "lamp", nil), v1alpha1.PhaseWaiting)
	g := run.Status.Gates[0]
	want := v1alpha1.GateStatus{
		Name: "turn", Effect: "change", Message: "turns the lamp on", Digest: g.Digest, Required: 1, ExpiresAt: g.ExpiresAt,
		Approve: fmt.Sprintf("tkgfix approve --state kube:%s %s turn --digest %s", ns, v1alpha1.RunID(run), g.Digest),
	}
	if diff := cmp.Diff(want, g); diff != "" || g.ExpiresAt == nil {
		t.Errorf("gate (-want, +got):\n%s", diff)
	}
	if lit(t, ns) != "no" {
		t.Fatal("changed before it was approved")
	}
	for kind, want := range map[string]string{"Ready": "Unknown WaitingForApproval", "Reconciling": "True WaitingForApproval", "Stalled": "none"} {
		if got := condition(run, kind); got != want {
			t.Errorf("condition %s is %s, want %s", kind, got, want)
		}
	}
	approve(t, run, "bob", nil)
	run = until(t, run, v1alpha1.PhaseDone)
	if lit(t, ns) != "yes" {
		t.Error("the lamp is dark")
	}
	if got := condition(run, "Ready"); got != "True Done" || run.Status.FinishedAt == nil || len(run.Status.Gates) > 0 || run.Status.Entries == 0 {
		t.Errorf("Ready is %s, status %+v", got, run.Status)
	}
	journal := &v1alpha1.JournalEntryList{}
	must(t, admin.List(t.Context(), journal, client.InNamespace(ns), client.MatchingLabels{v1alpha1.LabelRun: run.Status.RunID}))
	if len(journal.Items) == 0 || len(journal.Items[0].OwnerReferences) != 1 {
		t.Errorf("%d journal entries, not the Run's", len(journal.Items))
	}
	must(t, as(t, "alice").Delete(t.Context(), run))
	must(t, gone(t, run))
}

// gone waits until a Run is there no more.
func gone(t *testing.T, run *v1alpha1.Run) error {
	return poll(t, func() (bool, error) {
		err := admin.Get(t.Context(), client.ObjectKeyFromObject(run), &v1alpha1.Run{})
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	})
}

// TestApprovals holds which Approvals count.
func TestApprovals(t *testing.T) {
	t.Parallel()
	ns := team(t)
	workflowOf(t, ns, "lamp", lampSpec(ns, ", required: 2"))
	run := until(t, runOf(t, ns, "desk", "lamp", nil), v1alpha1.PhaseWaiting)
	for name, tc := range map[string]struct {
		reason, user, want string
		change             func(*v1alpha1.ApprovalSpec)
	}{
		"Requester": {"who asks for a run does not approve it", "alice", "False Requester", nil},
		"Digest":    {"it is about other changes", "bob", "False Digest", func(s *v1alpha1.ApprovalSpec) { s.Digest = "sha256:" + strings.Repeat("0", 64) }},
		"Gate":      {"there is no such gate", "bob", "False NotProven", func(s *v1alpha1.ApprovalSpec) { s.Gate = "raze" }},
		"Counts":    {"another's counts, though it is not enough", "bob", "True Counts", nil},
	} {
		t.Run(name, func(t *testing.T) {
			a := approve(t, run, tc.user, tc.change)
			err := poll(t, func() (bool, error) {
				err := admin.Get(t.Context(), client.ObjectKeyFromObject(a), a)
				return len(a.Status.Conditions) > 0, err
			})
			must(t, err)
			if c := a.Status.Conditions[0]; string(c.Status)+" "+c.Reason != tc.want {
				t.Errorf("%s: %s %s: %s; want %s", tc.reason, c.Status, c.Reason, c.Message, tc.want)
			}
		})
	}
	untilRun(t, run, "one of two approvals", func(r *v1alpha1.Run) bool { return len(r.Status.Gates) == 1 && r.Status.Gates[0].Approved == 1 })
	approve(t, run, "bob", func(s *v1alpha1.ApprovalSpec) { s.Decision, s.Reason = v1alpha1.DecisionReject, "not today" })
	run = until(t, run, v1alpha1.PhaseRejected)
	if got := condition(run, "Stalled"); got != "True Rejected" || !strings.Contains(run.Status.Error, "bob") || lit(t, ns) != "no" {
		t.Errorf("Stalled is %s, error %q", got, run.Status.Error)
	}
}

// TestPlanOnly plans, and goes on when it is asked to.
func TestPlanOnly(t *testing.T) {
	t.Parallel()
	ns := team(t)
	workflowOf(t, ns, "lamp", lampSpec(ns, ", required: 1, approvers: [bob]"))
	run := until(t, runOf(t, ns, "desk", "lamp", func(s *v1alpha1.RunSpec) { s.PlanOnly = true }), v1alpha1.PhasePlanned)
	if got := condition(run, "Ready"); got != "True Planned" || run.Status.Plan.Changes != 1 {
		t.Errorf("Ready is %s, plan %+v", got, run.Status.Plan)
	}
	set(t, run, func() { run.Spec.PlanOnly = false })
	until(t, run, v1alpha1.PhaseWaiting)
}

// set changes a Run as alice.
func set(t *testing.T, run *v1alpha1.Run, change func()) {
	t.Helper()
	before := run.DeepCopy()
	change()
	must(t, as(t, "alice").Patch(t.Context(), run, client.MergeFrom(before)))
}

// TestSuspend begins nothing while a Run is suspended, before it has begun and after.
func TestSuspend(t *testing.T) {
	t.Parallel()
	ns := team(t)
	workflowOf(t, ns, "lamp", lampSpec(ns, ", required: 1, approvers: [bob]"))
	run := until(t, runOf(t, ns, "desk", "lamp", func(s *v1alpha1.RunSpec) { s.Suspend = true }), v1alpha1.PhaseSuspended)
	set(t, run, func() { run.Spec.Suspend = false })
	run = until(t, run, v1alpha1.PhaseWaiting)
	approvable := run.DeepCopy()
	set(t, run, func() { run.Spec.Suspend = true })
	run = until(t, run, v1alpha1.PhaseSuspended)
	approve(t, approvable, "bob", nil)
	run = untilRun(t, run, "an approval that counts", func(r *v1alpha1.Run) bool { return len(r.Status.Gates) == 0 })
	if lit(t, ns) != "no" || run.Status.Phase != v1alpha1.PhaseSuspended {
		t.Errorf("a suspended run is %s, the lamp lit: %s", run.Status.Phase, lit(t, ns))
	}
	set(t, run, func() { run.Spec.Suspend = false })
	until(t, run, v1alpha1.PhaseDone)
}

// TestFailedThenResumed mends what a Run failed at and asks for another attempt.
func TestFailedThenResumed(t *testing.T) {
	t.Parallel()
	ns := team(t)
	workflowOf(t, ns, "lamp", lampSpec(ns, ", required: 1, approvers: [bob]"))
	lamp := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "lamp"}, Data: map[string]string{"lit": "yes", "broken": "yes"}}
	must(t, admin.Update(t.Context(), lamp))
	run := until(t, runOf(t, ns, "desk", "lamp", nil), v1alpha1.PhaseFailed)
	if want := "replace it, then: tkgfix resume --state kube:" + ns + " RUN"; run.Status.Hint != want || condition(run, "Stalled") != "True Failed" {
		t.Errorf("hint %q, want %q; Stalled %s", run.Status.Hint, want, condition(run, "Stalled"))
	}
	lamp.Data, lamp.ResourceVersion = map[string]string{"lit": "yes"}, ""
	must(t, admin.Update(t.Context(), lamp))
	set(t, run, func() { run.Annotations = map[string]string{v1alpha1.AnnotationResume: "1"} })
	if run = until(t, run, v1alpha1.PhaseDone); run.Status.Resumed != "1" || run.Status.Error != "" {
		t.Errorf("status %+v", run.Status)
	}
}

// TestCannotBegin holds what keeps a Run from beginning.
func TestCannotBegin(t *testing.T) {
	t.Parallel()
	ns := team(t)
	hostile := `{apiVersion: v1, kind: Config, current-context: x, contexts: [{name: x, context: {cluster: x, user: x}}],
clusters: [{name: x, cluster: {server: "https://127.0.0.1:1", certificate-authority-data: eA==}}], users: [{name: x, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: sh}}}]}`
	must(t, admin.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "hostile"}, Data: map[string][]byte{"kubeconfig": []byte(hostile), "word": []byte("hunter2")}}))
	workflowOf(t, ns, "lamp", lampSpec(ns, ""))
	workflowOf(t, ns, "typo", strings.Replace(lampSpec(ns, ""), "approval:", "aproval:", 1))
	workflowOf(t, ns, "exec", strings.Replace(lampSpec(ns, ""), "uses: turn", "uses: raze", 1)+"  - {id: x, uses: exec, with: {}}\n")
	workflowOf(t, ns, "file", "inputs: {ca: {type: file}, word: {type: string, default: x}}\n"+lampSpec(ns, ""))
	from := func(name, key string) map[string]v1alpha1.KeySource {
		return map[string]v1alpha1.KeySource{"word": {SecretKeyRef: &v1alpha1.KeyReference{Name: name, Key: key}}}
	}
	for name, tc := range map[string]struct {
		reason, workflow string
		change           func(*v1alpha1.RunSpec)
		ready, says      string
	}{
		"none":      {"the workflow may still come", "none", nil, "False NotFound", `"none" not found`},
		"typo":      {"a workflow that is not valid is not half taken", "typo", nil, "False InvalidWorkflow", "aproval"},
		"hostile":   {"a kubeconfig that would run a program here", "lamp", func(s *v1alpha1.RunSpec) { s.Connections.Supervisor.SecretRef.Name = "hostile" }, "False CannotBegin", "credential plugin"},
		"account":   {"a service account without rights reads nothing", "lamp", func(s *v1alpha1.RunSpec) { s.ServiceAccountName = "nobody" }, "False Forbidden", "nobody"},
		"path":      {"a path would be one of the controller's", "file", func(s *v1alpha1.RunSpec) { s.Inputs = map[string]string{"ca": "/etc/passwd"} }, "False InvalidWorkflow", "a path means nothing here"},
		"secret":    {"a Secret's value does not go into a journal", "file", func(s *v1alpha1.RunSpec) { s.InputsFrom = from("hostile", "word") }, "False InvalidWorkflow", "written into the journal"},
		"no-key":    {"the key may still come", "file", func(s *v1alpha1.RunSpec) { s.InputsFrom = from("hostile", "nothing") }, "False CannotBegin", `no key "nothing"`},
		"noconnect": {"the workflow needs a Supervisor", "lamp", func(s *v1alpha1.RunSpec) { s.Connections = nil }, "False InvalidWorkflow", "needs a Supervisor"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := until(t, runOf(t, ns, name, tc.workflow, tc.change), v1alpha1.PhasePending)
			if got := condition(run, "Ready"); got != tc.ready || !strings.Contains(run.Status.Error, tc.says) {
				t.Errorf("%s: Ready is %s, error %q; want %s, %q", tc.reason, got, run.Status.Error, tc.ready, tc.says)
			}
			if strings.Contains(run.Status.Error, "hunter2") {
				t.Error("the status holds a secret")
			}
		})
	}
}

// TestBegins lets a Run begin when what was wrong with its workflow is mended.
func TestBegins(t *testing.T) {
	t.Parallel()
	ns := team(t)
	w := workflowOf(t, ns, "lamp", strings.Replace(lampSpec(ns, ""), "approval:", "aproval:", 1))
	run := until(t, runOf(t, ns, "desk", "lamp", nil), v1alpha1.PhasePending)
	if got := condition(run, "Stalled"); got != "True InvalidWorkflow" {
		t.Errorf("Stalled is %s", got)
	}
	must(t, poll(t, func() (bool, error) {
		err := admin.Get(t.Context(), client.ObjectKeyFromObject(w), w)
		return len(w.Status.Problems) > 0, err
	}))
	w.Spec.Raw = toJSON(t, lampSpec(ns, ""))
	must(t, admin.Update(t.Context(), w))
	run = until(t, run, v1alpha1.PhaseWaiting)
	if got := condition(run, "Stalled"); got != "none" || run.Status.Error != "" {
		t.Errorf("Stalled is %s, error %q", got, run.Status.Error)
	}
}

// TestHome keeps a run from deleting the cluster on which the controller runs.
func TestHome(t *testing.T) {
	t.Parallel()
	ns := team(t)
	own, err := management.Admin("x")
	must(t, err)
	must(t, admin.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "home-kubeconfig"}, Data: map[string][]byte{"value": own}}))
	workflowOf(t, ns, "raze", strings.Replace(lampSpec(ns, ", required: 1"), "uses: turn", "uses: raze", 1))
	run := until(t, runOf(t, ns, "desk", "raze", nil), v1alpha1.PhaseBlocked)
	if !strings.Contains(run.Status.Error, "the cluster on which this controller runs") || condition(run, "Stalled") != "True Blocked" || run.Status.Plan.Destroys != 1 {
		t.Errorf("error %q, Stalled %s, plan %+v", run.Status.Error, condition(run, "Stalled"), run.Status.Plan)
	}
}

// TestElsewhere keeps a workflow from naming a kubeconfig that is the controller's.
func TestElsewhere(t *testing.T) {
	t.Parallel()
	ns := team(t)
	workflowOf(t, ns, "lamp", strings.Replace(lampSpec(ns, ""), "uses: look,", "uses: look, supervisor: {kubeconfig: /etc/kubernetes/admin.conf},", 1))
	run := until(t, runOf(t, ns, "desk", "lamp", nil), v1alpha1.PhaseFailed)
	if !strings.Contains(run.Status.Error, "no file of this run") {
		t.Errorf("error %q", run.Status.Error)
	}
}

// TestGuard waits for a maintenance window without being asked to.
func TestGuard(t *testing.T) {
	t.Parallel()
	ns := team(t)
	workflowOf(t, ns, "lamp", "guards: [{name: window, expr: 'now.getFullYear() > 9000', message: outside the maintenance window}]\n"+lampSpec(ns, ", required: 1"))
	run := until(t, runOf(t, ns, "desk", "lamp", nil), v1alpha1.PhaseWaiting)
	approve(t, run, "alice", nil)
	run = until(t, run, v1alpha1.PhaseBlocked)
	if condition(run, "Stalled") != "none" || condition(run, "Reconciling") != "True Blocked" || lit(t, ns) != "no" {
		t.Errorf("Stalled %s, Reconciling %s", condition(run, "Stalled"), condition(run, "Reconciling"))
	}
}

// TestInCluster reaches the cluster on which the controller runs with the token of the run's service account, and no further than that may.
func TestInCluster(t *testing.T) {
	t.Parallel()
	ns, other := team(t), team(t)
	in := func(s *v1alpha1.RunSpec) { s.Connections.Supervisor = &v1alpha1.SupervisorConnection{InCluster: true} }
	workflowOf(t, ns, "lamp", lampSpec(ns, ", required: 1"))
	workflowOf(t, ns, "other", lampSpec(other, ", required: 1"))
	approve(t, until(t, runOf(t, ns, "desk", "lamp", in), v1alpha1.PhaseWaiting), "alice", nil)
	until(t, &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "desk"}}, v1alpha1.PhaseDone)
	run := until(t, runOf(t, ns, "elsewhere", "other", in), v1alpha1.PhaseFailed)
	if lit(t, ns) != "yes" || !strings.Contains(run.Status.Error, "forbidden") {
		t.Errorf("lit %s, error %q", lit(t, ns), run.Status.Error)
	}
}

// TestInputs gives a file and a word from ConfigMaps.
func TestInputs(t *testing.T) {
	t.Parallel()
	ns := team(t)
	must(t, admin.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "given"}, Data: map[string]string{"ns": ns + "\n", "ca.pem": "PEM"}}))
	spec := "inputs: {ca: {type: file}, ns: {type: string}}\n" + strings.ReplaceAll(lampSpec(ns, ", required: 1"), "namespace: "+ns, `namespace: "${{ inputs.ns }}"`)
	workflowOf(t, ns, "lamp", spec)
	run := runOf(t, ns, "desk", "lamp", func(s *v1alpha1.RunSpec) {
		s.InputsFrom = map[string]v1alpha1.KeySource{
			"ca": {ConfigMapKeyRef: &v1alpha1.KeyReference{Name: "given", Key: "ca.pem"}}, "ns": {ConfigMapKeyRef: &v1alpha1.KeyReference{Name: "given", Key: "ns"}},
		}
	})
	run = until(t, run, v1alpha1.PhaseWaiting)
	approve(t, run, "alice", nil)
	until(t, run, v1alpha1.PhaseDone)
}

// TestTrigger opens a plan-only Run for a pod that cannot pull: the plan waits before anybody has asked for it.
func TestTrigger(t *testing.T) {
	t.Parallel()
	ns := team(t)
	workload, err := management.Admin("dev1")
	must(t, err)
	must(t, admin.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "dev1-kubeconfig"}, Data: map[string][]byte{"value": workload}}))
	spec := "inputs: {cluster: {type: string}, registry: {type: string}}\n" + lampSpec(ns, ", required: 1")
	workflowOf(t, ns, "lamp", spec)
	now := metav1.Now()
	must(t, admin.Create(t.Context(), &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "app.1"}, Reason: "Failed", Type: corev1.EventTypeWarning, FirstTimestamp: now, LastTimestamp: now, Count: 1,
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: ns, Name: "app"}, Source: corev1.EventSource{Component: "kubelet"},
		Message: `Failed to pull image "registry.corp:5000/app:1": failed to pull and unpack image "registry.corp:5000/app:1": failed to resolve reference "registry.corp:5000/app:1": failed to do request: Head "https://registry.corp:5000/v2/app/manifests/1": tls: failed to verify certificate: x509: certificate signed by unknown authority`,
	}))
	trigger := &v1alpha1.Trigger{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "registry"}}
	trigger.Spec.Clusters = []string{ns + "/dev1"}
	trigger.Spec.Run = v1alpha1.RunTemplate{
		Workflow: &v1alpha1.WorkflowReference{Name: "lamp"}, Inputs: map[string]string{"cluster": "$(cluster)", "registry": "$(registry)"},
		Connections: &v1alpha1.Connections{Supervisor: &v1alpha1.SupervisorConnection{SecretRef: &v1alpha1.KeyReference{Name: "supervisor", Key: "kubeconfig"}}},
	}
	must(t, admin.Create(t.Context(), trigger))
	opened := &v1alpha1.RunList{}
	must(t, poll(t, func() (bool, error) {
		err := admin.List(t.Context(), opened, client.InNamespace(ns))
		return len(opened.Items) > 0, err
	}))
	run := until(t, &opened.Items[0], v1alpha1.PhasePlanned)
	want := map[string]string{"cluster": ns + "/dev1", "registry": "registry.corp:5000"}
	if diff := cmp.Diff(want, run.Spec.Inputs); diff != "" || run.Spec.Requester != "trigger/registry" {
		t.Errorf("requester %s, inputs (-want, +got):\n%s", run.Spec.Requester, diff)
	}
}
