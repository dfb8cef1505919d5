package kube

import (
	"context"
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// May asks the server whether this login may do verb to an object, by a SelfSubjectAccessReview; an empty name asks for any object of the
// kind. The answer is a forecast: webhooks and quotas may still refuse, and on Supervisors with namespace self-service it has been wrong
// (tkg-facts.md §4), so a dry-run decides. It blocks on the network and changes nothing.
func (c *Client) May(ctx context.Context, verb string, r Resource, ref types.NamespacedName) (bool, error) {
	review := &authorizationv1.SelfSubjectAccessReview{
		TypeMeta: metav1.TypeMeta{APIVersion: authorizationv1.SchemeGroupVersion.String(), Kind: "SelfSubjectAccessReview"},
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: verb, Group: r.GVR.Group, Version: r.GVR.Version, Resource: r.GVR.Resource, Namespace: ref.Namespace, Name: ref.Name,
		}},
	}
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(review)
	if err != nil {
		return false, fmt.Errorf("ask whether this login may %s %s: %w", verb, r.GVR.GroupResource(), err)
	}
	gvr := schema.GroupVersionResource{Group: authorizationv1.GroupName, Version: "v1", Resource: "selfsubjectaccessreviews"}
	answer, err := c.objects.Resource(gvr).Create(ctx, &unstructured.Unstructured{Object: fields}, metav1.CreateOptions{})
	if err != nil {
		return false, Explain(fmt.Errorf("ask whether this login may %s %s at %s: %w", verb, r.GVR.GroupResource(), c.server, err))
	}
	allowed, _, err := unstructured.NestedBool(answer.Object, "status", "allowed")
	return allowed, err
}
