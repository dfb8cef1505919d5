package remedy

import (
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/tkg"
)

// maxBudgets bounds the PodDisruptionBudgets that are named.
const maxBudgets = 20

// DrainWarnings says what the replacement of nodes takes from pods, and which PodDisruptionBudgets of the cluster let no pod go now: a
// drain waits for them, without end where no nodeDrainTimeout is set (tkg-facts.md §2). That they could not be listed is a warning too.
// It blocks on the network.
func DrainWarnings(ctx context.Context, c *kube.Client, ref tkg.Ref) []string {
	lines := []string{"each replaced node is drained and its disk goes: what pods keep in emptyDir and hostPath volumes is lost, and pods start anew elsewhere"}
	blocked, err := blockedBudgets(ctx, c, ref)
	if err != nil {
		return append(lines, fmt.Sprintf("whether PodDisruptionBudgets keep nodes from being drained is not known: %s", err))
	}
	slices.Sort(blocked)
	for i, name := range blocked {
		if i == maxBudgets {
			return append(lines, fmt.Sprintf("%d more PodDisruptionBudgets allow no disruption", len(blocked)-maxBudgets))
		}
		lines = append(lines, fmt.Sprintf("PodDisruptionBudget %s allows no disruption now: the drain of a node with its pods waits until it does", name))
	}
	return lines
}

func blockedBudgets(ctx context.Context, c *kube.Client, ref tkg.Ref) ([]string, error) {
	cluster, err := tkg.WorkloadClient(ctx, c, ref)
	if err != nil {
		return nil, err
	}
	r, err := cluster.Resource(ctx, "policy", "PodDisruptionBudget")
	if err != nil {
		return nil, err
	}
	var out []string
	err = cluster.Each(ctx, r, "", metav1.ListOptions{}, func(u *unstructured.Unstructured) error {
		if noneAllowed(u) {
			out = append(out, u.GetNamespace()+"/"+u.GetName())
		}
		return nil
	})
	return out, err
}

// noneAllowed reports that a budget has pods and lets none of them go.
func noneAllowed(budget *unstructured.Unstructured) bool {
	allowed, _, _ := unstructured.NestedInt64(budget.Object, "status", "disruptionsAllowed")
	pods, _, _ := unstructured.NestedInt64(budget.Object, "status", "expectedPods")
	return allowed == 0 && pods > 0
}

// ClusterOf reads the Cluster of an owner, which is the owner itself or has its name; nil where there is none or it may not be read. It
// blocks on the network.
func ClusterOf(ctx context.Context, c *kube.Client, owner tkg.Owner) (*unstructured.Unstructured, error) {
	if owner.Kind == tkg.ClusterKind {
		return owner.Object, nil
	}
	r, err := c.Resource(ctx, tkg.ClusterGroup, tkg.ClusterKind)
	if errors.Is(err, kube.ErrNotServed) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	obj, err := c.Get(ctx, r, owner.Ref().Namespace, owner.Ref().Name)
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return nil, nil
	}
	return obj, err
}
