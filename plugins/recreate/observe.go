package recreate

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// runAnnotation holds the id of the run that created a cluster, or applied an object on it.
const runAnnotation = "tkgfix.dev/run"

// world is what the Supervisor holds under a cluster's name. Nil is what is not there.
type world struct {
	tkc     *unstructured.Unstructured
	cluster *unstructured.Unstructured // the Cluster API's
	service *unstructured.Unstructured // the VirtualMachineService with the API address
	// noServices says that the Supervisor has no such kind, so that no service is to be waited for.
	noServices bool
}

// deletionSeen decides whether the cluster with this UID is gone. It is gone only when nothing of its name is left: a new cluster
// that finds the old Cluster or VirtualMachineService may come up under the old address and never be ready (tkg-facts.md §4).
func deletionSeen(w world, uid types.UID) sdk.Observation {
	switch {
	case w.tkc != nil && w.tkc.GetUID() == uid && w.tkc.GetDeletionTimestamp() == nil:
		return sdk.Observation{State: sdk.No, Note: describe(w.tkc) + " is there"}
	case w.tkc != nil && w.tkc.GetUID() == uid:
		return underway("deleting %s: %s", describe(w.tkc), deletionNote(w))
	case w.tkc != nil && !ownedBy(w.cluster, uid):
		// What is left belongs to the newcomer. Creating will find it and stop.
		return sdk.Observation{State: sdk.Yes, Note: fmt.Sprintf("another %s has taken the name, with UID %s", describe(w.tkc), w.tkc.GetUID())}
	case w.cluster != nil:
		return underway("waiting for %s to go: %s", describe(w.cluster), deletionNote(w))
	case w.service != nil:
		return underway("waiting for %s to go, which holds the old address", describe(w.service))
	default:
		return sdk.Observation{State: sdk.Yes, Note: "the cluster, its Cluster and its VirtualMachineService are gone"}
	}
}

func underway(format string, args ...any) sdk.Observation {
	return sdk.Observation{State: sdk.Underway, Note: fmt.Sprintf(format, args...)}
}

func ownedBy(obj *unstructured.Unstructured, uid types.UID) bool {
	if obj == nil {
		return false
	}
	for _, o := range obj.GetOwnerReferences() {
		if o.UID == uid {
			return true
		}
	}
	return false
}

// deletionNote says how far a deletion is: the reason of the Deleting condition, of the Cluster or else of the
// TanzuKubernetesCluster, and the finalizers that are left.
func deletionNote(w world) string {
	for _, obj := range []*unstructured.Unstructured{w.cluster, w.tkc} {
		if obj == nil {
			continue
		}
		note := "no Deleting condition"
		if c, ok := conditionOf(obj, "Deleting"); ok && c.reason != "" {
			note = c.reason
			if c.message != "" {
				note += " (" + c.message + ")"
			}
		}
		if f := obj.GetFinalizers(); len(f) > 0 {
			note += ", finalizers left: " + strings.Join(f, ", ")
		}
		return note
	}
	return "nothing is known of it"
}

// creationSeen decides whether this run created the cluster.
func creationSeen(tkc *unstructured.Unstructured, runID string) sdk.Observation {
	switch {
	case tkc == nil:
		return sdk.Observation{State: sdk.No, Note: "there is no cluster of that name"}
	case runID != "" && tkc.GetAnnotations()[runAnnotation] == runID:
		return sdk.Observation{State: sdk.Yes, Note: fmt.Sprintf("%s carries %s: %s, UID %s", describe(tkc), runAnnotation, runID, tkc.GetUID())}
	default:
		return sdk.Observation{State: sdk.Unknowable, Note: fmt.Sprintf(
			"a cluster of that name is there that this run did not create (a GitOps controller?): kubectl get tanzukubernetescluster %s -n %s -o yaml",
			tkc.GetName(), tkc.GetNamespace())}
	}
}

