package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"
)

const fleetWorkflow = "../examples/workflows/fleet.yaml"

// fleetLabel is the label by which the clusters of a test are found.
const fleetLabel = "fleet.e2e"

// hold is a finalizer that keeps a pod from going, as one of a controller that is gone does: the node below it cannot be drained.
const holdFinalizer = "e2e.tkgfix.dev/hold"

// member is a cluster of a fleet: one control-plane node, one worker, one pod.
type member struct {
	name string
	// class is where a Cluster's class is; empty for a TanzuKubernetesCluster.
	class, classNamespace string
}

// members are eight clusters of every kind that a Supervisor of VKS 3.6 can have.
func members() []member {
	const public = "vmware-system-vks-public"
	return []member{
		{"f1", "", ""}, {"f2", "tanzukubernetescluster", ""}, {"f3", "builtin-generic-v3.6.0", public}, {"f4", "", ""},
		{"f5", "tanzukubernetescluster", ""}, {"f6", "builtin-generic-v3.6.0", public}, {"f7", "", ""}, {"f8", "builtin-generic-v3.6.0", public},
	}
}

func (m member) resource() schema.GroupVersionResource {
	if m.class == "" {
		return tkcs
	}
	return schema.GroupVersionResource{Group: "cluster.x-k8s.io", Version: "v1beta2", Resource: "clusters"}
}

// manifest is what a team would apply.
func (m member) manifest(fleet string) *unstructured.Unstructured {
	meta := map[string]any{"name": m.name, "namespace": "team-a", "labels": map[string]any{fleetLabel: fleet}}
	if m.class == "" {
		const release = "v1.26.5---vmware.2-fips.1-tkg.1"
		pool := func(more map[string]any) map[string]any {
			more["replicas"], more["vmClass"], more["storageClass"] = int64(1), "guaranteed-medium", "gold"
			more["tkr"] = map[string]any{"reference": map[string]any{"name": release}}
			return more
		}
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "run.tanzu.vmware.com/v1alpha3", "kind": "TanzuKubernetesCluster", "metadata": meta,
			"spec": map[string]any{"topology": map[string]any{
				"controlPlane": pool(map[string]any{}), "nodePools": []any{pool(map[string]any{"name": "np1"})},
			}},
		}}
	}
	ref, version := map[string]any{"name": m.class}, "v1.26.5---vmware.2-fips.1-tkg.1"
	if m.classNamespace != "" {
		ref["namespace"], version = m.classNamespace, "v1.34.2---vmware.2-vkr.2"
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "metadata": meta,
		"spec": map[string]any{"topology": map[string]any{
			"classRef": ref, "version": version, "controlPlane": map[string]any{"replicas": int64(1)},
			"workers": map[string]any{"machineDeployments": []any{map[string]any{"class": "node-pool", "name": "np1", "replicas": int64(1)}}},
			"variables": []any{
				map[string]any{"name": "vmClass", "value": "guaranteed-medium"}, map[string]any{"name": "storageClass", "value": "gold"},
			},
		}},
	}}
}

// make creates the cluster and returns when its one pod fails to pull.
func (m member) make(ctx context.Context, t *testing.T, lab *laboratory, fleet string) error {
	owner := lab.client(t).Resource(m.resource()).Namespace("team-a")
	if _, err := owner.Create(ctx, m.manifest(fleet), metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create %s: %w", m.name, err)
	}
	return m.until(ctx, "its pod fails to pull", func(ctx context.Context) (bool, error) {
		guest, err := m.guest(ctx, t, lab)
		if err != nil {
			return false, err
		}
		if err := applyWorkload(ctx, t, guest, lab); err != nil {
			return false, nil // its API server may not be up yet; the end of the wait tells
		}
		return m.waits(ctx, guest, "ErrImagePull", "ImagePullBackOff")
	})
}

// until waits for a condition of the cluster.
func (m member) until(ctx context.Context, what string, condition func(context.Context) (bool, error)) error {
	if err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, 2*time.Minute, true, condition); err != nil {
		return fmt.Errorf("cluster %s: wait until %s: %w", m.name, what, err)
	}
	return nil
}

