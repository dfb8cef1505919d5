package tkg

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// The layers of base64 that each place wants, counted as kubectl shows the stored value (tkg-facts.md §1.0).
const (
	// LayersService is what TkgServiceConfiguration and TanzuKubernetesCluster want. Old copies of the vendor's 8.0 page ask for two in
	// v1alpha3; the types' comments and the vendor's own installer say one.
	LayersService = 1
	// LayersSecret is what a Secret wants that a Cluster's trust names: the one of the API, and one of its own.
	LayersSecret = 2
	// LayersInline is what osConfiguration's caCert.content wants: plain PEM.
	LayersInline = 0
)

// userTrustSuffix follows the cluster's name in the name of the Secret that the class tanzukubernetescluster reads (tkg-facts.md §1.3).
const userTrustSuffix = "-user-trusted-ca-secret"

// ClassTrust is one CA that a Cluster with a ClusterClass trusts: the key of a Secret in the same namespace, or the value itself.
type ClassTrust struct {
	// Way is the variable that names it: WayTrust or WayOSConfiguration.
	Way Way
	// Path is the variable's field that names it.
	Path string
	// Secret and Key say where the value is; empty for one that stands in the Cluster.
	Secret, Key string
	// Data is the value that stands in the Cluster.
	Data string
	// Layers is how many layers of base64 the value wants, as kubectl shows it.
	Layers int
}

// ClusterClassTrust returns the CAs that the variables of a Cluster name, in their order: trust of the class tanzukubernetescluster, whose
// entries are keys of CLUSTER-user-trusted-ca-secret, and osConfiguration.trust of builtin-generic (tkg-facts.md §1.3, §1.4). What has
// not the shape of an entry is an error that names the field.
func ClusterClassTrust(cluster *unstructured.Unstructured) ([]ClassTrust, error) {
	value, _, err := unstructured.NestedFieldNoCopy(cluster.Object, "spec", "topology", "variables")
	if err != nil {
		return nil, fmt.Errorf("reading spec.topology.variables: %w", err)
	}
	variables, _ := value.([]any)
	var out []ClassTrust
	for i, item := range variables {
		variable, _ := item.(map[string]any)
		path := fmt.Sprintf("spec.topology.variables[%d].value", i)
		content, _ := variable["value"].(map[string]any)
		way := WayTrust
		if variable["name"] == osVariable {
			way = WayOSConfiguration
			content, _ = content[trustVariable].(map[string]any)
			path += "." + trustVariable
		} else if variable["name"] != trustVariable {
			continue
		}
		entries, ok := content["additionalTrustedCAs"].([]any)
		if !ok && content["additionalTrustedCAs"] != nil {
			return nil, fmt.Errorf("reading %s.additionalTrustedCAs: it is no list", path)
		}
		for j, item := range entries {
			at := fmt.Sprintf("%s.additionalTrustedCAs[%d]", path, j)
			entry, err := classEntry(cluster.GetName(), at, item)
			if err != nil {
				return nil, err
			}
			entry.Way = way
			out = append(out, entry)
		}
	}
	return out, nil
}

func classEntry(cluster, path string, item any) (ClassTrust, error) {
	fields, _ := item.(map[string]any)
	if ca, ok := fields["caCert"].(map[string]any); ok {
		ref, _ := ca["secretRef"].(map[string]any)
		name, _ := ref["name"].(string)
		key, _ := ref["key"].(string)
		if name != "" && key != "" {
			return ClassTrust{Path: path + ".caCert.secretRef", Secret: name, Key: key, Layers: LayersSecret}, nil
		}
		if content, ok := ca["content"].(string); ok {
			return ClassTrust{Path: path + ".caCert.content", Data: content, Layers: LayersInline}, nil
		}
		return ClassTrust{}, fmt.Errorf("reading %s.caCert: it has neither secretRef with name and key, nor content", path)
	}
	name, _ := fields["name"].(string)
	if name == "" {
		return ClassTrust{}, fmt.Errorf("reading %s: it has neither name nor caCert", path)
	}
	if data, ok := fields["data"].(string); ok { // the form of the standalone TKG
		return ClassTrust{Path: path + ".data", Key: name, Data: data, Layers: LayersService}, nil
	}
	return ClassTrust{Path: path + ".name", Secret: cluster + userTrustSuffix, Key: name, Layers: LayersSecret}, nil
}
