package tkg

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tkgfix/tkgfix/plugins"
)

// CleanManifest returns a TanzuKubernetesCluster (v1alpha1 to v1alpha3), or a Cluster with a ClusterClass (v1beta1, v1beta2), as it may be
// created anew, and the paths of what was taken out, sorted: what the server, the controllers, the webhooks and the old cluster put
// there (tkg-facts.md §4, "Strip before re-apply"), and tkgfix's own annotations. A release that is pinned stays: see DropGoneRelease. The
// error, which carries a hint, is for another kind, for a Cluster without a class, whose parts no manifest of its own makes, and for
// a manifest that holds a credential, which must not be stored with a run.
func CleanManifest(live *unstructured.Unstructured) (*unstructured.Unstructured, []string, error) {
	if err := cleanable(live); err != nil {
		return nil, nil, err
	}
	out := live.DeepCopy()
	s := stripper{obj: out.Object, cluster: live.GetName(), live: live.GetUID() != ""}
	for _, path := range stripped() {
		s.drop(path...)
	}
	for _, f := range []string{"controlPlaneEndpoint", "infrastructureRef", "controlPlaneRef", "paused"} {
		s.drop("spec", f)
	}
	s.annotations()
	if out.GetKind() == TKCKind {
		s.emptyVersions()
	} else {
		s.variables(ClassOf(live).Name == oldClass)
	}
	slices.Sort(s.removed)
	if where := credential(out.Object, ""); where != "" {
		return nil, nil, plugins.Hint(fmt.Errorf("the manifest of %s/%s holds a credential at %s", live.GetNamespace(), live.GetName(), where),
			"give manifest: the file from which the cluster was made, with the credential taken out of it, or put into a Secret that it names")
	}
	return out, s.removed, nil
}

func cleanable(live *unstructured.Unstructured) error {
	if live == nil {
		return errors.New("cleaning a manifest: there is none")
	}
	switch gk := live.GroupVersionKind().GroupKind(); {
	case gk == schema.GroupKind{Group: RunGroup, Kind: TKCKind}:
		return nil
	case gk != schema.GroupKind{Group: ClusterGroup, Kind: ClusterKind}:
		return fmt.Errorf("cleaning a manifest: it is neither a %s of %s nor a %s of %s", TKCKind, RunGroup, ClusterKind, ClusterGroup)
	case ClassOf(live).Name == "":
		return plugins.Hint(fmt.Errorf("cleaning a manifest: the Cluster %s/%s has no ClusterClass", live.GetNamespace(), live.GetName()),
			"its control plane and machines are objects of their own, which no manifest of the Cluster makes again: use the tool that made it")
	}
	return nil
}

// CleanCompanion returns an object that stands beside a cluster under its name, such as its ClusterBootstrap, as it may be created anew,
// and the paths of what was taken out, sorted. The error is for one that holds a credential, and names where.
func CleanCompanion(live *unstructured.Unstructured) (*unstructured.Unstructured, []string, error) {
	out := live.DeepCopy()
	s := stripper{obj: out.Object}
	for _, path := range stripped() {
		s.drop(path...)
	}
	s.annotations()
	slices.Sort(s.removed)
	if where := credential(out.Object, ""); where != "" {
		return nil, nil, fmt.Errorf("%s %s/%s holds a credential at %s", live.GetKind(), live.GetNamespace(), live.GetName(), where)
	}
	return out, s.removed, nil
}

func stripped() [][]string {
	paths := [][]string{{"status"}}
	for _, f := range []string{
		"uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
		"selfLink", "managedFields", "finalizers", "ownerReferences",
	} {
		paths = append(paths, []string{"metadata", f})
	}
	return paths
}

type stripper struct {
	obj     map[string]any
	cluster string
	live    bool // what was read from a server, and not a file of the user's
	removed []string
}

func (s *stripper) drop(path ...string) {
	if _, found, err := unstructured.NestedFieldNoCopy(s.obj, path...); !found || err != nil {
		return
	}
	unstructured.RemoveNestedField(s.obj, path...)
	s.removed = append(s.removed, fieldPath(path))
}

// annotations takes out those that controllers and tools wrote: kubectl's copy of an older manifest, the TKG controller's proxy
// settings, which would bring the old CA back, the Cluster API's pause, and tkgfix's own.
func (s *stripper) annotations() {
	all, found, err := unstructured.NestedMap(s.obj, "metadata", "annotations")
	if !found || err != nil {
		return
	}
	for key := range all {
		if key == "kubectl.kubernetes.io/last-applied-configuration" || key == pausedAnnotation ||
			strings.HasPrefix(key, "tkg.tanzu.vmware.com/tkg-") || strings.HasPrefix(key, "tkgfix.dev/") {
			unstructured.RemoveNestedField(s.obj, "metadata", "annotations", key)
			s.removed = append(s.removed, "metadata.annotations["+key+"]")
			delete(all, key)
		}
	}
	if len(all) == 0 {
		unstructured.RemoveNestedField(s.obj, "metadata", "annotations")
	}
}

// emptyVersions takes out the empty strings that the v1alpha2 type writes for want of omitempty (tkg-facts.md §1.2).
func (s *stripper) emptyVersions() {
	for _, f := range []string{"fullVersion", "version"} {
		if v, found, err := unstructured.NestedString(s.obj, "spec", "distribution", f); found && err == nil && v == "" {
			s.drop("spec", "distribution", f)
		}
	}
	if m, found, err := unstructured.NestedMap(s.obj, "spec", "distribution"); found && err == nil && len(m) == 0 {
		unstructured.RemoveNestedField(s.obj, "spec", "distribution")
	}
}
