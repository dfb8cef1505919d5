package detect

import (
	"context"
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
	if err = f.without(err, "Events of the cluster"); err != nil {
		return err
	}
	f.close(open)
	return scanPackages(ctx, c, f)
}

// scanPackages looks at what kapp-controller fetches. It dials by itself and has its own trust, so that it may fail where the nodes do
// not; its words are in the status of its objects alone.
func scanPackages(ctx context.Context, c *kube.Client, f *found) error {
	open := newOpen(scopePackage)
	for _, kind := range []string{"PackageInstall", "PackageRepository"} {
		r, err := c.Resource(ctx, "packaging.carvel.dev", kind)
		if errors.Is(err, kube.ErrNotServed) {
			continue
		}
		if err == nil {
			err = each(ctx, c, r, "", "", open.packaged)
		}
		if err = f.without(err, kind+" objects"); err != nil {
			return err
		}
	}
	f.close(open)
	return nil
}

// without makes a note of what may not be read; other errors it returns.
func (f *found) without(err error, what string) error {
	if apierrors.IsForbidden(err) {
		f.notes = append(f.notes, what+" may not be read with this login and were not looked at")
		return nil
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
	if err = f.without(err, "Events of namespace "+ref.Namespace); err != nil {
		return err
	}
	f.close(open)
	return nil
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
