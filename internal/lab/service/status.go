package service

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// standing is how a cluster stands, before it is told in the words of some version.
type standing struct {
	// phase is creating, updating, running or deleting.
	phase string
	// controlPlane says that the API answers, ever that it has answered once, nodes that all nodes are as they should be.
	controlPlane, ever, nodes bool
	// reason and message say what is not ready yet.
	reason, message string
	// topology says why the class does not take the topology.
	topology string
	deleting progress
	// old are the Machines of the control plane and the workers that are to be replaced, waiting those whose node has not come.
	old, waiting [2][]string
	workers      int
	version      string
}

// standing says how a cluster stands whose control plane answers.
func (c *cluster) standing(joined bool, next step) standing {
	out := standing{phase: "running", controlPlane: true, ever: true, nodes: joined && !next.rolling}
	for _, n := range c.nodes {
		kind := 0
		if !n.controlPlane {
			kind = 1
		}
		if !n.current {
			out.old[kind] = append(out.old[kind], n.name)
		}
		if !n.joined && !n.leaving {
			out.waiting[kind] = append(out.waiting[kind], n.name)
		}
	}
	switch {
	case next.rolling:
		out.phase, out.reason, out.message = "updating", "NodePoolsUpdating", strings.Join(out.rollout(c.ref.Name), "\n")
	case !joined && c.ever:
		out.phase, out.reason, out.message = "updating", "WaitingForNodesHealthy", "nodes are joining"
	case !joined:
		out.phase, out.reason, out.message = "creating", "WaitingForNodesHealthy", "nodes are joining"
	}
	return out
}

// rollout is what the condition RollingOut says, in the words of the Cluster API; none if nothing is replaced.
func (st standing) rollout(cluster string) []string {
	var out []string
	for kind, name := range []string{"KubeadmControlPlane", "MachineDeployments of"} {
		if n := len(st.old[kind]); n > 0 {
			out = append(out, fmt.Sprintf("* %s %s: Rolling %d not up-to-date replicas", name, cluster, n))
		}
	}
	return out
}

// notReady names the Machines of one kind whose node has not come.
func (st standing) notReady(kind int) string {
	var out []string
	for _, name := range st.waiting[kind] {
		out = append(out, "* Machine "+name+": NodeHealthy: Waiting for a Node with the Machine's spec.providerID to exist")
	}
	return strings.Join(out, "\n")
}

// set writes a field of an object that was made here, so its parents are maps.
func set(u *unstructured.Unstructured, value any, path ...string) {
	_ = unstructured.SetNestedField(u.Object, value, path...)
}

// condition is a condition before it has a time. Severity makes it one of Cluster API's old kind, as a TanzuKubernetesCluster has.
type condition struct {
	kind, status, reason, message, severity string
}

// setConditions replaces the object's conditions at the path, status.conditions if there is none, and keeps the time of those whose
// status has not changed.
func setConditions(u *unstructured.Unstructured, now time.Time, conditions []condition, path ...string) {
	path = append(append([]string{"status"}, path...), "conditions")
	since := map[string]string{}
	old, _, _ := unstructured.NestedSlice(u.Object, path...)
	for _, o := range old {
		if m, ok := o.(map[string]any); ok {
			since[text(m, "type")+text(m, "status")] = text(m, "lastTransitionTime")
		}
	}
	out := make([]any, 0, len(conditions))
	for _, c := range conditions {
		at := since[c.kind+c.status]
		if at == "" {
			at = now.UTC().Format(time.RFC3339)
		}
		m := map[string]any{"type": c.kind, "status": c.status, "lastTransitionTime": at}
		for key, value := range map[string]string{"reason": c.reason, "message": c.message, "severity": c.severity} {
			if value != "" {
				m[key] = value
			}
		}
		out = append(out, m)
	}
	set(u, out, path...)
}

// is is a condition of v1beta2: its reason says the status in words.
func is(kind string, ok bool, yes, no, message string) condition {
	if ok {
		return condition{kind: kind, status: "True", reason: yes, message: message}
	}
	return condition{kind: kind, status: "False", reason: no, message: message}
}

// tkcConditions are those of a TanzuKubernetesCluster (tkg-facts.md §1.2): Ready is the summary of the others. why is empty when
// all is well; else it is the reason of what is not ready yet. While nodes are replaced it is the node pools alone that are not.
func tkcConditions(controlPlane, nodes bool, why, message string) []condition {
	of := func(kind string, ok bool) condition {
		if ok {
			return condition{kind: kind, status: "True"}
		}
		return condition{kind: kind, status: "False", reason: why, message: message, severity: "Info"}
	}
	all := controlPlane && nodes
	rolling := controlPlane && why == "NodePoolsUpdating"
	return []condition{
		of("Ready", all),
		of("AddonsReady", all || rolling),
		of("ControlPlaneReady", controlPlane),
		of("NodePoolsReady", nodes),
		of("NodesHealthy", nodes || rolling),
		of("ProviderServiceAccountsReady", controlPlane),
		of("RoleBindingSynced", controlPlane),
		of("ServiceDiscoveryReady", controlPlane),
		of("StorageClassSynced", controlPlane),
		{kind: "TanzuKubernetesReleaseCompatible", status: "True"},
	}
}

