package tkg

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/plugins"
)

// CleanManifest returns a TanzuKubernetesCluster (v1alpha1 to v1alpha3) as it may be created anew, and the paths of what was taken out,
// sorted: what the server, the controllers and the old cluster put there (tkg-facts.md §4, "Strip before re-apply"), and
// tkgfix's own annotations. A pinned distribution.fullVersion stays: the server's dry-run tells whether it still exists. The error,
// which carries a hint, is for another kind, and for a manifest that holds a credential, which must not be stored with a run.
func CleanManifest(live *unstructured.Unstructured) (*unstructured.Unstructured, []string, error) {
	if live == nil || live.GetKind() != "TanzuKubernetesCluster" || live.GroupVersionKind().Group != RunGroup {
		return nil, nil, fmt.Errorf("cleaning a manifest: it is no TanzuKubernetesCluster of %s", RunGroup)
	}
	out := live.DeepCopy()
	s := stripper{obj: out.Object}
	for _, path := range stripped() {
		s.drop(path...)
	}
	s.annotations()
	s.emptyVersions()
	slices.Sort(s.removed)
	if where := credential(out.Object, ""); where != "" {
		return nil, nil, plugins.Hint(fmt.Errorf("the manifest of %s/%s holds a credential at %s", live.GetNamespace(), live.GetName(), where),
			"give manifest: the file from which the cluster was made, with the proxy's credential taken out of the URL")
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
	for _, f := range []string{"controlPlaneEndpoint", "infrastructureRef", "controlPlaneRef", "paused"} {
		paths = append(paths, []string{"spec", f})
	}
	return paths
}

type stripper struct {
	obj     map[string]any
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
// settings, which would bring the old CA back, and tkgfix's own.
func (s *stripper) annotations() {
	all, found, err := unstructured.NestedMap(s.obj, "metadata", "annotations")
	if !found || err != nil {
		return
	}
	for key := range all {
		if key == "kubectl.kubernetes.io/last-applied-configuration" ||
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

// credential returns the path of the first string that is a URL with a user or password in it, empty if there is none.
func credential(v any, path string) string {
	switch v := v.(type) {
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			if where := credential(v[k], strings.TrimPrefix(path+"."+k, ".")); where != "" {
				return where
			}
		}
	case []any:
		for i, item := range v {
			if where := credential(item, fmt.Sprintf("%s[%d]", path, i)); where != "" {
				return where
			}
		}
	case string:
		if hasUserinfo(v, strings.Contains(strings.ToLower(path), "proxy")) {
			return path
		}
	}
	return ""
}

// hasUserinfo tells whether s carries a user or password. In a proxy setting anything with an @ does, with or without a scheme.
func hasUserinfo(s string, proxy bool) bool {
	if !strings.Contains(s, "@") {
		return false
	}
	if proxy {
		return true
	}
	if !strings.Contains(s, "://") {
		return false
	}
	u, err := url.Parse(strings.TrimSpace(s))
	if err != nil { // not readable as one URL: look at what stands between :// and the next slash
		_, after, _ := strings.Cut(s, "://")
		authority, _, _ := strings.Cut(after, "/")
		return strings.Contains(authority, "@")
	}
	return u.User != nil
}
