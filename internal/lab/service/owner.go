package service

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tkgfix/tkgfix/internal/lab/vm"
)

// owner is the object that a cluster is made from: a TanzuKubernetesCluster, or a Cluster of a class that nobody owns. It knows where
// that object says what; all the rest is the same for both.
type owner interface {
	// object is the live object, and resource its kind.
	object() *unstructured.Unstructured
	resource(resources) schema.GroupVersionResource
	// finalizer is what the service holds the object by.
	finalizer() string
	// class is the ClusterClass, empty if there is none.
	class() types.NamespacedName
	// version is that of Kubernetes on the nodes, and pools are the nodes to be, the control plane first.
	version() string
	pools() []pool
	// content is the part of the spec by a change of which nodes are replaced, apart from how many there are.
	content() any
	// render returns the trust of a node that is made now.
	render(context.Context, finder) (rendering, error)
}

// rendering is what the first boot of a node gets as trust.
type rendering struct {
	trust []vm.Trust
	// fails says why the boot ends before the node has joined; waits says what is not there yet, so that there is nothing to boot.
	fails, waits string
}

// findOwner returns the owner of the cluster of that name; nil if there is none that the service has to do with.
func (s *Service) findOwner(ctx context.Context, ref types.NamespacedName) (owner, error) {
	tkc, err := s.find(ctx, s.kinds.tkcs, ref.Namespace, ref.Name)
	if err != nil {
		return nil, err
	}
	if tkc != nil {
		return tkcOwner{tkc}, nil
	}
	capi, err := s.find(ctx, s.kinds.clusters, ref.Namespace, ref.Name)
	if err != nil || capi == nil || metav1.GetControllerOf(capi) != nil {
		return nil, err
	}
	if o := (classOwner{capi}); o.class().Name != "" {
		return o, nil
	}
	return nil, nil
}

// revision names what nodes are made from. Nodes of another revision are replaced.
func revision(o owner) (string, error) {
	data, err := json.Marshal(withoutCounts(o.content()))
	if err != nil {
		return "", fmt.Errorf("reading the spec of %s: %w", o.object().GetName(), err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8]), nil
}

// withoutCounts leaves out how many nodes there are: more of them are added to those that there are.
func withoutCounts(value any) any {
	switch v := value.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, each := range v {
			if key != "replicas" && key != "count" {
				out[key] = withoutCounts(each)
			}
		}
		return out
	case []any:
		out := make([]any, 0, len(v))
		for _, each := range v {
			out = append(out, withoutCounts(each))
		}
		return out
	}
	return value
}

// find returns the object, nil if there is none.
func (s *Service) find(ctx context.Context, gvr schema.GroupVersionResource, namespace, name string) (*unstructured.Unstructured, error) {
	u, err := s.client.Resource(gvr).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s %s: %w", gvr.Resource, name, err)
	}
	return u, nil
}

// finder returns the object, nil if there is none.
type finder func(ctx context.Context, gvr schema.GroupVersionResource, namespace, name string) (*unstructured.Unstructured, error)
