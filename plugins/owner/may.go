package owner

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/tkg"
)

// ask is one thing that may be allowed.
type ask struct {
	verb, group, kind string
	// name is empty for any object of the kind.
	name string
}

// may asks what this login may do. A kind that is not served is not allowed. Where the Supervisor does not answer such questions, the note says
// so and all is taken for allowed: the dry-run of the step that acts decides in the end (tkg-facts.md §4).
func may(ctx context.Context, c *kube.Client, owner tkg.Owner) (out rights, note string, err error) {
	group := owner.Object.GroupVersionKind().Group
	own := func(verb string) ask {
		return ask{verb: verb, group: group, kind: owner.Kind, name: owner.Object.GetName()}
	}
	clusterTrust := []ask{own("patch")}
	if owner.Way != tkg.WayTKC {
		clusterTrust = append(clusterTrust, ask{verb: "patch", kind: "Secret"}, ask{verb: "create", kind: "Secret"})
	}
	questions := []struct {
		answer *bool
		asks   []ask
	}{
		{&out.ClusterTrust, clusterTrust},
		{&out.ServiceTrust, []ask{{verb: "patch", group: tkg.RunGroup, kind: tkg.ServiceKind, name: tkg.ServiceConfigurationName}}},
		{&out.DeleteMachines, []ask{{verb: "delete", group: tkg.ClusterGroup, kind: "Machine"}}},
		{&out.DeleteCluster, []ask{own("delete"), {verb: "create", group: group, kind: owner.Kind}}},
	}
	for _, q := range questions {
		*q.answer, err = allowed(ctx, c, owner.Ref().Namespace, q.asks)
		if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) {
			all := rights{ClusterTrust: true, ServiceTrust: true, DeleteMachines: true, DeleteCluster: true}
			return all, fmt.Sprintf("the Supervisor does not say what this login may do, so that all of it is taken for allowed until it is tried: %v", err), nil
		}
		if err != nil {
			return rights{}, "", err
		}
	}
	return out, "", nil
}

// allowed reports that all of it may be done.
func allowed(ctx context.Context, c *kube.Client, namespace string, asks []ask) (bool, error) {
	for _, a := range asks {
		r, err := c.Resource(ctx, a.group, a.kind)
		if errors.Is(err, kube.ErrNotServed) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		ref := types.NamespacedName{Name: a.name}
		if r.Namespaced {
			ref.Namespace = namespace
		}
		if ok, err := c.May(ctx, a.verb, r, ref); err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}
