//go:build gitops

package gitops

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
)

const (
	runsAccount, approvalsAccount = "gitops-runs", "gitops-approvals"
	runsRepository                = "remedies.git"
	approvalsRepository           = "approvals.git"
	gateName                      = "cluster_trust"
	patched                       = "patch tanzukubernetesclusters dev1"
)

// story is what the parts of the test share.
type story struct {
	lab                   *laboratory
	rita, alice, mallory  person
	runs, approvals       workingCopy
	replicas              []replica
	run                   *v1alpha1.Run
	line, digest, runText string
}

// TestRemediation takes a cluster whose pods cannot pull to one whose pods can by two commits: one that asks, and one that approves what was
// planned. Commits that must not count are between them.
func TestRemediation(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.ask(t)
	s.refuse(t)
	s.approve(t)
	s.leaveAlone(t)
	s.remove(t)
}

// begin starts everything, the slow parts at once.
func begin(t *testing.T) *story {
	t.Helper()
	s := &story{lab: startLaboratory(t, "missing-ca"), rita: newPerson(t, rita), alice: newPerson(t, alice), mallory: newPerson(t, mallory)}
	install(t)
	for _, u := range documented(t) {
		if u.GetNamespace() == remedies && (u.GetKind() == "ServiceAccount" || strings.HasPrefix(u.GetKind(), "Role")) {
			create(t, u)
		}
	}
	h := newHost(t, map[string][]string{runsRepository: {rita}, approvalsRepository: {alice, rita, mallory}})
	s.runs, s.approvals = h.clone(t, runsRepository, rita), h.clone(t, approvalsRepository, alice)
	s.runs.commit(t, "begin", map[string]string{"team-a/README.md": "what is to be run"})
	s.approvals.commit(t, "begin", map[string]string{"team-a/README.md": "what was approved"})
	for _, name := range []string{runsAccount, approvalsAccount} {
		watches(t, name)
	}
	agent(t, remedies, runsAccount, h.pull(t, runsRepository), "team-a")
	agent(t, remedies, approvalsAccount, h.pull(t, approvalsRepository), "team-a")
	s.replicas = replicas(t, 2)
	s.lab.up(t)
	create(t,
		&corev1.Secret{ObjectMeta: named(remedies, "supervisor"), Data: map[string][]byte{"kubeconfig": s.lab.read(t, "kubeconfig", "platform.yaml")}},
		&corev1.ConfigMap{ObjectMeta: named(remedies, v1alpha1.SignersConfigMap), Data: map[string]string{v1alpha1.SignersKey: s.rita.line(t) + s.alice.line(t)}})
	ca := &corev1.ConfigMap{ObjectMeta: named(remedies, "corporate-ca"), Data: map[string]string{"ca.pem": string(s.lab.read(t, "ca", "root.pem"))}}
	if err := admin.Update(t.Context(), ca); err != nil {
		t.Fatal(err)
	}
	for _, r := range s.replicas {
		r.ready(t)
	}
	return s
}

