package lab

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/lab/ca"
)

// The scenarios: which fault is planted.
const (
	// MissingCA: no trust configuration of dev1 has the registry's root.
	MissingCA = "missing-ca"
	// WrongCA: TkgServiceConfiguration has a root of the same subject and another key.
	WrongCA = "wrong-ca"
	// VSpherePod: the clusters are healthy, pods on the Supervisor itself cannot pull.
	VSpherePod = "vsphere-pod"
	// Healthy: nothing is wrong.
	Healthy = "healthy"
)

// Scenarios returns the names of the scenarios.
func Scenarios() []string { return []string{MissingCA, WrongCA, VSpherePod, Healthy} }

// CheckScenario says what would have been right if there is no such scenario.
func CheckScenario(name string) error {
	if slices.Contains(Scenarios(), name) {
		return nil
	}
	return fmt.Errorf("no scenario %q, there are: %s", name, strings.Join(Scenarios(), ", "))
}

const (
	namespace = "team-a"
	sick      = "dev1"
	healthy   = "dev2"
	// release is a Tanzu Kubernetes release of vSphere 8 (tkg-facts.md §1.2).
	release = "v1.26.5---vmware.2-fips.1-tkg.1"
	// rootEntry is the name under which the registry's root is configured where it is.
	rootEntry = "corp-root"
)

// pullsFail says whether dev1's pods cannot pull.
func pullsFail(scenario string) bool { return scenario == MissingCA || scenario == WrongCA }

type entry struct {
	name string
	pem  []byte
}

// serviceTrust is what TkgServiceConfiguration holds: two CAs of other registries, and what the scenario adds.
func serviceTrust(scenario string, pki *ca.Corporate) []entry {
	entries := []entry{{"corp-a", pki.CorpA.PEM()}, {"corp-b", pki.CorpB.PEM()}}
	switch scenario {
	case WrongCA:
		entries = append(entries, entry{rootEntry, pki.OldRoot.PEM()})
	case Healthy, VSpherePod:
		entries = append(entries, entry{rootEntry, pki.Root.PEM()})
	}
	return entries
}

// trustList encodes entries as TkgServiceConfiguration and TanzuKubernetesCluster want them: base64 once (tkg-facts.md §1.0).
func trustList(entries []entry) []any {
	out := make([]any, 0, len(entries))
	for _, e := range entries {
		out = append(out, map[string]any{"name": e.name, "data": base64.StdEncoding.EncodeToString(e.pem)})
	}
	return out
}

func serviceConfiguration(scenario string, pki *ca.Corporate) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "run.tanzu.vmware.com/v1alpha3", "kind": "TkgServiceConfiguration",
		"metadata": map[string]any{"name": "tkg-service-configuration"},
		"spec": map[string]any{
			"defaultCNI": "antrea",
			"trust":      map[string]any{"additionalTrustedCAs": trustList(serviceTrust(scenario, pki))},
		},
	}}
}

// workloadCluster is the manifest of dev1 or dev2. dev2 has the registry's root in its own trust and is always well.
func workloadCluster(name string, pki *ca.Corporate) *unstructured.Unstructured {
	pool := func(replicas int64) map[string]any {
		return map[string]any{
			"replicas": replicas, "vmClass": "guaranteed-medium", "storageClass": "gold",
			"tkr": map[string]any{"reference": map[string]any{"name": release}},
		}
	}
	workers := pool(2)
	workers["name"] = "np1"
	network := map[string]any{
		"cni":           map[string]any{"name": "antrea"},
		"services":      map[string]any{"cidrBlocks": []any{"10.96.0.0/16"}},
		"pods":          map[string]any{"cidrBlocks": []any{"192.168.0.0/16"}},
		"serviceDomain": "cluster.local",
	}
	if name == healthy {
		network["trust"] = map[string]any{"additionalTrustedCAs": trustList([]entry{{rootEntry, pki.Root.PEM()}})}
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "run.tanzu.vmware.com/v1alpha3", "kind": "TanzuKubernetesCluster",
		"metadata": map[string]any{"name": name, "namespace": namespace},
		"spec": map[string]any{
			"topology": map[string]any{"controlPlane": pool(1), "nodePools": []any{workers}},
			"settings": map[string]any{"storage": map[string]any{"defaultClass": "gold"}, "network": network},
		},
	}}
}
