package detect

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/tkg"
)

// unfinished leaves out pods that will never pull again.
const unfinished = "status.phase!=Succeeded,status.phase!=Failed"

// scanCluster looks at all pods of the workload cluster.
func scanCluster(ctx context.Context, supervisor *kube.Client, ref tkg.Ref, f *found) error {
	c, err := tkg.WorkloadClient(ctx, supervisor, ref)
	if err != nil {
		return err
	}
	pods, events, err := kinds(ctx, c)
	if err != nil {
		return err
	}
	open := newOpen(scopeCluster)
	err = c.Each(ctx, pods, "", metav1.ListOptions{FieldSelector: unfinished}, func(u *unstructured.Unstructured) error {
		f.scanned++
		f.pod(u, open)
		return nil
	})
	if err != nil {
		return err
	}
	if open.wantsCauses() {
		err = each(ctx, c, events, "", "involvedObject.kind=Pod,reason=Failed", open.cause)
	}
	if err == nil && open.wantsSandboxes() {
		err = each(ctx, c, events, "", "involvedObject.kind=Pod,reason=FailedCreatePodSandBox", open.sandbox)
	}
	if err == nil {
		f.close(open)
	}
	return err
}

// scanSupervisor looks at the vSphere Pods of the cluster's namespace. The Supervisor has no containerd: the cause of a failed pull
// is in an Event alone.
func scanSupervisor(ctx context.Context, c *kube.Client, ref tkg.Ref, f *found) error {
	pods, events, err := kinds(ctx, c)
	if err != nil {
		return err
	}
	open := newOpen(scopeSupervisor)
	err = c.Each(ctx, pods, ref.Namespace, metav1.ListOptions{FieldSelector: unfinished}, func(u *unstructured.Unstructured) error {
		f.scanned++
		f.pod(u, open)
		return nil
	})
	if err != nil {
		return err
	}
	if open.wantsCauses() || open.wantsSandboxes() {
		err = each(ctx, c, events, ref.Namespace, "involvedObject.kind=Pod,type=Warning", open.supervisor)
	}
	if err == nil {
		f.close(open)
	}
	return err
}

func kinds(ctx context.Context, c *kube.Client) (pods, events kube.Resource, err error) {
	if pods, err = c.Resource(ctx, "", "Pod"); err != nil {
		return pods, events, err
	}
	events, err = c.Resource(ctx, "", "Event")
	return pods, events, err
}

func each(ctx context.Context, c *kube.Client, r kube.Resource, namespace, selector string, fn func(*unstructured.Unstructured)) error {
	return c.Each(ctx, r, namespace, metav1.ListOptions{FieldSelector: selector}, func(u *unstructured.Unstructured) error {
		fn(u)
		return nil
	})
}
