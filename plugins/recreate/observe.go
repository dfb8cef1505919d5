package recreate

import (
	"fmt"
	"net/netip"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// runAnnotation holds the id of the run that created a cluster, or applied an object on it.
const runAnnotation = "tkgfix.dev/run"

// world is what the Supervisor holds under a cluster's name. Nil is what is not there.
type world struct {
	owner   *unstructured.Unstructured // what the cluster is made from: a TanzuKubernetesCluster, or the Cluster itself
	cluster *unstructured.Unstructured // the Cluster API's; of a class Cluster the owner once more
	service *unstructured.Unstructured // the VirtualMachineService with the API address
	// noServices says that the Supervisor has no such kind, so that no service is to be waited for.
	noServices bool
}

// deletionSeen decides whether the cluster with this UID is gone. It is gone only when nothing of its name is left: a new cluster
// that finds the old Cluster or VirtualMachineService may come up under the old address and never be ready (tkg-facts.md §4).
func deletionSeen(w world, uid types.UID) sdk.Observation {
	switch {
	case w.owner != nil && w.owner.GetUID() == uid && w.owner.GetDeletionTimestamp() == nil:
		return sdk.Observation{State: sdk.No, Note: describe(w.owner) + " is there"}
	case w.owner != nil && w.owner.GetUID() == uid:
		return underway("deleting %s: %s", describe(w.owner), deletionNote(w))
	case w.owner != nil && !ownedBy(w.cluster, uid):
		// What is left belongs to the newcomer. Creating will find it and stop.
		return sdk.Observation{State: sdk.Yes, Note: fmt.Sprintf("another %s has taken the name, with UID %s", describe(w.owner), w.owner.GetUID())}
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

// uidOf returns an object's UID; that of nothing equals none.
func uidOf(obj *unstructured.Unstructured) types.UID {
	if obj == nil {
		return "none"
	}
	return obj.GetUID()
}

// deletionNote says how far a deletion is: the reason of the Deleting condition, of the Cluster or else of its owner, and the finalizers
// that are left.
func deletionNote(w world) string {
	for _, obj := range []*unstructured.Unstructured{w.cluster, w.owner} {
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
func creationSeen(owner *unstructured.Unstructured, runID string) sdk.Observation {
	switch {
	case owner == nil:
		return sdk.Observation{State: sdk.No, Note: "there is no cluster of that name"}
	case runID != "" && owner.GetAnnotations()[runAnnotation] == runID:
		return sdk.Observation{State: sdk.Yes, Note: fmt.Sprintf("%s carries %s: %s, UID %s", describe(owner), runAnnotation, runID, owner.GetUID())}
	default:
		return sdk.Observation{State: sdk.Unknowable, Note: fmt.Sprintf(
			"a cluster of that name is there that this run did not create (a GitOps controller?): kubectl get %s %s -n %s -o yaml",
			resourceOf(owner), owner.GetName(), owner.GetNamespace())}
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
