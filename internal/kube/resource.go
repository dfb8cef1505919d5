package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

// ErrNotServed says that an API server has no such kind.
var ErrNotServed = errors.New("not served")

// Resource is a kind in the version in which a server prefers to serve it.
type Resource struct {
	GVR        schema.GroupVersionResource
	GVK        schema.GroupVersionKind
	Namespaced bool
}

// Resource asks the server how it serves a kind; group is empty for the core API. The answer is remembered. The error is
// ErrNotServed if the server does not know the kind. It blocks on the network.
func (c *Client) Resource(ctx context.Context, group, kind string) (Resource, error) {
	r, err := c.kinds.find(ctx, schema.GroupKind{Group: group, Kind: kind})
	if err != nil {
		return Resource{}, Explain(fmt.Errorf("find %s at %s: %w", schema.GroupKind{Group: group, Kind: kind}, c.server, err))
	}
	return r, nil
}

// kinds asks for single groups. client-go's discovery client downloads what all groups serve, which on a Supervisor is
// hundreds of kinds, and cannot be cancelled.
type kinds struct {
	client rest.Interface
	mu     sync.Mutex
	known  map[schema.GroupKind]Resource
}

func newKinds(client rest.Interface) *kinds {
	return &kinds{client: client, known: map[schema.GroupKind]Resource{}}
}

func (k *kinds) find(ctx context.Context, gk schema.GroupKind) (Resource, error) {
	k.mu.Lock()
	r, ok := k.known[gk]
	k.mu.Unlock()
	if ok {
		return r, nil
	}
	versions, err := k.versions(ctx, gk.Group)
	if err != nil {
		return Resource{}, err
	}
	for _, gv := range versions {
		r, ok, err := k.in(ctx, gv, gk.Kind)
		if err != nil {
			return Resource{}, err
		}
		if ok {
			k.mu.Lock()
			k.known[gk] = r
			k.mu.Unlock()
			return r, nil
		}
	}
	return Resource{}, ErrNotServed
}

// versions returns the versions of a group, the preferred one first.
func (k *kinds) versions(ctx context.Context, group string) ([]schema.GroupVersion, error) {
	if group == "" {
		return []schema.GroupVersion{{Version: "v1"}}, nil
	}
	var found metav1.APIGroup
	err := k.client.Get().AbsPath("/apis", group).Do(ctx).Into(&found)
	if apierrors.IsNotFound(err) {
		return nil, ErrNotServed
	}
	if err != nil {
		return nil, err
	}
	preferred := found.PreferredVersion.Version
	out := []schema.GroupVersion{{Group: group, Version: preferred}}
	for _, v := range found.Versions {
		if v.Version != preferred {
			out = append(out, schema.GroupVersion{Group: group, Version: v.Version})
		}
	}
	return out, nil
}

func (k *kinds) in(ctx context.Context, gv schema.GroupVersion, kind string) (Resource, bool, error) {
	path := []string{"/apis", gv.Group, gv.Version}
	if gv.Group == "" {
		path = []string{"/api", gv.Version}
	}
	var found metav1.APIResourceList
	err := k.client.Get().AbsPath(path...).Do(ctx).Into(&found)
	if apierrors.IsNotFound(err) {
		return Resource{}, false, nil
	}
	if err != nil {
		return Resource{}, false, err
	}
	for _, r := range found.APIResources {
		if r.Kind == kind && !strings.Contains(r.Name, "/") {
			return Resource{GVR: gv.WithResource(r.Name), GVK: gv.WithKind(kind), Namespaced: r.Namespaced}, true, nil
		}
	}
	return Resource{}, false, nil
}
