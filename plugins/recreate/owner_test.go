package recreate

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

func TestOwnerBlocks(t *testing.T) {
	t.Parallel()
	with := func(metadata, spec string) string {
		return `{apiVersion: run.tanzu.vmware.com/v1alpha3, kind: TanzuKubernetesCluster, metadata: {name: dev1, namespace: team-a, ` + metadata + `}, spec: {` + spec + `}}`
	}
	cases := map[string]struct {
		reason string
		tkc    string
		want   []string // a part of each block's reason
	}{
		"retiring":     {reason: "the owner is about to be another", tkc: with(`labels: {kubernetes.vmware.com/retire-tkc: ""}`, ""), want: []string{"is being retired"}},
		"free":         {reason: "nobody's cluster may be recreated", tkc: with(`labels: {team: a}, annotations: {note: x}`, "")},
		"deleting":     {reason: "a second deletion is nobody's plan", tkc: with(`deletionTimestamp: "2026-10-01T10:00:00Z"`, ""), want: []string{"is being deleted already"}},
		"paused":       {reason: "a paused cluster is never torn down", tkc: with(`annotations: {cluster.x-k8s.io/paused: ""}`, ""), want: []string{"is paused"}},
		"spec.paused":  {reason: "the field counts as the annotation does", tkc: with("", "paused: true"), want: []string{"is paused"}},
		"not paused":   {reason: "false is not paused", tkc: with("", "paused: false")},
		"Argo label":   {reason: "Argo CD would put the old manifest back", tkc: with(`labels: {argocd.argoproj.io/instance: clusters}`, ""), want: []string{"Argo CD keeps it as its source says: Application clusters"}},
		"Argo id":      {reason: "Argo CD's other mark is an annotation", tkc: with(`annotations: {argocd.argoproj.io/tracking-id: "c:x/y:z/dev1"}`, ""), want: []string{"Argo CD keeps it"}},
		"Argo options": {reason: "an option for Argo CD does not say that it manages the cluster", tkc: with(`annotations: {argocd.argoproj.io/sync-options: "Delete=false"}`, "")},
		"Flux":         {reason: "Flux names its Kustomization", tkc: with(`labels: {kustomize.toolkit.fluxcd.io/name: clusters, kustomize.toolkit.fluxcd.io/namespace: flux-system}`, ""), want: []string{"Kustomization flux-system/clusters"}},
		"Flux Helm":    {reason: "and its HelmRelease", tkc: with(`labels: {helm.toolkit.fluxcd.io/name: c}`, ""), want: []string{"HelmRelease c"}},
		"Helm": {
			reason: "Helm's two marks are one block",
			tkc:    with(`labels: {app.kubernetes.io/managed-by: Helm}, annotations: {meta.helm.sh/release-name: c}`, ""), want: []string{"release c"},
		},
		"kubectl": {reason: "managed-by of anything else says nothing", tkc: with(`labels: {app.kubernetes.io/managed-by: me}`, "")},
		"kapp":    {reason: "kapp re-applies as well", tkc: with(`labels: {kapp.k14s.io/app: "17"}`, ""), want: []string{"application 17"}},
		"TMC": {
			reason: "Tanzu Mission Control owns what it made; many marks are one source",
			tkc:    with(`labels: {tmc.cloud.vmware.com/managed: "true"}, annotations: {policy.tmc.cloud.vmware.com/x: y}`, ""), want: []string{"Tanzu Mission Control keeps it"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			blocks := ownerBlocks(ownerOf(object(t, tc.tkc)), nil)
			if len(blocks) != len(tc.want) {
				t.Fatalf("%s: %d blocks, want %d: %+v", tc.reason, len(blocks), len(tc.want), blocks)
			}
			for i, want := range tc.want {
				if !strings.Contains(blocks[i].Reason, want) || blocks[i].Hint == "" {
					t.Errorf("%s: block %+v, want %q in its reason, and a hint", tc.reason, blocks[i], want)
				}
			}
		})
	}
}

// ownerOf is what tkg.FindOwner makes of an object.
func ownerOf(obj *unstructured.Unstructured) tkg.Owner {
	_, retiring := obj.GetLabels()["kubernetes.vmware.com/retire-tkc"]
	return tkg.Owner{Kind: obj.GetKind(), UID: obj.GetUID(), Object: obj, Retiring: retiring}
}

// The block about another's hands says where the manifest is to be mended, and with what command its source is seen.
func TestManagedBlockNamesTheSource(t *testing.T) {
	t.Parallel()
	blocks := ownerBlocks(ownerOf(object(t, `{apiVersion: cluster.x-k8s.io/v1beta2, kind: Cluster, metadata: {name: dev3, namespace: team-a, labels: {argocd.argoproj.io/instance: clusters}}}`)), nil)
	want := []plugins.Block{{
		Reason: "Cluster team-a/dev3 would get its old manifest back: Argo CD keeps it as its source says: Application clusters (argocd.argoproj.io/instance: clusters)",
		Hint: "put the corrected manifest there, and let it recreate the cluster: it is the create of the cluster in this plan (tkgfix plan ... --output json " +
			"has it whole); or take the cluster out of its hands first; see the source: argocd app get clusters",
	}}
	if diff := cmp.Diff(want, blocks); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}

func TestOwnerBlocksLookAtTheClusterToo(t *testing.T) {
	t.Parallel()
	blocks := ownerBlocks(ownerOf(object(t, tkcAlive)), object(t, `{apiVersion: cluster.x-k8s.io/v1beta2, kind: Cluster, metadata: {name: dev1, namespace: team-a}, spec: {paused: true}}`))
	want := []string{"Cluster team-a/dev1 is paused, and a paused cluster is never torn down"}
	var got []string
	for _, b := range blocks {
		got = append(got, b.Reason)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}
