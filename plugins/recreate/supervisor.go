package recreate

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

// The kinds on the Supervisor that a cluster consists of, beside its owner.
const (
	vmGroup     = "vmoperator.vmware.com"
	serviceKind = "VirtualMachineService"
)

// supervisor reads and changes one cluster. With a client that only dry-runs, the server checks each change and forgets it.
type supervisor struct {
	c   *kube.Client
	ref tkg.Ref
	// kind is the owner's: TanzuKubernetesCluster or Cluster.
	kind string
}

// group is the owner's.
func (s supervisor) group() string {
	if s.kind == tkg.ClusterKind {
		return tkg.ClusterGroup
	}
	return tkg.RunGroup
}

// look reads what is there under the cluster's name. It is an error when something cannot be read: gone is only what the server says
// is gone.
func (s supervisor) look(ctx context.Context) (world, error) {
	var w world
	var served bool
	var err error
	if w.owner, served, err = s.find(ctx, s.group(), s.kind, s.ref.Name); err != nil {
		return w, err
	}
	if !served {
		err := fmt.Errorf("%s does not serve %s.%s", s.c.Server(), s.kind, s.group())
		return w, plugins.Hint(err, "give the Supervisor's kubeconfig and context")
	}
	w.cluster = w.owner
	if s.kind != tkg.ClusterKind {
		if w.cluster, _, err = s.find(ctx, tkg.ClusterGroup, tkg.ClusterKind, s.ref.Name); err != nil {
			return w, err
		}
	}
	w.service, served, err = s.find(ctx, vmGroup, serviceKind, s.ref.Name)
	w.noServices = !served
	return w, err
}

// find returns nil for what is not there, and whether the server knows the kind at all.
func (s supervisor) find(ctx context.Context, group, kind, name string) (obj *unstructured.Unstructured, served bool, err error) {
	r, err := s.c.Resource(ctx, group, kind)
	if errors.Is(err, kube.ErrNotServed) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	obj, err = s.c.Get(ctx, r, s.ref.Namespace, name)
	if apierrors.IsNotFound(err) {
		return nil, true, nil
	}
	return obj, true, err
}

// remove asks for the deletion of the cluster with this UID and of no other.
func (s supervisor) remove(ctx context.Context, uid types.UID) error {
	if uid == "" {
		return errors.New("the approved change names no UID")
	}
	r, err := s.c.Resource(ctx, s.group(), s.kind)
	if err != nil {
		return err
	}
	return s.c.Delete(ctx, r, types.NamespacedName{Namespace: s.ref.Namespace, Name: s.ref.Name}, uid)
}

// create creates an object on the Supervisor, in the version in which it is written.
func (s supervisor) create(ctx context.Context, obj *unstructured.Unstructured) error {
	gvk := obj.GroupVersionKind()
	r, err := s.c.Resource(ctx, gvk.Group, gvk.Kind)
	if err != nil {
		return err
	}
	r.GVK = gvk
	r.GVR.Version = gvk.Version
	_, err = s.c.Create(ctx, r, obj)
	return err
}

// trustHash returns the hash of what TkgServiceConfiguration holds now.
func (s supervisor) trustHash(ctx context.Context) (string, error) {
	r, err := s.c.Resource(ctx, tkg.RunGroup, "TkgServiceConfiguration")
	if err != nil {
		return "", err
	}
	tsc, err := s.c.Get(ctx, r, "", tkg.ServiceConfigurationName)
	if err != nil {
		return "", err
	}
	entries, err := tkg.ServiceTrust(tsc)
	if err != nil {
		return "", err
	}
	return tkg.TrustHash(entries), nil
}

// The fields that the deletion stands on.
const (
	fieldUID        = "metadata.uid"
	fieldGeneration = "metadata.generation"
	fieldTrust      = "spec.trust.additionalTrustedCAs"
	// fieldData is the data of a Secret whose content is saved, as a hash.
	fieldData = "data"
)

// holds reads what the deletion stands on again. A difference is a conflict that names the field, with before and now.
func (s supervisor) holds(ctx context.Context, preconditions []plugins.Precondition) error {
	w, err := s.look(ctx)
	if err != nil {
		return err
	}
	if w.owner == nil {
		err := plugins.WithKind(plugins.KindConflict, errors.New("the cluster is gone since the plan, and this run did not delete it"))
		return plugins.Hint(err, "find out who deleted it; its manifest is in this run's plan")
	}
	return conflicts(preconditions, func(p plugins.Precondition) (string, bool, error) { return s.now(ctx, w.owner, p) })
}

// now returns the value that a field has now, and whether it is one that a deletion may stand on.
func (s supervisor) now(ctx context.Context, owner *unstructured.Unstructured, p plugins.Precondition) (value string, known bool, err error) {
	switch p.Field {
	case fieldUID:
		return string(owner.GetUID()), true, nil
	case fieldGeneration:
		return fmt.Sprint(owner.GetGeneration()), true, nil
	case fieldTrust:
		value, err := s.trustHash(ctx)
		return value, true, err
	case fieldData:
		secret, _, err := s.find(ctx, "", "Secret", p.Target.Name)
		return dataHash(secret), true, err
	}
	return "", false, nil
}

// conflicts compares. Each precondition must be one that is known here, and the UID and the generation must be among them: a deletion
// without them was never planned by this step.
func conflicts(preconditions []plugins.Precondition, now func(plugins.Precondition) (value string, known bool, err error)) error {
	seen := map[string]bool{}
	for _, p := range preconditions {
		value, known, err := now(p)
		if err != nil {
			return err
		}
		if !known {
			return fmt.Errorf("the approved change stands on %s, which this step does not know", p.Field)
		}
		seen[p.Field] = true
		if value != p.Value {
			err := fmt.Errorf("%s of %s changed since the plan: it was %s and is now %s", p.Field, p.Target, p.Value, value)
			return plugins.Hint(plugins.WithKind(plugins.KindConflict, err), "nothing was deleted; look who changes it, then plan and approve again")
		}
	}
	for _, field := range []string{fieldUID, fieldGeneration} {
		if !seen[field] {
			return fmt.Errorf("the approved deletion does not stand on %s", field)
		}
	}
	return nil
}
