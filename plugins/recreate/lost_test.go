package recreate

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/tkgfix/tkgfix/internal/kube"
)

func TestLost(t *testing.T) {
	t.Parallel()
	inv := inventory{
		endpoint: "10.0.0.10:6443", controlPlane: 3, workers: 2,
		secrets:    []string{"team-a/dev1-ssh", "team-a/dev1-kubeconfig"},
		addonsLost: []string{"add-on settings ClusterBootstrap team-a/dev1 on the Supervisor: not saved, because it holds a credential"},
		keysLost:   []string{"the key note of Secret dev1-user-trusted-ca-secret: it holds no certificate, and nothing of the cluster's names it"},
		volumes: []volume{
			{claim: "shop/data-1", name: "pvc-2", class: "gold", size: "20Gi", reclaim: "Retain"},
			{claim: "shop/data-0", name: "pvc-1", class: "gold", size: "10Gi", reclaim: "Delete"},
			{claim: "shop/pending"},
			{name: "pv-left", size: "1Gi", reclaim: "Retain"},
		},
		snapshots:         []snapshot{{name: "shop/snap-b", claim: "shop/data-0"}, {name: "shop/snap-a", claim: "shop/data-0"}, {name: "shop/stray", claim: "shop/gone"}, {name: "shop/static"}},
		own:               []ownSecret{{name: "shop/tls", kind: "kubernetes.io/tls", certificate: true}, {name: "shop/db", kind: "Opaque"}},
		services:          []service{{name: "shop/web", addresses: []string{"10.0.0.31", "10.0.0.30"}}, {name: "shop/new"}},
		workloads:         map[string]counts{"shop": {"Deployment": 2, "StatefulSet": 1, "CronJob": 1}, "demo": {"DaemonSet": 1}},
		supervisorVolumes: []string{"team-a/5f6e-pvc"},
	}
	want := []string{
		"API address 10.0.0.10:6443: the new cluster may get another; kubeconfigs and DNS names must follow",
		"LoadBalancer Service shop/new: no address yet",
		"LoadBalancer Service shop/web: address 10.0.0.30, 10.0.0.31 is given back",
		"PersistentVolumeClaim shop/data-0 (10Gi, StorageClass gold, PersistentVolume pvc-1): reclaim policy Delete, the data does not come back" +
			"; with 2 snapshots that cannot be restored from the new cluster: shop/snap-a, shop/snap-b",
		"PersistentVolumeClaim shop/data-1 (20Gi, StorageClass gold, PersistentVolume pvc-2): reclaim policy Retain, the disk may be left over but nothing binds it again",
		"PersistentVolumeClaim shop/pending: no volume is bound to it",
		"PersistentVolumeClaim team-a/5f6e-pvc on the Supervisor: may stay or go (sources disagree), and is not bound again",
		"PersistentVolume pv-left without a claim (1Gi): reclaim policy Retain, the disk may be left over but nothing binds it again",
		"Secret shop/db in the cluster (Opaque): no mark says that Git, Flux or Helm makes it again",
		"Secret shop/tls in the cluster (kubernetes.io/tls): no mark says that Git, Flux or Helm makes it again",
		"VolumeSnapshot shop/static: no claim of it is left, and it goes with the cluster",
		"VolumeSnapshot shop/stray: no claim of it is left, and it goes with the cluster",
		"Secret team-a/dev1-kubeconfig on the Supervisor: made anew with other content",
		"Secret team-a/dev1-ssh on the Supervisor: made anew with other content",
		"add-on settings ClusterBootstrap team-a/dev1 on the Supervisor: not saved, because it holds a credential",
		"etcd: every object in the cluster that no file of yours holds, among them its Secrets, custom resources and role bindings",
		"nodes: 3 of the control plane and 2 workers, with all that is on their disks",
		"registrations of the cluster elsewhere (Argo CD, Rancher, Tanzu Mission Control, backup, monitoring)",
		"the key note of Secret dev1-user-trusted-ca-secret: it holds no certificate, and nothing of the cluster's names it",
		"workloads in namespace demo: 0 Deployments, 0 StatefulSets, 1 DaemonSets",
		"workloads in namespace shop: 2 Deployments, 1 StatefulSets, 0 DaemonSets, 1 CronJobs",
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, inv.lost()); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}

	// Another order of the same things must not void an approval.
	slices.Reverse(inv.secrets)
	slices.Reverse(inv.volumes)
	slices.Reverse(inv.snapshots)
	slices.Reverse(inv.own)
	slices.Reverse(inv.services)
	slices.Reverse(inv.services[1].addresses)
	if diff := cmp.Diff(want, inv.lost()); diff != "" {
		t.Errorf("the order in which things are listed moves the plan: -want, +got:\n%s", diff)
	}
}

func TestLostIsBounded(t *testing.T) {
	t.Parallel()
	inv := inventory{}
	for range 2 * maxLines {
		inv.volumes = append(inv.volumes, volume{claim: "a/b"})
	}
	got := inv.lost()
	if !slices.Contains(got, "PersistentVolumeClaim: 500 more") {
		t.Errorf("%d lines, and none says how many are left out", len(got))
	}
	if len(got) > maxLines+10 {
		t.Errorf("%d lines", len(got))
	}
}

func TestVolumes(t *testing.T) {
	t.Parallel()
	reclaim := map[string]string{"pvc-1": "Delete"}
	claim := func(text string) *corev1.PersistentVolumeClaim {
		pvc, err := kube.As[corev1.PersistentVolumeClaim](object(t, text))
		if err != nil {
			t.Fatal(err)
		}
		return pvc
	}
	bound := claim(`{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data, namespace: shop}, spec: {storageClassName: gold, volumeName: pvc-1, resources: {requests: {storage: 10Gi}}}}`)
	want := volume{claim: "shop/data", name: "pvc-1", class: "gold", size: "10Gi", reclaim: "Delete"}
	if diff := cmp.Diff(want, volumeOf(bound, reclaim), cmp.AllowUnexported(volume{})); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
	if isEphemeral(bound) {
		t.Error("a claim of its own is lost and must be listed")
	}
	if !isEphemeral(claim(`{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: web-x7k2-tmp, namespace: shop, ownerReferences: [{apiVersion: v1, kind: Pod, name: web-x7k2, uid: p1}]}}`)) {
		t.Error("a pod's own volume comes and goes with pods, and would move the plan")
	}
}

// A cluster that never came up holds nothing, and a plan says so instead of guessing.
func TestLostOfAClusterThatNeverCameUp(t *testing.T) {
	t.Parallel()
	got := inventory{empty: true, controlPlane: 1}.lost()
	want := []string{
		"nodes: 1 of the control plane and 0 workers, with all that is on their disks",
		"nothing in the cluster: its control plane has never come up, so that nobody can have put anything into it; counted on the Supervisor alone",
		"registrations of the cluster elsewhere (Argo CD, Rancher, Tanzu Mission Control, backup, monitoring)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}