// clusterConditions are those of a Cluster in v1beta2 (tkg-facts.md §1.4).
func clusterConditions(st standing, cluster string, class bool) []condition {
	rollout := strings.Join(st.rollout(cluster), "\n")
	workers := st.controlPlane && (st.nodes || len(st.waiting[1]) == 0)
	out := []condition{
		is("Available", st.controlPlane, "Available", "NotAvailable", st.messageUnless(st.controlPlane)),
		is("InfrastructureReady", true, "Ready", "", ""),
		is("ControlPlaneInitialized", st.ever, "Initialized", "NotInitialized", ""),
		is("ControlPlaneAvailable", st.controlPlane, "Available", "NotAvailable", ""),
		is("ControlPlaneMachinesReady", st.controlPlane && len(st.waiting[0]) == 0, "Ready", "NotReady", st.notReady(0)),
		is("ControlPlaneMachinesUpToDate", len(st.old[0]) == 0, "UpToDate", "NotUpToDate", oldMachines(st.old[0])),
		is("WorkersAvailable", workers, "Available", "NotAvailable", ""),
		is("WorkerMachinesReady", st.controlPlane && len(st.waiting[1]) == 0, "Ready", "NotReady", st.notReady(1)),
		is("WorkerMachinesUpToDate", len(st.old[1]) == 0, "UpToDate", "NotUpToDate", oldMachines(st.old[1])),
		is("RollingOut", rollout != "", "RollingOut", "NotRollingOut", rollout),
		is("Deleting", st.deleting.reason != "", st.deleting.reason, "NotDeleting", st.deleting.message),
	}
	if class {
		out = append(out, is("TopologyReconciled", st.topology == "", "ReconcileSucceeded", "ReconcileFailed", st.topology))
	}
	return out
}

// messageUnless is what is not ready yet, unless it is.
func (st standing) messageUnless(ok bool) string {
	if ok {
		return ""
	}
	return st.message
}

func oldMachines(names []string) string {
	var out []string
	for _, name := range names {
		out = append(out, "* Machine "+name+": KubeadmConfig is not up-to-date")
	}
	return strings.Join(out, "\n")
}

// oldConditions are those of a Cluster that the Cluster API had before v1beta2.
func oldConditions(st standing, class bool) []condition {
	of := func(kind string, ok bool, reason string) condition {
		if ok {
			return condition{kind: kind, status: "True"}
		}
		return condition{kind: kind, status: "False", reason: reason, message: st.message, severity: "Info"}
	}
	reason := st.reason
	if len(st.old[0]) > 0 {
		reason = "RollingUpdateInProgress"
	}
	controlPlane := st.controlPlane && len(st.old[0]) == 0
	out := []condition{
		of("Ready", controlPlane && st.topology == "", reason),
		of("ControlPlaneInitialized", st.ever, st.reason),
		of("ControlPlaneReady", controlPlane, reason),
		of("InfrastructureReady", true, ""),
	}
	if class {
		out = append(out, of("TopologyReconciled", st.topology == "", "TopologyReconcileFailed"))
	}
	return out
}

// machineConditions are those of a Machine, in v1beta2 and as they were before.
func machineConditions(n *node) (now, before []condition) {
	waiting := ""
	if !n.joined {
		waiting = "Waiting for a Node with spec.providerID " + n.providerID() + " to exist"
	}
	healthy := is("NodeHealthy", n.joined, "NodeHealthy", "", waiting)
	if !n.joined {
		healthy.status, healthy.reason = "Unknown", "NodeInspectionFailed"
	}
	ready := n.joined && !n.leaving
	now = []condition{
		is("Ready", ready, "Ready", "NotReady", waiting),
		is("BootstrapConfigReady", n.rendered, "Ready", "NotReady", n.given.waits),
		is("InfrastructureReady", n.address != "", "Ready", "NotReady", ""),
		healthy,
		is("UpToDate", n.current, "UpToDate", "NotUpToDate", ""),
		is("Deleting", n.leaving, "Deleting", "NotDeleting", ""),
	}
	if !n.current {
		now[4].message = "* KubeadmConfig is not up-to-date"
	}
	if n.drain != "" {
		now[5].reason, now[5].message = "DrainingNode", n.drain
	}
	of := func(kind string, ok bool, reason, message string) condition {
		if ok {
			return condition{kind: kind, status: "True"}
		}
		return condition{kind: kind, status: "False", reason: reason, message: message, severity: "Info"}
	}
	before = []condition{
		of("Ready", ready, "WaitingForNodeRef", waiting),
		of("BootstrapReady", n.rendered, "WaitingForDataSecret", n.given.waits),
		of("InfrastructureReady", n.address != "", "WaitingForInfrastructure", ""),
		of("NodeHealthy", n.joined, "WaitingForNodeRef", waiting),
	}
	if n.drain != "" {
		before = append(before, of("DrainingSucceeded", false, "Draining", n.drain))
	}
	return now, before
}
