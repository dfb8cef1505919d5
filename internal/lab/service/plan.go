package service

import (
	"fmt"

	"github.com/google/uuid"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/lab/guest"
	"github.com/tkgfix/tkgfix/internal/lab/vm"
)

// A laboratory on a laptop runs no more nodes than these, whatever the topology says.
const (
	maxControlPlane = 1
	maxWorkers      = 4
)

// nodePlan is one node of a cluster, with the names that it has as long as it lives.
type nodePlan struct {
	name         string
	pool         string
	controlPlane bool
	version      string
	vmClass      string
	uuid         string
	address      string // set when it has booted
}

func (n nodePlan) spec(trust []vm.Trust) guest.NodeSpec {
	return guest.NodeSpec{Name: n.name, ControlPlane: n.controlPlane, Trust: trust, Version: n.version, ProviderID: n.providerID()}
}

func (n nodePlan) providerID() string { return "vsphere://" + n.uuid }

func (n nodePlan) role() string {
	if n.controlPlane {
		return "controlplane"
	}
	return "node"
}

// planNodes reads the topology of any of the three versions (tkg-facts.md §1.2) and names the nodes.
func planNodes(tkc *unstructured.Unstructured) ([]nodePlan, error) {
	topology, _, _ := unstructured.NestedMap(tkc.Object, "spec", "topology")
	version := kubernetesVersion(tkc)
	controlPlane, _, _ := unstructured.NestedMap(topology, "controlPlane")
	suffix, err := guest.Random(5)
	if err != nil {
		return nil, err
	}
	var plans []nodePlan
	for range min(max(1, number(controlPlane, "replicas", "count")), maxControlPlane) {
		plans = append(plans, nodePlan{name: tkc.GetName() + "-" + suffix, pool: "control-plane", controlPlane: true, vmClass: text(controlPlane, "vmClass", "class")})
	}
	pools, _, _ := unstructured.NestedSlice(topology, "nodePools")
	if old, ok, _ := unstructured.NestedMap(topology, "workers"); ok {
		old["name"] = "workers"
		pools = append(pools, old)
	}
	left := maxWorkers
	for _, p := range pools {
		pool, ok := p.(map[string]any)
		if !ok {
			continue
		}
		names, err := poolNames(tkc.GetName(), text(pool, "name"), min(number(pool, "replicas", "count"), left))
		if err != nil {
			return nil, err
		}
		left -= len(names)
		for _, name := range names {
			plans = append(plans, nodePlan{name: name, pool: text(pool, "name"), vmClass: text(pool, "vmClass", "class")})
		}
	}
	for i := range plans {
		plans[i].version, plans[i].uuid = version, uuid.NewString()
	}
	return plans, nil
}

// poolNames names machines as Cluster API does: the MachineDeployment, the MachineSet's hash, the machine's own suffix.
func poolNames(cluster, pool string, count int) ([]string, error) {
	set, err := guest.Random(5)
	if err != nil {
		return nil, err
	}
	var names []string
	for range count {
		suffix, err := guest.Random(5)
		if err != nil {
			return nil, err
		}
		names = append(names, fmt.Sprintf("%s-%s-%s-%s", cluster, pool, set, suffix))
	}
	return names, nil
}

// kubernetesVersion turns the name of a Tanzu Kubernetes release, v1.26.5---vmware.2-fips.1-tkg.1, into what its nodes report.
func kubernetesVersion(tkc *unstructured.Unstructured) string {
	name, _, _ := unstructured.NestedString(tkc.Object, "spec", "topology", "controlPlane", "tkr", "reference", "name")
	if name == "" {
		name, _, _ = unstructured.NestedString(tkc.Object, "spec", "distribution", "version")
	}
	var version, build string
	for i := 0; i+3 <= len(name); i++ {
		if name[i:i+3] == "---" {
			version, build = name[:i], name[i+3:]
			break
		}
	}
	if version == "" {
		return name
	}
	for i := 0; i+5 <= len(build); i++ {
		if build[i:i+5] == "-tkg." {
			build = build[:i]
			break
		}
	}
	return version + "+" + build
}

// trustOf returns the entries at the path, in order.
func trustOf(object *unstructured.Unstructured, path ...string) []vm.Trust {
	if object == nil {
		return nil
	}
	entries, _, _ := unstructured.NestedSlice(object.Object, append(path, "trust", "additionalTrustedCAs")...)
	var out []vm.Trust
	for _, e := range entries {
		if entry, ok := e.(map[string]any); ok {
			out = append(out, vm.Trust{Name: text(entry, "name"), Data: text(entry, "data")})
		}
	}
	return out
}

// joinTrust adds a cluster's own entries to the default ones; its own win under the same name. Whether the TKG Service merges or
// replaces is not known (tkg-facts.md §2, Precedence): the laboratory merges.
func joinTrust(defaults, own []vm.Trust) []vm.Trust {
	names := map[string]bool{}
	for _, t := range own {
		names[t.Name] = true
	}
	var out []vm.Trust
	for _, t := range defaults {
		if !names[t.Name] {
			out = append(out, t)
		}
	}
	return append(out, own...)
}

func text(m map[string]any, keys ...string) string {
	for _, key := range keys {
		if s, ok := m[key].(string); ok && s != "" {
			return s
		}
	}
	return ""
}

func number(m map[string]any, keys ...string) int {
	for _, key := range keys {
		switch n := m[key].(type) {
		case int64:
			return int(n)
		case float64:
			return int(n)
		}
	}
	return 0
}
