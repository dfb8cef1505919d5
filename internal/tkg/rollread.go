package tkg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"

	"github.com/tkgfix/tkgfix/internal/kube"
)

// machineState reads a Machine of either generation.
func machineState(u *unstructured.Unstructured) MachineState {
	s := MachineState{Name: u.GetName(), Machine: u.GetName(), UID: u.GetUID(), Created: u.GetCreationTimestamp().Time, UpToDate: UpToDateUnknown}
	if m, err := kube.As[clusterv1.Machine](u); err == nil {
		n := nodeOf(m)
		s.Name, s.Pool, s.ControlPlane, s.Joined = n.Name, n.Pool, n.ControlPlane, m.Status.NodeRef.Name != ""
	}
	if at := u.GetDeletionTimestamp(); at != nil {
		s.Deleting, s.since = true, at.Time
	}
	switch ConditionOf(u, "UpToDate").Status {
	case "True":
		s.UpToDate = UpToDateYes
	case "False":
		s.UpToDate = UpToDateNo
	}
	phase, _, _ := unstructured.NestedString(u.Object, "status", "phase")
	s.failed = phase == "Failed"
	s.Ready = s.Joined && !s.failed
	for _, kind := range []string{"Ready", "NodeHealthy", "NodeReady"} {
		if c := ConditionOf(u, kind); c.Status != "" && c.Status != "True" {
			s.Ready = false
			s.Why = cmp.Or(s.Why, c.Text())
		}
	}
	if s.Deleting {
		s.Why = cmp.Or(ConditionOf(u, "Deleting").Text(), ConditionOf(u, "DrainingSucceeded").Text(), s.Why)
	} else if !s.Joined {
		s.Why = cmp.Or(failing(u), s.Why)
	}
	return s
}

// failing returns what a machine's own conditions say that keeps it from joining.
func failing(u *unstructured.Unstructured) string {
	for _, path := range [][]string{{"status", "failureMessage"}, {"status", "deprecated", "v1beta1", "failureMessage"}} {
		if text, _, _ := unstructured.NestedString(u.Object, path...); text != "" {
			return oneLine(text)
		}
	}
	for _, kind := range []string{"BootstrapConfigReady", "BootstrapReady", "InfrastructureReady"} {
		if c := ConditionOf(u, kind); c.Status == "False" {
			return c.Text()
		}
	}
	return ""
}

// wantedMachines returns how many machines a cluster should have, -1 if that is not known. The owner's topology says it, in any of the
// forms; where a pool leaves it to an autoscaler, the Cluster's status.
func wantedMachines(owner, cluster *unstructured.Unstructured) int {
	total := 0
	for _, n := range replicasOf(owner) {
		if n < 0 {
			return desiredMachines(cluster)
		}
		total += n
	}
	if total == 0 {
		return desiredMachines(cluster)
	}
	return total
}

// WantedNodes returns how many control plane and worker nodes an owner's topology asks for, -1 for what it does not say.
func WantedNodes(owner *unstructured.Unstructured) (controlPlane, workers int) {
	list := replicasOf(owner)
	if len(list) == 0 {
		return -1, -1
	}
	for _, n := range list[1:] {
		if n < 0 {
			return list[0], -1
		}
		workers += n
	}
	return list[0], workers
}

// replicasOf returns the replicas of the control plane and of each pool, -1 for what is not said: TanzuKubernetesClusters v1alpha1 (count)
// and v1alpha2 on (replicas), and Clusters with a topology.
func replicasOf(owner *unstructured.Unstructured) []int {
	if owner == nil {
		return nil
	}
	topology, _, _ := unstructured.NestedMap(owner.Object, "spec", "topology")
	if topology == nil {
		return nil
	}
	out := []int{replicas(topology["controlPlane"])}
	workers, isObject := topology["workers"].(map[string]any)
	if _, old := workers["count"]; isObject && old {
		out = append(out, replicas(workers))
	}
	for _, list := range []any{topology["nodePools"], workers["machineDeployments"], workers["machinePools"]} {
		pools, _ := list.([]any)
		for _, p := range pools {
			out = append(out, replicas(p))
		}
	}
	return out
}

func replicas(part any) int {
	fields, _ := part.(map[string]any)
	for _, key := range []string{"replicas", "count"} {
		switch n := fields[key].(type) {
		case int64:
			return int(n)
		case float64:
			return int(n)
		}
	}
	return -1
}

// desiredMachines reads the Cluster's status, which both generations have.
func desiredMachines(cluster *unstructured.Unstructured) int {
	if cluster == nil {
		return -1
	}
	for _, at := range [][]string{{"status"}, {"status", "v1beta2"}} {
		controlPlane, ok, _ := unstructured.NestedInt64(cluster.Object, append(slices.Clone(at), "controlPlane", "desiredReplicas")...)
		workers, both, _ := unstructured.NestedInt64(cluster.Object, append(slices.Clone(at), "workers", "desiredReplicas")...)
		if ok && both {
			return int(controlPlane + workers)
		}
	}
	return -1
}

// ReadRoll reads the Cluster and the Machines of an owner's cluster and judges them. A Cluster that may not be read, or is not there, as
// under the oldest releases, is left out. It blocks on the network.
func ReadRoll(ctx context.Context, c *kube.Client, owner Owner, since, now time.Time) (Roll, error) {
	ref := owner.Ref()
	cluster := owner.Object
	if owner.Kind != ClusterKind {
		var err error
		cluster, err = get(ctx, c, ClusterGroup, ClusterKind, ref)
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) && !errors.Is(err, kube.ErrNotServed) {
			return Roll{}, err
		}
		if err != nil {
			cluster = nil
		}
	}
	machines, err := Machines(ctx, c, ref)
	if err != nil {
		return Roll{}, err
	}
	return RollOf(owner, cluster, machines, since, now), nil
}

// Machines returns the Machines of a cluster, as the Supervisor serves them. It blocks on the network.
func Machines(ctx context.Context, c *kube.Client, ref Ref) ([]*unstructured.Unstructured, error) {
	r, err := c.Resource(ctx, ClusterGroup, "Machine")
	if err != nil {
		return nil, err
	}
	var out []*unstructured.Unstructured
	opts := metav1.ListOptions{LabelSelector: clusterv1.ClusterNameLabel + "=" + ref.Name}
	err = c.Each(ctx, r, ref.Namespace, opts, func(u *unstructured.Unstructured) error {
		if len(out) >= maxNodes {
			return fmt.Errorf("cluster %s has more than %d machines", ref, maxNodes)
		}
		out = append(out, u.DeepCopy())
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the machines of cluster %s: %w", ref, err)
	}
	return out, nil
}
