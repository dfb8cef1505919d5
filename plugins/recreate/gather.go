package recreate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/tkg"
)

// gather lists what goes with the cluster: from the Supervisor, and from the cluster itself as its administrator. What cannot be listed is
// an error, because nothing may be deleted of which nobody knows what it holds.
func (s supervisor) gather(ctx context.Context, w world) (inventory, error) {
	inv := inventory{endpoint: endpointOf(w.cluster), workloads: map[string]counts{}}
	inv.controlPlane, inv.workers = desiredNodes(w.tkc)
	var err error
	if inv.secrets, err = s.secrets(ctx); err != nil {
		return inv, err
	}
	if inv.supervisorVolumes, err = s.volumes(ctx); err != nil {
		return inv, err
	}
	if inv.addons, err = s.addons(ctx); err != nil {
		return inv, err
	}
	c, err := tkg.WorkloadClient(ctx, s.c, s.ref)
	if err != nil {
		return inv, err
	}
	for _, part := range []func(context.Context, *kube.Client, *inventory) error{gatherWorkloads, gatherVolumes, gatherServices} {
		if err := part(ctx, c, &inv); err != nil {
			return inv, fmt.Errorf("list what cluster %s holds: %w", s.ref, err)
		}
	}
	return inv, nil
}

// secrets returns the names of the Secrets that TKG keeps for the cluster (tkg-facts.md §3, §4). Their content is dropped unseen.
func (s supervisor) secrets(ctx context.Context) ([]string, error) {
	r, err := s.c.Resource(ctx, "", "Secret")
	if err != nil {
		return nil, err
	}
	var out []string
	for _, suffix := range []string{"-kubeconfig", "-ssh", "-ssh-password"} {
		_, err := s.c.Get(ctx, r, s.ref.Namespace, s.ref.Name+suffix)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, s.ref.Namespace+"/"+s.ref.Name+suffix)
	}
	return out, nil
}

// addons returns the objects with the settings of the cluster's add-ons, which are bound to its name (tkg-facts.md §4, companions).
func (s supervisor) addons(ctx context.Context) ([]string, error) {
	var out []string
	for kind, suffix := range map[string]string{"ClusterBootstrap": "", "KappControllerConfig": "-kapp-controller-package"} {
		obj, _, err := supervisor{c: s.c, ref: tkg.Ref{Namespace: s.ref.Namespace, Name: s.ref.Name + suffix}}.find(ctx, tkg.RunGroup, kind)
		if err != nil {
			return nil, err
		}
		if obj != nil {
			out = append(out, describe(obj))
		}
	}
	return out, nil
}

// volumes returns the claims on the Supervisor that carry the label CLUSTER/TKGService (tkg-facts.md §4, persistent volumes).
func (s supervisor) volumes(ctx context.Context) ([]string, error) {
	r, err := s.c.Resource(ctx, "", "PersistentVolumeClaim")
	if errors.Is(err, kube.ErrNotServed) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []string
	err = s.c.Each(ctx, r, s.ref.Namespace, metav1.ListOptions{}, func(u *unstructured.Unstructured) error {
		if _, ok := u.GetLabels()[s.ref.Name+"/TKGService"]; ok {
			out = append(out, u.GetNamespace()+"/"+u.GetName())
		}
		return nil
	})
	return out, err
}

func gatherWorkloads(ctx context.Context, c *kube.Client, inv *inventory) error {
	add := map[string]func(*counts){
		"Deployment":  func(n *counts) { n.deployments++ },
		"StatefulSet": func(n *counts) { n.statefulSets++ },
		"DaemonSet":   func(n *counts) { n.daemonSets++ },
	}
	for kind, count := range add {
		err := each(ctx, c, "apps", kind, func(u *unstructured.Unstructured) error {
			n := inv.workloads[u.GetNamespace()]
			count(&n)
			inv.workloads[u.GetNamespace()] = n
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func gatherVolumes(ctx context.Context, c *kube.Client, inv *inventory) error {
	reclaim := map[string]string{}
	err := each(ctx, c, "", "PersistentVolume", func(u *unstructured.Unstructured) error {
		pv, err := kube.As[corev1.PersistentVolume](u)
		if err != nil {
			return err
		}
		// An empty policy is Retain for a volume that was made by hand.
		reclaim[pv.Name] = string(pv.Spec.PersistentVolumeReclaimPolicy)
		if reclaim[pv.Name] == "" {
			reclaim[pv.Name] = string(corev1.PersistentVolumeReclaimRetain)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return each(ctx, c, "", "PersistentVolumeClaim", func(u *unstructured.Unstructured) error {
		pvc, err := kube.As[corev1.PersistentVolumeClaim](u)
		if err != nil {
			return err
		}
		if isEphemeral(pvc) {
			return nil
		}
		inv.volumes = append(inv.volumes, volumeOf(pvc, reclaim))
		return nil
	})
}

// isEphemeral says that a claim lives and dies with one pod, whose name it bears.
func isEphemeral(pvc *corev1.PersistentVolumeClaim) bool {
	return slices.ContainsFunc(pvc.OwnerReferences, func(o metav1.OwnerReference) bool { return o.Kind == "Pod" })
}

func volumeOf(pvc *corev1.PersistentVolumeClaim, reclaim map[string]string) volume {
	v := volume{claim: pvc.Namespace + "/" + pvc.Name, name: pvc.Spec.VolumeName, reclaim: reclaim[pvc.Spec.VolumeName]}
	if pvc.Spec.StorageClassName != nil {
		v.class = *pvc.Spec.StorageClassName
	}
	if size, ok := pvc.Spec.Resources.Requests[corev1.ResourceStorage]; ok {
		v.size = size.String()
	}
	return v
}

func gatherServices(ctx context.Context, c *kube.Client, inv *inventory) error {
	return each(ctx, c, "", "Service", func(u *unstructured.Unstructured) error {
		kind, _, _ := unstructured.NestedString(u.Object, "spec", "type")
		if !strings.EqualFold(kind, "LoadBalancer") {
			return nil
		}
		inv.services = append(inv.services, service{name: u.GetNamespace() + "/" + u.GetName(), addresses: ingresses(u)})
		return nil
	})
}

func each(ctx context.Context, c *kube.Client, group, kind string, fn func(*unstructured.Unstructured) error) error {
	r, err := c.Resource(ctx, group, kind)
	if err != nil {
		return err
	}
	return c.Each(ctx, r, "", metav1.ListOptions{}, fn)
}
