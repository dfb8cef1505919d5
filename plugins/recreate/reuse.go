package recreate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

// reuseBlocks says why the cluster's name cannot be used again in its namespace (tkg-facts.md §4, name reuse): a new cluster that comes up
// under an old address never becomes available, and deleting and creating it again does not help. newest is the newest class
// builtin-generic that is there, empty if there is none.
func reuseBlocks(w world, ref tkg.Ref, newest string, allowed bool) []plugins.Block {
	var blocks []plugins.Block
	host, addresses := endpointHost(w.cluster), ingresses(w.service)
	if host != "" && len(addresses) > 0 && !slices.ContainsFunc(addresses, func(a string) bool { return sameHost(a, host) }) {
		blocks = append(blocks, plugins.Block{
			Reason: fmt.Sprintf("the name %s was used before: the cluster's endpoint is %s, but its VirtualMachineService has %s, and a recreate would "+
				"come up under an old address again", ref, host, strings.Join(addresses, ", ")),
			Hint: "create it under a new name from the create in this plan, and ask the vendor; compare: " + compareCommand(ref),
		})
	}
	if owner := otherOwner(w, ref); owner != "" {
		blocks = append(blocks, plugins.Block{
			Reason: fmt.Sprintf("the VirtualMachineService %s is not this cluster's (%s): it would stay, and the new cluster would find it under its name", ref, owner),
			Hint:   fmt.Sprintf("see whose it is, and let its owner rename it: kubectl get virtualmachineservice %s -n %s -o yaml", ref.Name, ref.Namespace),
		})
	}
	if reuses(newest) && !allowed {
		blocks = append(blocks, plugins.Block{
			Reason: fmt.Sprintf("with VKS 3.7 (the class %s is there) a cluster that is created again under a name that its namespace has used can come up under "+
				"the old address, and is then lost for good under that name", newest),
			Hint: "patch-cluster-trust mends the cluster without a recreate; if nothing else is left, create the cluster under a new name, or say reuseName: true",
		})
	}
	return blocks
}

func compareCommand(ref tkg.Ref) string {
	return fmt.Sprintf("kubectl get cluster,virtualmachineservice %s -n %s -o yaml", ref.Name, ref.Namespace)
}

// otherOwner says by what mark a VirtualMachineService of the cluster's name is another's; empty if it is the cluster's own. The Cluster
// API's provider marks its own with the cluster's name, in a label and in the selector, and the provider's object owns it.
func otherOwner(w world, ref tkg.Ref) string {
	if w.service == nil {
		return ""
	}
	var marks []string
	selector, _, _ := unstructured.NestedStringMap(w.service.Object, "spec", "selector")
	for _, m := range []map[string]string{w.service.GetLabels(), selector} {
		for _, key := range []string{"cluster.x-k8s.io/cluster-name", "capv.vmware.com/cluster.name", "capw.vmware.com/cluster.name"} {
			if name := m[key]; name == ref.Name {
				return ""
			} else if name != "" {
				marks = append(marks, key+": "+oneLine(name))
			}
		}
	}
	for _, o := range w.service.GetOwnerReferences() {
		if o.UID == uidOf(w.owner) || o.UID == uidOf(w.cluster) {
			return ""
		}
		marks = append(marks, fmt.Sprintf("owned by %s %s", o.Kind, oneLine(o.Name)))
	}
	if len(marks) == 0 {
		return "nothing on it names a cluster"
	}
	return strings.Join(marks, ", ")
}

// reuses tells whether a class is of VKS 3.7 or later.
func reuses(class string) bool {
	major, minor, ok := classVersion(class)
	return ok && (major > 3 || major == 3 && minor >= 7)
}

// classVersion reads builtin-generic-vMAJOR.MINOR.
func classVersion(class string) (major, minor int, ok bool) {
	rest, ok := strings.CutPrefix(class, "builtin-generic-v")
	parts := strings.SplitN(rest, ".", 3)
	if !ok || len(parts) < 2 {
		return 0, 0, false
	}
	major, errMajor := strconv.Atoi(parts[0])
	minor, errMinor := strconv.Atoi(parts[1])
	return major, minor, errMajor == nil && errMinor == nil
}

// publicClasses is where VKS keeps its classes (tkg-facts.md §1.4).
const publicClasses = "vmware-system-vks-public"

// newestClass returns the newest class builtin-generic that the login may see, which says which VKS there is: no object that a namespace's
// user may read bears its version. It is empty if none is seen.
func (s supervisor) newestClass(ctx context.Context, own string) (string, error) {
	newest := own
	r, err := s.c.Resource(ctx, tkg.ClusterGroup, "ClusterClass")
	if errors.Is(err, kube.ErrNotServed) {
		return newest, nil
	}
	if err != nil {
		return "", err
	}
	for _, namespace := range []string{publicClasses, s.ref.Namespace} {
		err := s.c.Each(ctx, r, namespace, metav1.ListOptions{}, func(u *unstructured.Unstructured) error {
			newest = newer(newest, u.GetName())
			return nil
		})
		if err != nil && !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err) {
			return "", err
		}
	}
	return newest, nil
}

// newer returns that of two classes with the higher version; what is no class builtin-generic has none.
func newer(a, b string) string {
	aMajor, aMinor, aOK := classVersion(a)
	bMajor, bMinor, bOK := classVersion(b)
	if bOK && (!aOK || bMajor > aMajor || bMajor == aMajor && bMinor > aMinor) {
		return b
	}
	return a
}
