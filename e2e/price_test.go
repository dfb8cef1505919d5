package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// The kinds that the price counts in a workload cluster.
var (
	namespaces  = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	services    = schema.GroupVersionResource{Version: "v1", Resource: "services"}
	volumes     = schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumes"}
	claims      = schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	snapshots   = schema.GroupVersionResource{Group: "snapshot.storage.k8s.io", Version: "v1", Resource: "volumesnapshots"}
)

const snapshotDefinition = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: volumesnapshots.snapshot.storage.k8s.io, annotations: {api-approved.kubernetes.io: "https://github.com/kubernetes-csi/external-snapshotter/pull/814"}}
spec:
  group: snapshot.storage.k8s.io
  names: {kind: VolumeSnapshot, plural: volumesnapshots, singular: volumesnapshot, listKind: VolumeSnapshotList}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`

const priceWorkflow = `
apiVersion: tkgfix.dev/v1alpha1
kind: Workflow
metadata: {name: price}
spec:
  inputs:
    ca: {type: file}
    sshPort: {type: integer}
    maxVolumesLost: {type: integer, default: 3}
  connections:
    supervisor: {}
    nodes: {via: ssh, user: vmware-system-user, port: "${{ inputs.sshPort }}"}
  steps:
    - id: recreate
      uses: recreate-cluster
      timeout: 30m
      with:
        cluster: team-a/dev1
        registry: registry.lab:5443
        ca: "${{ inputs.ca }}"
        budget: {maxVolumesLost: "${{ inputs.maxVolumesLost }}"}
      approval: {message: delete dev1}