// guest returns an administrator's client of the cluster; nil while there is no way in.
func (m member) guest(ctx context.Context, t *testing.T, lab *laboratory) (dynamic.Interface, error) {
	s, err := lab.client(t).Resource(secrets).Namespace("team-a").Get(ctx, m.name+"-kubeconfig", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	value, _, err := unstructured.NestedString(s.Object, "data", "value")
	if err != nil {
		return nil, err
	}
	return clientOf(t, unbase64(t, value)), nil
}

// applyWorkload applies the laboratory's workload with one pod.
func applyWorkload(ctx context.Context, t *testing.T, guest dynamic.Interface, lab *laboratory) error {
	if guest == nil {
		return fmt.Errorf("no way in yet")
	}
	raw, err := os.ReadFile(filepath.Join(lab.dir, "workload.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for doc := range strings.SplitSeq(strings.Replace(string(raw), "replicas: 6", "replicas: 1", 1), "---\n") {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &u.Object); err != nil {
			return err
		}
		r := schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
		if u.GetKind() == "Deployment" {
			r = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
		}
		if _, err := guest.Resource(r).Namespace(u.GetNamespace()).Apply(ctx, u.GetName(), u, metav1.ApplyOptions{FieldManager: "e2e", Force: true}); err != nil {
			return err
		}
	}
	return nil
}

// waits says whether a container of the workload waits for one of the reasons.
func (m member) waits(ctx context.Context, guest dynamic.Interface, reasons ...string) (bool, error) {
	list, err := guest.Resource(pods).Namespace("demo").List(ctx, metav1.ListOptions{})
	if err != nil {
		return false, nil // as above
	}
	for _, p := range list.Items {
		statuses, _, _ := unstructured.NestedSlice(p.Object, "status", "containerStatuses")
		for _, s := range statuses {
			reason, _, _ := unstructured.NestedString(s.(map[string]any), "state", "waiting", "reason")
			if slices.Contains(reasons, reason) {
				return true, nil
			}
		}
	}
	return false, nil
}

// makeAll creates the clusters of fleets, all at once.
func makeAll(t *testing.T, lab *laboratory, fleets map[string][]member) {
	t.Helper()
	began := time.Now()
	var g errgroup.Group
	for fleet, all := range fleets {
		for _, m := range all {
			g.Go(func() error { return m.make(t.Context(), t, lab, fleet) })
		}
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("the clusters are there after %s", time.Since(began).Round(time.Second))
}

// trio are three more, the first of which is to fail.
func trio() []member {
	return []member{{"s0", "", ""}, {"s1", "tanzukubernetescluster", ""}, {"s2", "builtin-generic-v3.6.0", "vmware-system-vks-public"}}
}

// TestFleet mends eight clusters of mixed generations in one run. In another run, over three clusters, the first fails: the other two are
// untouched.
func TestFleet(t *testing.T) {
	lab := upOf(t, "builtin-generic-v1beta2", "missing-ca")
	makeAll(t, lab, map[string][]member{"eight": members(), "trio": trio()})
	t.Run("FailedCanary", func(t *testing.T) {
		t.Parallel()
		testFailedCanary(t, lab, trio()[0], trio()[1:])
	})
	t.Run("Eight", func(t *testing.T) {
		t.Parallel()
		testEight(t, lab)
	})
}

// testFailedCanary holds the canary's old node in its drain. The run must stop at that cluster, say so, and leave the others as they are,
// byte for byte.
func testFailedCanary(t *testing.T, lab *laboratory, canary member, others []member) {
	guest, err := canary.guest(t.Context(), t, lab)
	if err != nil || guest == nil {
		t.Fatalf("the way into %s: %v", canary.name, err)
	}
	held := holdPods(t, guest, holdFinalizer)
	before := snapshot(t, lab, others)
	// The roll may take longer than a test can wait. In the shipped file it may take an hour and a half.
	short := shorter(t, "      timeout: 90m\n", "      timeout: 45s\n")
	r := tkgfixAlone(t, lab, "run", "--auto-approve", short,
		"--input", "ca="+lab.ca("root"), "--input", "sshPort="+lab.ssh, "--input", "clusters=team-a/s0,team-a/s1,team-a/s2")
	r.wantCode(t, 1).wantSaid(t,
		"trust: brake: the canary failed: trust[0] team-a/s0; not begun: trust[1] team-a/s1, trust[2] team-a/s2",
		"hint: when that is mended: tkgfix resume")
	if diff := cmp.Diff(before, snapshot(t, lab, others)); diff != "" {
		t.Errorf("the others are not what they were (-before, +after):\n%s", diff)
	}
	for _, m := range others {
		for _, server := range []string{"supervisor", "team-a-" + m.name} {
			wrote := lab.audit(t, server, func(a audited) bool {
				return a.writes() && byTkgfix(a) && a.ResponseStatus.Code < 300 && (server != "supervisor" || strings.HasPrefix(a.ObjectRef.Name, m.name))
			})
			if len(wrote) > 0 {
				t.Errorf("tkgfix wrote to %s: %v", m.name, wrote)
			}
		}
	}
	if wrote := lab.writes(t, canary.resource().Resource, canary.name); wrote["patch"] != 1 {
		t.Errorf("the canary was begun: writes %v, want one patch", wrote)
	}
	// The node's pods are let go, and with them the node: the same run goes on and mends all three.
	for _, name := range held {
		patch := []byte(`{"metadata":{"finalizers":null}}`)
		_, err := guest.Resource(pods).Namespace("demo").Patch(t.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
	}
	run := runID(t, r.stderr)
	tkgfixAlone(t, lab, "resume", run).wantCode(t, 0)
	for _, m := range append([]member{canary}, others...) {
		if diff := cmp.Diff(map[string]int{"Running": 1}, lab.phases(t, m.name)); diff != "" {
			t.Errorf("pods of %s (-want, +got):\n%s", m.name, diff)
		}
	}
	if wrote := lab.writes(t, canary.resource().Resource, canary.name); wrote["patch"] != 1 {
		t.Errorf("the canary's trust was declared once: writes %v", wrote)
	}
}

// tkgfixAlone runs tkgfix as the platform team, beside others of it.
func tkgfixAlone(t *testing.T, lab *laboratory, args ...string) result {
	t.Helper()
	return command(t, []string{"KUBECONFIG=" + lab.kubeconfig("platform"), "TKGFIX_STATE=" + lab.state}, filepath.Join(bin, "tkgfix"), args...)
}

// holdPods gives the pods of the workload a finalizer, and returns their names.
func holdPods(t *testing.T, guest dynamic.Interface, finalizer string) []string {
	t.Helper()
	list, err := guest.Resource(pods).Namespace("demo").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) == 0 {
		t.Fatalf("the pods to hold: %v, %v", list, err)
	}
	var names []string
	for _, p := range list.Items {
		patch := fmt.Appendf(nil, `{"metadata":{"finalizers":[%q]}}`, finalizer)
		if _, err := guest.Resource(pods).Namespace("demo").Patch(t.Context(), p.GetName(), types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		names = append(names, p.GetName())
	}
	return names
}

// shorter returns a copy of the fleet's workflow with one thing replaced.
func shorter(t *testing.T, from, to string) string {
	t.Helper()
	raw, err := os.ReadFile(fleetWorkflow)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(raw), from) {
		t.Fatalf("%s does not hold %q", fleetWorkflow, from)
	}
	path := filepath.Join(t.TempDir(), "fleet.yaml")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(raw), from, to)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// runID returns the run that a command began.
func runID(t *testing.T, stderr string) string {
	t.Helper()
	for line := range strings.Lines(stderr) {
		if id, ok := strings.CutPrefix(strings.TrimSpace(line), "tkgfix: run "); ok {
			return id
		}
	}
	t.Fatalf("no run was begun:\n%s", stderr)
	return ""
}

// snapshot returns all that a Supervisor holds of clusters, but for what it keeps by itself, and what the clusters hold of their nodes.
func snapshot(t *testing.T, lab *laboratory, all []member) map[string]string {
	t.Helper()
	out := map[string]string{}
	put := func(u *unstructured.Unstructured) {
		u = u.DeepCopy()
		unstructured.RemoveNestedField(u.Object, "status")
		unstructured.RemoveNestedField(u.Object, "metadata", "resourceVersion")
		unstructured.RemoveNestedField(u.Object, "metadata", "managedFields")
		raw, err := json.Marshal(u.Object)
		if err != nil {
			t.Fatal(err)
		}
		out[u.GetKind()+" "+u.GetName()] = string(raw)
	}
	machines := schema.GroupVersionResource{Group: "cluster.x-k8s.io", Version: "v1beta2", Resource: "machines"}
	capi := schema.GroupVersionResource{Group: "cluster.x-k8s.io", Version: "v1beta2", Resource: "clusters"}
	for _, m := range all {
		put(lab.get(t, m.resource(), "team-a", m.name))
		put(lab.get(t, capi, "team-a", m.name))
	}
	for _, r := range []schema.GroupVersionResource{machines, secrets} {
		list, err := lab.client(t).Resource(r).Namespace("team-a").List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range list.Items {
			if slices.ContainsFunc(all, func(m member) bool { return strings.HasPrefix(list.Items[i].GetName(), m.name+"-") }) {
				put(&list.Items[i])
			}
		}
	}
	if len(out) < 4*len(all) {
		t.Fatalf("only %d objects of %d clusters", len(out), len(all))
	}
	return out
}

// testEight mends eight clusters in one run. The plan names each and what is done there.
func testEight(t *testing.T, lab *laboratory) {
	inputs := []string{"--input", "ca=" + lab.ca("root"), "--input", "sshPort=" + lab.ssh, "--input", "selector=" + fleetLabel + "=eight"}
	p := tkgfixAlone(t, lab, append([]string{"plan", fleetWorkflow}, inputs...)...).wantCode(t, 0)
	if !strings.Contains(p.stdout, "in the own trust of 8 clusters") {
		t.Errorf("the gate does not say how many clusters it is about:\n%s", p.stdout)
	}
	began := time.Now()
	r := tkgfixAlone(t, lab, append([]string{"run", "--auto-approve", fleetWorkflow}, inputs...)...).wantCode(t, 0)
	t.Logf("8 clusters were mended in one run after %s", time.Since(began).Round(time.Second))
	if strings.Contains(r.stderr, "brake") {
		t.Errorf("a brake:\n%s", r.stderr)
	}
	for _, m := range members() {
		if !strings.Contains(p.stdout, " team-a/"+m.name+":\n") {
			t.Errorf("the plan has no heading for the changes of %s", m.name)
		}
		if diff := cmp.Diff(map[string]int{"Running": 1}, lab.phases(t, m.name)); diff != "" {
			t.Errorf("pods of %s (-want, +got):\n%s", m.name, diff)
		}
	}
	// A second run has nothing to do.
	r = tkgfixAlone(t, lab, append([]string{"plan", "--detailed-exitcode", fleetWorkflow}, inputs...)...).wantCode(t, 0)
	if !strings.Contains(r.stdout, "No changes.") {
		t.Errorf("after the run:\n%s", r.stdout)
	}
}
