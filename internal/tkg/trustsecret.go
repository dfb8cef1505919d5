package tkg

import (
	"crypto/x509"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/certs"
)

// TrustSecret returns the name of the Secret that the class tanzukubernetescluster reads, and which is a convention with the others
// (tkg-facts.md §1.3, §1.4).
func TrustSecret(cluster string) string { return cluster + userTrustSuffix }

// SecretValue returns what a key of a trust Secret must hold, as kubectl shows it: the certificates under two layers of base64
// (tkg-facts.md §1.0).
func SecretValue(list []*x509.Certificate) string { return Encode(certs.Normalize(list), LayersSecret) }

// NewTrustSecret returns a Secret of a namespace with one key that has the value. It names no owner: the TKG Service makes it the cluster's
// when it is used.
func NewTrustSecret(namespace, name, key, value string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
		"metadata": map[string]any{"namespace": namespace, "name": name},
		"data":     map[string]any{key: value},
	}}
}

// SecretKey returns what a Secret holds under a key, as kubectl shows it; ok is false if there is no such key.
func SecretKey(secret *unstructured.Unstructured, key string) (value string, ok bool) {
	if secret == nil {
		return "", false
	}
	data, _, _ := unstructured.NestedMap(secret.Object, "data")
	value, ok = data[key].(string)
	return value, ok
}

// SecretKeys returns the keys of a Secret in no order.
func SecretKeys(secret *unstructured.Unstructured) []string {
	if secret == nil {
		return nil
	}
	data, _, _ := unstructured.NestedMap(secret.Object, "data")
	out := make([]string, 0, len(data))
	for key := range data {
		out = append(out, key)
	}
	return out
}

// AddKeyPatch returns the patch that adds a key to a Secret which does not have it, and touches no other.
func AddKeyPatch(secret *unstructured.Unstructured, key, value string) []Operation {
	ops := []Operation{{"test", "/metadata/uid", string(secret.GetUID())}}
	if data, _, _ := unstructured.NestedMap(secret.Object, "data"); data == nil {
		return append(ops, Operation{"test", "/data", nil}, Operation{"add", "/data", map[string]any{key: value}})
	}
	return append(ops, Operation{"test", "/data/" + key, nil}, Operation{"add", "/data/" + key, value})
}

// DropKeyPatch returns the patch that takes a key out of a Secret, if it has this value, and touches no other.
func DropKeyPatch(secret *unstructured.Unstructured, key, value string) []Operation {
	return []Operation{
		{"test", "/metadata/uid", string(secret.GetUID())}, {"test", "/data/" + key, value}, {"remove", "/data/" + key, nil},
	}
}

// OwnEntry is one entry of a cluster's own trust.
type OwnEntry struct {
	Held
	// Secret is the Secret that it names a key of; empty for a value that stands in the owner's object.
	Secret string
}

// OwnTrust returns the list that a way declares trust in, decoded. value returns what a Secret of the cluster's namespace holds under a
// key, as kubectl shows it; it is not called for WayTKC. An entry with inline data of the standalone TKG is an error, for this way of the
// TKG Service has no such form (tkg-facts.md §1.0).
func OwnTrust(obj *unstructured.Unstructured, way Way, value func(secret, key string) (string, bool)) ([]OwnEntry, error) {
	if way == WayTKC {
		list, err := ClusterTrust(obj)
		out := make([]OwnEntry, len(list))
		for i, e := range list {
			out[i].Held = Hold(e.Name, e.Data, LayersService)
		}
		return out, err
	}
	part, err := TrustPart(obj, way)
	if err != nil {
		return nil, err
	}
	var out []OwnEntry
	for i, item := range part.Entries() {
		e, err := classEntry(obj.GetName(), fmt.Sprintf("%s[%d]", part.Path(), i), item)
		if err != nil {
			return nil, err
		}
		switch {
		case e.Secret != "":
			data, ok := value(e.Secret, e.Key)
			held := Hold(e.Key, data, LayersSecret)
			held.Absent = !ok
			out = append(out, OwnEntry{Held: held, Secret: e.Secret})
		case way == WayTrust:
			return nil, fmt.Errorf("reading %s: the entry has data of its own, which is a form of the standalone TKG and not of this class", e.Path)
		default:
			out = append(out, OwnEntry{Held: Hold(e.Key, e.Data, e.Layers)})
		}
	}
	return out, nil
}

// UsesOfKey returns where a Cluster's variables name a key of a Secret: those of the whole cluster and those that pools override
// (spec.topology: variables; controlPlane, workers.machineDeployments, workers.machinePools: variables.overrides).
func UsesOfKey(cluster *unstructured.Unstructured, secret, key string) []string {
	var out []string
	for _, v := range variablesOf(cluster) {
		for _, e := range v.entries() {
			name, k := entryKey(cluster.GetName(), e)
			if name == secret && k == key {
				out = append(out, v.where)
			}
		}
	}
	return out
}

// Overrides returns the pools that have a value of their own for the variable by which the way declares trust: a change of the
// cluster's does not reach them.
func Overrides(cluster *unstructured.Unstructured, way Way) []string {
	name := trustVariable
	if way == WayOSConfiguration {
		name = osVariable
	}
	var out []string
	for _, v := range variablesOf(cluster) {
		if v.pool != "" && v.fields["name"] == name {
			out = append(out, v.pool)
		}
	}
	return out
}

// variable is one variable of a Cluster; pool is what overrides it, empty for the cluster's own.
type variable struct {
	where, pool string
	fields      map[string]any
}

func variablesOf(cluster *unstructured.Unstructured) []variable {
	topology, _, _ := unstructured.NestedMap(cluster.Object, "spec", "topology")
	out := variablesIn(topology["variables"], "spec.topology.variables", "")
	take := func(part any, where, pool string) {
		fields, _ := part.(map[string]any)
		own, _ := fields["variables"].(map[string]any)
		out = append(out, variablesIn(own["overrides"], where+".variables.overrides", pool)...)
	}
	take(topology["controlPlane"], "spec.topology.controlPlane", "the control plane")
	workers, _ := topology["workers"].(map[string]any)
	for _, kind := range []string{"machineDeployments", "machinePools"} {
		pools, _ := workers[kind].([]any)
		for i, p := range pools {
			fields, _ := p.(map[string]any)
			name, _ := fields["name"].(string)
			take(p, fmt.Sprintf("spec.topology.workers.%s[%d]", kind, i), or(name, fmt.Sprintf("%s[%d]", kind, i)))
		}
	}
	return out
}

func variablesIn(list any, where, pool string) []variable {
	var out []variable
	items, _ := list.([]any)
	for i, item := range items {
		if fields, ok := item.(map[string]any); ok {
			out = append(out, variable{where: fmt.Sprintf("%s[%d]", where, i), pool: pool, fields: fields})
		}
	}
	return out
}

// entries returns the list of trusted CAs in a variable of either class.
func (v variable) entries() []any {
	value, _ := v.fields["value"].(map[string]any)
	if v.fields["name"] == osVariable {
		value, _ = value["trust"].(map[string]any)
	} else if v.fields["name"] != trustVariable {
		return nil
	}
	list, _ := value[listKey].([]any)
	return list
}

// entryKey returns the Secret and the key that an entry of either class names, empty for one that names none.
func entryKey(cluster string, item any) (secret, key string) {
	e, err := classEntry(cluster, "", item)
	if err != nil {
		return "", ""
	}
	return e.Secret, e.Key
}
