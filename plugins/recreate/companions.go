package recreate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

const (
	addonGroup = "addons.kubernetes.vmware.com"
	// addonSelector is the label by which an AddonInstall chooses one cluster.
	addonSelector = "cluster.x-k8s.io/cluster-name"
)

// named are the companions that stand under a fixed name, after the cluster's (tkg-facts.md §4). The add-ons' settings are called after
// their package.
var named = []struct {
	group, kind string
	suffixes    []string
}{
	{tkg.RunGroup, "ClusterBootstrap", []string{""}},
	{tkg.RunGroup, "KappControllerConfig", []string{"-kapp-controller-package"}},
	{"cni.tanzu.vmware.com", "AntreaConfig", []string{"", "-antrea-package"}},
	{"cni.tanzu.vmware.com", "CalicoConfig", []string{"", "-calico-package"}},
	{"csi.tanzu.vmware.com", "VSphereCSIConfig", []string{"", "-vsphere-pv-csi-package", "-vsphere-csi-package"}},
	{"cpi.tanzu.vmware.com", "VSphereCPIConfig", []string{"", "-vsphere-cpi-package"}},
}

// findCompanions returns the objects beside the cluster under its name, as they are, by kind and name.
func (s supervisor) findCompanions(ctx context.Context) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	for _, n := range named {
		for _, suffix := range n.suffixes {
			obj, served, err := s.find(ctx, n.group, n.kind, s.ref.Name+suffix)
			if err != nil && !apierrors.IsForbidden(err) {
				return nil, err
			}
			if err == nil && obj != nil {
				out = append(out, obj)
			}
			if !served {
				break
			}
		}
	}
	addons, err := s.addons(ctx)
	if err != nil {
		return nil, err
	}
	out = append(out, addons...)
	slices.SortFunc(out, func(a, b *unstructured.Unstructured) int {
		return cmp.Or(cmp.Compare(a.GetKind(), b.GetKind()), cmp.Compare(a.GetName(), b.GetName()))
	})
	return out, nil
}

// addons returns the AddonConfigs and AddonInstalls of VKS that are this cluster's alone.
func (s supervisor) addons(ctx context.Context) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	var others []string
	for _, kind := range []string{"AddonConfig", "AddonInstall"} {
		r, err := s.c.Resource(ctx, addonGroup, kind)
		if errors.Is(err, kube.ErrNotServed) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if others == nil {
			if others, err = s.neighbours(ctx); err != nil {
				return nil, err
			}
		}
		err = s.c.Each(ctx, r, s.ref.Namespace, metav1.ListOptions{}, func(u *unstructured.Unstructured) error {
			if isAddonOf(u, s.ref.Name, others) {
				out = append(out, u.DeepCopy())
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// neighbours returns the names of the other clusters of the namespace, never nil.
func (s supervisor) neighbours(ctx context.Context) ([]string, error) {
	list, _, err := tkg.List(ctx, s.c, s.ref.Namespace)
	out := []string{}
	for _, l := range list {
		if l.Name != s.ref.Name {
			out = append(out, l.Name)
		}
	}
	return out, err
}

// isAddonOf tells whether an AddonInstall chooses this cluster alone by its label, or an AddonConfig is called CLUSTER-ADDON, which for
// clusters dev and dev-a may mean either: then it is that of the longer name.
func isAddonOf(u *unstructured.Unstructured, cluster string, others []string) bool {
	if u.GetKind() == "AddonConfig" {
		if !strings.HasPrefix(u.GetName(), cluster+"-") {
			return false
		}
		return !slices.ContainsFunc(others, func(o string) bool { return len(o) > len(cluster) && strings.HasPrefix(u.GetName(), o+"-") })
	}
	clusters, _, _ := unstructured.NestedSlice(u.Object, "spec", "clusters")
	for _, c := range clusters {
		fields, _ := c.(map[string]any)
		name, _, _ := unstructured.NestedString(fields, "selector", "matchLabels", addonSelector)
		if name != cluster {
			return false
		}
	}
	return len(clusters) > 0
}

// companion is one that is made again.
type companion struct{ live, clean *unstructured.Unstructured }

// saved sorts the companions into those that are made again and lines about those that are lost: what holds a credential is not kept in
// a plan, and what the server would not take again cannot be promised. One that stays after all is found as it is when it would be made.
func (s supervisor) saved(ctx context.Context, all []*unstructured.Unstructured) (keep []companion, lost []string, err error) {
	dry := s
	dry.c = s.c.DryRun()
	for _, live := range all {
		clean, _, err := tkg.CleanCompanion(live)
		if err != nil {
			lost = append(lost, fmt.Sprintf("add-on settings %s on the Supervisor: not saved, because it holds a credential", describe(live)))
			continue
		}
		trial := clean.DeepCopy()
		trial.SetName(checkName(s.ref.Name) + strings.TrimPrefix(clean.GetName(), s.ref.Name))
		if err := dry.create(ctx, trial); err != nil {
			if !refused(err) {
				return nil, nil, err
			}
			lost = append(lost, fmt.Sprintf("add-on settings %s on the Supervisor: not saved, because the server would not take it again", describe(live)))
			continue
		}
		keep = append(keep, companion{live: live, clean: clean})
	}
	return keep, lost, nil
}

// change is the companion's place in the plan.
func (c companion) change() (plugins.PlannedChange, error) {
	after, err := document(c.clean)
	return plugins.PlannedChange{
		Action: plugins.Create, Target: targetOf(c.clean), Reason: "settings of the new cluster's add-ons, which go with the old one", After: after,
		Undo: fmt.Sprintf("kubectl delete %s.%s %s -n %s", strings.ToLower(c.clean.GetKind()), c.clean.GroupVersionKind().Group, c.clean.GetName(), c.clean.GetNamespace()),
	}, err
}

// isCompanion tells whether a kind is one of those that stand beside a cluster.
func isCompanion(t plugins.Target) bool {
	if t.Group == addonGroup {
		return t.Kind == "AddonConfig" || t.Kind == "AddonInstall"
	}
	for _, n := range named {
		if n.group == t.Group && n.kind == t.Kind {
			return true
		}
	}
	return false
}
