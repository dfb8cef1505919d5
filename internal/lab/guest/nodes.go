package guest

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"golang.org/x/sync/errgroup"
)

const (
	drainTimeout = 30 * time.Second
	drainEvery   = 50 * time.Millisecond
)

// Drain takes a node out of the cluster: nothing is scheduled on it any more, its pods are deleted, and when they are gone so is its
// Node. Draining a node that is not there does nothing.
func (c *Cluster) Drain(ctx context.Context, name string) error {
	c.mu.Lock()
	client := c.client
	c.mu.Unlock()
	if client == nil {
		return nil
	}
	cordon := []byte(`{"spec":{"unschedulable":true}}`)
	_, err := client.CoreV1().Nodes().Patch(ctx, name, types.MergePatchType, cordon, metav1.PatchOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cordoning node %s: %w", name, err)
	}
	on := metav1.ListOptions{FieldSelector: "spec.nodeName=" + name}
	err = wait.PollUntilContextTimeout(ctx, drainEvery, drainTimeout, true, func(ctx context.Context) (bool, error) {
		pods, err := client.CoreV1().Pods("").List(ctx, on)
		if err != nil {
			return false, nil // asked again; the timeout tells
		}
		for _, pod := range pods.Items {
			if pod.DeletionTimestamp == nil {
				_ = client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{}) // seen at the next look
			}
		}
		return len(pods.Items) == 0, nil
	})
	if err != nil {
		return fmt.Errorf("draining node %s: %w", name, err)
	}
	if err := client.CoreV1().Nodes().Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting node %s: %w", name, err)
	}
	return nil
}

// Run runs a script on each node at once, as somebody who has logged in does, and returns when all have ended.
func (c *Cluster) Run(ctx context.Context, script string) error {
	c.mu.Lock()
	group, ctx := errgroup.WithContext(ctx)
	for _, m := range c.nodes {
		group.Go(func() error { return m.Run(ctx, script) })
	}
	c.mu.Unlock()
	return group.Wait()
}
