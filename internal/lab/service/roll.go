package service

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// roll plans nodes in the place of those that there are, which is what an edit of the spec leads to (tkg-facts.md §2). All of them at
// once: a laboratory has room for both.
func (c *cluster) roll(tkc *unstructured.Unstructured) error {
	nodes, err := planNodes(tkc)
	if err != nil {
		return err
	}
	c.old = append(c.old, c.nodes...)
	c.nodes = nodes
	c.settled.Store(0)
	return nil
}

// retire drains the nodes that were replaced and ends them, with their objects.
func (s *Service) retire(ctx context.Context, c *cluster) error {
	for len(c.old) > 0 {
		name := c.old[0].name
		if err := c.guest.Drain(ctx, name); err != nil {
			return err
		}
		machine, err := s.find(ctx, s.kinds.machines, c.ref.Namespace, name)
		if err != nil {
			return err
		}
		if machine == nil {
			c.old = c.old[1:]
			continue
		}
		if err := s.delete(ctx, s.kinds.machines, machine); err != nil {
			return err
		}
		// First its VirtualMachine goes, and then the Machine is let go: two looks.
		if err := s.removeMachine(ctx, c, machine); err != nil {
			return err
		}
	}
	return nil
}
