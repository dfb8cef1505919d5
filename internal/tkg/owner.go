package tkg

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/plugins"
)

const (
	tkcKind      = "TanzuKubernetesCluster"
	clusterKind  = ClusterKind
	clusterGroup = "cluster.x-k8s.io"
	vmGroup      = "vmoperator.vmware.com"
)

// ClusterKind is the kind of a cluster that is made by the Cluster API, with a TanzuKubernetesCluster over it or without.
const ClusterKind = "Cluster"

// ErrNotTKC says that a cluster is there and that no TanzuKubernetesCluster owns it.
var ErrNotTKC = errors.New("no TanzuKubernetesCluster owns it")

// Owner is the object that a cluster is made from, and that must be changed instead of its children (tkg-facts.md §1.2).
type Owner struct {
	Kind       string
	APIVersion string
	UID        types.UID
	Generation int64
	Object     *unstructured.Unstructured
}

// FindOwner reads the TanzuKubernetesCluster. When there is none the error is ErrNotTKC if a Cluster of the name exists, and
// one for which apierrors.IsNotFound holds if nothing does. It blocks on the network.
func FindOwner(ctx context.Context, c *kube.Client, ref Ref) (Owner, error) {
	obj, err := get(ctx, c, RunGroup, tkcKind, ref)
	if err == nil {
		return Owner{Kind: obj.GetKind(), APIVersion: obj.GetAPIVersion(), UID: obj.GetUID(), Generation: obj.GetGeneration(), Object: obj}, nil
	}
	if !errors.Is(err, kube.ErrNotServed) && !apierrors.IsNotFound(err) {
		return Owner{}, err
	}
	other, otherErr := get(ctx, c, clusterGroup, clusterKind, ref)
	switch {
	case otherErr == nil:
		return Owner{}, plugins.Hint(fmt.Errorf("cluster %s is a %s (%s): %w", ref, clusterKind, other.GetAPIVersion(), ErrNotTKC),
			"its trust is in its own variables (trust, or osConfiguration.trust), not in TkgServiceConfiguration: kubectl get cluster %s -n %s -o yaml",
			ref.Name, ref.Namespace)
	case errors.Is(err, kube.ErrNotServed) && errors.Is(otherErr, kube.ErrNotServed):
		return Owner{}, notSupervisor(c, err)
	case !errors.Is(otherErr, kube.ErrNotServed) && !apierrors.IsNotFound(otherErr):
		return Owner{}, otherErr
	}
	return Owner{}, plugins.Hint(fmt.Errorf("no cluster %s: %w", ref, err),
		"see which there are: kubectl get tanzukubernetesclusters -n %s", ref.Namespace)
}

func notSupervisor(c *kube.Client, err error) error {
	return plugins.Hint(fmt.Errorf("%s is not a Supervisor: %w", c.Server(), err),
		"give the Supervisor's context, not that of a workload cluster: kubectl config get-contexts")
}

func get(ctx context.Context, c *kube.Client, group, kind string, ref Ref) (*unstructured.Unstructured, error) {
	r, err := c.Resource(ctx, group, kind)
	if err != nil {
		return nil, err
	}
	return c.Get(ctx, r, ref.Namespace, ref.Name)
}
