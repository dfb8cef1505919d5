package tkg

import (
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/plugins"
)

// The kinds of owners.
const (
	// TKCKind is the kind of the clusters of vSphere 7 and 8 before the Cluster API (tkg-facts.md §1.2).
	TKCKind = "TanzuKubernetesCluster"
	// ClusterKind is the kind of a cluster that is made by the Cluster API, with a TanzuKubernetesCluster over it or without.
	ClusterKind = "Cluster"
	// ClusterGroup is the API group of Cluster, ClusterClass and Machine.
	ClusterGroup = "cluster.x-k8s.io"

	vmGroup = "vmoperator.vmware.com"
)

// retireLabel on a TanzuKubernetesCluster asks the TKG Service to take it away and to leave its Cluster (tkg-facts.md §1.2).
const retireLabel = "kubernetes.vmware.com/retire-tkc"

// Owner is the object that a cluster is made from, and that must be changed instead of its children (tkg-facts.md §1.2).
type Owner struct {
	Kind       string
	APIVersion string
	UID        types.UID
	Generation int64
	Object     *unstructured.Unstructured
	// Class is the ClusterClass of a Cluster; its name is empty for a TanzuKubernetesCluster and for a Cluster without a class.
	Class Class
	// Way is how the cluster's own trust is declared.
	Way Way
	// Retiring says that a TanzuKubernetesCluster is about to be taken from its Cluster, which then is the owner.
	Retiring bool
}

// Ref returns the cluster's namespace and name.
func (o Owner) Ref() Ref { return Ref{Namespace: o.Object.GetNamespace(), Name: o.Object.GetName()} }

// Target names the owner in a change.
func (o Owner) Target() plugins.Target {
	gvk := o.Object.GroupVersionKind()
	return plugins.Target{
		Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind,
		Namespace: o.Object.GetNamespace(), Name: o.Object.GetName(), UID: string(o.UID),
	}
}

// Resource returns the name by which kubectl knows the owner's kind.
func (o Owner) Resource() string {
	if o.Kind == TKCKind {
		return "tanzukubernetescluster"
	}
	return "cluster"
}

// FindOwner reads the TanzuKubernetesCluster, or the Cluster if there is none: then its class says by which variable it declares trust.
// apierrors.IsNotFound holds for the error if there is neither. It blocks on the network.
func FindOwner(ctx context.Context, c *kube.Client, ref Ref) (Owner, error) {
	obj, err := get(ctx, c, RunGroup, TKCKind, ref)
	if err == nil {
		o := ownerOf(obj)
		o.Way = WayTKC
		_, o.Retiring = obj.GetLabels()[retireLabel]
		return o, nil
	}
	if !errors.Is(err, kube.ErrNotServed) && !apierrors.IsNotFound(err) {
		return Owner{}, err
	}
	cluster, otherErr := get(ctx, c, ClusterGroup, ClusterKind, ref)
	switch {
	case otherErr == nil:
		o := ownerOf(cluster)
		o.Class = ClassOf(cluster)
		o.Way, err = wayOf(ctx, c, o.Class)
		return o, err
	case errors.Is(err, kube.ErrNotServed) && errors.Is(otherErr, kube.ErrNotServed):
		return Owner{}, notSupervisor(c, err)
	case !errors.Is(otherErr, kube.ErrNotServed) && !apierrors.IsNotFound(otherErr):
		return Owner{}, otherErr
	case errors.Is(err, kube.ErrNotServed):
		err = otherErr
	}
	return Owner{}, plugins.Hint(fmt.Errorf("no cluster %s: %w", ref, err), "see which there are: tkgfix diagnose -n %s", ref.Namespace)
}

func ownerOf(obj *unstructured.Unstructured) Owner {
	return Owner{Kind: obj.GetKind(), APIVersion: obj.GetAPIVersion(), UID: obj.GetUID(), Generation: obj.GetGeneration(), Object: obj}
}

func notSupervisor(c *kube.Client, err error) error {
	return plugins.Hint(fmt.Errorf("%s is not a Supervisor: %w", c.Server(), err),
		"give the Supervisor's context, not that of a workload cluster: kubectl config get-contexts")
}

