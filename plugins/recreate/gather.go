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
// an error, because nothing may be deleted of which nobody knows what it holds. A cluster that never came up has no API,
// and holds nothing but what the Supervisor has under its name.
func (s supervisor) gather(ctx context.Context, w world) (inventory, error) {
	inv := inventory{endpoint: endpointOf(w.cluster), workloads: map[string]counts{}}
	inv.controlPlane, inv.workers = desiredNodes(w.owner)
	var err error
	if inv.empty, err = s.neverUp(ctx, w); err != nil {
		return inv, err
	}
	if inv.secrets, inv.kubeconfigs, err = s.keptSecrets(ctx); err != nil {
		return inv, err
	}
	if inv.supervisorVolumes, err = s.volumes(ctx); err != nil {
		return inv, err
	}
	if inv.empty {
		return inv, nil
	}
	c, err := tkg.WorkloadClient(ctx, s.c, s.ref)
	if err != nil {
		return inv, err
	}
	for _, part := range []func(context.Context, *kube.Client, *inventory) error{
		gatherWorkloads, gatherPods, gatherVolumes, gatherSnapshots, gatherServices, gatherSecrets,
	} {
		if err := part(ctx, c, &inv); err != nil {
			return inv, fmt.Errorf("list what cluster %s holds: %w", s.ref, err)
		}
	}
	return inv, nil
}

