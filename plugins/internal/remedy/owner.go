package remedy

import (
	"errors"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

// Going is the error for a cluster that is being deleted: there is nothing to mend. Nil if it is not.
func Going(owner tkg.Owner, cluster *unstructured.Unstructured) error {
	for _, obj := range []*unstructured.Unstructured{owner.Object, cluster} {
		if obj != nil && obj.GetDeletionTimestamp() != nil {
			return plugins.Hint(fmt.Errorf("%s %s is being deleted", obj.GetKind(), owner.Ref()),
				"if a run of tkgfix does it, resume that run: tkgfix runs list; else find out who does")
		}
	}
	return nil
}

// PausedBlocks says that what is asked of a cluster would not be done.
func PausedBlocks(owner tkg.Owner, cluster *unstructured.Unstructured) []plugins.Block {
	for _, obj := range []*unstructured.Unstructured{owner.Object, cluster} {
		if tkg.Paused(obj) {
			return []plugins.Block{{
				Reason: fmt.Sprintf("%s %s is paused: its controllers would not act", obj.GetKind(), owner.Ref()),
				Hint: fmt.Sprintf("find out who paused it and why; then take spec.paused and the annotation cluster.x-k8s.io/paused away: kubectl edit %s %s -n %s",
					resource(obj), obj.GetName(), obj.GetNamespace()),
			}}
		}
	}
	return nil
}

// OwnerBlocks says why the owner's object is not the place to change: its controllers are paused, its TanzuKubernetesCluster is about to
// go, or a manager elsewhere would put it back.
func OwnerBlocks(owner tkg.Owner, cluster *unstructured.Unstructured) []plugins.Block {
	blocks := PausedBlocks(owner, cluster)
	if owner.Retiring {
		blocks = append(blocks, plugins.Block{
			Reason: fmt.Sprintf("%s %s is being retired: its Cluster is about to be the owner", owner.Kind, owner.Ref()),
			Hint: fmt.Sprintf("wait until it is gone, then plan again: kubectl wait --for=delete %s/%s -n %s --timeout=30m",
				owner.Resource(), owner.Ref().Name, owner.Ref().Namespace),
		})
	}
	if m := tkg.ManagedBy(owner.Object, cluster); m.By != "" {
		hint := "change it at its source: " + m.Source
		if m.See != "" {
			hint += "; see it with: " + m.See
		}
		blocks = append(blocks, plugins.Block{Reason: "what is changed here would be put back: " + m.Text, Hint: hint})
	}
	return blocks
}

func resource(obj *unstructured.Unstructured) string {
	return tkg.Owner{Kind: obj.GetKind()}.Resource()
}

// Refused reports whether the server looked at a request and said no, for a reason that asking again does not change.
func Refused(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	switch code := status.Status().Code; code {
	case http.StatusUnauthorized, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	default:
		return code >= 400 && code < 500
	}
}
