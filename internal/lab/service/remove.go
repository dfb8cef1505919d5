package service

import (
	"context"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Reasons of the condition Deleting, in the order of a deletion (tkg-facts.md §4).
const (
	waitingForWorkers        = "WaitingForWorkersDeletion"
	waitingForControlPlane   = "WaitingForControlPlaneDeletion"
	waitingForInfrastructure = "WaitingForInfrastructureDeletion"
	deletionCompleted        = "DeletionCompleted"
)

// lastMember is what the control plane says that does not give up its last member of etcd (tkg-facts.md §4, KB 427318).
const lastMember = "cluster has fewer than 2 control plane nodes; removing an etcd member is not supported"

// remove takes a cluster down by one step and says whether all of it is gone: workers, control plane, infrastructure, then the Cluster,
// whose Secrets the garbage collector takes with it, then the TanzuKubernetesCluster if there is one (tkg-facts.md §4).
func (s *Service) remove(ctx context.Context, c *cluster, o owner) (bool, error) {
	capi := o.object()
	if o.class().Name == "" {
		var err error
		if capi, err = s.find(ctx, s.kinds.clusters, c.ref.Namespace, c.ref.Name); err != nil {
			return false, err
		}
		if capi == nil || !ownedBy(capi, o.object()) {
			return s.removeRest(ctx, c, o)
		}
	}
	if capi.GetDeletionTimestamp() == nil {
		if err := s.delete(ctx, s.kinds.clusters, capi); err != nil {
			return false, err
		}
		return false, s.removing(ctx, c, o, capi, progress{waitingForWorkers, ""})
	}
	for _, controlPlane := range []bool{false, true} {
		stuck, err := s.has(ctx, c.ref, LastControlPlane)
		if err != nil {
			return false, err
		}
		if stuck && controlPlane {
			return false, s.removing(ctx, c, o, capi, progress{waitingForControlPlane, "* KubeadmControlPlane " + c.ref.Name + ": " + lastMember})
		}
		left, err := s.removeMachines(ctx, c, controlPlane)
		if err != nil {
			return false, err
		}
		if len(left) > 0 {
			reason := waitingForWorkers
			if controlPlane {
				reason = waitingForControlPlane
			}
			return false, s.removing(ctx, c, o, capi, progress{reason, "* Machines: " + strings.Join(left, ", ")})
		}
	}
	lb, err := s.find(ctx, s.kinds.services, c.ref.Namespace, c.ref.Name)
	if err != nil {
		return false, err
	}
	survives := false
	if lb != nil {
		if survives, err = s.survives(ctx, c, lb); err != nil {
			return false, err
		}
	}
	if lb != nil && !survives {
		if err := s.removing(ctx, c, o, capi, progress{waitingForInfrastructure, "* VirtualMachineService: " + c.ref.Name}); err != nil {
			return false, err
		}
		return false, s.removeInfrastructure(ctx, c, lb)
	}
	if slices.Contains(capi.GetFinalizers(), addonFinalizer) { // else nobody would see it
		if err := s.removing(ctx, c, o, capi, progress{deletionCompleted, "Deletion completed"}); err != nil {
			return false, err
		}
	}
	if o.class().Name != "" {
		return s.removeRest(ctx, c, o)
	}
	return false, s.finalizer(ctx, s.kinds.clusters, capi, clusterFinalizer, false)
}

// progress is how far a deletion is: the reason of the condition Deleting, and what is waited for.
type progress struct{ reason, message string }

// removing reports how far the deletion is.
func (s *Service) removing(ctx context.Context, c *cluster, o owner, capi *unstructured.Unstructured, p progress) error {
	return s.report(ctx, c, o, capi, standing{phase: "deleting", deleting: p, reason: "Deleting", message: p.reason})
}

// removeMachines deletes the machines of one kind and returns the names of those that are still there. A machine is first asked to go;
// at the next look its node and its VirtualMachine are ended and it is let go.
func (s *Service) removeMachines(ctx context.Context, c *cluster, controlPlane bool) ([]string, error) {
	selector := clusterLabel + "=" + c.ref.Name + "," + controlPlaneLabel
	if !controlPlane {
		selector = clusterLabel + "=" + c.ref.Name + ",!" + controlPlaneLabel
	}
	list, err := s.client.Resource(s.kinds.machines).Namespace(c.ref.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, fmt.Errorf("listing machines: %w", err)
	}
	var left []string
	for i := range list.Items {
		machine := &list.Items[i]
		left = append(left, machine.GetName())
		if machine.GetDeletionTimestamp() == nil {
			if err := s.delete(ctx, s.kinds.machines, machine); err != nil {
				return nil, err
			}
			continue
		}
		if err := s.removeMachine(ctx, c, machine); err != nil {
			return nil, err
		}
	}
	return left, nil
}

func (s *Service) removeMachine(ctx context.Context, c *cluster, machine *unstructured.Unstructured) error {
	if err := c.guest.Remove(machine.GetName()); err != nil {
		return err
	}
	machineVM, err := s.find(ctx, s.kinds.vms, c.ref.Namespace, machine.GetName())
	if err != nil {
		return err
	}
	if machineVM == nil {
		return s.finalizer(ctx, s.kinds.machines, machine, machineFinalizer, false)
	}
	if err := s.delete(ctx, s.kinds.vms, machineVM); err != nil {
		return err
	}
	return s.finalizer(ctx, s.kinds.vms, machineVM, vmFinalizer, false)
}

// removeInfrastructure ends what the cluster runs on and then its load balancer.
func (s *Service) removeInfrastructure(ctx context.Context, c *cluster, lb *unstructured.Unstructured) error {
	if lb.GetDeletionTimestamp() == nil {
		return s.delete(ctx, s.kinds.services, lb)
	}
	if err := c.guest.Stop(); err != nil {
		return err
	}
	return s.finalizer(ctx, s.kinds.services, lb, serviceFinalizer, false)
}

// removeRest lets the owner go: a TanzuKubernetesCluster when the Cluster's Secrets are gone too, a Cluster before them.
func (s *Service) removeRest(ctx context.Context, c *cluster, o owner) (bool, error) {
	if err := c.guest.Stop(); err != nil {
		return false, err
	}
	if o.class().Name == "" {
		for _, suffix := range []string{"-ssh", "-ssh-password", "-kubeconfig"} {
			secret, err := s.find(ctx, s.kinds.secrets, c.ref.Namespace, c.ref.Name+suffix)
			if err != nil || secret != nil {
				return false, err
			}
		}
	}
	if err := s.finalizer(ctx, o.resource(s.kinds), o.object(), o.finalizer(), false); err != nil {
		return false, err
	}
	s.mu.Lock()
	s.used[c.ref] = c.guest.Address()
	s.mu.Unlock()
	s.forget(c.uid)
	s.log.Info("cluster is gone", "cluster", c.ref.String())
	s.changed()
	return true, nil
}
