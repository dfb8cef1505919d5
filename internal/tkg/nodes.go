package tkg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/plugins"
)

const (
	clusterLabel      = "cluster.x-k8s.io/cluster-name"
	controlPlaneLabel = "cluster.x-k8s.io/control-plane"
	// maxNodes bounds a cluster. A VKS cluster ends at 450 nodes.
	maxNodes = 5000
)

// Node is a machine of a cluster.
type Node struct {
	// Name is the name of the Kubernetes node, or of the Machine while it has none.
	Name       string
	MachineUID types.UID
	// Address is an IP address, empty while the machine has none.
	Address      string
	Created      time.Time
	ControlPlane bool
	// Version is the Kubernetes version that the Machine asks for.
	Version string
}

// Workers returns the cluster's machines that are no control plane and are not being deleted, by name. The address is that of
// the Machine, else of its VirtualMachine (tkg-facts.md §3). A cluster without a Machine is an error. It blocks on the network.
func Workers(ctx context.Context, c *kube.Client, ref Ref) ([]Node, error) {
	machines, err := c.Resource(ctx, clusterGroup, "Machine")
	if err != nil {
		return nil, err
	}
	var out []Node
	seen := 0
	opts := metav1.ListOptions{LabelSelector: clusterLabel + "=" + ref.Name}
	err = c.Each(ctx, machines, ref.Namespace, opts, func(u *unstructured.Unstructured) error {
		if seen++; seen > maxNodes {
			return fmt.Errorf("cluster %s has more than %d machines", ref, maxNodes)
		}
		node := nodeOf(u)
		if node.ControlPlane || u.GetDeletionTimestamp() != nil {
			return nil
		}
		if node.Address == "" {
			address, err := vmAddress(ctx, c, u)
			if err != nil {
				return err
			}
			node.Address = address
		}
		out = append(out, node)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the workers of cluster %s: %w", ref, err)
	}
	if seen == 0 {
		return nil, plugins.Hint(fmt.Errorf("cluster %s has no machines", ref),
			"see whether it is there and what it waits for: kubectl describe tanzukubernetescluster %s -n %s", ref.Name, ref.Namespace)
	}
	slices.SortFunc(out, func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

func nodeOf(u *unstructured.Unstructured) Node {
	_, controlPlane := u.GetLabels()[controlPlaneLabel]
	name, _, _ := unstructured.NestedString(u.Object, "status", "nodeRef", "name")
	version, _, _ := unstructured.NestedString(u.Object, "spec", "version")
	return Node{
		Name: cmp.Or(name, u.GetName()), MachineUID: u.GetUID(), Address: machineAddress(u),
		Created: u.GetCreationTimestamp().Time, ControlPlane: controlPlane, Version: version,
	}
}

func machineAddress(u *unstructured.Unstructured) string {
	addresses, _, _ := unstructured.NestedSlice(u.Object, "status", "addresses")
	for _, a := range addresses {
		m, _ := a.(map[string]any)
		text, _ := m["address"].(string)
		if m["type"] == "InternalIP" && isIP(text) {
			return text
		}
	}
	return ""
}

// vmAddress reads the address of the VirtualMachine behind a Machine: status.vmIp in v1alpha1, status.network.primaryIP4 or
// primaryIP6 from v1alpha2 on. It is empty if there is none yet.
func vmAddress(ctx context.Context, c *kube.Client, machine *unstructured.Unstructured) (string, error) {
	vms, err := c.Resource(ctx, vmGroup, "VirtualMachine")
	if errors.Is(err, kube.ErrNotServed) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	names := []string{machine.GetName()}
	if infra, _, _ := unstructured.NestedString(machine.Object, "spec", "infrastructureRef", "name"); infra != "" && infra != names[0] {
		names = append(names, infra)
	}
	for _, name := range names {
		vm, err := c.Get(ctx, vms, machine.GetNamespace(), name)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return "", err
		}
		return vmStatusAddress(vm), nil
	}
	return "", nil
}

func vmStatusAddress(vm *unstructured.Unstructured) string {
	for _, path := range [][]string{
		{"status", "network", "primaryIP4"}, {"status", "vmIp"}, {"status", "network", "primaryIP6"},
	} {
		if text, _, _ := unstructured.NestedString(vm.Object, path...); isIP(text) {
			return text
		}
	}
	return ""
}

// isIP keeps out what is no address: it ends up in commands that a person is told to type.
func isIP(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Zone() == ""
}
