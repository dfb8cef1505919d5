package kube

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// watchTime is after how long a server ends a watch, before the request's own bound does: a connection that died unseen is found out.
const watchTime = requestTimeout - 10*time.Second

// Watch calls fn with each object that is there, if opts names no resource version, and then with each that is added or changed. begun is
// called when the server has taken the request. An empty namespace means all. It blocks until the server ends the watch, which it does
// within a minute, or the connection breaks: then it returns the resource version from which another call goes on. An error for which
// apierrors.IsResourceExpired or IsGone holds says that the server does not know that version any more.
func (c *Client) Watch(ctx context.Context, r Resource, namespace string, opts metav1.ListOptions, begun func(), fn func(*unstructured.Unstructured)) (string, error) {
	last, seconds := opts.ResourceVersion, int64(watchTime/time.Second)
	opts.TimeoutSeconds = &seconds
	w, err := c.at(r, namespace).Watch(ctx, opts)
	if err != nil {
		return last, c.explain("watch", r, types.NamespacedName{Namespace: namespace}, err)
	}
	defer w.Stop()
	begun()
	for ev := range w.ResultChan() {
		if ev.Type == watch.Error {
			return last, c.explain("watch", r, types.NamespacedName{Namespace: namespace}, apierrors.FromObject(ev.Object))
		}
		u, ok := ev.Object.(*unstructured.Unstructured)
		if !ok {
			continue
		}
		if v := u.GetResourceVersion(); v != "" {
			last = v
		}
		if ev.Type == watch.Added || ev.Type == watch.Modified {
			fn(u)
		}
	}
	return last, ctx.Err()
}
