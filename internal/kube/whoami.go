package kube

import (
	"context"
	"errors"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// WhoAmI returns the user name that the server knows this login by, by a SelfSubjectReview. The error is ErrNotServed if the server, older
// than Kubernetes 1.28, has none. It blocks on the network and changes nothing.
func (c *Client) WhoAmI(ctx context.Context) (string, error) {
	review := &authenticationv1.SelfSubjectReview{
		TypeMeta: metav1.TypeMeta{APIVersion: authenticationv1.SchemeGroupVersion.String(), Kind: "SelfSubjectReview"},
	}
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(review)
	if err != nil {
		return "", fmt.Errorf("ask whose login this is: %w", err)
	}
	gvr := authenticationv1.SchemeGroupVersion.WithResource("selfsubjectreviews")
	answer, err := c.objects.Resource(gvr).Create(ctx, &unstructured.Unstructured{Object: fields}, metav1.CreateOptions{})
	if apierrors.IsNotFound(err) {
		return "", fmt.Errorf("ask whose login this is at %s: SelfSubjectReview is %w", c.server, ErrNotServed)
	}
	if err != nil {
		return "", Explain(fmt.Errorf("ask whose login this is at %s: %w", c.server, err))
	}
	name, _, err := unstructured.NestedString(answer.Object, "status", "userInfo", "username")
	if err == nil && name == "" {
		err = errors.New("it gives no name")
	}
	if err != nil {
		return "", fmt.Errorf("ask whose login this is at %s: %w", c.server, err)
	}
	return name, nil
}
