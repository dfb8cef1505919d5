package service

import (
	"context"
	"encoding/base64"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/util/retry"

	"github.com/tkgfix/tkgfix/internal/lab/plane"
)

// Finalizers, as far as they are public (tkg-facts.md §4).
const (
	tkcFinalizer     = "tanzukubernetescluster.run.tanzu.vmware.com"
	clusterFinalizer = "cluster.cluster.x-k8s.io"
	machineFinalizer = "machine.cluster.x-k8s.io"
	vmFinalizer      = "vmoperator.vmware.com/virtualmachine"
	serviceFinalizer = "vmoperator.vmware.com/virtualmachineservice"
)

const (
	clusterLabel      = "cluster.x-k8s.io/cluster-name"
	controlPlaneLabel = "cluster.x-k8s.io/control-plane"
	poolLabel         = "topology.cluster.x-k8s.io/deployment-name"
)

// object makes an unstructured object of a cluster's.
func (c *cluster) object(apiVersion, kind, name string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{}}
	u.SetAPIVersion(apiVersion)
	u.SetKind(kind)
	u.SetNamespace(c.ref.Namespace)
	u.SetName(name)
	u.SetLabels(map[string]string{clusterLabel: c.ref.Name})
	return u
}

func controlledBy(of *unstructured.Unstructured) []metav1.OwnerReference {
	yes := true
	return []metav1.OwnerReference{{
		APIVersion: of.GetAPIVersion(), Kind: of.GetKind(), Name: of.GetName(), UID: of.GetUID(), Controller: &yes, BlockOwnerDeletion: &yes,
	}}
}

func (c *cluster) endpoint() map[string]any {
	return map[string]any{"host": c.guest.Address(), "port": int64(plane.Port)}
}

func versionOf(r schema.GroupVersionResource) string { return r.GroupVersion().String() }

// reference names an object as the version of the Cluster API does that is in use.
func (s *Service) reference(group, kind, namespace, name string) map[string]any {
	if s.kinds.clusters.Version == "v1beta1" {
		return map[string]any{"apiVersion": group + "/v1beta1", "kind": kind, "namespace": namespace, "name": name}
	}
	return map[string]any{"apiGroup": group, "kind": kind, "name": name}
}

func (c *cluster) capiCluster(kinds resources, tkc *unstructured.Unstructured, endpoint map[string]any) *unstructured.Unstructured {
	u := c.object(versionOf(kinds.clusters), "Cluster", c.ref.Name)
	u.SetOwnerReferences(controlledBy(tkc))
	u.SetFinalizers([]string{clusterFinalizer})
	u.Object["spec"] = map[string]any{"controlPlaneEndpoint": endpoint}
	return u
}

func (c *cluster) loadBalancer(kinds resources, capi *unstructured.Unstructured) *unstructured.Unstructured {
	u := c.object(versionOf(kinds.services), "VirtualMachineService", c.ref.Name)
	u.SetOwnerReferences(controlledBy(capi))
	u.SetFinalizers([]string{serviceFinalizer})
	u.Object["spec"] = map[string]any{
		"type":     "LoadBalancer",
		"ports":    []any{map[string]any{"name": "apiserver", "port": int64(plane.Port), "targetPort": int64(plane.Port), "protocol": "TCP"}},
		"selector": map[string]any{"capv.vmware.com/cluster.name": c.ref.Name, "capv.vmware.com/cluster.role": "controlplane"},
	}
	return u
}

func (c *cluster) machine(s *Service, capi *unstructured.Unstructured, n *node) *unstructured.Unstructured {
	u := c.object(versionOf(s.kinds.machines), "Machine", n.name)
	u.SetOwnerReferences(controlledBy(capi))
	u.SetFinalizers([]string{machineFinalizer})
	labels := u.GetLabels()
	if n.controlPlane {
		labels[controlPlaneLabel] = ""
	} else {
		labels[poolLabel] = n.pool
	}
	u.SetLabels(labels)
	u.Object["spec"] = map[string]any{
		"clusterName": c.ref.Name, "version": n.version, "providerID": n.providerID(),
		"bootstrap":         map[string]any{"dataSecretName": n.name + "-bootstrap"},
		"infrastructureRef": s.reference("vmware.infrastructure.cluster.x-k8s.io", "VSphereMachine", c.ref.Namespace, n.name),
	}
	return u
}

