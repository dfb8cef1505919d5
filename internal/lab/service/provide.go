package service

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// configurationName is the one TkgServiceConfiguration that counts (tkg-facts.md §1.1).
const configurationName = "tkg-service-configuration"

// provide makes what a cluster needs, as far as it can now, and says whether all is there.
func (s *Service) provide(ctx context.Context, c *cluster, o owner) (bool, error) {
	if err := s.finalizer(ctx, o.resource(s.kinds), o.object(), o.finalizer(), true); err != nil {
		return false, err
	}
	capi, free, err := s.provideCluster(ctx, c, o)
	if err != nil {
		return false, err
	}
	if !free {
		return false, s.reportOwner(ctx, c, o, standing{phase: "creating", reason: "WaitingForOldCluster", message: "the Cluster of an earlier cluster of this name is still there"})
	}
	if why, err := s.topologyFault(ctx, o); err != nil || why != "" {
		return false, orError(err, func() error {
			return s.report(ctx, c, o, capi, standing{phase: "creating", topology: why, reason: "WaitingForControlPlaneInitialized", message: why})
		})
	}
	if err := s.provideLoadBalancer(ctx, c, capi); err != nil {
		return false, err
	}
	if err := s.adoptTrust(ctx, c, capi); err != nil {
		return false, err
	}
	if err := s.sync(ctx, c); err != nil {
		return false, err
	}
	next, err := c.target(o, c.initialized())
	if err != nil {
		return false, err
	}
	for _, n := range next.end {
		n.leaving = true
	}
	_, planting := o.object().GetAnnotations()[PlantingAnnotation]
	if err := s.retire(ctx, c, false, planting); err != nil {
		return false, err
	}
	c.nodes = append(c.nodes, next.make...)
	if len(next.make) > 0 || len(next.end) > 0 {
		c.told = false
		c.unsettle()
	}
	for _, n := range c.nodes {
		if err := s.provideNode(ctx, c, capi, o, n); err != nil {
			return false, err
		}
	}
	if c.noteHanging() {
		s.changed()
	}
	if err := s.provideSSHSecrets(ctx, c, capi); err != nil {
		return false, err
	}
	return s.bringUp(ctx, c, o, capi, next)
}

func orError(err error, do func() error) error {
	if err != nil {
		return err
	}
	return do()
}

// bringUp starts the control plane, lets nodes join it and ends those that are to go.
func (s *Service) bringUp(ctx context.Context, c *cluster, o owner, capi *unstructured.Unstructured, next step) (bool, error) {
	if c.misplace(capi) {
		// Nothing in its status says why (tkg-facts.md §4, name reuse).
		return false, s.report(ctx, c, o, capi, standing{phase: "creating", reason: "WaitingForControlPlaneInitialized"})
	}
	if !c.canStart() {
		return false, s.report(ctx, c, o, capi, standing{
			phase: "creating", reason: "WaitingForControlPlaneInitialized", message: "waiting for the first control plane machine",
		})
	}
	c.guest.StartPlane(ctx)
	ready, err := c.guest.Ready()
	if err != nil {
		return false, fmt.Errorf("starting the control plane: %w", err)
	}
	if !ready {
		return false, s.report(ctx, c, o, capi, standing{phase: "creating", reason: "WaitingForControlPlaneInitialized", message: "the control plane is starting"})
	}
	joined, err := s.join(ctx, c, capi)
	if err != nil {
		return false, err
	}
	if err := s.report(ctx, c, o, capi, c.standing(joined, next)); err != nil {
		return false, err
	}
	_, planting := o.object().GetAnnotations()[PlantingAnnotation]
	before := len(c.nodes)
	if err := s.retire(ctx, c, true, planting); err != nil {
		return false, err
	}
	// What was reported still told of the nodes that have just gone. After a drain that failed first nothing else asks for another report.
	if !joined || c.draining() || len(c.nodes) < before && !next.rolling {
		return false, nil
	}
	if len(next.make) == 0 && len(next.end) == 0 && !next.rolling {
		s.settle(c, o)
		return true, nil
	}
	if planting || !next.rolling {
		return s.provide(ctx, c, o) // nobody watches this: no reason to go slowly
	}
	return false, nil
}