func get(ctx context.Context, c *kube.Client, group, kind string, ref Ref) (*unstructured.Unstructured, error) {
	r, err := c.Resource(ctx, group, kind)
	if err != nil {
		return nil, err
	}
	return c.Get(ctx, r, ref.Namespace, ref.Name)
}

// Class names a ClusterClass.
type Class struct{ Namespace, Name string }

// String returns namespace/name.
func (c Class) String() string { return c.Namespace + "/" + c.Name }

// ClassOf returns the class of a Cluster: spec.topology.class and classNamespace in v1beta1, classRef in v1beta2, and the Cluster's own
// namespace if none is said (tkg-facts.md §1.4). Its name is empty if the Cluster has no class.
func ClassOf(cluster *unstructured.Unstructured) Class {
	at := func(path ...string) string {
		s, _, _ := unstructured.NestedString(cluster.Object, append([]string{"spec", "topology"}, path...)...)
		return s
	}
	class := Class{Namespace: at("classRef", "namespace"), Name: at("classRef", "name")}
	if class.Name == "" {
		class = Class{Namespace: at("classNamespace"), Name: at("class")}
	}
	if class.Name != "" && class.Namespace == "" {
		class.Namespace = cluster.GetNamespace()
	}
	return class
}

// Way is how a cluster declares the CAs of its own trust.
type Way string

// The ways (tkg-facts.md §1.2 to §1.4).
const (
	// WayTKC is spec.settings.network.trust of the TanzuKubernetesCluster. It is the one that TkgServiceConfiguration reaches.
	WayTKC Way = "tkc"
	// WayTrust is the variable trust, whose entries name keys of the Secret CLUSTER-user-trusted-ca-secret.
	WayTrust Way = "trust-variable"
	// WayOSConfiguration is the variable osConfiguration, whose trust names keys of any Secret of the namespace.
	WayOSConfiguration Way = "os-configuration"
	// WayNone is a Cluster without a class, or with one that has neither variable.
	WayNone Way = "none"
)

// The variables that declare trust.
const (
	trustVariable = "trust"
	osVariable    = "osConfiguration"
)

// WayOfClass returns the way of a class, whose variables it asks the server for. It blocks on the network.
func WayOfClass(ctx context.Context, c *kube.Client, class Class) (Way, error) {
	return wayOf(ctx, c, class)
}

// wayOf asks the class which variables it has. A class that cannot be read is judged by its name (tkg-facts.md §1.3, §1.4).
func wayOf(ctx context.Context, c *kube.Client, class Class) (Way, error) {
	if class.Name == "" {
		return WayNone, nil
	}
	obj, err := get(ctx, c, ClusterGroup, "ClusterClass", Ref(class))
	switch {
	case err == nil:
		return wayOfVariables(ClassVariables(obj)), nil
	case errors.Is(err, kube.ErrNotServed), apierrors.IsNotFound(err), apierrors.IsForbidden(err):
		return wayOfName(class.Name), nil
	default:
		return "", err
	}
}

// ClassVariables returns the names of the variables that a ClusterClass defines: those of its status, where it discovers some, else
// those of its spec.
func ClassVariables(class *unstructured.Unstructured) []string {
	var out []string
	for _, part := range []string{"status", "spec"} {
		list, _, _ := unstructured.NestedSlice(class.Object, part, "variables")
		for _, item := range list {
			fields, _ := item.(map[string]any)
			if name, _ := fields["name"].(string); name != "" && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}

func wayOfVariables(names []string) Way {
	switch {
	case slices.Contains(names, osVariable):
		return WayOSConfiguration
	case slices.Contains(names, trustVariable):
		return WayTrust
	}
	return WayNone
}

func wayOfName(class string) Way {
	switch {
	case class == "tanzukubernetescluster":
		return WayTrust
	case len(class) > len(genericClass) && class[:len(genericClass)] == genericClass:
		return WayOSConfiguration
	}
	return WayNone
}

// genericClass begins the names of the classes of VKS 3 (tkg-facts.md §1.4).
const genericClass = "builtin-generic-v"
