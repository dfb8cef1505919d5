package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

var (
	configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	budgets    = schema.GroupVersionResource{Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"}
)

// TestLaboratoryFaults plants the faults of the platform that docs/laboratory.md names and holds a recreate of tkgfix against them. The
// drain is on dev2, without tkgfix.
func TestLaboratoryFaults(t *testing.T) {
	t.Parallel()
	i := slices.IndexFunc(generations(), func(g generation) bool { return g.name == "builtin-generic-v1beta2" })
	s := supervisor{upOf(t, generations()[i].name, "missing-ca"), generations()[i]}
	// One after the other: a laboratory that waits for its turn takes time from those that have theirs.
	t.Run("Drain", s.testDrain)
	t.Run("Recreate", func(t *testing.T) {
		s.testFaultWords(t)
		s.testMissionControl(t)
		s.testGitOps(t)
		s.testReleaseGone(t)
		s.testStuckDeletion(t)
		s.testLeftovers(t)
	})
	s.plant(t, "healthy")
	if got := s.phases(t, "dev1"); got["Running"] != 6 {
		t.Errorf("dev1 is healthy again: %v", got)
	}
}

// faulty plants faults of dev1, in the place of those that are planted.
func (s supervisor) faulty(t *testing.T, words string) error {
	t.Helper()
	patch := fmt.Appendf(nil, `{"data":{"team-a.dev1":%q}}`, words)
	_, err := s.as(t, "platform").Resource(configMaps).Namespace("lab-system").Patch(t.Context(), "lab-faults", types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

func (s supervisor) mustFaulty(t *testing.T, words string) {
	t.Helper()
	if err := s.faulty(t, words); err != nil {
		t.Fatal(err)
	}
}

const recreateOnly = "testdata/recreate.yaml"

func (s supervisor) recreateInputs() []string {
	return []string{"--input", "ca=" + s.ca("root"), "--input", "sshPort=" + s.ssh}
}

// wantBlocked plans the recreate and wants a block that says these words.
func (s supervisor) wantBlocked(t *testing.T, words ...string) {
	t.Helper()
	args := append([]string{"plan", recreateOnly, "--output", "json"}, s.recreateInputs()...)
	plan := decodePlan(t, s.tkgfix(t, s.kubeconfig("platform"), args...).wantCode(t, 1))
	var said []string
	for _, b := range plan.step(t, "recreate").Blocks {
		said = append(said, b.Reason+" "+b.Hint)
	}
	for _, w := range words {
		if !strings.Contains(strings.Join(said, "\n"), w) {
			t.Errorf("no block says %q: %q", w, said)
		}
	}
}

func (s supervisor) testFaultWords(t *testing.T) {
	t.Helper()
	if err := s.faulty(t, "argocd argo"); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "surviving-service") {
		t.Errorf("a word that is none: %v", err)
	}
}

// testMissionControl creates TanzuKubernetesClusters as Tanzu Mission Control does, which may have no trust of their own.
func (s supervisor) testMissionControl(t *testing.T) {
	t.Helper()
	for trust, refused := range map[string]bool{`{}`: false, `{"trust":{"additionalTrustedCAs":[{"name":"a","data":"YQ=="}]}}`: true} {
		u := &unstructured.Unstructured{}
		text := fmt.Sprintf(`{"apiVersion":"run.tanzu.vmware.com/v1alpha3","kind":"TanzuKubernetesCluster","metadata":{"name":"dev3",
			"annotations":{"run.tanzu.vmware.com/vmware-system-tmc-managed":"true"}},"spec":{"settings":{"network":%s},"topology":{
			"controlPlane":{"replicas":1,"vmClass":"small","storageClass":"gold","tkr":{"reference":{"name":"v1.26.5---vmware.2-fips.1-tkg.1"}}},
			"nodePools":[{"name":"np1","replicas":1,"vmClass":"small","storageClass":"gold"}]}}}`, trust)
		if err := u.UnmarshalJSON([]byte(text)); err != nil {
			t.Fatal(err)
		}
		_, err := s.as(t, "platform").Resource(tkcs).Namespace("team-a").Create(t.Context(), u, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if apierrors.IsForbidden(err) != refused || !refused && err != nil {
			t.Errorf("a cluster of Mission Control with the network %s: %v", trust, err)
		}
	}
}

// testGitOps lets Argo CD keep dev1: an edit does not last, and a recreate is refused, naming the source.
func (s supervisor) testGitOps(t *testing.T) {
	t.Helper()
	clusters := s.as(t, "editor").Resource(s.clusters()).Namespace("team-a")
	s.mustFaulty(t, "argocd")
	const mark = "argocd.argoproj.io/tracking-id"
	s.eventually(t, "Argo CD has marked dev1", func() bool { return s.get(t, s.clusters(), "team-a", "dev1").GetAnnotations()[mark] != "" })
	s.wantBlocked(t, "would get its old manifest back", "Argo CD keeps it", "Application clusters")
	// The laboratory has one node of the control plane whatever this says, so nothing rolls.
	if _, err := clusters.Patch(t.Context(), "dev1", types.MergePatchType, []byte(`{"spec":{"topology":{"controlPlane":{"replicas":3}}}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	s.eventually(t, "the edit is taken back", func() bool {
		n, _, _ := unstructured.NestedInt64(s.get(t, s.clusters(), "team-a", "dev1").Object, "spec", "topology", "controlPlane", "replicas")
		return n == 1
	})
	s.mustFaulty(t, "flux")
	s.eventually(t, "Flux has it in the place of Argo CD", func() bool {
		marks := s.get(t, s.clusters(), "team-a", "dev1").GetAnnotations()
		return marks[mark] == "" && marks["kustomize.toolkit.fluxcd.io/name"] != ""
	})
	s.wantBlocked(t, "Flux keeps it", "Kustomization flux-system/clusters")
	s.mustFaulty(t, "")
	s.eventually(t, "nobody keeps dev1", func() bool { return len(s.get(t, s.clusters(), "team-a", "dev1").GetAnnotations()) == 0 })
}

// testReleaseGone deletes dev1's release: nothing can be written that needs it, and dev1 goes on.
func (s supervisor) testReleaseGone(t *testing.T) {
	t.Helper()
	releases := s.client(t).Resource(s.kind("run.tanzu.vmware.com", "tanzukubernetesreleases"))
	version, _, _ := unstructured.NestedString(s.get(t, s.clusters(), "team-a", "dev1").Object, "spec", "topology", "version")
	release, err := releases.Get(t.Context(), version, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := releases.Delete(t.Context(), version, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	edit := func() error {
		_, err := s.as(t, "platform").Resource(s.clusters()).Namespace("team-a").
			Patch(t.Context(), "dev1", types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`), metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	s.eventually(t, "edits are refused", func() bool { return edit() != nil })
	if err := edit(); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "could not resolve TKR/OSImage") {
		t.Errorf("an edit without its release: %v", err)
	}
	s.wantBlocked(t, version, "could not resolve TKR/OSImage")
	if !s.settled(t) {
		t.Error("dev1 does not go on")
	}
	release.SetResourceVersion("")
	release.SetUID("")
	if _, err := releases.Create(t.Context(), release, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	s.eventually(t, "edits are taken again", func() bool { return edit() == nil })
}

// testStuckDeletion recreates dev1 while the control plane does not give up its last member: the run says so, and ends well when it is
// resumed without the fault.
func (s supervisor) testStuckDeletion(t *testing.T) {
	t.Helper()
	platform := s.kubeconfig("platform")
	s.mustFaulty(t, "last-control-plane")
	waiting := s.tkgfix(t, platform, append([]string{"run", recreateOnly}, s.recreateInputs()...)...).wantCode(t, 3)
	s.approveAll(t, waiting)
	id := waiting.runID(t)
	s.tkgfix(t, platform, "resume", id).wantCode(t, 1).
		wantSaid(t, "WaitingForControlPlaneDeletion", "fewer than 2 control plane nodes", "hint: ", "KB 427318", "Do not remove finalizers by hand")
	_, reason := s.condition(s.get(t, s.clusters(), "team-a", "dev1"), "Deleting")
	if diff := cmp.Diff("WaitingForControlPlaneDeletion", reason); diff != "" {
		t.Errorf("the condition Deleting (-want, +got):\n%s", diff)
	}
	s.mustFaulty(t, "")
	s.eventually(t, "the resumed run ends", func() bool {
		r := s.tkgfix(t, platform, "resume", id)
		if r.code != 0 {
			r.wantSaid(t, "not done within")
		}
		return r.code == 0
	})
	if diff := cmp.Diff(map[string]int{"delete": 1, "create": 1}, s.writes(t, "clusters", "dev1")); diff != "" {
		t.Errorf("writes of tkgfix on dev1 (-want, +got):\n%s", diff)
	}
}

// testLeftovers deletes dev1, of which the finalizer of its add-ons stays and then its VirtualMachineService, and creates it again: it
// comes up under its old address, which tkgfix says.
func (s supervisor) testLeftovers(t *testing.T) {
	t.Helper()
	clusters := s.as(t, "editor").Resource(s.clusters()).Namespace("team-a")
	services := s.client(t).Resource(schema.GroupVersionResource{Group: "vmoperator.vmware.com", Version: "v1alpha3", Resource: "virtualmachineservices"}).Namespace("team-a")
	s.mustFaulty(t, "addon-finalizer surviving-service")
	live := s.get(t, s.clusters(), "team-a", "dev1")
	s.eventually(t, "the add-ons hold dev1", func() bool {
		live = s.get(t, s.clusters(), "team-a", "dev1")
		return slices.Contains(live.GetFinalizers(), "tkg.tanzu.vmware.com/addon")
	})
	if err := clusters.Delete(t.Context(), "dev1", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	s.eventually(t, "the finalizer alone is left", func() bool {
		held := s.get(t, s.clusters(), "team-a", "dev1")
		_, reason := s.condition(held, "Deleting")
		return len(s.listMachines(t)) == 0 && cmp.Equal([]string{"tkg.tanzu.vmware.com/addon"}, held.GetFinalizers()) && reason == "DeletionCompleted"
	})
	s.mustFaulty(t, "surviving-service reused-address")
	s.eventually(t, "dev1 is gone", func() bool {
		_, err := clusters.Get(t.Context(), "dev1", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	if _, err := services.Get(t.Context(), "dev1", metav1.GetOptions{}); err != nil {
		t.Errorf("the VirtualMachineService has not survived: %v", err)
	}
	s.mustFaulty(t, "reused-address")
	s.eventually(t, "the VirtualMachineService is gone", func() bool {
		_, err := services.Get(t.Context(), "dev1", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	s.createAgain(t, live)
	s.wantBlocked(t, "the name team-a/dev1 was used before", "under an old address")
	s.mustFaulty(t, "")
}

// createAgain creates dev1 without trust and waits for machines under another address than its endpoint.
func (s supervisor) createAgain(t *testing.T, old *unstructured.Unstructured) {
	t.Helper()
	topology := old.Object["spec"].(map[string]any)["topology"].(map[string]any)
	topology["variables"] = slices.DeleteFunc(topology["variables"].([]any), func(v any) bool { return v.(map[string]any)["name"] == s.variable })
	fresh := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"topology": topology}}}
	fresh.SetAPIVersion(old.GetAPIVersion())
	fresh.SetKind("Cluster")
	fresh.SetName("dev1")
	if _, err := s.as(t, "editor").Resource(s.clusters()).Namespace("team-a").Create(t.Context(), fresh, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	now := fresh
	s.eventually(t, "the machines have booted, for nothing", func() bool {
		now = s.get(t, s.clusters(), "team-a", "dev1")
		available, _ := s.condition(now, "Available")
		list := s.listMachines(t)
		return available == "False" && len(list) == 3 && !slices.ContainsFunc(list, func(m unstructured.Unstructured) bool { return phaseOf(m) != "Provisioned" })
	})
	host := func(u *unstructured.Unstructured) string {
		h, _, _ := unstructured.NestedString(u.Object, "spec", "controlPlaneEndpoint", "host")
		return h
	}
	if diff := cmp.Diff(host(old), host(now)); diff != "" {
		t.Errorf("the endpoint is not the old one (-want, +got):\n%s", diff)
	}
}

// testDrain rolls dev2 while a PodDisruptionBudget allows nothing, and then without it.
func (s supervisor) testDrain(t *testing.T) {
	t.Helper()
	value, _, _ := unstructured.NestedString(s.get(t, secrets, "team-a", "dev2-kubeconfig").Object, "data", "value")
	budget := clientOf(t, unbase64(t, value)).Resource(budgets).Namespace("demo")
	_, err := budget.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": map[string]any{"name": "web"},
		"spec": map[string]any{"minAvailable": int64(6), "selector": map[string]any{"matchLabels": map[string]any{"app": "web"}}},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	before := machineNames(s.machinesOf(t, "dev2"))
	s.roll(t, "dev2")
	s.eventually(t, "the roll hangs at the budget", func() bool {
		for _, m := range s.machinesOf(t, "dev2") {
			text := s.message(&m, "Deleting")
			if _, reason := s.condition(&m, "Deleting"); reason == "DrainingNode" && strings.Contains(text, "The disruption budget web needs 6 healthy pods and has 6 currently") {
				return true
			}
		}
		return false
	})
	if rolling, _ := s.condition(s.get(t, s.clusters(), "team-a", "dev2"), "RollingOut"); rolling != "True" {
		t.Errorf("RollingOut is %s", rolling)
	}
	if err := budget.Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	s.eventually(t, "the roll ends without the budget", func() bool {
		now := s.machinesOf(t, "dev2")
		return len(now) == 3 && !slices.ContainsFunc(now, func(m unstructured.Unstructured) bool {
			return phaseOf(m) != "Running" || slices.Contains(before, m.GetName())
		})
	})
}

// roll changes a variable of a cluster that has nothing to do with trust.
func (s supervisor) roll(t *testing.T, name string) {
	t.Helper()
	clusters := s.as(t, "editor").Resource(s.clusters()).Namespace("team-a")
	live := s.get(t, s.clusters(), "team-a", name)
	variables, _, _ := unstructured.NestedSlice(live.Object, "spec", "topology", "variables")
	for _, v := range variables {
		if m := v.(map[string]any); m["name"] == "vmClass" {
			m["value"] = "guaranteed-large"
		}
	}
	if err := unstructured.SetNestedSlice(live.Object, variables, "spec", "topology", "variables"); err != nil {
		t.Fatal(err)
	}
	if _, err := clusters.Update(t.Context(), live, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (s supervisor) machinesOf(t *testing.T, cluster string) []unstructured.Unstructured {
	t.Helper()
	list, err := s.client(t).Resource(s.machines()).Namespace("team-a").List(t.Context(), metav1.ListOptions{LabelSelector: "cluster.x-k8s.io/cluster-name=" + cluster})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

func machineNames(list []unstructured.Unstructured) []string {
	var out []string
	for _, m := range list {
		out = append(out, m.GetName())
	}
	return out
}

// message returns what a condition says.
func (s supervisor) message(u *unstructured.Unstructured, kind string) string {
	list, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, each := range list {
		if c := each.(map[string]any); c["type"] == kind {
			text, _ := c["message"].(string)
			return text
		}
	}
	return ""
}