`

// TestPrice holds the price of a cluster against what was put there: 3 volumes, of which one has a snapshot, 2 load balancers, 41 pods and
// more. A volume that appears after the approval voids it, and pods that come do not.
func TestPrice(t *testing.T) {
	t.Parallel()
	lab := up(t, "missing-ca")
	dev1 := lab.workloadClient(t, "dev1")
	furnish(t, dev1)
	file := filepath.Join(t.TempDir(), "price.yaml")
	if err := os.WriteFile(file, []byte(priceWorkflow), 0o600); err != nil {
		t.Fatal(err)
	}
	platform := lab.kubeconfig("platform")
	args := []string{file, "--input", "ca=" + lab.ca("root"), "--input", "sshPort=" + lab.ssh}

	plan := decodePlan(t, lab.tkgfix(t, platform, append([]string{"plan", "--output", "json"}, args...)...).wantCode(t, 0)).step(t, "recreate")
	wantPrice(t, plan)

	waiting := lab.tkgfix(t, platform, append([]string{"run"}, args...)...).wantCode(t, 3)
	id := waiting.runID(t)
	lab.approveAll(t, waiting)
	first := lab.show(t, id).Plan.Gates[0].Digest
	// Within the budget of another run of the same workflow, so that the void approval is what stops it and not the bound.
	four := lab.tkgfix(t, platform, append([]string{"run"}, append(args, "--input", "maxVolumesLost=4")...)...).wantCode(t, 3)
	fourID := four.runID(t)
	lab.approveAll(t, four)
	volume(t, dev1, 4)

	back := lab.tkgfix(t, platform, "resume", fourID).wantCode(t, 3)
	back.wantSaid(t, "PersistentVolumeClaim shop/data-4")
	if now := lab.show(t, fourID); now.Status != "waiting" {
		t.Errorf("the run is %s, and should wait at the gate again", now.Status)
	}
	over := lab.tkgfix(t, platform, "resume", id).wantCode(t, 1)
	over.wantSaid(t, "4 volumes would be lost, and budget.maxVolumesLost is 3")
	if now := lab.show(t, id).Plan.Gates; len(now) > 0 && now[0].Digest == first {
		t.Log("the gate of the blocked run has the digest of before")
	}
	if got := lab.writes(t, "tanzukubernetesclusters", "dev1"); len(got) > 0 {
		t.Errorf("dev1 was touched: %v", got)
	}
}

// workloadClient returns an administrator's client of a workload cluster.
func (l *laboratory) workloadClient(t *testing.T, cluster string) dynamic.Interface {
	t.Helper()
	value, _, err := unstructured.NestedString(l.get(t, secrets, "team-a", cluster+"-kubeconfig").Object, "data", "value")
	if err != nil {
		t.Fatal(err)
	}
	return clientOf(t, unbase64(t, value))
}

// furnish puts into a cluster what the price must count, and some of what it must not.
func furnish(t *testing.T, c dynamic.Interface) {
	t.Helper()
	if err := c.Resource(deployments).Namespace("demo").Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	applyTo(t, c, namespaces, "", "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}")
	applyTo(t, c, crds, "", snapshotDefinition)
	for i := 1; i <= 3; i++ {
		volume(t, c, i)
	}
	applyTo(t, c, snapshots, "shop", "{apiVersion: snapshot.storage.k8s.io/v1, kind: VolumeSnapshot, metadata: {name: nightly, namespace: shop}, spec: {source: {persistentVolumeClaimName: data-1}}}")
	for i, name := range []string{"web", "mail"} {
		made := applyTo(t, c, services, "shop", fmt.Sprintf("{apiVersion: v1, kind: Service, metadata: {name: %s, namespace: shop}, spec: {type: LoadBalancer, ports: [{port: 80}]}}", name))
		_ = unstructured.SetNestedSlice(made.Object, []any{map[string]any{"ip": fmt.Sprintf("10.0.0.%d", 30+i)}}, "status", "loadBalancer", "ingress")
		if _, err := c.Resource(services).Namespace("shop").UpdateStatus(t.Context(), made, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []string{
		"{apiVersion: v1, kind: Secret, metadata: {name: db, namespace: shop}, type: Opaque, stringData: {password: hunter2}}",
		"{apiVersion: v1, kind: Secret, metadata: {name: pull, namespace: shop}, type: kubernetes.io/dockerconfigjson, stringData: {.dockerconfigjson: '{}'}}",
		"{apiVersion: v1, kind: Secret, metadata: {name: tls, namespace: shop}, type: kubernetes.io/tls, stringData: {tls.crt: crt, tls.key: key}}",
		// Made again by whom it belongs to.
		"{apiVersion: v1, kind: Secret, metadata: {name: chart, namespace: shop, annotations: {meta.helm.sh/release-name: shop}}, type: Opaque}",
		"{apiVersion: v1, kind: Secret, metadata: {name: synced, namespace: shop, labels: {kustomize.toolkit.fluxcd.io/name: shop}}, type: Opaque}",
	} {
		applyTo(t, c, secrets, "shop", s)
	}
	applyTo(t, c, deployments, "shop", "{apiVersion: apps/v1, kind: Deployment, metadata: {name: many, namespace: shop}, spec: {replicas: 41, selector: {matchLabels: {app: many}}, "+
		"template: {metadata: {labels: {app: many}}, spec: {automountServiceAccountToken: false, containers: [{name: c, image: 'registry.lab:5443/demo/web:1'}]}}}}")
	eventually(t, "wait for 41 pods", func() error {
		list, err := c.Resource(pods).List(t.Context(), metav1.ListOptions{})
		if err == nil && len(list.Items) != 41 {
			err = fmt.Errorf("there are %d pods", len(list.Items))
		}
		return err
	})
}

// volume makes a PersistentVolume and a claim that is bound to it, by hand, as no CSI driver is there.
func volume(t *testing.T, c dynamic.Interface, i int) {
	t.Helper()
	policy := "Delete"
	if i == 3 {
		policy = "Retain"
	}
	applyTo(t, c, volumes, "", fmt.Sprintf("{apiVersion: v1, kind: PersistentVolume, metadata: {name: pv-%d}, spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], storageClassName: gold, "+
		"persistentVolumeReclaimPolicy: %s, claimRef: {namespace: shop, name: data-%d}, hostPath: {path: /tmp}}}", i, policy, i))
	applyTo(t, c, claims, "shop", fmt.Sprintf("{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data-%d, namespace: shop}, spec: {accessModes: [ReadWriteOnce], storageClassName: gold, "+
		"volumeName: pv-%d, resources: {requests: {storage: 1Gi}}}}", i, i))
}

// wantPrice holds the numbers, and the lines that the approval covers, against what was put there.
func wantPrice(t *testing.T, plan shownStep) {
	t.Helper()
	want := map[string]any{
		"clusters": 1.0, "nodes": 3.0, "controlPlaneNodes": 1.0, "workerNodes": 2.0, "pods": 41.0,
		"workloads": 1.0, "deployments": 1.0, "statefulSets": 0.0, "daemonSets": 0.0, "cronJobs": 0.0, "jobs": 0.0,
		"volumes": 3.0, "volumesRetained": 1.0, "snapshots": 1.0, "loadBalancers": 2.0, "addresses": 2.0, "apiAddresses": 1.0,
		"secrets": 2.0, "certificates": 1.0, "addOns": 0.0, "addOnsLost": 0.0, "kubeconfigs": 1.0, "downtimeMinutesMin": 6.0, "downtimeMinutesMax": 39.0,
	}
	if diff := cmp.Diff(want, plan.outputs(t)["price"]); diff != "" {
		t.Errorf("the price (-want, +got):\n%s", diff)
	}
	if len(plan.Blocks) > 0 {
		t.Errorf("within its budget the plan is blocked: %+v", plan.Blocks)
	}
	var got []string
	for _, line := range plan.Changes[0].Lost {
		if strings.Contains(line, "shop") {
			got = append(got, line)
		}
	}
	lines := []string{
		"LoadBalancer Service shop/mail: address 10.0.0.31 is given back",
		"LoadBalancer Service shop/web: address 10.0.0.30 is given back",
		"PersistentVolumeClaim shop/data-1 (1Gi, StorageClass gold, PersistentVolume pv-1): reclaim policy Delete, the data does not come back" +
			"; with 1 snapshot that cannot be restored from the new cluster: shop/nightly",
		"PersistentVolumeClaim shop/data-2 (1Gi, StorageClass gold, PersistentVolume pv-2): reclaim policy Delete, the data does not come back",
		"PersistentVolumeClaim shop/data-3 (1Gi, StorageClass gold, PersistentVolume pv-3): reclaim policy Retain, the disk may be left over but nothing binds it again",
		"Secret shop/db in the cluster (Opaque): no mark says that Git, Flux or Helm makes it again",
		"Secret shop/pull in the cluster (kubernetes.io/dockerconfigjson): no mark says that Git, Flux or Helm makes it again",
		"Secret shop/tls in the cluster (kubernetes.io/tls): no mark says that Git, Flux or Helm makes it again",
		"workloads in namespace shop: 1 Deployments, 0 StatefulSets, 0 DaemonSets",
	}
	if diff := cmp.Diff(lines, got); diff != "" {
		t.Errorf("what the approval covers (-want, +got):\n%s", diff)
	}
}
