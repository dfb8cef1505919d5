package tkg

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// oldClass is the class of vSphere 8 (tkg-facts.md §1.3).
const oldClass = "tanzukubernetescluster"

// injected are the variables that webhooks put into a live Cluster (tkg-facts.md §4): in every class the release's own data, and in
// tanzukubernetescluster the nodes' login, the certificate of the add-ons and the encryption of etcd, which point to what was made for the
// old cluster.
var injected = struct{ any, old []string }{
	any: []string{"TKR_DATA"},
	old: []string{"user", "extensionCert", "clusterEncryptionConfigYaml"},
}

// variables takes out what webhooks put in. In a file of the user's only TKR_DATA is theirs for certain. In a live object of the old class a
// variable that names a Secret is left if the Secret is not called after the cluster, for then a person chose it.
func (s *stripper) variables(old bool) {
	list, found, err := unstructured.NestedSlice(s.obj, "spec", "topology", "variables")
	if !found || err != nil {
		return
	}
	kept := slices.DeleteFunc(slices.Clone(list), func(item any) bool {
		fields, _ := item.(map[string]any)
		name, _ := fields["name"].(string)
		drop := slices.Contains(injected.any, name) || old && s.live && slices.Contains(injected.old, name) && s.ours(fields["value"])
		if drop {
			s.removed = append(s.removed, fmt.Sprintf("spec.topology.variables[name=%s]", name))
		}
		return drop
	})
	if len(kept) == len(list) {
		return
	}
	_ = unstructured.SetNestedSlice(s.obj, kept, "spec", "topology", "variables") // the path was just read
}

// ours tells whether a variable's value names no Secret but those that are called after the cluster.
func (s *stripper) ours(value any) bool {
	fields, ok := value.(map[string]any)
	if !ok {
		return true
	}
	for _, v := range fields {
		ref, _ := v.(map[string]any)
		if name, _ := ref["name"].(string); name != "" && !strings.HasPrefix(name, s.cluster+"-") {
			return false
		}
	}
	return true
}

// Release is a Kubernetes release that a manifest asks for.
type Release struct {
	// Name is the release's name, with --- for +. Of one that is given by its beginning it is that.
	Name string
	// Path is the field that asks for it.
	Path string
	// Prefix says that any release will do whose name begins so.
	Prefix bool
}

// Releases returns the releases that a TanzuKubernetesCluster's or a Cluster's manifest asks for (tkg-facts.md §1.2 to §1.4).
func Releases(manifest *unstructured.Unstructured) []Release {
	var out []Release
	add := func(path, version string, prefix bool) {
		if version != "" {
			out = append(out, Release{Name: strings.ReplaceAll(version, "+", "---"), Path: path, Prefix: prefix})
		}
	}
	at := func(path ...string) string {
		s, _, _ := unstructured.NestedString(manifest.Object, path...)
		return s
	}
	if manifest.GetKind() == ClusterKind {
		add("spec.topology.version", at("spec", "topology", "version"), true)
		return out
	}
	if full := at("spec", "distribution", "fullVersion"); full != "" {
		add("spec.distribution.fullVersion", full, false)
	} else {
		add("spec.distribution.version", at("spec", "distribution", "version"), true)
	}
	add("spec.topology.controlPlane.tkr.reference.name", at("spec", "topology", "controlPlane", "tkr", "reference", "name"), true)
	pools, _, _ := unstructured.NestedSlice(manifest.Object, "spec", "topology", "nodePools")
	for i, p := range pools {
		fields, _ := p.(map[string]any)
		name, _, _ := unstructured.NestedString(fields, "tkr", "reference", "name")
		add(fmt.Sprintf("spec.topology.nodePools[%d].tkr.reference.name", i), name, true)
	}
	return out
}

// Found tells whether one of the names of releases is what is asked for.
func (r Release) Found(names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		rest, ok := strings.CutPrefix(name, r.Name)
		return ok && (rest == "" || r.Prefix && (rest[0] == '.' || rest[0] == '-'))
	})
}

// DropGoneRelease returns a TanzuKubernetesCluster's manifest without distribution.fullVersion, when no release of that name is left and
// distribution.version says which line it is (tkg-facts.md §4), and whether it did so.
func DropGoneRelease(manifest *unstructured.Unstructured, releases []string) (*unstructured.Unstructured, bool) {
	full, _, _ := unstructured.NestedString(manifest.Object, "spec", "distribution", "fullVersion")
	version, _, _ := unstructured.NestedString(manifest.Object, "spec", "distribution", "version")
	gone := Release{Name: strings.ReplaceAll(full, "+", "---")}
	if full == "" || version == "" || gone.Found(releases) {
		return manifest, false
	}
	out := manifest.DeepCopy()
	unstructured.RemoveNestedField(out.Object, "spec", "distribution", "fullVersion")
	return out, true
}

// SecretRef is a key of a Secret in the cluster's namespace.
type SecretRef struct{ Secret, Key string }

// TrustRefs returns the keys of Secrets that the variables of a Cluster name as trusted CAs, those that pools override among them, each
// once and in order.
func TrustRefs(cluster *unstructured.Unstructured) []SecretRef {
	var out []SecretRef
	for _, v := range variablesOf(cluster) {
		for _, item := range v.entries() {
			secret, key := entryKey(cluster.GetName(), item)
			if ref := (SecretRef{secret, key}); secret != "" && !slices.Contains(out, ref) {
				out = append(out, ref)
			}
		}
	}
	slices.SortFunc(out, func(a, b SecretRef) int { return cmp.Or(cmp.Compare(a.Secret, b.Secret), cmp.Compare(a.Key, b.Key)) })
	return out
}