// keptSecrets returns the names of the Secrets that TKG keeps for the cluster (tkg-facts.md §3, §4), and how many of them are kubeconfigs, of
// each of which people have copies. Their content is dropped unseen.
func (s supervisor) keptSecrets(ctx context.Context) (names []string, kubeconfigs int, err error) {
	for _, suffix := range []string{"-kubeconfig", "-user-kubeconfig", "-ssh", "-ssh-password"} {
		obj, _, err := s.find(ctx, "", "Secret", s.ref.Name+suffix)
		if err != nil {
			return nil, 0, err
		}
		if obj == nil {
			continue
		}
		names = append(names, s.ref.Namespace+"/"+s.ref.Name+suffix)
		if strings.HasSuffix(suffix, "kubeconfig") {
			kubeconfigs++
		}
	}
	return names, kubeconfigs, nil
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

// gatherWorkloads counts what nothing else makes: not the Jobs of a CronJob, and not those that are done.
func gatherWorkloads(ctx context.Context, c *kube.Client, inv *inventory) error {
	for _, k := range []struct{ group, kind string }{
		{"apps", "Deployment"}, {"apps", "StatefulSet"}, {"apps", "DaemonSet"}, {"batch", "CronJob"}, {"batch", "Job"},
	} {
		err := each(ctx, c, k.group, k.kind, func(u *unstructured.Unstructured) error {
			if platform(u.GetNamespace()) || k.kind == "Job" && (metav1.GetControllerOf(u) != nil || isDone(u)) {
				return nil
			}
			if inv.workloads[u.GetNamespace()] == nil {
				inv.workloads[u.GetNamespace()] = counts{}
			}
			inv.workloads[u.GetNamespace()][k.kind]++
			return nil
		})
		if errors.Is(err, kube.ErrNotServed) {
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// isDone tells whether a Job is complete or has failed.
func isDone(job *unstructured.Unstructured) bool {
	for _, kind := range []string{"Complete", "Failed"} {
		if c, ok := conditionOf(job, kind); ok && c.status == "True" {
			return true
		}
	}
	return false
}

// gatherPods counts the pods, without those that a Job is done with.
func gatherPods(ctx context.Context, c *kube.Client, inv *inventory) error {
	return each(ctx, c, "", "Pod", func(u *unstructured.Unstructured) error {
		phase, _, _ := unstructured.NestedString(u.Object, "status", "phase")
		ended := phase == string(corev1.PodSucceeded) || phase == string(corev1.PodFailed)
		if owner := metav1.GetControllerOf(u); platform(u.GetNamespace()) || ended && owner != nil && owner.Kind == "Job" {
			return nil
		}
		inv.pods++
		return nil
	})
}

// gatherVolumes lists the claims, and the volumes that none of them names.
func gatherVolumes(ctx context.Context, c *kube.Client, inv *inventory) error {
	all := map[string]volume{}
	err := each(ctx, c, "", "PersistentVolume", func(u *unstructured.Unstructured) error {
		pv, err := kube.As[corev1.PersistentVolume](u)
		if err != nil {
			return err
		}
		v := volume{name: pv.Name, class: pv.Spec.StorageClassName, reclaim: string(pv.Spec.PersistentVolumeReclaimPolicy)}
		if v.reclaim == "" { // of a volume that was made by hand
			v.reclaim = string(corev1.PersistentVolumeReclaimRetain)
		}
		if size, ok := pv.Spec.Capacity[corev1.ResourceStorage]; ok {
			v.size = size.String()
		}
		all[pv.Name] = v
		return nil
	})
	if err != nil {
		return err
	}
	reclaim := map[string]string{}
	for name, v := range all {
		reclaim[name] = v.reclaim
	}
	err = each(ctx, c, "", "PersistentVolumeClaim", func(u *unstructured.Unstructured) error {
		pvc, err := kube.As[corev1.PersistentVolumeClaim](u)
		if err != nil {
			return err
		}
		delete(all, pvc.Spec.VolumeName)
		if isEphemeral(pvc) {
			return nil
		}
		inv.volumes = append(inv.volumes, volumeOf(pvc, reclaim))
		return nil
	})
	for _, v := range all {
		inv.volumes = append(inv.volumes, v)
	}
	return err
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

// gatherSnapshots lists the VolumeSnapshots, where the cluster knows them. Their content lies with the cluster's own volumes.
func gatherSnapshots(ctx context.Context, c *kube.Client, inv *inventory) error {
	err := each(ctx, c, "snapshot.storage.k8s.io", "VolumeSnapshot", func(u *unstructured.Unstructured) error {
		claim, _, _ := unstructured.NestedString(u.Object, "spec", "source", "persistentVolumeClaimName")
		s := snapshot{name: u.GetNamespace() + "/" + u.GetName()}
		if claim != "" {
			s.claim = u.GetNamespace() + "/" + claim
		}
		inv.snapshots = append(inv.snapshots, s)
		return nil
	})
	if errors.Is(err, kube.ErrNotServed) {
		return nil
	}
	return err
}

func gatherServices(ctx context.Context, c *kube.Client, inv *inventory) error {
	return each(ctx, c, "", "Service", func(u *unstructured.Unstructured) error {
		kind, _, _ := unstructured.NestedString(u.Object, "spec", "type")
		if !strings.EqualFold(kind, string(corev1.ServiceTypeLoadBalancer)) {
			return nil
		}
		inv.services = append(inv.services, service{name: u.GetNamespace() + "/" + u.GetName(), addresses: ingresses(u)})
		return nil
	})
}

// gatherSecrets lists the Secrets of people, type by type, so that no others are read: service account tokens and releases of Helm are made
// again by whom they belong to. The content is dropped unseen.
func gatherSecrets(ctx context.Context, c *kube.Client, inv *inventory) error {
	r, err := c.Resource(ctx, "", "Secret")
	if err != nil {
		return err
	}
	for _, kind := range []corev1.SecretType{corev1.SecretTypeOpaque, corev1.SecretTypeTLS, corev1.SecretTypeDockerConfigJson} {
		opts := metav1.ListOptions{FieldSelector: "type=" + string(kind)}
		err := c.Each(ctx, r, "", opts, func(u *unstructured.Unstructured) error {
			if !platform(u.GetNamespace()) && tkg.ManagedBy(u).By == "" {
				inv.own = append(inv.own, ownSecret{
					name: u.GetNamespace() + "/" + u.GetName(), kind: string(kind), certificate: kind == corev1.SecretTypeTLS,
				})
			}
			return nil
		})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}

func each(ctx context.Context, c *kube.Client, group, kind string, fn func(*unstructured.Unstructured) error) error {
	r, err := c.Resource(ctx, group, kind)
	if err != nil {
		return err
	}
	return c.Each(ctx, r, "", metav1.ListOptions{}, fn)
}
