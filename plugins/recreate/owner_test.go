package recreate

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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
		"free":         {reason: "nobody's cluster may be recreated", tkc: with(`labels: {team: a}, annotations: {note: x}`, "")},
		"deleting":     {reason: "a second deletion is nobody's plan", tkc: with(`deletionTimestamp: "2026-10-01T10:00:00Z"`, ""), want: []string{"is being deleted already"}},
		"paused":       {reason: "a paused cluster is never torn down", tkc: with(`annotations: {cluster.x-k8s.io/paused: ""}`, ""), want: []string{"is paused"}},
		"spec.paused":  {reason: "the field counts as the annotation does", tkc: with("", "paused: true"), want: []string{"is paused"}},
		"not paused":   {reason: "false is not paused", tkc: with("", "paused: false")},
		"Argo label":   {reason: "Argo CD would put the old manifest back", tkc: with(`labels: {argocd.argoproj.io/instance: clusters}`, ""), want: []string{"managed by Argo CD (argocd.argoproj.io/instance: clusters)"}},
		"Argo id":      {reason: "Argo CD's other mark is an annotation", tkc: with(`annotations: {argocd.argoproj.io/tracking-id: "c:x/y:z/dev1"}`, ""), want: []string{"managed by Argo CD"}},
		"Argo options": {reason: "an option for Argo CD does not say that it manages the cluster", tkc: with(`annotations: {argocd.argoproj.io/sync-options: "Delete=false"}`, "")},
		"Flux":         {reason: "Flux names its Kustomization", tkc: with(`labels: {kustomize.toolkit.fluxcd.io/name: clusters, kustomize.toolkit.fluxcd.io/namespace: flux-system}`, ""), want: []string{"the Flux Kustomization clusters"}},
		"Flux Helm":    {reason: "and its HelmRelease", tkc: with(`labels: {helm.toolkit.fluxcd.io/name: c}`, ""), want: []string{"the Flux HelmRelease c"}},
		"Helm": {
			reason: "Helm's two marks are two blocks at most, each source once",
			tkc:    with(`labels: {app.kubernetes.io/managed-by: Helm}, annotations: {meta.helm.sh/release-name: c}`, ""), want: []string{"Helm (app.kubernetes.io/managed-by)", "the Helm release c"},
		},
		"kubectl": {reason: "managed-by of anything else says nothing", tkc: with(`labels: {app.kubernetes.io/managed-by: me}`, "")},
		"kapp":    {reason: "kapp re-applies as well", tkc: with(`labels: {kapp.k14s.io/app: "17"}`, ""), want: []string{"the kapp application 17"}},
		"TMC": {
			reason: "Tanzu Mission Control owns what it made; many marks are one source",
			tkc:    with(`labels: {tmc.cloud.vmware.com/managed: "true"}, annotations: {policy.tmc.cloud.vmware.com/x: y}`, ""), want: []string{"managed by Tanzu Mission Control"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			blocks := ownerBlocks(object(t, tc.tkc), nil)
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

func TestOwnerBlocksLookAtTheClusterToo(t *testing.T) {
	t.Parallel()
	blocks := ownerBlocks(object(t, tkcAlive), object(t, `{apiVersion: cluster.x-k8s.io/v1beta2, kind: Cluster, metadata: {name: dev1, namespace: team-a}, spec: {paused: true}}`))
	want := []string{"Cluster team-a/dev1 is paused, and a paused cluster is never torn down"}
	var got []string
	for _, b := range blocks {
		got = append(got, b.Reason)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}
