package tkg

import (
	"context"
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/kube"
)

// ReadCluster reads the Cluster that a TanzuKubernetesCluster owns, which has its name (tkg-facts.md §1.2); for an owner that is a Cluster it
// is the owner's object. It is nil if there is none or this login may not read it. It blocks on the network.
func ReadCluster(ctx context.Context, c *kube.Client, owner Owner) (*unstructured.Unstructured, error) {
	if owner.Kind == ClusterKind {
		return owner.Object, nil
	}
	cluster, err := get(ctx, c, ClusterGroup, ClusterKind, owner.Ref())
	if errors.Is(err, kube.ErrNotServed) || apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return nil, nil
	}
	return cluster, err
}

// Initialized tells whether a control plane has ever been up, by what the owner and its Cluster say, and without their word by whether there
// is the Secret CLUSTER-kubeconfig, by which it would be reached. It blocks on the network.
func Initialized(ctx context.Context, c *kube.Client, owner Owner) (bool, error) {
	cluster, err := ReadCluster(ctx, c, owner)
	if err != nil {
		return false, err
	}
	if up, known := initialized(owner.Object, cluster); known {
		return up, nil
	}
	_, err = secret(ctx, c, owner.Ref(), "-kubeconfig")
	switch {
	case apierrors.IsNotFound(err):
		return false, nil
	case apierrors.IsForbidden(err): // so that nothing says that it has not
		return true, nil
	}
	return err == nil, err
}

// initialized asks objects in turn; one that says yes is right, since what has been is never undone. known is false if none says anything.
func initialized(objs ...*unstructured.Unstructured) (up, known bool) {
	for _, obj := range objs {
		yes, said := initializedBy(obj)
		if said && yes {
			return true, true
		}
		known = known || said
	}
	return false, known
}

// initializedBy reads the condition ControlPlaneInitialized of a Cluster, in both generations of conditions, with the booleans beside them, and
// of a TanzuKubernetesCluster its condition ControlPlaneReady, or in v1alpha1 its phase (tkg-facts.md §1.2, §1.4).
func initializedBy(obj *unstructured.Unstructured) (up, known bool) {
	if obj == nil {
		return false, false
	}
	for _, path := range [][]string{{"status", "initialization", "controlPlaneInitialized"}, {"status", "controlPlaneReady"}} {
		if yes, _, _ := unstructured.NestedBool(obj.Object, path...); yes {
			return true, true
		}
	}
	for _, path := range [][]string{
		{"status", "conditions"}, {"status", "v1beta2", "conditions"}, {"status", "deprecated", "v1beta1", "conditions"},
	} {
		yes, said := initializedIn(obj, path...)
		if yes {
			return true, true
		}
		known = known || said
	}
	if phase, _, _ := unstructured.NestedString(obj.Object, "status", "phase"); obj.GetKind() == TKCKind {
		switch phase {
		case "running", "updating", "updateFailed", "unhealthy":
			return true, true
		case "creating":
			known = true
		}
	}
	return false, known
}

func initializedIn(obj *unstructured.Unstructured, path ...string) (up, known bool) {
	value, _, _ := unstructured.NestedFieldNoCopy(obj.Object, path...)
	list, _ := value.([]any)
	for _, item := range list {
		c, _ := item.(map[string]any)
		switch c["type"] {
		case "ControlPlaneInitialized":
			known = c["status"] == "True" || c["status"] == "False"
			up = c["status"] == "True"
		case "ControlPlaneReady": // of a TanzuKubernetesCluster, and of a Cluster in v1beta1
			if c["status"] == "True" {
				return true, true
			}
			if c["reason"] == "WaitingForControlPlaneInitialized" {
				known = true
			}
		}
	}
	return up, known
}
