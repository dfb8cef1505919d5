package tkg

import (
	"encoding/json"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// The bounds of what is read of metadata.managedFields.
const (
	maxManagers = 200
	maxFields   = 1 << 20
)

// ServiceTrustChanged returns when spec.trust of a TkgServiceConfiguration was last changed, zero if that is not known.
//
// It is the time of the latest field manager that owns some of it. The API server sets that time when the manager changes any of its fields:
// what was changed may have been another field of the same manager, so the trust is at least as old as this says
// (https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management).
func ServiceTrustChanged(tsc *unstructured.Unstructured) time.Time {
	return changed(tsc, "spec", "trust")
}

// ClusterTrustChanged returns when spec.settings.network.trust of a TanzuKubernetesCluster was last changed, by the rules of
// ServiceTrustChanged.
func ClusterTrustChanged(tkc *unstructured.Unstructured) time.Time {
	return changed(tkc, "spec", "settings", "network", "trust")
}

func changed(obj *unstructured.Unstructured, path ...string) time.Time {
	var last time.Time
	if obj == nil {
		return last
	}
	managers := obj.GetManagedFields()
	for _, m := range managers[:min(len(managers), maxManagers)] {
		if m.Time != nil && m.Time.After(last) && m.Subresource == "" && owns(m.FieldsV1, path) {
			last = m.Time.UTC()
		}
	}
	return last
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
		next, ok := here["f:"+name]
		if !ok {
			return i > 0 && len(here) == 0
		}
		at = next
	}
	return true
}
