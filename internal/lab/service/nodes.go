package service

import (
	"context"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// target says what the nodes are to be and what the next step to that is.
func (c *cluster) target(o owner, initialized bool) (step, error) {
	revision, err := revision(o)
	if err != nil {
		return step{}, err
	}
	t := target{
		cluster: c.ref.Name, version: o.version(), pools: capped(o.pools()), revision: revision,
		planting: o.object().GetAnnotations()[PlantingAnnotation], initialized: initialized,
	}
	for _, n := range c.nodes {
		n.current = t.current(n)
	}
	return t.plan(c.nodes)
}

// initialized says whether the control plane has ever been up. One that has not is not rolled: there is nothing to join
// (tkg-facts.md §2: a cluster that never came up has to be made again).
func (c *cluster) initialized() bool {
	ready, err := c.guest.Ready()
	return ready && err == nil
}

// canStart says whether there is a machine on which a control plane can run.
func (c *cluster) canStart() bool {
	if c.initialized() {
		return true
	}
	for _, n := range c.nodes {
		if n.controlPlane && n.address != "" && n.given.fails == "" {
			return true
		}
	}
	return false
}

// noteHanging notes whether a node has booted that will never join, and says whether that is new.
func (c *cluster) noteHanging() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.hanging
	c.hanging = slices.ContainsFunc(c.nodes, func(n *node) bool { return n.address != "" && !n.leaving && n.given.fails != "" })
	return c.hanging && !before
}

// draining says whether a node cannot be drained.
func (c *cluster) draining() bool {
	return slices.ContainsFunc(c.nodes, func(n *node) bool { return n.leaving && n.drain != "" })
}

// sync sees which Machines somebody has deleted: those nodes leave, as they do for a MachineSet.
func (s *Service) sync(ctx context.Context, c *cluster) error {
	live, err := s.machinesOf(ctx, c)
	if err != nil {
		return err
	}
	for _, n := range c.nodes {
		machine, ok := live[n.name]
		if n.made && (!ok || machine.GetDeletionTimestamp() != nil) {
			n.leaving = true
		}
	}
	return nil
}

// machinesOf returns the cluster's Machines by name.
func (s *Service) machinesOf(ctx context.Context, c *cluster) (map[string]*unstructured.Unstructured, error) {
	list, err := s.client.Resource(s.kinds.machines).Namespace(c.ref.Namespace).List(ctx, metav1.ListOptions{LabelSelector: clusterLabel + "=" + c.ref.Name})
	if err != nil {
		return nil, fmt.Errorf("listing machines: %w", err)
	}
	out := map[string]*unstructured.Unstructured{}
	for i := range list.Items {
		out[list.Items[i].GetName()] = &list.Items[i]
	}
	return out, nil
}

// provideNode makes a node's Machine and VirtualMachine and boots it with the trust that is configured at this moment. What its trust
// names and is not there yet is waited for.
func (s *Service) provideNode(ctx context.Context, c *cluster, capi *unstructured.Unstructured, o owner, n *node) error {
	if n.address != "" || n.leaving {
		return nil
	}
	machine, err := s.ensure(ctx, s.kinds.machines, c.machine(s, capi, n))
	if err != nil {
		return err
	}
	n.made = true
	if !n.rendered {
		if n.given, err = o.render(ctx, s.find); err != nil {
			return err
		}
		n.rendered = n.given.waits == ""
	}
	if !n.rendered {
		return s.reportMachine(ctx, machine, n)
	}
	machineVM, err := s.ensure(ctx, s.kinds.vms, c.virtualMachine(s.kinds, machine, n))
	if err != nil {
		return err
	}
	address, err := c.guest.Boot(ctx, n.spec())
	if err != nil {
		return err
	}
	err = s.edit(ctx, s.kinds.vms, machineVM, true, func(u *unstructured.Unstructured) {
		set(u, "Created", "status", "phase")
		set(u, "PoweredOn", "status", "powerState")
		set(u, address, "status", "vmIp")
		set(u, address, "status", "network", "primaryIP4")
	})
	if err != nil {
		return err
	}
	n.address, n.osImage = address, s.host.Profile(c.ref).Family.Name()
	return s.reportMachine(ctx, machine, n)
}

