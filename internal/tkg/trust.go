package tkg

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/gowebpki/jcs"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"
)

// The names of the TKG API (tkg-facts.md §1.1).
const (
	// ServiceConfigurationName is the one TkgServiceConfiguration that counts. It is cluster-scoped.
	ServiceConfigurationName = "tkg-service-configuration"
	// RunGroup is the API group of TkgServiceConfiguration and TanzuKubernetesCluster.
	RunGroup = "run.tanzu.vmware.com"
)

// maxTrustName keeps /etc/ssl/certs/tkg-<name>.pem within the 255 bytes of a file name.
const maxTrustName = 255 - len("tkg-.pem")

// TrustEntry is one CA of TkgServiceConfiguration or of a TanzuKubernetesCluster: a name, which becomes a file name on the nodes, and
// the base64 of a PEM (tkg-facts.md §1.0).
type TrustEntry struct {
	Name string `json:"name"`
	Data string `json:"data"`
}

// ServiceTrust returns spec.trust.additionalTrustedCAs, nil when there is none.
func ServiceTrust(tsc *unstructured.Unstructured) ([]TrustEntry, error) {
	return trustAt(tsc, "spec", "trust", "additionalTrustedCAs")
}

// ClusterTrust returns spec.settings.network.trust.additionalTrustedCAs of a TanzuKubernetesCluster, nil when there is none.
func ClusterTrust(tkc *unstructured.Unstructured) ([]TrustEntry, error) {
	return trustAt(tkc, "spec", "settings", "network", "trust", "additionalTrustedCAs")
}

// ValidTrustName tells whether s may name a trust entry: letters, digits, dash, underscore, dot, as the key of a Secret, and
// short enough for the file name that it becomes (tkg-facts.md §1.1).
func ValidTrustName(s string) bool {
	return len(s) <= maxTrustName && len(validation.IsConfigMapKey(s)) == 0
}

// TrustHash returns sha256: and the hex digest of the canonical JSON (RFC 8785) of the list. No list and an empty one are the same.
func TrustHash(entries []TrustEntry) string {
	if entries == nil {
		entries = []TrustEntry{}
	}
	data, err := json.Marshal(entries)
	if err == nil {
		data, err = jcs.Transform(data)
	}
	if err != nil {
		return "sha256:unknown" // two strings a piece always marshal; and this equals no digest
	}
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func trustAt(obj *unstructured.Unstructured, path ...string) ([]TrustEntry, error) {
	if obj == nil {
		return nil, nil
	}
	what := fmt.Sprintf("%s %s: reading %s", obj.GetKind(), obj.GetName(), fieldPath(path))
	value, found, err := unstructured.NestedFieldNoCopy(obj.Object, path...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if !found || value == nil {
		return nil, nil
	}
	list, ok := value.([]any)
	if !ok {
		return nil, fmt.Errorf("%s: it is no list", what)
	}
	out := make([]TrustEntry, 0, len(list))
	for i, item := range list {
		fields, ok := item.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%s: entry %d is no object", what, i)
		}
		name, okName := text(fields["name"])
		data, okData := text(fields["data"])
		if !okName || !okData {
			return nil, fmt.Errorf("%s: entry %d: name and data must be strings", what, i)
		}
		out = append(out, TrustEntry{Name: name, Data: data})
	}
	return out, nil
}

// text reads a string; what is absent or null is the empty one.
func text(v any) (string, bool) {
	if v == nil {
		return "", true
	}
	s, ok := v.(string)
	return s, ok
}

func fieldPath(path []string) string {
	out := ""
	for i, p := range path {
		if i > 0 {
			out += "."
		}
		out += p
	}
	return out
}
