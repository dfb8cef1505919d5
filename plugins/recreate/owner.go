package recreate

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

// ownerBlocks says why the cluster must not be deleted, by what its owner and its Cluster say of themselves.
func ownerBlocks(owner tkg.Owner, cluster *unstructured.Unstructured) []plugins.Block {
	objects := []*unstructured.Unstructured{owner.Object}
	if cluster != nil && cluster.GetUID() != owner.UID {
		objects = append(objects, cluster)
	}
	var blocks []plugins.Block
	for _, obj := range objects {
		if at := obj.GetDeletionTimestamp(); at != nil {
			blocks = append(blocks, plugins.Block{
				Reason: fmt.Sprintf("%s is being deleted already", describe(obj)),
				Hint:   "find out who does it and let it end, then create the cluster from its manifest; nothing is left to recreate",
			})
		}
		if tkg.Paused(obj) {
			blocks = append(blocks, plugins.Block{
				Reason: fmt.Sprintf("%s is paused, and a paused cluster is never torn down", describe(obj)),
				Hint: fmt.Sprintf("find out who paused it and why; then take spec.paused or the annotation away: kubectl annotate %s %s -n %s cluster.x-k8s.io/paused-",
					resourceOf(obj), obj.GetName(), obj.GetNamespace()),
			})
		}
	}
	if owner.Retiring {
		blocks = append(blocks, plugins.Block{
			Reason: fmt.Sprintf("%s is being retired: the TKG Service takes it away and leaves its Cluster", describe(owner.Object)),
			Hint: fmt.Sprintf("wait until it is gone, then plan again, for the Cluster is the owner then: kubectl get %s %s -n %s -w",
				owner.Resource(), owner.Object.GetName(), owner.Object.GetNamespace()),
		})
	}
	if m := tkg.ManagedBy(objects...); m.By != "" {
		blocks = append(blocks, plugins.Block{Reason: fmt.Sprintf("%s would get its old manifest back: %s", describe(owner.Object), m.Text), Hint: managedHint(m)})
	}
	return blocks
}

// managedHint says where the manifest must be mended, and where the mended one is. A plan writes no files: it holds the manifest.
func managedHint(m tkg.Managed) string {
	hint := "put the corrected manifest there, and let it recreate the cluster: it is the create of the cluster in this plan (tkgfix plan ... --output json " +
		"has it whole); or take the cluster out of its hands first"
	if m.See != "" {
		hint += "; see the source: " + m.See
	}
	return hint
}

// resourceOf returns the name by which kubectl knows an object's kind.
func resourceOf(obj *unstructured.Unstructured) string {
	return tkg.Owner{Kind: obj.GetKind()}.Resource()
}

// describe returns Kind namespace/name.
func describe(obj *unstructured.Unstructured) string {
	return plugins.Target{Kind: obj.GetKind(), Namespace: obj.GetNamespace(), Name: obj.GetName()}.String()
}