// join writes the kubeconfig, lets the nodes into the cluster and says whether all of those that are to stay are ready.
func (s *Service) join(ctx context.Context, c *cluster, capi *unstructured.Unstructured) (bool, error) {
	kubeconfig, err := c.guest.Kubeconfig()
	if err != nil {
		return false, err
	}
	if _, err := s.ensure(ctx, s.kinds.secrets, c.secret(capi, "-kubeconfig", "cluster.x-k8s.io/secret", map[string][]byte{"value": kubeconfig})); err != nil {
		return false, err
	}
	all := true
	for _, n := range c.nodes {
		if n.leaving {
			continue
		}
		if !n.joined && n.address != "" && n.given.fails == "" {
			if n.joined, err = c.guest.Join(ctx, n.spec()); err != nil {
				return false, err
			}
		}
		all = all && n.joined
		machine, err := s.find(ctx, s.kinds.machines, c.ref.Namespace, n.name)
		if err != nil {
			return false, err
		}
		if machine == nil {
			continue // the next look sees to it
		}
		if err := s.reportMachine(ctx, machine, n); err != nil {
			return false, err
		}
	}
	return all, nil
}

// retire drains the nodes that leave, of those that have joined or of the others, and ends them, with their objects. Those that cannot be
// drained stay; force drains them all the same.
func (s *Service) retire(ctx context.Context, c *cluster, joined, force bool) error {
	var kept []*node
	defer func() { c.nodes = kept }()
	for i, n := range c.nodes {
		if !n.leaving || n.joined != joined {
			kept = append(kept, n)
			continue
		}
		gone, err := s.retireNode(ctx, c, n, force)
		if err != nil {
			kept = append(kept, c.nodes[i:]...)
			return err
		}
		if !gone {
			kept = append(kept, n)
		}
		c.told = false
	}
	return nil
}

// retireNode says whether the node is gone.
func (s *Service) retireNode(ctx context.Context, c *cluster, n *node, force bool) (bool, error) {
	machine, err := s.find(ctx, s.kinds.machines, c.ref.Namespace, n.name)
	if err != nil {
		return false, err
	}
	if machine != nil {
		if err := s.delete(ctx, s.kinds.machines, machine); err != nil {
			return false, err
		}
	}
	if gone, err := s.drain(ctx, c, n, machine, force); err != nil || !gone {
		return false, err
	}
	for machine != nil {
		// First its VirtualMachine goes, and then the Machine is let go: two looks.
		if err := s.removeMachine(ctx, c, machine); err != nil {
			return false, err
		}
		if machine, err = s.find(ctx, s.kinds.machines, c.ref.Namespace, n.name); err != nil {
			return false, err
		}
	}
	return true, c.guest.Remove(n.name)
}

// drain says whether a node is drained. What holds it up is told by its Machine. There is no limit: a nodeDrainTimeout of 0, which is the
// default, is none (tkg-facts.md §2).
func (s *Service) drain(ctx context.Context, c *cluster, n *node, machine *unstructured.Unstructured, force bool) (bool, error) {
	if !n.joined {
		return true, nil
	}
	held, err := c.guest.Drain(ctx, n.name, force)
	if err != nil {
		return false, err
	}
	if held == "" {
		n.drain = ""
		return true, nil
	}
	if n.draining.IsZero() {
		n.draining = s.host.Now().UTC()
	}
	n.drain = fmt.Sprintf("Drain not completed yet (started at %s):\n%s", n.draining.Format(time.RFC3339), held)
	if machine == nil {
		return false, nil
	}
	return false, s.reportMachine(ctx, machine, n)
}
