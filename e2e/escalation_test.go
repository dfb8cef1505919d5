package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

const registryTrust = "../examples/workflows/registry-trust.yaml"

// servers are the API servers of a laboratory, by their audit logs' names.
func servers() []string { return []string{"supervisor", "team-a-dev1", "team-a-dev2"} }

// TestEscalation lets registry-trust.yaml go up its ladder: the gentlest remedy, which writes nothing to any API; a cluster that Argo CD
// keeps, where it writes nothing at all; and a cluster of Tanzu Mission Control, where what a first gate allows is not enough, and the
// second look asks at a gate of its own.
func TestEscalation(t *testing.T) {
	t.Parallel()
	i := slices.IndexFunc(generations(), func(g generation) bool { return g.name == "v1alpha3" })
	s := supervisor{upOf(t, generations()[i].name, "stale-runtime"), generations()[i]}
	t.Run("RestartRuntime", s.testRestartRuntime)
	s.plant(t, "missing-ca")
	t.Run("GitOps", s.testTrustOfGitOps)
	t.Run("MissionControl", s.testTrustOfMissionControl)
}

// trustFlow plans, runs or otherwise uses registry-trust.yaml for dev1, as the platform team.
func (s supervisor) trustFlow(t *testing.T, command ...string) result {
	t.Helper()
	inputs := []string{registryTrust, "--input", "cluster=team-a/dev1", "--input", "ca=" + s.ca("root"), "--input", "sshPort=" + s.ssh}
	return s.tkgfix(t, s.kubeconfig("platform"), slices.Concat(command, inputs)...)
}

// trustPlan plans registry-trust.yaml and returns the plan and the remedy that it chose.
func (s supervisor) trustPlan(t *testing.T, code int) (plan *shownPlan, remedy string) {
	t.Helper()
	plan = decodePlan(t, s.trustFlow(t, "plan", "--output", "json").wantCode(t, code))
	remedy, _ = plan.step(t, "diagnose").outputs(t)["remedy"].(string)
	return plan, remedy
}

// wrote returns what tkgfix has written to the API servers of the laboratory, in order.
func (s supervisor) wrote(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, server := range servers() {
		if len(s.audit(t, server, byTkgfix)) == 0 && server != "team-a-dev2" { // which is well, and nothing asks it
			t.Errorf("the audit log of %s holds nothing of tkgfix: this test looks at the wrong thing", server)
		}
		for _, a := range s.audit(t, server, func(a audited) bool { return a.writes() && strings.HasPrefix(a.UserAgent, "tkgfix/") }) {
			out = append(out, strings.Join([]string{a.Verb, a.ObjectRef.Resource, a.ObjectRef.Name}, " "))
		}
	}
	return out
}

// wantPulled wants dev1's pods to run, and a second plan to have nothing to do.
func (s supervisor) wantPulled(t *testing.T) {
	t.Helper()
	if diff := cmp.Diff(map[string]int{"Running": 6}, s.phases(t, "dev1")); diff != "" {
		t.Errorf("pods (-want, +got):\n%s", diff)
	}
	r := s.trustFlow(t, "plan", "--detailed-exitcode").wantCode(t, 0)
	if !strings.Contains(r.stdout, "No changes.") {
		t.Errorf("a second plan has something to do:\n%s", r.stdout)
	}
}

// testRestartRuntime mends nodes whose files are right and whose containerd is older: it is restarted, and nothing else is touched.
func (s supervisor) testRestartRuntime(t *testing.T) {
	// identity is what a roll, a recreate or an edit would change.
	identity := func() []any {
		owner := s.get(t, s.owners(), "team-a", "dev1")
		return []any{s.names(t), owner.GetUID(), owner.GetGeneration()}
	}
	files, machines, before := s.files(t), s.names(t), identity()
	if _, remedy := s.trustPlan(t, 0); remedy != "restart-runtime" {
		t.Fatalf("the remedy is %s", remedy)
	}
	waiting := s.trustFlow(t, "run").wantCode(t, 3)
	id := waiting.runID(t)
	s.wantGates(t, id, "restart")
	s.approveAll(t, waiting)
	s.tkgfix(t, s.kubeconfig("platform"), "resume", id).wantCode(t, 0)
	s.wantPulled(t)

	restarted, _ := s.show(t, id).Plan.step(t, "restart").outputs(t)["restarted"].([]any)
	for _, node := range restarted {
		if !slices.Contains(machines, fmt.Sprint(node)) {
			t.Errorf("restarted on %v, which is no node of dev1", node)
		}
	}
	if len(restarted) == 0 {
		t.Error("restarted on no node")
	}
	if wrote := s.wrote(t); len(wrote) > 0 {
		t.Errorf("tkgfix wrote: %q", wrote)
	}
	if diff := cmp.Diff(files, s.files(t)); diff != "" {
		t.Errorf("files of nodes (-before, +after):\n%s", diff)
	}
	if diff := cmp.Diff(before, identity()); diff != "" {
		t.Errorf("machines, UID and generation of dev1 (-before, +after):\n%s", diff)
	}
}

