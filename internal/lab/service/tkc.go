package service

import (
	"context"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tkgfix/tkgfix/internal/lab/vm"
)

// tkcOwner is a TanzuKubernetesCluster of any version (tkg-facts.md §1.2).
type tkcOwner struct{ tkc *unstructured.Unstructured }

func (o tkcOwner) object() *unstructured.Unstructured               { return o.tkc }
func (o tkcOwner) resource(r resources) schema.GroupVersionResource { return r.tkcs }
func (o tkcOwner) finalizer() string                                { return tkcFinalizer }
func (o tkcOwner) class() types.NamespacedName                      { return types.NamespacedName{} }

// content is the whole spec: an edit of it replaces the nodes (tkg-facts.md §2).
func (o tkcOwner) content() any { return o.tkc.Object["spec"] }

func (o tkcOwner) version() string {
	name, _, _ := unstructured.NestedString(o.tkc.Object, "spec", "topology", "controlPlane", "tkr", "reference", "name")
	if name == "" {
		name, _, _ = unstructured.NestedString(o.tkc.Object, "spec", "distribution", "version")
	}
	return kubernetesVersion(name)
}

// pools reads replicas and node pools, and the counts and workers of v1alpha1.
func (o tkcOwner) pools() []pool {
	topology, _, _ := unstructured.NestedMap(o.tkc.Object, "spec", "topology")
	controlPlane, _, _ := unstructured.NestedMap(topology, "controlPlane")
	out := []pool{controlPlanePool(number(controlPlane, "replicas", "count"), text(controlPlane, "vmClass", "class"))}
	list, _, _ := unstructured.NestedSlice(topology, "nodePools")
	if old, ok, _ := unstructured.NestedMap(topology, "workers"); ok {
		old["name"] = "workers"
		list = append(list, old)
	}
	for _, each := range list {
		if p, ok := each.(map[string]any); ok {
			out = append(out, pool{name: text(p, "name"), vmClass: text(p, "vmClass", "class"), replicas: number(p, "replicas", "count")})
		}
	}
	return out
}

// render joins the default trust of TkgServiceConfiguration, as it is now, with the cluster's own. A wrong entry stops no node: it is a
// file that counts for nothing (tkg-facts.md §1.0).
func (o tkcOwner) render(ctx context.Context, find finder) (rendering, error) {
	kind := schema.GroupVersionResource{Group: runGroup, Version: o.tkc.GroupVersionKind().Version, Resource: "tkgserviceconfigurations"}
	configuration, err := find(ctx, kind, "", configurationName)
	if err != nil {
		return rendering{}, err
	}
	return rendering{trust: joinTrust(trustOf(configuration, "spec"), trustOf(o.tkc, "spec", "settings", "network"))}, nil
}

// kubernetesVersion turns the name of a Tanzu Kubernetes release, v1.26.5---vmware.2-fips.1-tkg.1, or its version, with + in the place of
// the dashes, into what its nodes report.
func kubernetesVersion(name string) string {
	version, build, ok := strings.Cut(name, "---")
	if !ok {
		if version, build, ok = strings.Cut(name, "+"); !ok {
			return name
		}
	}
	for _, suffix := range []string{"-tkg.", "-vkr."} {
		build, _, _ = strings.Cut(build, suffix)
	}
	return version + "+" + build
}

// trustOf returns the entries at the path, in order.
func trustOf(object *unstructured.Unstructured, path ...string) []vm.Trust {
	if object == nil {
		return nil
	}
	entries, _, _ := unstructured.NestedSlice(object.Object, append(path, "trust", "additionalTrustedCAs")...)
	var out []vm.Trust
	for _, e := range entries {
		if entry, ok := e.(map[string]any); ok {
			out = append(out, vm.Trust{Name: text(entry, "name"), Data: text(entry, "data")})
		}
	}
	return out
}

// joinTrust adds a cluster's own entries to the default ones; its own win under the same name. Whether the TKG Service merges or
// replaces is not known (tkg-facts.md §2, Precedence): the laboratory merges.
func joinTrust(defaults, own []vm.Trust) []vm.Trust {
	names := map[string]bool{}
	for _, t := range own {
		names[t.Name] = true
	}
	var out []vm.Trust
	for _, t := range defaults {
		if !names[t.Name] {
			out = append(out, t)
		}
	}
	return append(out, own...)
}
