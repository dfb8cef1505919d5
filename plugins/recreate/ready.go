package recreate

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/tkg"
)

// readiness is how far a new cluster is.
type readiness struct {
	ready bool
	// note says what is being waited for.
	note string
	// reused says that the cluster has come up under another address than its VirtualMachineService's (tkg-facts.md §4).
	reused bool
}

// readinessOf judges the new cluster. The Cluster's endpoint is checked first: with a wrong one nothing else ever comes true.
func readinessOf(w world, workers []tkg.Node, wanted int) readiness {
	if w.owner.GetDeletionTimestamp() != nil {
		return readiness{note: describe(w.owner) + " is being deleted"}
	}
	host, addresses := endpointHost(w.cluster), ingresses(w.service)
	switch {
	case host != "" && len(addresses) > 0 && !slices.ContainsFunc(addresses, func(a string) bool { return sameHost(a, host) }):
		return readiness{reused: true, note: fmt.Sprintf("the cluster's endpoint is %s, but its VirtualMachineService has %s",
			host, strings.Join(addresses, ", "))}
	case host == "":
		return readiness{note: "waiting for the cluster's endpoint: " + readyNote(w.owner)}
	case len(addresses) == 0 && !w.noServices:
		return readiness{note: "waiting for the address of the cluster's VirtualMachineService"}
	}
	joined := 0
	for _, n := range workers {
		if n.Address != "" && n.Joined {
			joined++
		}
	}
	switch {
	case !isReady(w.owner):
		return readiness{note: fmt.Sprintf("waiting for %s to be ready: %s; %d of %d workers have joined", describe(w.owner), readyNote(w.owner), joined, wanted)}
	case joined < wanted:
		return readiness{note: fmt.Sprintf("%d of %d workers have joined", joined, wanted)}
	default:
		return readiness{ready: true, note: fmt.Sprintf("ready, %d workers", joined)}
	}
}

// isReady judges an owner by itself. A Cluster is ready when it is Available, in the conditions of either generation; of one that has no
// such condition, as before Cluster API 1.9, when it is Ready and its control plane is initialized (tkg-facts.md §1.4).
func isReady(owner *unstructured.Unstructured) bool {
	if owner.GetKind() == tkg.ClusterKind {
		if c, ok := conditionOf(owner, "Available"); ok {
			return c.status == "True"
		}
		ready, _ := conditionOf(owner, "Ready")
		return ready.status == "True" && everUp(owner)
	}
	if c, ok := conditionOf(owner, "Ready"); ok {
		return c.status == "True"
	}
	// v1alpha1 has no conditions (tkg-facts.md §1.2).
	phase, _, _ := unstructured.NestedString(owner.Object, "status", "phase")
	return strings.HasSuffix(owner.GetAPIVersion(), "/v1alpha1") && phase == "running"
}

// everUp tells whether a Cluster's control plane has ever come up, by what either generation of the API says of it.
func everUp(cluster *unstructured.Unstructured) bool {
	if cluster == nil {
		return false
	}
	for _, path := range [][]string{{"status", "initialization", "controlPlaneInitialized"}, {"status", "controlPlaneReady"}} {
		if up, _, _ := unstructured.NestedBool(cluster.Object, path...); up {
			return true
		}
	}
	for _, kind := range []string{"ControlPlaneInitialized", "Available", "Ready"} {
		if c, ok := conditionOf(cluster, kind); ok && c.status == "True" {
			return true
		}
	}
	return false
}

func readyNote(owner *unstructured.Unstructured) string {
	kind := "Ready"
	if _, ok := conditionOf(owner, "Available"); ok {
		kind = "Available"
	}
	c, ok := conditionOf(owner, kind)
	if !ok {
		return "it has no " + kind + " condition yet"
	}
	note := kind + " is " + c.status
	if c.reason != "" {
		note += ", " + c.reason
	}
	if c.message != "" {
		note += " (" + c.message + ")"
	}
	return note
}

type condition struct{ status, reason, message string }

// conditionOf finds a condition in both generations of the API (tkg-facts.md §11.15).
func conditionOf(obj *unstructured.Unstructured, kind string) (condition, bool) {
	for _, path := range [][]string{{"status", "conditions"}, {"status", "v1beta2", "conditions"}} {
		list, _, _ := unstructured.NestedSlice(obj.Object, path...)
		for _, item := range list {
			m, _ := item.(map[string]any)
			if m["type"] != kind {
				continue
			}
			text := func(key string) string { s, _ := m[key].(string); return oneLine(s) }
			return condition{status: text("status"), reason: text("reason"), message: text("message")}, true
		}
	}
	return condition{}, false
}