// wantGates wants a run to wait at one gate more than before, and returns its digest.
func (s supervisor) wantGates(t *testing.T, id string, want ...string) (digest string) {
	t.Helper()
	shown := s.show(t, id)
	var got []string
	for _, g := range shown.Plan.Gates {
		got, digest = append(got, g.Step), g.Digest
	}
	if diff := cmp.Diff(want, got); diff != "" || shown.Status != "waiting" {
		t.Fatalf("the run is %s, its gates (-want, +got):\n%s", shown.Status, diff)
	}
	return digest
}

// testTrustOfGitOps lets Argo CD keep dev1: what tkgfix declared would not last, so that it says where to declare it and writes nothing.
func (s supervisor) testTrustOfGitOps(t *testing.T) {
	before := s.wrote(t)
	s.mustFaulty(t, "argocd")
	s.eventually(t, "Argo CD has marked dev1", func() bool {
		return s.get(t, s.owners(), "team-a", "dev1").GetAnnotations()["argocd.argoproj.io/tracking-id"] != ""
	})
	spec := s.get(t, s.owners(), "team-a", "dev1").Object["spec"]
	plan, _ := s.trustPlan(t, 1)
	blocks := plan.step(t, "diagnose").Blocks
	if len(blocks) != 1 || !strings.Contains(blocks[0].Reason, "would be put back: Argo CD keeps it") ||
		!strings.Contains(blocks[0].Hint, "change it at its source: Application clusters") {
		t.Errorf("blocks: %+v", blocks)
	}
	if actions := plan.actions(); len(actions) > 0 {
		t.Errorf("it would %q", actions)
	}
	r := s.trustFlow(t, "run", "--auto-approve").wantCode(t, 1).
		wantSaid(t, "Argo CD keeps it", "hint: change it at its source: Application clusters")
	if status := s.show(t, r.runID(t)).Status; status != "blocked" {
		t.Errorf("the run is %s", status)
	}
	if diff := cmp.Diff(before, s.wrote(t)); diff != "" {
		t.Errorf("writes of tkgfix (-before, +after):\n%s", diff)
	}
	if diff := cmp.Diff(spec, s.get(t, s.owners(), "team-a", "dev1").Object["spec"]); diff != "" {
		t.Errorf("dev1 (-before, +after):\n%s", diff)
	}
	s.mustFaulty(t, "")
	s.eventually(t, "nobody keeps dev1", func() bool { return len(s.get(t, s.owners(), "team-a", "dev1").GetAnnotations()) == 0 })
}

