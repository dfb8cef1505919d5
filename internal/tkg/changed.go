package tkg

import (
	"encoding/json"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// The bounds of what is read of metadata.managedFields.
const (
	maxManagers = 200
	maxFields   = 1 << 20
)

// Change is the span in which a field got the value that it has. The API server keeps a time for each field manager and moves it when that
// manager changes any of its fields (https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management), so as a rule only
// the end of the span is known.
type Change struct {
	// After is a time before which the value was not there: that of the object, or that of a manager who owns nothing else.
	After time.Time
	// Until is the last time at which it can have changed, zero if that is not known.
	Until time.Time
}

// Exact reports that the span is one moment.
func (c Change) Exact() bool { return !c.Until.IsZero() && c.After.Equal(c.Until) }

// and returns the span of a value that is made of two, such as a reference and what it leads to.
func (c Change) and(other Change) Change {
	out := Change{After: later(c.After, other.After), Until: later(c.Until, other.Until)}
	if c.Until.IsZero() || other.Until.IsZero() {
		out.Until = time.Time{}
	}
	return out
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// ServiceTrustChanged returns when spec.trust of a TkgServiceConfiguration was last changed.
func ServiceTrustChanged(tsc *unstructured.Unstructured) Change {
	return changed(tsc, "spec", "trust")
}

// ClusterTrustChanged returns when spec.settings.network.trust of a TanzuKubernetesCluster was last changed.
func ClusterTrustChanged(tkc *unstructured.Unstructured) Change {
	return changed(tkc, "spec", "settings", "network", "trust")
}

// VariableChanged returns when a variable of a Cluster's topology was last changed; below names fields of its value.
func VariableChanged(cluster *unstructured.Unstructured, name string, below ...string) Change {
	key, err := json.Marshal(map[string]string{"name": name})
	if err != nil {
		return Change{}
	}
	return changed(cluster, append([]string{"spec", "topology", "variables", "k:" + string(key), "value"}, below...)...)
}

// SecretKeyChanged returns when a key of a Secret was last changed.
func SecretKeyChanged(secret *unstructured.Unstructured, key string) Change {
	return changed(secret, "data", key)
}

// changed reads the span of a field out of the field managers that own some of it. An element of path that begins with k: is the key of a
// list's entry, as FieldsV1 has it.
func changed(obj *unstructured.Unstructured, path ...string) Change {
	var out Change
	if obj == nil {
		return out
	}
	out.After = obj.GetCreationTimestamp().UTC()
	managers := obj.GetManagedFields()
	for _, m := range managers[:min(len(managers), maxManagers)] {
		if m.Time == nil || m.Subresource != "" || !owns(m.FieldsV1, path) {
			continue
		}
		at := m.Time.UTC()
		out.Until = later(out.Until, at)
		if alone(m.FieldsV1, path) {
			out.After = later(out.After, at)
		}
	}
	return out
}

func fieldKey(name string) string {
	if strings.HasPrefix(name, "k:") {
		return name
	}
	return "f:" + name
}

// owns reports that a set of fields in the form FieldsV1 has the path or something below it, or, as one, something above it.
func owns(fields *metav1.FieldsV1, path []string) bool {
	if fields == nil || len(fields.Raw) > maxFields {
		return false
	}
	at := json.RawMessage(fields.Raw)
	for i, name := range path {
		var here map[string]json.RawMessage
		if err := json.Unmarshal(at, &here); err != nil {
			return false
		}
		next, ok := here[fieldKey(name)]
		if !ok {
			return i > 0 && len(here) == 0
		}
		at = next
	}
	return true
}

// alone reports that a set of fields has nothing but the path and what is below it. The type of a Secret never changes and does not count,
// nor does the name by which an entry of a list is known.
func alone(fields *metav1.FieldsV1, path []string) bool {
	at := json.RawMessage(fields.Raw)
	for i, name := range path {
		var here map[string]json.RawMessage
		if err := json.Unmarshal(at, &here); err != nil {
			return false
		}
		next, ok := here[fieldKey(name)]
		if !ok {
			return false
		}
		for key := range here {
			known := key == fieldKey(name) || key == "." || i == 0 && key == "f:type" || i > 0 && strings.HasPrefix(path[i-1], "k:") && key == "f:name"
			if !known {
				return false
			}
		}
		at = next
	}
	return true
}
