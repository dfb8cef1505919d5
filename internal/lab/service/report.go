package service

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// report writes how a cluster stands into the Cluster, and into the owner if that is another object.
func (s *Service) report(ctx context.Context, c *cluster, o owner, capi *unstructured.Unstructured, st standing) error {
	st.ever = st.ever || c.initialized()
	class := o.class().Name != ""
	err := s.edit(ctx, s.kinds.clusters, capi, true, func(u *unstructured.Unstructured) {
		set(u, clusterPhase(st), "status", "phase")
		set(u, capi.GetGeneration(), "status", "observedGeneration")
		s.setStatus(u, clusterConditions(st, c.ref.Name, class), oldConditions(st, class))
		if s.kinds.clusters.Version == "v1beta1" {
			set(u, st.ever, "status", "controlPlaneReady")
			set(u, true, "status", "infrastructureReady")
			return
		}
		set(u, map[string]any{"controlPlaneInitialized": st.ever, "infrastructureProvisioned": true}, "status", "initialization")
	})
	if err != nil || class {
		return err
	}
	return s.reportOwner(ctx, c, o, st)
}

// setStatus writes conditions where the version of the Cluster API in use has them (tkg-facts.md §1.4).
func (s *Service) setStatus(u *unstructured.Unstructured, now, before []condition) {
	switch {
	case s.kinds.clusters.Version != "v1beta1":
		setConditions(u, s.host.Now(), now)
		setConditions(u, s.host.Now(), before, "deprecated", "v1beta1")
	case s.generation.newConditions():
		setConditions(u, s.host.Now(), before)
		setConditions(u, s.host.Now(), now, "v1beta2")
	default:
		setConditions(u, s.host.Now(), before)
	}
}

// clusterPhase is never Running: that is no phase of a Cluster (tkg-facts.md §1.4).
func clusterPhase(st standing) string {
	switch {
	case st.deleting.reason != "":
		return "Deleting"
	case st.ever:
		return "Provisioned"
	}
	return "Provisioning"
}

// reportOwner writes a TanzuKubernetesCluster's status, in the words of its version (tkg-facts.md §1.2). A Cluster has said all.
func (s *Service) reportOwner(ctx context.Context, c *cluster, o owner, st standing) error {
	if o.class().Name != "" {
		return nil
	}
	return s.edit(ctx, s.kinds.tkcs, o.object(), true, func(u *unstructured.Unstructured) {
		set(u, st.phase, "status", "phase")
		set(u, o.version(), "status", "version")
		if s.generation == V1alpha1 {
			c.oldStatus(u, st)
			return
		}
		set(u, []any{c.endpoint()}, "status", "apiEndpoints")
		set(u, int64(c.workers()), "status", "totalWorkerReplicas")
		setConditions(u, s.host.Now().Truncate(time.Second), tkcConditions(st.controlPlane, st.nodes, st.reason, st.message))
	})
}

// oldStatus is what v1alpha1 has in the place of conditions.
func (c *cluster) oldStatus(u *unstructured.Unstructured, st standing) {
	vms, nodes := map[string]any{}, map[string]any{}
	for _, n := range c.nodes {
		vms[n.name], nodes[n.name] = "pending", "pending"
		if n.address != "" {
			vms[n.name] = "ready"
		}
		if n.joined {
			nodes[n.name] = "ready"
		}
	}
	set(u, vms, "status", "vmStatus")
	set(u, nodes, "status", "nodeStatus")
	phase := "provisioning"
	if st.ever {
		phase = "provisioned"
	}
	set(u, map[string]any{"phase": phase, "apiEndpoints": []any{c.endpoint()}}, "status", "clusterApiStatus")
}

// workers counts the workers that are to stay.
func (c *cluster) workers() int {
	out := 0
	for _, n := range c.nodes {
		if !n.controlPlane && !n.leaving {
			out++
		}
	}
	return out
}

// reportMachine writes a Machine's status.
func (s *Service) reportMachine(ctx context.Context, machine *unstructured.Unstructured, n *node) error {
	now, before := machineConditions(n)
	return s.edit(ctx, s.kinds.machines, machine, true, func(u *unstructured.Unstructured) {
		set(u, machinePhase(n), "status", "phase")
		set(u, n.rendered, "status", "bootstrapReady")
		if n.address != "" {
			set(u, []any{
				map[string]any{"type": "InternalIP", "address": n.address},
				map[string]any{"type": "Hostname", "address": n.name},
			}, "status", "addresses")
		}
		if n.joined {
			set(u, nodeRef(s.kinds.machines.Version, n.name), "status", "nodeRef")
			set(u, map[string]any{"kubeletVersion": n.version, "osImage": n.osImage}, "status", "nodeInfo")
		}
		s.setStatus(u, now, before)
	})
}

func nodeRef(version, name string) map[string]any {
	if version == "v1beta1" {
		return map[string]any{"apiVersion": "v1", "kind": "Node", "name": name}
	}
	return map[string]any{"name": name}
}

func machinePhase(n *node) string {
	switch {
	case n.leaving:
		return "Deleting"
	case n.joined:
		return "Running"
	case n.address != "":
		return "Provisioned"
	case n.rendered:
		return "Provisioning"
	}
	return "Pending"
}
