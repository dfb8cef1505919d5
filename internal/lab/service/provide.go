package service

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/lab/plane"
	"github.com/tkgfix/tkgfix/internal/lab/vm"
)

// configurationName is the one TkgServiceConfiguration that counts (tkg-facts.md §1.1).
const configurationName = "tkg-service-configuration"

// provide makes what a cluster needs, as far as it can now, and says whether all is there.
func (s *Service) provide(ctx context.Context, c *cluster, tkc *unstructured.Unstructured) (bool, error) {
	if err := s.finalizer(ctx, s.kinds.tkcs, tkc, tkcFinalizer, true); err != nil {
		return false, err
	}
	c.guest.StartPlane(ctx)
	capi, err := s.ensure(ctx, s.kinds.clusters, c.capiCluster(tkc))
	if err != nil {
		return false, err
	}
	if !ownedBy(capi, tkc) {
		return false, s.report(ctx, tkc, c, "creating", tkcConditions(false, false, "WaitingForOldCluster", "the Cluster of an earlier cluster of this name is still there"))
	}
	if err := s.provideLoadBalancer(ctx, c, capi); err != nil {
		return false, err
	}
	for i := range c.nodes {
		if err := s.provideNode(ctx, c, capi, tkc, &c.nodes[i]); err != nil {
			return false, err
		}
	}
	if err := s.provideSSHSecrets(ctx, c, capi); err != nil {
		return false, err
	}
	ready, err := c.guest.Ready()
	if err != nil {
		return false, fmt.Errorf("starting the control plane: %w", err)
	}
	if !ready {
		return false, s.report(ctx, tkc, c, "creating", tkcConditions(false, false, "WaitingForControlPlaneInitialized", "the control plane is starting"))
	}
	joined, err := s.join(ctx, c, capi)
	if err != nil {
		return false, err
	}
	if !joined {
		return false, s.report(ctx, tkc, c, "creating", tkcConditions(true, false, "WaitingForNodesHealthy", "nodes are joining"))
	}
	if err := s.retire(ctx, c); err != nil {
		return false, err
	}
	err = s.edit(ctx, s.kinds.clusters, capi, true, func(u *unstructured.Unstructured) {
		set(u, "Provisioned", "status", "phase")
		setConditions(u, s.host.Now(), clusterConditions(true, "", "")...)
	})
	if err != nil {
		return false, err
	}
	if err := s.report(ctx, tkc, c, "running", tkcConditions(true, true, "", "")); err != nil {
		return false, err
	}
	c.settled.Store(tkc.GetGeneration())
	s.log.Info("cluster is ready", "cluster", c.ref.String(), "endpoint", c.guest.Address())
	s.changed()
	return true, nil
}

func ownedBy(object, by *unstructured.Unstructured) bool {
	for _, ref := range object.GetOwnerReferences() {
		if ref.UID == by.GetUID() {
			return true
		}
	}
	return false
}

func (s *Service) provideLoadBalancer(ctx context.Context, c *cluster, capi *unstructured.Unstructured) error {
	lb, err := s.ensure(ctx, s.kinds.services, c.loadBalancer(capi))
	if err != nil {
		return err
	}
	return s.edit(ctx, s.kinds.services, lb, true, func(u *unstructured.Unstructured) {
		set(u, []any{map[string]any{"ip": c.guest.Address()}}, "status", "loadBalancer", "ingress")
	})
}

// provideNode makes a node's Machine and VirtualMachine and boots it with the trust that is configured at this moment.
func (s *Service) provideNode(ctx context.Context, c *cluster, capi, tkc *unstructured.Unstructured, n *nodePlan) error {
	if n.address != "" {
		return nil
	}
	machine, err := s.ensure(ctx, s.kinds.machines, c.machine(capi, *n))
	if err != nil {
		return err
	}
	machineVM, err := s.ensure(ctx, s.kinds.vms, c.virtualMachine(machine, *n))
	if err != nil {
		return err
	}
	trust, err := s.trust(ctx, tkc)
	if err != nil {
		return err
	}
	address, err := c.guest.Boot(ctx, n.spec(trust))
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
	err = s.edit(ctx, s.kinds.machines, machine, true, func(u *unstructured.Unstructured) {
		set(u, "Provisioned", "status", "phase")
		set(u, []any{
			map[string]any{"type": "InternalIP", "address": address},
			map[string]any{"type": "Hostname", "address": n.name},
		}, "status", "addresses")
	})
	if err != nil {
		return err
	}
	n.address = address
	return nil
}

// trust returns what a node that is made now is given.
func (s *Service) trust(ctx context.Context, tkc *unstructured.Unstructured) ([]vm.Trust, error) {
	configuration, err := s.client.Resource(s.kinds.configurations).Get(ctx, configurationName, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("reading TkgServiceConfiguration: %w", err)
	}
	if err != nil {
		configuration = nil
	}
	return joinTrust(trustOf(configuration, "spec"), trustOf(tkc, "spec", "settings", "network")), nil
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

// join writes the kubeconfig, lets the nodes into the cluster and says whether all of them are ready.
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
		ready, err := c.guest.Join(ctx, n.spec(nil))
		if err != nil {
			return false, err
		}
		if !ready {
			all = false
			continue
		}
		machine, err := s.ensure(ctx, s.kinds.machines, c.machine(capi, n))
		if err != nil {
			return false, err
		}
		err = s.edit(ctx, s.kinds.machines, machine, true, func(u *unstructured.Unstructured) {
			set(u, "Running", "status", "phase")
			set(u, map[string]any{"name": n.name}, "status", "nodeRef")
			set(u, map[string]any{"kubeletVersion": n.version, "osImage": s.host.Profile(c.ref).Family.Name()}, "status", "nodeInfo")
			setConditions(u, s.host.Now(), condition{kind: "Ready", status: "True", reason: "Ready"},
				condition{kind: "NodeHealthy", status: "True", reason: "NodeHealthy"}, condition{kind: "UpToDate", status: "True", reason: "UpToDate"})
		})
		if err != nil {
			return false, err
		}
	}
	return all, nil
}

// report writes the TanzuKubernetesCluster's status.
func (s *Service) report(ctx context.Context, tkc *unstructured.Unstructured, c *cluster, phase string, conditions []condition) error {
	return s.edit(ctx, s.kinds.tkcs, tkc, true, func(u *unstructured.Unstructured) {
		set(u, phase, "status", "phase")
		set(u, []any{map[string]any{"host": c.guest.Address(), "port": int64(plane.Port)}}, "status", "apiEndpoints")
		set(u, int64(len(c.nodes)-1), "status", "totalWorkerReplicas")
		if len(c.nodes) > 0 {
			set(u, c.nodes[0].version, "status", "version")
		}
		setConditions(u, s.host.Now().Truncate(time.Second), conditions...)
	})
}
