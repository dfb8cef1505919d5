package recreate

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/plugins"
)

// pausedAnnotation stops the Cluster API's controllers, so that a deletion would never end.
const pausedAnnotation = "cluster.x-k8s.io/paused"

// ownerBlocks says why the cluster that these objects stand for must not be deleted: the TanzuKubernetesCluster and, when there is one,
// its Cluster.
func ownerBlocks(objects ...*unstructured.Unstructured) []plugins.Block {
	var blocks []plugins.Block
	for _, obj := range objects {
		if obj == nil {
			continue
		}
		if at := obj.GetDeletionTimestamp(); at != nil {
			blocks = append(blocks, plugins.Block{
				Reason: fmt.Sprintf("%s is being deleted already", describe(obj)),
				Hint:   "find out who does it and let it end, then create the cluster from its manifest; nothing is left to recreate",
			})
		}
		if isPaused(obj) {
			blocks = append(blocks, plugins.Block{
				Reason: fmt.Sprintf("%s is paused, and a paused cluster is never torn down", describe(obj)),
				Hint:   "find out who paused it and why; then take spec.paused or the annotation " + pausedAnnotation + " away",
			})
		}
		for _, source := range managers(obj) {
			blocks = append(blocks, plugins.Block{
				Reason: fmt.Sprintf("%s is managed by %s, which would put the old manifest back", describe(obj), source),
				Hint:   "mend the manifest at that source and let it recreate the cluster, or take the cluster out of its hands first",
			})
		}
	}
	return blocks
}

func isPaused(obj *unstructured.Unstructured) bool {
	if _, ok := obj.GetAnnotations()[pausedAnnotation]; ok {
		return true
	}
	paused, _, _ := unstructured.NestedBool(obj.Object, "spec", "paused")
	return paused
}

// managers names what keeps an object in the state of a manifest elsewhere (tkg-facts.md §4, GitOps), each source once.
func managers(obj *unstructured.Unstructured) []string {
	// Flux and Argo put their marks into either map, depending on their settings.
	marks := map[string]string{}
	maps.Copy(marks, obj.GetLabels())
	maps.Copy(marks, obj.GetAnnotations())

	found := map[string]bool{}
	for key, value := range marks {
		if source := managerOf(key, value); source != "" {
			found[source] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

func managerOf(key, value string) string {
	domain, _, _ := strings.Cut(key, "/")
	switch {
	case domain == "argocd.argoproj.io" && !strings.HasSuffix(key, "/sync-options"):
		return fmt.Sprintf("Argo CD (%s: %s)", key, value)
	case key == "kustomize.toolkit.fluxcd.io/name":
		return fmt.Sprintf("the Flux Kustomization %s", value)
	case key == "helm.toolkit.fluxcd.io/name":
		return fmt.Sprintf("the Flux HelmRelease %s", value)
	case key == "meta.helm.sh/release-name":
		return fmt.Sprintf("the Helm release %s", value)
	case key == "app.kubernetes.io/managed-by" && strings.EqualFold(value, "helm"):
		return "Helm (app.kubernetes.io/managed-by)"
	case key == "kapp.k14s.io/app":
		return fmt.Sprintf("the kapp application %s", value)
	case domain == "tmc.cloud.vmware.com" || strings.HasSuffix(domain, ".tmc.cloud.vmware.com"):
		return "Tanzu Mission Control"
	default:
		return ""
	}
}

// describe returns Kind namespace/name.
func describe(obj *unstructured.Unstructured) string {
	return plugins.Target{Kind: obj.GetKind(), Namespace: obj.GetNamespace(), Name: obj.GetName()}.String()
}