// settle notes what is carried out.
func (s *Service) settle(c *cluster, o owner) {
	if !c.told {
		c.told, c.ever = true, true
		s.log.Info("cluster is ready", "cluster", c.ref.String(), "endpoint", c.guest.Address())
		s.changed()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settled, c.planting = o.object().GetGeneration(), o.object().GetAnnotations()[PlantingAnnotation]
}

// provideCluster returns the Cluster: the owner itself, or the child of a TanzuKubernetesCluster. free is false if there is one of that
// name that belongs to an earlier cluster.
func (s *Service) provideCluster(ctx context.Context, c *cluster, o owner) (capi *unstructured.Unstructured, free bool, err error) {
	if o.class().Name != "" {
		if err := s.completeSpec(ctx, c, o); err != nil {
			return nil, false, err
		}
		capi, err = s.find(ctx, s.kinds.clusters, c.ref.Namespace, c.ref.Name)
		return capi, capi != nil, err // one that has gone meanwhile is looked at again
	}
	capi, err = s.find(ctx, s.kinds.clusters, c.ref.Namespace, c.ref.Name)
	if err != nil {
		return nil, false, err
	}
	if capi != nil {
		return capi, ownedBy(capi, o.object()), nil
	}
	endpoint, err := s.endpointOf(ctx, c)
	if err != nil {
		return nil, false, err
	}
	capi, err = s.ensure(ctx, s.kinds.clusters, c.capiCluster(s.kinds, o.object(), endpoint))
	return capi, err == nil, err
}

// completeSpec writes into a Cluster's spec what the Cluster API writes there: where its API answers, unless somebody has said that
// already, and the objects that it is made of.
func (s *Service) completeSpec(ctx context.Context, c *cluster, o owner) error {
	endpoint, err := s.endpointOf(ctx, c)
	if err != nil {
		return err
	}
	return s.edit(ctx, s.kinds.clusters, o.object(), false, func(u *unstructured.Unstructured) {
		if host, _, _ := unstructured.NestedString(u.Object, "spec", "controlPlaneEndpoint", "host"); host == "" {
			set(u, endpoint, "spec", "controlPlaneEndpoint")
		}
		for field, kind := range map[string][2]string{
			"infrastructureRef": {"vmware.infrastructure.cluster.x-k8s.io", "VSphereCluster"},
			"controlPlaneRef":   {"controlplane.cluster.x-k8s.io", "KubeadmControlPlane"},
		} {
			if _, ok, _ := unstructured.NestedMap(u.Object, "spec", field); !ok {
				set(u, s.reference(kind[0], kind[1], c.ref.Namespace, c.ref.Name), "spec", field)
			}
		}
	})
}

func (s *Service) provideLoadBalancer(ctx context.Context, c *cluster, capi *unstructured.Unstructured) error {
	if err := s.sweepService(ctx, c.ref); err != nil {
		return err
	}
	lb, err := s.ensure(ctx, s.kinds.services, c.loadBalancer(s.kinds, capi))
	if err != nil {
		return err
	}
	return s.edit(ctx, s.kinds.services, lb, true, func(u *unstructured.Unstructured) {
		set(u, []any{map[string]any{"ip": c.guest.Address()}}, "status", "loadBalancer", "ingress")
	})
}

// adoptTrust makes the Cluster the owner of the Secret with its trust, so that it goes with it (tkg-facts.md §4).
func (s *Service) adoptTrust(ctx context.Context, c *cluster, capi *unstructured.Unstructured) error {
	secret, err := s.find(ctx, s.kinds.secrets, c.ref.Namespace, c.ref.Name+trustSecret)
	if err != nil || secret == nil || ownedBy(secret, capi) {
		return err
	}
	return s.edit(ctx, s.kinds.secrets, secret, false, func(u *unstructured.Unstructured) {
		refs := controlledBy(capi)
		refs[0].Controller = nil
		u.SetOwnerReferences(append(u.GetOwnerReferences(), refs...))
	})
}

func (s *Service) provideSSHSecrets(ctx context.Context, c *cluster, capi *unstructured.Unstructured) error {
	key := c.secret(capi, "-ssh", "kubernetes.io/ssh-auth", map[string][]byte{"ssh-privatekey": c.guest.SSHKey()})
	password := c.secret(capi, "-ssh-password", "Opaque", map[string][]byte{"ssh-passwordkey": []byte(c.guest.SSHPassword())})
	for _, secret := range []*unstructured.Unstructured{key, password} {
		if _, err := s.ensure(ctx, s.kinds.secrets, secret); err != nil {
			return err
		}
	}
	return nil
}
