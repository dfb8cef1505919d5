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
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/plugins"
)

// maxNodes bounds a cluster. A VKS cluster ends at 450 nodes.
const maxNodes = 5000

// Node is a machine of a cluster.
type Node struct {
	// Name is the name of the Kubernetes node, or of the Machine while it has none.
	Name       string
	MachineUID types.UID
	// Address is an IP address, empty while the machine has none.
	Address      string
	Created      time.Time
	ControlPlane bool
	// Pool is the node pool that it belongs to: the name in the cluster's topology, else that of its MachineDeployment; empty if it has none.
	Pool string
	// Version is the Kubernetes version that the Machine asks for.
	Version string
	// Joined says that the machine has become a node of the cluster: its Machine has status.nodeRef.
	Joined bool
}

// Workers returns the cluster's machines that are no control plane and are not being deleted, by name. The address is that of
// the Machine, else of its VirtualMachine (tkg-facts.md §3). A cluster without a Machine is an error. It blocks on the network.
func Workers(ctx context.Context, c *kube.Client, ref Ref) ([]Node, error) {
	return nodes(ctx, c, ref, func(n Node) bool { return !n.ControlPlane })
}

// Unjoined returns the machines of the control plane that are not nodes of the cluster and are not being deleted, as Workers does: a roll
// begins with the control plane, so that one which is wedged shows there first. A cluster without a Machine is an error.
func Unjoined(ctx context.Context, c *kube.Client, ref Ref) ([]Node, error) {
	return nodes(ctx, c, ref, func(n Node) bool { return n.ControlPlane && !n.Joined })
}

// nodes returns the machines that keep chooses, with their addresses.
func nodes(ctx context.Context, c *kube.Client, ref Ref, keep func(Node) bool) ([]Node, error) {
	machines, err := Machines(ctx, c, ref)
	if err != nil {
		return nil, err
	}
	if len(machines) == 0 {
		return nil, plugins.Hint(fmt.Errorf("cluster %s has no machines", ref),
			"see whether it is there and what it waits for: kubectl describe cluster %s -n %s", ref.Name, ref.Namespace)
	}
	var out []Node
	for _, u := range machines {
		machine, err := machineOf(u)
		if err != nil {
			return nil, err
		}
		node := nodeOf(machine)
		if !keep(node) || machine.DeletionTimestamp != nil {
			continue
		}
		if node.Address == "" {
			if node.Address, err = vmAddress(ctx, c, machine); err != nil {
				return nil, fmt.Errorf("find the address of %s in cluster %s: %w", node.Name, ref, err)
			}
		}
		out = append(out, node)
	}
	slices.SortFunc(out, func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// machineOf reads what is used of a Machine. The fields have the same form in v1beta1 and v1beta2; the rest, such as conditions, has not, and
// is left out, so that one type serves whichever version the Supervisor prefers.
func machineOf(u *unstructured.Unstructured) (*clusterv1.Machine, error) {
	slim := &unstructured.Unstructured{Object: map[string]any{"kind": u.GetKind(), "apiVersion": u.GetAPIVersion(), "metadata": u.Object["metadata"]}}
	for _, path := range [][]string{
		{"spec", "version"}, {"spec", "infrastructureRef", "name"}, {"status", "nodeRef", "name"}, {"status", "addresses"},
	} {
		value, found, err := unstructured.NestedFieldNoCopy(u.Object, path...)
		if err != nil {
			return nil, fmt.Errorf("read Machine %s/%s: %w", u.GetNamespace(), u.GetName(), err)
		}
		if found && value != nil {
			if err := unstructured.SetNestedField(slim.Object, value, path...); err != nil {
				return nil, fmt.Errorf("read Machine %s/%s: %w", u.GetNamespace(), u.GetName(), err)
			}
		}
	}
	return kube.As[clusterv1.Machine](slim)
}

func nodeOf(m *clusterv1.Machine) Node {
	_, controlPlane := m.Labels[clusterv1.MachineControlPlaneLabel]
	return Node{
		Name: cmp.Or(m.Status.NodeRef.Name, m.Name), MachineUID: m.UID, Address: machineAddress(m),
		Created: m.CreationTimestamp.Time, ControlPlane: controlPlane, Version: m.Spec.Version, Joined: m.Status.NodeRef.Name != "",
		Pool: cmp.Or(m.Labels[clusterv1.ClusterTopologyMachineDeploymentNameLabel], m.Labels[clusterv1.MachineDeploymentNameLabel]),
	}
}

func machineAddress(m *clusterv1.Machine) string {
	for _, a := range m.Status.Addresses {
		if a.Type == clusterv1.MachineInternalIP && isIP(a.Address) {
			return a.Address
		}
	}
	return ""
}

// vmAddress reads the address of the VirtualMachine behind a Machine: status.vmIp in v1alpha1, status.network.primaryIP4 or
// primaryIP6 from v1alpha2 on. It is empty if there is none yet.
func vmAddress(ctx context.Context, c *kube.Client, machine *clusterv1.Machine) (string, error) {
	vms, err := c.Resource(ctx, vmGroup, "VirtualMachine")
	if errors.Is(err, kube.ErrNotServed) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	names := []string{machine.Name}
	if infra := machine.Spec.InfrastructureRef.Name; infra != "" && infra != names[0] {
		names = append(names, infra)
	}
	for _, name := range names {
		vm, err := c.Get(ctx, vms, machine.Namespace, name)
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
