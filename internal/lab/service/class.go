package service

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tkgfix/tkgfix/internal/lab/vm"
)

// The variables by which the classes take trust (tkg-facts.md §1.3, §1.4).
const (
	trustVariable = "trust"
	osVariable    = "osConfiguration"
)

// trustSecret is the name of the Secret that the class tanzukubernetescluster reads, and the others by convention, without the
// cluster's name before it.
const trustSecret = "-user-trusted-ca-secret"

// classOwner is a Cluster of a ClusterClass, of either version of the Cluster API (tkg-facts.md §1.3, §1.4).
type classOwner struct{ capi *unstructured.Unstructured }

func (o classOwner) object() *unstructured.Unstructured               { return o.capi }
func (o classOwner) resource(r resources) schema.GroupVersionResource { return r.clusters }
func (o classOwner) finalizer() string                                { return clusterFinalizer }

func (o classOwner) topology() map[string]any {
	topology, _, _ := unstructured.NestedMap(o.capi.Object, "spec", "topology")
	return topology
}

// class reads both shapes, since an object that was written in one version can be read in the other.
func (o classOwner) class() types.NamespacedName {
	topology := o.topology()
	ref, _, _ := unstructured.NestedMap(topology, "classRef")
	name, namespace := text(ref, "name"), text(ref, "namespace")
	if name == "" {
		name, namespace = text(topology, "class"), text(topology, "classNamespace")
	}
	return types.NamespacedName{Namespace: cmp.Or(namespace, o.capi.GetNamespace()), Name: name}
}

func (o classOwner) version() string { return kubernetesVersion(text(o.topology(), "version")) }

func (o classOwner) pools() []pool {
	topology := o.topology()
	vmClass, _ := o.variable("vmClass").(string)
	controlPlane, _, _ := unstructured.NestedMap(topology, "controlPlane")
	out := []pool{controlPlanePool(number(controlPlane, "replicas"), vmClass)}
	list, _, _ := unstructured.NestedSlice(topology, "workers", "machineDeployments")
	for _, each := range list {
		if p, ok := each.(map[string]any); ok {
			out = append(out, pool{name: text(p, "name"), vmClass: vmClass, replicas: number(p, "replicas")})
		}
	}
	return out
}

// content is the topology. Labels and annotations of what it makes are changed in place and replace nothing (tkg-facts.md §2), and the
// order of the variables says nothing.
func (o classOwner) content() any {
	topology := o.topology()
	unstructured.RemoveNestedField(topology, "controlPlane", "metadata")
	if list, ok, _ := unstructured.NestedSlice(topology, "workers", "machineDeployments"); ok {
		for _, each := range list {
			if p, ok := each.(map[string]any); ok {
				delete(p, "metadata")
			}
		}
		_ = unstructured.SetNestedSlice(topology, list, "workers", "machineDeployments")
	}
	if variables, ok := topology["variables"].([]any); ok {
		slices.SortStableFunc(variables, func(a, b any) int { return cmp.Compare(nameOf(a), nameOf(b)) })
	}
	return topology
}

func nameOf(value any) string {
	m, _ := value.(map[string]any)
	return text(m, "name")
}

// variable returns the value of a variable, nil if the Cluster does not set it.
func (o classOwner) variable(name string) any {
	list, _ := o.topology()["variables"].([]any)
	for _, each := range list {
		if m, ok := each.(map[string]any); ok && nameOf(each) == name {
			return m["value"]
		}
	}
	return nil
}

// declared is one entry of a class's trust: a key of a Secret, or the PEM itself.
type declared struct{ file, secret, key, content string }

// trust returns the entries of whichever variable declares them. The files' names are not known for the classes builtin-generic
// (tkg-facts.md §10): the laboratory counts, so that nobody can rely on a name.
func (o classOwner) trust() []declared {
	var out []declared
	for _, entry := range caEntries(o.variable(trustVariable)) {
		out = append(out, declared{file: text(entry, "name"), secret: o.capi.GetName() + trustSecret, key: text(entry, "name")})
	}
	osConfiguration, _ := o.variable(osVariable).(map[string]any)
	for i, entry := range caEntries(osConfiguration["trust"]) {
		caCert, _, _ := unstructured.NestedMap(entry, "caCert")
		ref, _, _ := unstructured.NestedMap(caCert, "secretRef")
		out = append(out, declared{
			file: fmt.Sprintf("additional-ca-%d", i+1), secret: text(ref, "name"), key: text(ref, "key"), content: text(caCert, "content"),
		})
	}
	return out
}

func caEntries(trust any) []map[string]any {
	m, _ := trust.(map[string]any)
	list, _ := m["additionalTrustedCAs"].([]any)
	var out []map[string]any
	for _, each := range list {
		if entry, ok := each.(map[string]any); ok {
			out = append(out, entry)
		}
	}
	return out
}

// render takes the bytes of the Secrets as they are now: the content of a file with encoding base64 (tkg-facts.md §1.0). What does not
// decode to PEM ends the boot before the node joins. A key that is missing is waited for, as the bootstrap provider of the Cluster API
// does with contentFrom (tkg-facts.md §2).
func (o classOwner) render(ctx context.Context, find finder) (rendering, error) {
	var out rendering
	for _, d := range o.trust() {
		if d.content != "" {
			out.trust = append(out.trust, vm.Trust{Name: d.file, Data: base64.StdEncoding.EncodeToString([]byte(d.content))})
			continue
		}
		data, waits, err := secretKey(ctx, find, types.NamespacedName{Namespace: o.capi.GetNamespace(), Name: d.secret}, d.key)
		if err != nil || waits != "" {
			return rendering{waits: waits}, err
		}
		entry := vm.Trust{Name: d.file, Data: string(data)}
		if _, content, ok := entry.File(); !ok || !hasPEM(content) {
			out.fails = fmt.Sprintf("the file of key %s of Secret %s cannot be processed: no PEM", d.key, d.secret)
		}
		out.trust = append(out.trust, entry)
	}
	return out, nil
}

func hasPEM(data []byte) bool {
	block, _ := pem.Decode(data)
	return block != nil
}

// secretKey returns the bytes of a key, or what is missing.
func secretKey(ctx context.Context, find finder, of types.NamespacedName, key string) (data []byte, waits string, err error) {
	secret, err := find(ctx, schema.GroupVersionResource{Version: "v1", Resource: "secrets"}, of.Namespace, of.Name)
	if err != nil {
		return nil, "", err
	}
	if secret == nil {
		return nil, fmt.Sprintf("Secret %s not found", of), nil
	}
	encoded, ok, _ := unstructured.NestedString(secret.Object, "data", key)
	if !ok {
		return nil, fmt.Sprintf("Secret %s has no key %s", of, key), nil
	}
	data, err = base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, "", fmt.Errorf("reading Secret %s: %w", of, err)
	}
	return data, "", nil
}