// ask commits the workflow and a Run of it, and reads the plan in the Run's status.
func (s *story) ask(t *testing.T) {
	t.Helper()
	s.run = &v1alpha1.Run{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(shown(t, "Run", "dev1-registry-trust").Object, s.run); err != nil {
		t.Fatal(err)
	}
	s.run.Spec.Inputs["sshPort"] = fmt.Sprint(s.lab.sshPort(t))
	s.runText = manifest(t, s.run)
	s.runs.commit(t, "let dev1 trust the registry", map[string]string{"team-a/registry-trust.yaml": workflowFile(t), "team-a/dev1.yaml": s.runText})
	s.wait(t, v1alpha1.PhaseWaiting)

	status := s.run.Status
	if p := status.Plan; p == nil || p.Changes != 1 || p.Destroys != 0 || !strings.Contains(p.Summary, "team-a/dev1") {
		t.Errorf("the plan's summary: %+v", p)
	}
	if len(status.Gates) != 1 || status.Gates[0].Name != gateName {
		t.Fatalf("gates: %+v", status.Gates)
	}
	s.line, s.digest = status.Gates[0].Approve, status.Gates[0].Digest
	wantHealth(t, s.run, "Run", "Suspended", "Current")
	wantHealth(t, &v1alpha1.Workflow{ObjectMeta: named(remedies, "registry-trust")}, "Workflow", "Healthy", "")
	s.lab.wantWrote(t, "before any approval", map[string]int{})
}

// workflowFile is the example, as a team has it in its repository: in its namespace, and nobody approves what they asked for.
func workflowFile(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../examples/workflows/registry-trust.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const name, message = "  name: registry-trust\n", "        message: \"Declares the CA in the own trust of"
	if strings.Count(string(text), name) != 1 || strings.Count(string(text), message) != 1 {
		t.Fatal("the example has changed: this test does not know it")
	}
	return strings.NewReplacer(name, name+"  namespace: "+remedies+"\n", message, "        requester: excluded\n"+message).Replace(string(text))
}

// refuse commits Approvals that must not count.
func (s *story) refuse(t *testing.T) {
	t.Helper()
	unsigned := func(name, approver string) string {
		return manifest(t, &v1alpha1.Approval{
			TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Approval"}, ObjectMeta: named(remedies, name),
			Spec: v1alpha1.ApprovalSpec{Run: s.run.Status.RunID, Gate: gateName, Digest: s.digest, Decision: v1alpha1.DecisionApprove, Approver: approver},
		})
	}
	type bad struct{ reason, text, says string }
	judged := map[string]bad{
		"account":  {"who applies commits is nobody", unsigned("account", user(approvalsAccount)), "not signed"},
		"stranger": {"a key that nobody lists, with the name of one that is", s.mallory.signs(t, s.line, alice, "stranger", nil), "not listed"},
		"reason": {"what was signed had no reason", s.alice.signs(t, s.line, alice, "reason", func(a *v1alpha1.Approval) {
			a.Spec.Reason = "change 4711"
		}), "signature"},
		"requester": {"nobody approves what they asked for", s.rita.signs(t, s.line, rita, "requester", nil), "may not approve"},
	}
	files := map[string]string{"team-a/unsigned.yaml": unsigned("unsigned", alice)}
	for name, b := range judged {
		files["team-a/"+name+".yaml"] = b.text
	}
	s.approvals.commit(t, "approve, in ways that do not count", files)
	// The signature is right; it stands where the Run stands.
	s.runs.commit(t, "approve my own commit", map[string]string{"team-a/approval.yaml": s.alice.signs(t, s.line, alice, "beside", nil)})

	for name, b := range judged {
		a := &v1alpha1.Approval{ObjectMeta: named(remedies, name)}
		accepted(t, a, metav1.ConditionFalse)
		if c := meta.FindStatusCondition(a.Status.Conditions, v1alpha1.ConditionAccepted); !strings.Contains(c.Message, b.says) {
			t.Errorf("%s: %s: the message does not say %q: %s", name, b.reason, b.says, c.Message)
		}
		wantHealth(t, a, "Approval", "Degraded", "Failed")
	}
	s.rita.tkgfix(t, strings.Fields(s.line)[1:]...).wantCode(t, 1) // by login, and she has no right to
	s.wantForbidden(t, "unsigned, in the name of a person", approvalsAccount, "spec.approver is "+alice)
	s.wantForbidden(t, "by the account of Runs", runsAccount, "cannot create resource")
	s.wait(t, v1alpha1.PhaseWaiting)
	if g := s.run.Status.Gates[0]; g.Approved != 0 {
		t.Errorf("%d approvals count", g.Approved)
	}
	s.lab.wantWrote(t, "while no approval counted", map[string]int{})
	s.runs.commit(t, "not here, then", map[string]string{"team-a/approval.yaml": ""})
}

// wantForbidden waits until the API server has refused an account an Approval.
func (s *story) wantForbidden(t *testing.T, what, account, says string) {
	t.Helper()
	eventually(t, "an Approval is refused: "+what, func(context.Context) (bool, string) {
		var seen []string
		for _, a := range audit(t, func(a audited) bool {
			return a.User.Username == user(account) && a.Verb == "create" && a.ObjectRef.Resource == "approvals" && a.ResponseStatus.Code == 403
		}) {
			if strings.Contains(a.ResponseStatus.Message, says) {
				return true, ""
			}
			seen = append(seen, a.ResponseStatus.Message)
		}
		return false, strings.Join(seen, "\n")
	})
}

// approve commits the Approval that counts, and lets a replica die while the nodes are being replaced.
func (s *story) approve(t *testing.T) {
	t.Helper()
	s.approvals.commit(t, "let dev1 trust the registry", map[string]string{
		"team-a/dev1-alice.yaml": s.alice.signs(t, s.line, alice, "dev1-alice", nil), "team-a/unsigned.yaml": "",
	})
	eventually(t, "dev1 is told of the CA", func(context.Context) (bool, string) {
		got := s.lab.wrote(t)
		return got[patched] > 0, fmt.Sprint(got)
	})
	worker(t, s.replicas, s.run.Status.RunID).kill(t)
	if s.look(t); s.run.Status.Phase == v1alpha1.PhaseDone {
		t.Error("the Run is done: the replica did not die at work")
	}
	s.wait(t, v1alpha1.PhaseDone)
	if !meta.IsStatusConditionTrue(s.run.Status.Conditions, v1alpha1.ConditionReady) {
		t.Errorf("done and not Ready: %+v", s.run.Status.Conditions)
	}
	accepted(t, &v1alpha1.Approval{ObjectMeta: named(remedies, "dev1-alice")}, metav1.ConditionTrue)
	wantHealth(t, s.run, "Run", "Healthy", "Current")
	wantHealth(t, &v1alpha1.Approval{ObjectMeta: named(remedies, "dev1-alice")}, "Approval", "Healthy", "Current")
	s.lab.wantWrote(t, "in all", map[string]int{patched: 1})
	wantSame(t, "pods of the workload", map[string]int{"Running": 6}, s.lab.pods(t))
	s.wantReport(t)
	s.noSecret(t)
}

// wantReport reads what is kept of the run, as the status says it.
func (s *story) wantReport(t *testing.T) {
	t.Helper()
	words := strings.Fields(s.run.Status.Report)
	r := s.alice.tkgfix(t, words[1:]...).wantCode(t, 0)
	for _, want := range []string{
		"# Run " + s.run.Status.RunID + ": done", "patch-cluster-trust", "## Approvals", alice, "## Effects", "certificate signed by unknown authority",
	} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("the report does not hold %q", want)
		}
	}
}