func (c *cluster) virtualMachine(kinds resources, machine *unstructured.Unstructured, n *node) *unstructured.Unstructured {
	u := c.object(versionOf(kinds.vms), "VirtualMachine", n.name)
	u.SetOwnerReferences(controlledBy(machine))
	u.SetFinalizers([]string{vmFinalizer})
	// Both families of labels are seen in the field (tkg-facts.md §3, §9.2).
	u.SetLabels(map[string]string{
		clusterLabel:                   c.ref.Name,
		"capv.vmware.com/cluster.name": c.ref.Name, "capv.vmware.com/cluster.role": n.role(),
		"capw.vmware.com/cluster.name": c.ref.Name, "capw.vmware.com/cluster.role": n.role(),
	})
	u.Object["spec"] = map[string]any{"className": n.vmClass, "powerState": "PoweredOn"}
	return u
}

// secret makes one of the cluster's Secrets, owned by the Cluster so that it goes with it (tkg-facts.md §3, §4).
func (c *cluster) secret(capi *unstructured.Unstructured, suffix, kind string, data map[string][]byte) *unstructured.Unstructured {
	u := c.object("v1", "Secret", c.ref.Name+suffix)
	u.SetOwnerReferences(controlledBy(capi))
	u.Object["type"] = kind
	encoded := map[string]any{}
	for key, value := range data {
		encoded[key] = base64.StdEncoding.EncodeToString(value)
	}
	u.Object["data"] = encoded
	return u
}

// ensure creates the object if there is none of that name and returns the live one. One that belongs to an earlier cluster of the name is
// an error, which is tried again until that is gone.
func (s *Service) ensure(ctx context.Context, gvr schema.GroupVersionResource, want *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	client := s.client.Resource(gvr).Namespace(want.GetNamespace())
	live, err := client.Get(ctx, want.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		live, err = client.Create(ctx, want, metav1.CreateOptions{})
	}
	if err != nil {
		return nil, fmt.Errorf("making %s %s: %w", want.GetKind(), want.GetName(), err)
	}
	if by := metav1.GetControllerOf(want); by != nil {
		if has := metav1.GetControllerOf(live); has == nil || has.UID != by.UID {
			return nil, fmt.Errorf("making %s %s: there is one that is not of this %s", want.GetKind(), want.GetName(), by.Kind)
		}
	}
	return live, nil
}

func ownedBy(object, by *unstructured.Unstructured) bool {
	for _, ref := range object.GetOwnerReferences() {
		if ref.UID == by.GetUID() {
			return true
		}
	}
	return false
}

// edit changes a live object if edit changes it; status says whether it is the status that does. An object that is gone is left so.
func (s *Service) edit(ctx context.Context, gvr schema.GroupVersionResource, live *unstructured.Unstructured, status bool, edit func(*unstructured.Unstructured)) error {
	client := s.client.Resource(gvr).Namespace(live.GetNamespace())
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		current, err := client.Get(ctx, live.GetName(), metav1.GetOptions{})
		if err != nil || current.GetUID() != live.GetUID() {
			return err
		}
		next := current.DeepCopy()
		edit(next)
		if equality.Semantic.DeepEqual(current.Object, next.Object) {
			return nil
		}
		if status {
			_, err = client.UpdateStatus(ctx, next, metav1.UpdateOptions{})
		} else {
			_, err = client.Update(ctx, next, metav1.UpdateOptions{})
		}
		return err
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("updating %s %s: %w", live.GetKind(), live.GetName(), err)
	}
	return nil
}

func (s *Service) finalizer(ctx context.Context, gvr schema.GroupVersionResource, live *unstructured.Unstructured, name string, want bool) error {
	return s.edit(ctx, gvr, live, false, func(u *unstructured.Unstructured) {
		var kept []string
		for _, f := range u.GetFinalizers() {
			if f != name {
				kept = append(kept, f)
			}
		}
		if want {
			kept = append(kept, name)
		}
		u.SetFinalizers(kept)
	})
}

// delete asks for the deletion of exactly this object.
func (s *Service) delete(ctx context.Context, gvr schema.GroupVersionResource, live *unstructured.Unstructured) error {
	uid := live.GetUID()
	background := metav1.DeletePropagationBackground
	err := s.client.Resource(gvr).Namespace(live.GetNamespace()).Delete(ctx, live.GetName(), metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &uid}, PropagationPolicy: &background,
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("deleting %s %s: %w", live.GetKind(), live.GetName(), err)
	}
	return nil
}
