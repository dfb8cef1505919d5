package recreate

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/tkg"
)

// cause is what is known to hold a deletion up (tkg-facts.md §4), by what is seen of it.
type cause struct {
	// message is a part of the condition's message; reason and finalizer are whole words. Each alone is enough.
	message, reason, finalizer string
	// text says it in words, with CLUSTER and NAMESPACE in its commands.
	text string
}

// causes are in the order in which they are looked for: the first that is seen is told, and no other.
var causes = []cause{
	{
		message: "could not resolve TKR",
		text: "the Kubernetes release is no longer in the content library, and the webhook tkr-resolver-cluster-webhook " +
			"refuses every edit: " +
			"bring the release back (kubectl get tanzukubernetesreleases)",
	},
	{
		message: "fewer than 2 control plane nodes",
		text:    "the control plane refuses to give up its last member of etcd after a repair (KB 427318): ask the vendor",
	},
	{
		reason: "WaitingForBeforeDeleteHook",
		text:   "a hook of the platform has not let it go yet: see what its extension says (kubectl get extensionconfigs)",
	},
	{
		reason: "WaitingForWorkersDeletion",
		text: "a worker's Machine does not go: see what it waits for (kubectl describe machines -n NAMESPACE -l " +
			"cluster.x-k8s.io/cluster-name=CLUSTER)",
	},
	{
		reason: "WaitingForControlPlaneDeletion",
		text: "the control plane does not go, often for the sake of etcd: kubectl describe kubeadmcontrolplanes -n " +
			"NAMESPACE -l cluster.x-k8s.io/cluster-name=CLUSTER",
	},
	{
		reason: "WaitingForInfrastructureDeletion",
		text: "the load balancer or the infrastructure object does not go: kubectl describe " +
			"vspherecluster,virtualmachineservice -n NAMESPACE",
	},
	{
		finalizer: "tkg.tanzu.vmware.com/addon",
		text: "the add-ons controller has left its finalizer behind: see its log, and that it runs (kubectl get pods -A " +
			"| grep addons)",
	},
	{
		finalizer: "cluster.cluster.x-k8s.io",
		text: "the Cluster API waits for what the cluster owns: kubectl get " +
			"machines,machinedeployments,kubeadmcontrolplanes -n NAMESPACE -l cluster.x-k8s.io/cluster-name=CLUSTER",
	},
}

// serviceCause is for a VirtualMachineService that outlives its cluster.
const serviceCause = "the VirtualMachineService survived its cluster, and a new cluster would get its old address: kubectl describe virtualmachineservice CLUSTER -n NAMESPACE"

// stuckHint tells the known cause of what this deletion waits for, and what is never done: tkgfix takes no finalizer away.
func stuckHint(w world, ref tkg.Ref) string {
	known := fmt.Sprintf("look at it with: kubectl get cluster,machine,virtualmachineservice -n %s", ref.Namespace)
	if text := causeOf(w); text != "" {
		known = strings.NewReplacer("CLUSTER", ref.Name, "NAMESPACE", ref.Namespace).Replace(text)
	}
	return "the deletion goes on by itself; " + known +
		". Do not remove finalizers by hand, that orphans machines and load balancers: mend the cause, then resume this run"
}

// causeOf returns what is known of this deletion, empty for one of which nothing is.
func causeOf(w world) string {
	for _, obj := range []*unstructured.Unstructured{w.cluster, w.owner} {
		if obj == nil {
			continue
		}
		c, _ := conditionOf(obj, "Deleting")
		for _, known := range causes {
			switch {
			case known.message != "" && strings.Contains(c.message, known.message), known.reason != "" && known.reason == c.reason,
				known.finalizer != "" && slices.Contains(obj.GetFinalizers(), known.finalizer):
				return known.text
			}
		}
	}
	if w.cluster == nil && w.service != nil {
		return serviceCause
	}
	return ""
}
