package service

import (
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// set writes a field of an object that was made here, so its parents are maps.
func set(u *unstructured.Unstructured, value any, path ...string) {
	_ = unstructured.SetNestedField(u.Object, value, path...)
}

// condition is a condition before it has a time. Severity makes it one of Cluster API's old kind, as a TanzuKubernetesCluster has.
type condition struct {
	kind, status, reason, message, severity string
}

// setConditions replaces the object's conditions and keeps the time of those whose status has not changed.
func setConditions(u *unstructured.Unstructured, now time.Time, conditions ...condition) {
	since := map[string]string{}
	old, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
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
	set(u, out, "status", "conditions")
}

// tkcConditions are those of a TanzuKubernetesCluster (tkg-facts.md §1.2): Ready is the summary of the others. why is empty when
// all is well; else it is the reason of what is not ready yet.
func tkcConditions(controlPlane, nodes bool, why, message string) []condition {
	value := func(ok bool) string {
		if ok {
			return "True"
		}
		return "False"
	}
	of := func(kind string, ok bool) condition {
		if ok {
			return condition{kind: kind, status: "True"}
		}
		return condition{kind: kind, status: "False", reason: why, message: message, severity: "Info"}
	}
	all := controlPlane && nodes
	return []condition{
		{kind: "Ready", status: value(all), reason: why, message: message, severity: severity(all)},
		of("AddonsReady", all),
		of("ControlPlaneReady", controlPlane),
		of("NodePoolsReady", nodes),
		of("NodesHealthy", nodes),
		of("ProviderServiceAccountsReady", controlPlane),
		of("RoleBindingSynced", controlPlane),
		of("ServiceDiscoveryReady", controlPlane),
		of("StorageClassSynced", controlPlane),
		{kind: "TanzuKubernetesReleaseCompatible", status: "True"},
	}
}

func severity(ok bool) string {
	if ok {
		return ""
	}
	return "Info"
}

// clusterConditions are those of a Cluster in v1beta2 (tkg-facts.md §1.4). deleting is the reason of the condition Deleting; empty if
// it is not being deleted.
func clusterConditions(available bool, deleting, message string) []condition {
	value, reason := "False", "NotAvailable"
	if available {
		value, reason = "True", "Available"
	}
	out := []condition{
		{kind: "Available", status: value, reason: reason},
		{kind: "InfrastructureReady", status: "True", reason: "Ready"},
		{kind: "ControlPlaneInitialized", status: value, reason: reason},
		{kind: "ControlPlaneAvailable", status: value, reason: reason},
		{kind: "WorkersAvailable", status: value, reason: reason},
		{kind: "RollingOut", status: "False", reason: "NotRollingOut"},
	}
	if deleting == "" {
		return append(out, condition{kind: "Deleting", status: "False", reason: "NotDeleting"})
	}
	return append(out, condition{kind: "Deleting", status: "True", reason: deleting, message: message})
}
