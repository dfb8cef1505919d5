package lab

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tkgfix/tkgfix/internal/lab/service"
)

// trustSecretSuffix follows a cluster's name in the name of the Secret with its trust (tkg-facts.md §1.3).
const trustSecretSuffix = "-user-trusted-ca-secret"

// timeServer is in the variable osConfiguration besides trust, as something is in most clusters of the field.
const timeServer = "time.corp.lab"

// blueprint makes the objects of a generation's clusters.
type blueprint struct{ generation service.Generation }

// owners is the kind of which dev1 and dev2 are.
func (b blueprint) owners() schema.GroupVersionResource {
	if b.generation.Classes() {
		return b.generation.Resource("cluster.x-k8s.io", "clusters")
	}
	return b.generation.Resource("run.tanzu.vmware.com", "tanzukubernetesclusters")
}

func (b blueprint) configurations() schema.GroupVersionResource {
	return b.generation.Resource("run.tanzu.vmware.com", "tkgserviceconfigurations")
}

func (b blueprint) serviceConfiguration(trust []any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": b.configurations().GroupVersion().String(), "kind": "TkgServiceConfiguration",
		"metadata": map[string]any{"name": configurationName},
		"spec":     map[string]any{"defaultCNI": "antrea", "trust": map[string]any{"additionalTrustedCAs": trust}},
	}}
}

// tkc is the manifest of dev1 or dev2 with its own trust, as a TanzuKubernetesCluster. made is a label of its pool, where pools have any.
func (b blueprint) tkc(name, made string, own []any) *unstructured.Unstructured {
	network := clusterNetwork()
	network["cni"] = map[string]any{"name": "antrea"}
	if len(own) > 0 {
		network["trust"] = map[string]any{"additionalTrustedCAs": own}
	}
	spec := map[string]any{"settings": map[string]any{"storage": map[string]any{"defaultClass": "gold"}, "network": network}}
	if b.generation == service.V1alpha1 {
		set := func(count int64) map[string]any {
			return map[string]any{"count": count, "class": "guaranteed-medium", "storageClass": "gold"}
		}
		spec["distribution"] = map[string]any{"version": "v1.20.12+vmware.1-tkg.1.b9a42f3"}
		spec["topology"] = map[string]any{"controlPlane": set(1), "workers": set(2)}
	} else {
		workers := nodePool(2)
		workers["name"], workers["labels"] = "np1", map[string]any{"made-for": made}
		spec["topology"] = map[string]any{"controlPlane": nodePool(1), "nodePools": []any{workers}}
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": b.owners().GroupVersion().String(), "kind": "TanzuKubernetesCluster",
		"metadata": map[string]any{"name": name, "namespace": namespace}, "spec": spec,
	}}
}

func clusterNetwork() map[string]any {
	return map[string]any{
		"services":      map[string]any{"cidrBlocks": []any{"10.96.0.0/16"}},
		"pods":          map[string]any{"cidrBlocks": []any{"192.168.0.0/16"}},
		"serviceDomain": "cluster.local",
	}
}

func nodePool(replicas int64) map[string]any {
	return map[string]any{
		"replicas": replicas, "vmClass": "guaranteed-medium", "storageClass": "gold",
		"tkr": map[string]any{"reference": map[string]any{"name": service.Release}},
	}
}

// cluster is the manifest of dev1 or dev2 as a Cluster of the generation's class, which trusts the keys of its Secret.
func (b blueprint) cluster(name string, keys []string) *unstructured.Unstructured {
	topology := map[string]any{
		"version":      service.Release,
		"controlPlane": map[string]any{"replicas": int64(1)},
		"workers":      map[string]any{"machineDeployments": []any{map[string]any{"class": "node-pool", "name": "np1", "replicas": int64(2)}}},
	}
	switch b.generation {
	case service.GenericV1beta2:
		topology["classRef"] = map[string]any{"name": service.PublicClassName, "namespace": service.PublicNamespace}
		topology["version"] = service.PublicRelease
	case service.GenericV1beta1:
		topology["class"] = service.GenericClassName
	default:
		topology["class"] = service.TanzuClassName
	}
	variables := []any{
		map[string]any{"name": "vmClass", "value": "guaranteed-medium"},
		map[string]any{"name": "storageClass", "value": "gold"},
	}
	if v := b.trustVariable(name, keys); v != nil {
		variables = append(variables, v)
	}
	topology["variables"] = variables
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": b.owners().GroupVersion().String(), "kind": "Cluster",
		"metadata": map[string]any{"name": name, "namespace": namespace},
		"spec":     map[string]any{"clusterNetwork": clusterNetwork(), "topology": topology},
	}}
}

// trustVariable declares the keys of a cluster's Secret in the way of the generation's class (tkg-facts.md §1.3, §1.4); nil if there is
// nothing to declare.
func (b blueprint) trustVariable(cluster string, keys []string) map[string]any {
	var entries []any
	for _, key := range keys {
		if b.generation == service.TanzuClass {
			entries = append(entries, map[string]any{"name": key})
		} else {
			ref := map[string]any{"name": cluster + trustSecretSuffix, "key": key}
			entries = append(entries, map[string]any{"caCert": map[string]any{"secretRef": ref}})
		}
	}
	trust := map[string]any{"additionalTrustedCAs": entries}
	if b.generation == service.TanzuClass {
		if len(entries) == 0 {
			return nil
		}
		return map[string]any{"name": "trust", "value": trust}
	}
	value := map[string]any{"ntp": map[string]any{"servers": []any{timeServer}}}
	if len(entries) > 0 {
		value["trust"] = trust
	}
	return map[string]any{"name": "osConfiguration", "value": value}
}

// trustSecret is the Secret that a cluster's trust names.
func trustSecret(cluster string, data map[string]string) *unstructured.Unstructured {
	content := map[string]any{}
	for key, value := range data {
		content[key] = value
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
		"metadata":   map[string]any{"name": cluster + trustSecretSuffix, "namespace": namespace},
		"stringData": content,
	}}
}

func keysOf(data map[string]string) []string { return slices.Sorted(maps.Keys(data)) }
