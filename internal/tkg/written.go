package tkg

import (
	"encoding/json"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/kube"
)

// Written returns when tkgfix last wrote the list of trusted CAs of a way, by the server's clock in whole seconds: the time of its field
// manager, or, where that is not kept, the last time at which the list can have changed. It is zero if neither is known. What is found
// out so survives a crash.
func Written(obj *unstructured.Unstructured, way Way) time.Time {
	path := []string{"spec", "settings", "network", "trust"}
	if way != WayTKC {
		path = []string{"spec", "topology", "variables", variableKey(way), "value"}
	}
	var at time.Time
	managers := obj.GetManagedFields()
	for _, m := range managers[:min(len(managers), maxManagers)] {
		if m.Manager == kube.FieldManager && m.Time != nil && m.Subresource == "" && owns(m.FieldsV1, path) {
			at = later(at, m.Time.UTC())
		}
	}
	if !at.IsZero() {
		return at
	}
	return changed(obj, path...).Until
}

// variableKey is the variable's entry in managed fields.
func variableKey(way Way) string {
	name := trustVariable
	if way == WayOSConfiguration {
		name = osVariable
	}
	key, err := json.Marshal(map[string]string{"name": name})
	if err != nil {
		return ""
	}
	return "k:" + string(key)
}