// testTrustOfMissionControl mends a cluster that may have no trust of its own, by TkgServiceConfiguration. The nodes that there are do not
// get that, which the second look finds. It asks again, and only then are they replaced, one after the other.
func (s supervisor) testTrustOfMissionControl(t *testing.T) {
	s.mustFaulty(t, "tmc")
	s.eventually(t, "Mission Control has marked dev1", func() bool {
		return s.get(t, s.owners(), "team-a", "dev1").GetAnnotations()["run.tanzu.vmware.com/vmware-system-tmc-managed"] != ""
	})
	s.wantOwnTrustRefused(t)
	plan, remedy := s.trustPlan(t, 0)
	told := plan.step(t, "diagnose").outputs(t)
	if remedy != "service-trust" || !strings.Contains(fmt.Sprint(told["ruledOut"]), "of Tanzu Mission Control may have no trust of its own") {
		t.Fatalf("the remedy is %s: %v", remedy, told)
	}
	platform, before, began := s.kubeconfig("platform"), s.names(t), len(s.wrote(t))
	version := s.machinesVersion(t)
	const patched = "patch tkgserviceconfigurations tkg-service-configuration"

	first := s.trustFlow(t, "run").wantCode(t, 3)
	id := first.runID(t)
	old := s.wantGates(t, id, "service_trust")
	s.approveAll(t, first)
	second := s.tkgfix(t, platform, "resume", id).wantCode(t, 3)
	digest := s.wantGates(t, id, "service_trust", "roll_after")
	second.wantSaid(t, fmt.Sprintf("to approve: tkgfix approve %s roll_after --digest %s", id, digest))
	if strings.Contains(second.stderr, "approve "+id+" service_trust") || digest == old {
		t.Errorf("the gate that was opened is asked for again:\n%s", second.stderr)
	}

	// Neither another resume nor the digest of the first gate opens the second one.
	s.tkgfix(t, platform, "resume", id).wantCode(t, 3)
	s.tkgfix(t, platform, "approve", id, "roll_after", "--digest", old).wantCode(t, 1)
	if diff := cmp.Diff([]string{patched}, s.wrote(t)[began:]); diff != "" {
		t.Errorf("written before the second gate was opened (-want, +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, s.names(t)); diff != "" {
		t.Errorf("machines before the second gate was opened (-want, +got):\n%s", diff)
	}
	if got := s.phases(t, "dev1"); got["Running"] > 0 {
		t.Errorf("pods run by the first gate alone: %v", got)
	}

	s.approveAll(t, second)
	s.tkgfix(t, platform, "resume", id).wantCode(t, 0)
	s.wantPulled(t)
	s.wantRolledOneByOne(t, before, version)
	want := []string{patched}
	for _, name := range before {
		if isWorker(name) {
			want = append(want, "delete machines "+name)
		}
	}
	if diff := cmp.Diff(want, s.wrote(t)[began:], cmpopts.SortSlices(strings.Compare)); diff != "" {
		t.Errorf("written (-want, +got):\n%s", diff)
	}
}

// wantOwnTrustRefused wants the platform to refuse dev1 trust of its own.
func (s supervisor) wantOwnTrustRefused(t *testing.T) {
	t.Helper()
	patch := []byte(`{"spec":{"settings":{"network":{"trust":{"additionalTrustedCAs":[{"name":"a","data":"YQ=="}]}}}}}`)
	_, err := s.as(t, "platform").Resource(s.owners()).Namespace("team-a").
		Patch(t.Context(), "dev1", types.MergePatchType, patch, metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
	if !apierrors.IsForbidden(err) {
		t.Fatalf("a cluster of Mission Control gets trust of its own: %v", err)
	}
}

// machinesVersion is the version of the list of Machines from which changes can be followed.
func (s supervisor) machinesVersion(t *testing.T) string {
	t.Helper()
	list, err := s.client(t).Resource(s.machines()).Namespace("team-a").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return list.GetResourceVersion()
}

// wantRolledOneByOne follows all changes of Machines since a version: each of dev1's old workers was replaced, and whenever one began to
// go, all were running.
func (s supervisor) wantRolledOneByOne(t *testing.T, before []string, version string) {
	t.Helper()
	running, going := map[string]bool{}, map[string]bool{}
	var old []string
	for _, name := range before {
		if isWorker(name) {
			running[name], old = true, append(old, name)
		}
	}
	var gone []string
	s.follow(t, version, func(m *unstructured.Unstructured) bool {
		name := m.GetName()
		if !strings.HasPrefix(name, "dev1-") || !isWorker(name) {
			return false
		}
		if m.GetDeletionTimestamp() != nil && !going[name] {
			going[name] = true
			if len(running) < len(old) {
				t.Errorf("%s goes while only %d of %d workers run", name, len(running), len(old))
			}
			gone = append(gone, name)
		}
		if phaseOf(*m) == "Running" && !going[name] {
			running[name] = true
		} else {
			delete(running, name)
		}
		return len(gone) >= len(old) && len(running) == len(old)
	})
	slices.Sort(old)
	slices.Sort(gone)
	if diff := cmp.Diff(old, gone); diff != "" || len(old) < 2 {
		t.Errorf("workers that went (-want, +got):\n%s%v", diff, old)
	}
}

// follow shows the changes of Machines since a version, one after the other, until seen says that it is enough.
func (s supervisor) follow(t *testing.T, version string, seen func(m *unstructured.Unstructured) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	w, err := s.client(t).Resource(s.machines()).Namespace("team-a").Watch(ctx, metav1.ListOptions{ResourceVersion: version})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		m, ok := e.Object.(*unstructured.Unstructured)
		if !ok {
			t.Fatalf("watching Machines: %v", e.Object)
		}
		if seen(m) {
			return
		}
	}
	t.Error("the changes of the Machines ended too soon")
}

// isWorker tells by a Machine's name whether it is of dev1's node pool.
func isWorker(name string) bool { return strings.Contains(name, "-np1-") }
