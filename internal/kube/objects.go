package kube

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/tkgfix/tkgfix/plugins"
)

// pageSize is how many objects one answer of a list holds.
const pageSize = 500

// Get reads one object; namespace is ignored for a cluster-wide kind. An object that does not exist is an error for which
// apierrors.IsNotFound holds. It blocks on the network.
func (c *Client) Get(ctx context.Context, r Resource, namespace, name string) (*unstructured.Unstructured, error) {
	obj, err := c.at(r, namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, c.explain("get", r, types.NamespacedName{Namespace: namespace, Name: name}, err)
	}
	return obj, nil
}

// Each calls fn with each object of a list, page by page, and holds one page at a time. An empty namespace means all. It stops
// at the first error of fn, which it returns as it is. When the server forgets its place in the list midway, objects that
// changed meanwhile may be missed or seen twice. It blocks on the network.
func (c *Client) Each(ctx context.Context, r Resource, namespace string, opts metav1.ListOptions, fn func(*unstructured.Unstructured) error) error {
	if opts.Limit == 0 {
		opts.Limit = pageSize
	}
	for {
		page, err := c.at(r, namespace).List(ctx, opts)
		if next := resumable(err); next != "" && next != opts.Continue {
			opts.Continue = next
			continue
		}
		if err != nil {
			return c.explain("list", r, types.NamespacedName{Namespace: namespace}, err)
		}
		for i := range page.Items {
			if err := fn(&page.Items[i]); err != nil {
				return err
			}
		}
		if opts.Continue = page.GetContinue(); opts.Continue == "" {
			return nil
		}
		opts.ResourceVersion, opts.ResourceVersionMatch = "", ""
	}
}

// resumable returns the token with which a server lets a list go on whose place has expired.
func resumable(err error) string {
	if !apierrors.IsResourceExpired(err) {
		return ""
	}
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok {
		return ""
	}
	return status.ErrStatus.Continue
}

// Create creates an object in its own namespace. It blocks on the network.
func (c *Client) Create(ctx context.Context, r Resource, obj *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	made, err := c.at(r, obj.GetNamespace()).Create(ctx, obj, metav1.CreateOptions{DryRun: c.dryRun, FieldManager: FieldManager})
	if err != nil {
		return nil, c.explain("create", r, nameOf(obj), err)
	}
	return made, nil
}

// JSONPatch applies an RFC 6902 patch. A test operation that does not hold is an error for which apierrors.IsInvalid holds.
// It blocks on the network.
func (c *Client) JSONPatch(ctx context.Context, r Resource, ref types.NamespacedName, patch []byte) (*unstructured.Unstructured, error) {
	opts := metav1.PatchOptions{DryRun: c.dryRun, FieldManager: FieldManager}
	obj, err := c.at(r, ref.Namespace).Patch(ctx, ref.Name, types.JSONPatchType, patch, opts)
	if err != nil {
		return nil, c.explain("patch", r, ref, err)
	}
	return obj, nil
}

// Delete deletes the object with this UID, and no other of the same name: then apierrors.IsConflict holds. It returns when the
// server has taken the request, not when the object is gone. It blocks on the network.
func (c *Client) Delete(ctx context.Context, r Resource, ref types.NamespacedName, uid types.UID) error {
	return c.delete(ctx, r, ref, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
}

// DeleteNow is Delete with a grace period of zero: what runs is killed, and the object is gone when this returns, unless it has
// finalizers.
func (c *Client) DeleteNow(ctx context.Context, r Resource, ref types.NamespacedName, uid types.UID) error {
	return c.delete(ctx, r, ref, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}, GracePeriodSeconds: new(int64)})
}

func (c *Client) delete(ctx context.Context, r Resource, ref types.NamespacedName, opts metav1.DeleteOptions) error {
	opts.DryRun = c.dryRun
	if err := c.at(r, ref.Namespace).Delete(ctx, ref.Name, opts); err != nil {
		return c.explain("delete", r, ref, err)
	}
	return nil
}

// Apply creates or updates an object by server-side apply as tkgfix. A field that another manager owns is an error for which
// apierrors.IsConflict holds. It blocks on the network.
func (c *Client) Apply(ctx context.Context, r Resource, obj *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	opts := metav1.ApplyOptions{DryRun: c.dryRun, FieldManager: FieldManager}
	made, err := c.at(r, obj.GetNamespace()).Apply(ctx, obj.GetName(), obj, opts)
	if err != nil {
		return nil, c.explain("apply", r, nameOf(obj), err)
	}
	return made, nil
}

// As returns u as a typed object. Fields that T does not have are dropped.
func As[T any](u *unstructured.Unstructured) (*T, error) {
	out := new(T)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, out); err != nil {
		return nil, fmt.Errorf("read %s %s as %T: %w", u.GetKind(), nameOf(u), *out, err)
	}
	return out, nil
}

func (c *Client) at(r Resource, namespace string) dynamic.ResourceInterface {
	if r.Namespaced && namespace != "" {
		return c.objects.Resource(r.GVR).Namespace(namespace)
	}
	return c.objects.Resource(r.GVR)
}

func (c *Client) explain(verb string, r Resource, ref types.NamespacedName, err error) error {
	target := plugins.Target{Kind: r.GVK.Kind, Namespace: ref.Namespace, Name: ref.Name}
	if ref.Name == "" {
		return Explain(fmt.Errorf("%s %s at %s: %w", verb, r.GVR.GroupResource(), c.server, err))
	}
	return Explain(fmt.Errorf("%s %s: %w", verb, target, err))
}

func nameOf(obj *unstructured.Unstructured) types.NamespacedName {
	return types.NamespacedName{Namespace: obj.GetNamespace(), Name: obj.GetName()}
}
