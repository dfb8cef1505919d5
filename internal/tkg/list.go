package tkg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/plugins"
)

// MaxClusters bounds how many clusters are listed.
const MaxClusters = 1000

// Listed is a workload cluster that the login may see.
type Listed struct {
	Ref
	// Kind is TanzuKubernetesCluster, or Cluster for one that no TanzuKubernetesCluster owns.
	Kind string
	// Labels are those of that object.
	Labels map[string]string
}

// List returns the workload clusters of a namespace, of all namespaces if it is empty, by namespace and name: the
// TanzuKubernetesClusters, and the Clusters that none of these owns. hidden says why the latter are not among them, empty if they
// are. More than MaxClusters are an error, and so is a server that serves neither kind; apierrors.IsForbidden holds for that of a login
// that may list no TanzuKubernetesClusters there. It blocks on the network.
func List(ctx context.Context, c *kube.Client, namespace string) (found []Listed, hidden string, err error) {
	seen := map[Ref]Listed{}
	owners := addClusters(ctx, c, RunGroup, TKCKind, namespace, seen)
	if owners != nil && !errors.Is(owners, kube.ErrNotServed) {
		return nil, "", owners
	}
	switch err := addClusters(ctx, c, ClusterGroup, ClusterKind, namespace, seen); {
	case errors.Is(err, kube.ErrNotServed) && owners != nil:
		return nil, "", notSupervisor(c, owners)
	case errors.Is(err, kube.ErrNotServed):
	case apierrors.IsForbidden(err) && owners == nil:
		hidden = "this login may not list Clusters, so that those of no TanzuKubernetesCluster are not seen"
	case err != nil:
		return nil, "", err
	}
	for _, l := range seen {
		found = append(found, l)
	}
	slices.SortFunc(found, func(a, b Listed) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return found, hidden, nil
}

// addClusters adds those of a kind that are not there under another already: a TanzuKubernetesCluster has a Cluster of its own name.
func addClusters(ctx context.Context, c *kube.Client, group, kind, namespace string, into map[Ref]Listed) error {
	r, err := c.Resource(ctx, group, kind)
	if err != nil {
		return err
	}
	return c.Each(ctx, r, namespace, metav1.ListOptions{}, func(u *unstructured.Unstructured) error {
		ref, err := ParseRef(u.GetNamespace() + "/" + u.GetName())
		if err != nil {
			return err
		}
		if _, known := into[ref]; !known {
			into[ref] = Listed{Ref: ref, Kind: kind, Labels: u.GetLabels()}
		}
		if len(into) > MaxClusters {
			return plugins.Hint(fmt.Errorf("there are more than %d clusters", MaxClusters), "name some of them, or a namespace: -n NAMESPACE")
		}
		return nil
	})
}