// leaveAlone commits something else, and wants the next sync to touch nothing of what is done.
func (s *story) leaveAlone(t *testing.T) {
	t.Helper()
	before := s.run.DeepCopy()
	s.runs.commit(t, "another workflow", map[string]string{"team-a/look.yaml": strings.ReplaceAll(engineWorkflow, "namespace: engine", "namespace: "+remedies)})
	wantThere(t, &v1alpha1.Workflow{ObjectMeta: named(remedies, "look")}, func() bool { return true })
	s.wait(t, v1alpha1.PhaseDone)
	wantSame(t, "the Run after the next sync", before, s.run)
	s.lab.wantWrote(t, "after the next sync", map[string]int{patched: 1})
}

// remove takes the Run out of the repository, which leaves it as it is, with its report. It goes, and its journal goes, when a person deletes it.
func (s *story) remove(t *testing.T) {
	t.Helper()
	before := s.run.DeepCopy()
	s.runs.commit(t, "done", map[string]string{"team-a/dev1.yaml": "", "team-a/look.yaml": ""})
	gone(t, &v1alpha1.Workflow{ObjectMeta: named(remedies, "look")}) // which is pruned by the sync that does not prune the Run
	s.look(t)
	wantSame(t, "the Run whose file was removed", before, s.run)
	s.wantReport(t)

	bundle, id := filepath.Join(t.TempDir(), "bundle.tar.gz"), s.run.Status.RunID
	s.alice.tkgfix(t, "bundle", "create", "--state", "kube:"+remedies, id, "-o", bundle).wantCode(t, 0)
	if err := admin.Delete(t.Context(), s.run.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	gone(t, s.run)
	eventually(t, "the journal is gone", func(ctx context.Context) (bool, string) {
		var journal v1alpha1.JournalEntryList
		err := admin.List(ctx, &journal, client.InNamespace(remedies))
		return err == nil && len(journal.Items) == 0, fmt.Sprintf("%v, %d entries", err, len(journal.Items))
	})
	s.alice.tkgfix(t, "bundle", "verify", bundle).wantCode(t, 0)
}

// gone waits until an object is there no more.
func gone(t *testing.T, o client.Object) {
	t.Helper()
	eventually(t, fmt.Sprintf("%T %s is gone", o, o.GetName()), func(ctx context.Context) (bool, string) {
		err := admin.Get(ctx, client.ObjectKeyFromObject(o), o)
		return apierrors.IsNotFound(err), fmt.Sprint(err, o.GetFinalizers())
	})
}

// look reads the Run.
func (s *story) look(t *testing.T) {
	t.Helper()
	key := client.ObjectKeyFromObject(s.run)
	s.run = &v1alpha1.Run{}
	if err := admin.Get(t.Context(), key, s.run); err != nil {
		t.Fatal(err)
	}
}

// wait waits until the Run is in a phase.
func (s *story) wait(t *testing.T, phase v1alpha1.Phase) {
	t.Helper()
	eventually(t, "the Run is "+string(phase), func(ctx context.Context) (bool, string) {
		key := client.ObjectKey{Namespace: remedies, Name: s.run.Name}
		s.run = &v1alpha1.Run{ObjectMeta: named(remedies, s.run.Name)}
		err := admin.Get(ctx, key, s.run)
		return err == nil && s.run.Status.Phase == phase, fmt.Sprintf("%v %+v", err, s.run.Status)
	})
}

// accepted waits until an Approval is judged so.
func accepted(t *testing.T, a *v1alpha1.Approval, status metav1.ConditionStatus) {
	t.Helper()
	eventually(t, fmt.Sprintf("Approval %s: Accepted=%s", a.Name, status), func(ctx context.Context) (bool, string) {
		err := admin.Get(ctx, client.ObjectKeyFromObject(a), a)
		return meta.IsStatusConditionPresentAndEqual(a.Status.Conditions, v1alpha1.ConditionAccepted, status), fmt.Sprintf("%v %+v", err, a.Status.Conditions)
	})
}

func user(account string) string { return "system:serviceaccount:" + remedies + ":" + account }