// applySeen decides whether this run applied an object on the new cluster. The managed fields do not tell: an apply that sets no field,
// as that of a bare Namespace, leaves no trace in them. Another's object is no obstacle, as applying again does no harm.
func applySeen(obj *unstructured.Unstructured, runID string) sdk.Observation {
	switch {
	case obj == nil:
		return sdk.Observation{State: sdk.No, Note: "it is not there"}
	case runID != "" && obj.GetAnnotations()[runAnnotation] == runID:
		return sdk.Observation{State: sdk.Yes, Note: fmt.Sprintf("%s carries %s: %s, UID %s", describe(obj), runAnnotation, runID, obj.GetUID())}
	default:
		return sdk.Observation{State: sdk.No, Note: describe(obj) + " is there and was not applied by this run"}
	}
}

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
	if w.tkc.GetDeletionTimestamp() != nil {
		return readiness{note: describe(w.tkc) + " is being deleted"}
	}
	host, addresses := endpointHost(w.cluster), ingresses(w.service)
	switch {
	case host != "" && len(addresses) > 0 && !slices.ContainsFunc(addresses, func(a string) bool { return sameHost(a, host) }):
		return readiness{reused: true, note: fmt.Sprintf("the cluster's endpoint is %s, but its VirtualMachineService has %s",
			host, strings.Join(addresses, ", "))}
	case host == "":
		return readiness{note: "waiting for the cluster's endpoint: " + readyNote(w.tkc)}
	case len(addresses) == 0 && !w.noServices:
		return readiness{note: "waiting for the address of the cluster's VirtualMachineService"}
	}
	addressed := 0
	for _, n := range workers {
		if n.Address != "" {
			addressed++
		}
	}
	switch {
	case !isReady(w.tkc):
		return readiness{note: fmt.Sprintf("waiting for %s to be ready: %s; %d of %d workers have an address", describe(w.tkc), readyNote(w.tkc), addressed, wanted)}
	case addressed < wanted:
		return readiness{note: fmt.Sprintf("%d of %d workers have an address", addressed, wanted)}
	default:
		return readiness{ready: true, note: fmt.Sprintf("ready, %d workers", addressed)}
	}
}

func isReady(tkc *unstructured.Unstructured) bool {
	if c, ok := conditionOf(tkc, "Ready"); ok {
		return c.status == "True"
	}
	// v1alpha1 has no conditions (tkg-facts.md §1.2).
	phase, _, _ := unstructured.NestedString(tkc.Object, "status", "phase")
	return strings.HasSuffix(tkc.GetAPIVersion(), "/v1alpha1") && phase == "running"
}

func readyNote(tkc *unstructured.Unstructured) string {
	c, ok := conditionOf(tkc, "Ready")
	if !ok {
		return "it has no Ready condition yet"
	}
	note := "Ready is " + c.status
	if c.reason != "" {
		note += ", " + c.reason
	}
	if c.message != "" {
		note += " (" + c.message + ")"
	}
	return note
}

// endpointHost returns spec.controlPlaneEndpoint.host.
func endpointHost(cluster *unstructured.Unstructured) string {
	if cluster == nil {
		return ""
	}
	host, _, _ := unstructured.NestedString(cluster.Object, "spec", "controlPlaneEndpoint", "host")
	return host
}

// endpointOf returns host:port of the cluster's API, empty if there is none.
func endpointOf(cluster *unstructured.Unstructured) string {
	host := endpointHost(cluster)
	if host == "" {
		return ""
	}
	port, _, _ := unstructured.NestedInt64(cluster.Object, "spec", "controlPlaneEndpoint", "port")
	return hostPort(host, port)
}

// sameHost compares addresses by value, so that two spellings of an IPv6 address are one.
func sameHost(a, b string) bool {
	x, errA := netip.ParseAddr(a)
	y, errB := netip.ParseAddr(b)
	if errA != nil || errB != nil {
		return strings.EqualFold(a, b)
	}
	return x == y
}

// ingresses returns the addresses and names in status.loadBalancer.ingress.
func ingresses(service *unstructured.Unstructured) []string {
	if service == nil {
		return nil
	}
	list, _, _ := unstructured.NestedSlice(service.Object, "status", "loadBalancer", "ingress")
	var out []string
	for _, item := range list {
		m, _ := item.(map[string]any)
		for _, key := range []string{"ip", "hostname"} {
			if s, _ := m[key].(string); s != "" {
				out = append(out, s)
				break
			}
		}
	}
	return out
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

// maxNote bounds what is quoted from a condition.
const maxNote = 200

// oneLine makes a quotation fit for a line of progress.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > maxNote {
		s = string(r[:maxNote]) + "..."
	}
	return s
}
