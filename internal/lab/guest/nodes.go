package guest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"golang.org/x/sync/errgroup"
)

const (
	drainTimeout = 30 * time.Second
	drainEvery   = 50 * time.Millisecond
)

// Drain takes a node out of the cluster: nothing is scheduled on it any more, its pods are evicted, and when they are gone so is its Node.
// It says what holds it up if all pods that are left may not be evicted (tkg-facts.md §2, PodDisruptionBudgets); it is to be called again
// then. With force pods are deleted, whatever their budgets say. Draining a node that is not there does nothing.
func (c *Cluster) Drain(ctx context.Context, name string, force bool) (held string, err error) {
	c.mu.Lock()
	client := c.client
	c.mu.Unlock()
	if client == nil {
		return "", nil
	}
	if err := cordon(ctx, client, name); err != nil {
		if apierrors.IsNotFound(err) {
			return "", nil
		}
		return "", fmt.Errorf("cordoning node %s: %w", name, err)
	}
	remove := evict
	if force {
		remove = deletePod
	}
	on := metav1.ListOptions{FieldSelector: "spec.nodeName=" + name}
	err = wait.PollUntilContextTimeout(ctx, drainEvery, drainTimeout, true, func(ctx context.Context) (bool, error) {
		pods, err := client.CoreV1().Pods("").List(ctx, on)
		if err != nil {
			return false, nil // asked again; the timeout tells
		}
		var refused []string
		for _, pod := range pods.Items {
			if pod.DeletionTimestamp != nil {
				continue
			}
			if err := remove(ctx, client, pod); apierrors.IsTooManyRequests(err) {
				refused = append(refused, refusal(pod, err))
			} // anything else is seen at the next look
		}
		held = strings.Join(refused, "\n")
		return len(refused) == len(pods.Items), nil
	})
	if err != nil {
		return "", fmt.Errorf("draining node %s: %w", name, err)
	}
	if held != "" {
		return held, nil
	}
	if err := client.CoreV1().Nodes().Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return "", fmt.Errorf("deleting node %s: %w", name, err)
	}
	return "", nil
}

func cordon(ctx context.Context, client kubernetes.Interface, name string) error {
	cordon := []byte(`{"spec":{"unschedulable":true}}`)
	_, err := client.CoreV1().Nodes().Patch(ctx, name, types.MergePatchType, cordon, metav1.PatchOptions{})
	return err
}

func deletePod(ctx context.Context, client kubernetes.Interface, pod corev1.Pod) error {
	return client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{})
}

func evict(ctx context.Context, client kubernetes.Interface, pod corev1.Pod) error {
	return client.PolicyV1().Evictions(pod.Namespace).Evict(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}})
}

// refusal says, as the Cluster API does, why a pod may not be evicted.
func refusal(pod corev1.Pod, err error) string {
	why := ""
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Details != nil {
		for _, c := range status.Status().Details.Causes {
			why = ". " + c.Message
		}
	}
	return fmt.Sprintf("* Pod %s/%s: cannot evict pod as it would violate the pod's disruption budget%s", pod.Namespace, pod.Name, why)
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
