package lab

import (
	"context"
	"crypto/sha1"
	"fmt"
	"path"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/tkgfix/tkgfix/internal/lab/guest"
	"github.com/tkgfix/tkgfix/internal/lab/kubelet"
	"github.com/tkgfix/tkgfix/internal/lab/vm"
)

const esxiHost = "esx-01.lab"

// vspherePods makes pods on the Supervisor itself, as vSphere Pods are, with the events of the vendor's page (tkg-facts.md §6.1 D8-ERR;
// documented-fix.md): some Pending, the others ErrImagePull. The text of the failure comes from a real handshake by a host that
// trusts public roots only.
func (d *daemon) vspherePods(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(d.config)
	if err != nil {
		return fmt.Errorf("making a client of the Supervisor: %w", err)
	}
	cause, err := d.vspherePull(ctx)
	if err != nil {
		return err
	}
	full := fmt.Sprintf("%s/testimage-%x-v10612", namespace, sha1.Sum([]byte(image())))
	failure := fmt.Sprintf("failed to get images: Image %s has failed. Error: Failed to resolve on node %s. Reason: Http request failed. Code 400: ErrorType(2) %s", full, esxiHost, cause)
	for i := range workloadReplicas {
		suffix, err := guest.Random(5)
		if err != nil {
			return err
		}
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "testimage-6c8c9d8d4f-" + suffix, Namespace: namespace, Labels: map[string]string{"app": "testimage"}},
			Spec: corev1.PodSpec{
				NodeName: esxiHost, Containers: []corev1.Container{{Name: "testimage", Image: image()}},
				AutomountServiceAccountToken: new(bool),
			},
		}
		said := failure
		if i%3 == 0 {
			said = "" // still pending
		}
		if err := d.vspherePod(ctx, client, pod, full, said); err != nil {
			return err
		}
	}
	d.say("%d vSphere Pods in %s cannot get their image", workloadReplicas, namespace)
	return nil
}

// vspherePull tries to pull as the host does and returns the text of the failure.
func (d *daemon) vspherePull(ctx context.Context) (string, error) {
	_, public, err := vm.NewKey(esxiHost)
	if err != nil {
		return "", err
	}
	address, err := d.pool.Take()
	if err != nil {
		return "", err
	}
	defer d.pool.Release(address)
	host, err := vm.Start(ctx, d.group, vm.Spec{
		Name: esxiHost, Root: filepath.Join(d.opts.Dir, "nodes", "supervisor", esxiHost), Address: address,
		Hosts: hostAddresses(d.pool), SystemRoots: d.pki.Public.PEM(), AuthorizedKey: public, Helper: d.opts.Helper, Now: d.opts.Now,
	})
	if err != nil {
		return "", err
	}
	_, pullErr := kubelet.Pull(ctx, host, image())
	if err := host.Stop(); err != nil {
		return "", err
	}
	if pullErr == nil {
		return "", fmt.Errorf("the Supervisor's host pulled %s, which it should not trust", image())
	}
	return pullErr.Error(), nil
}

// vspherePod makes one pod and its events. failure is what kubelet says of the image; empty if it says nothing yet.
func (d *daemon) vspherePod(ctx context.Context, client kubernetes.Interface, pod *corev1.Pod, imageName, failure string) error {
	live, err := client.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("making a vSphere Pod: %w", err)
	}
	live.Status.Phase = corev1.PodPending
	if failure != "" {
		live.Status.ContainerStatuses = []corev1.ContainerStatus{{
			Name: "testimage", Image: image(),
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: failure}},
		}}
	}
	if _, err := client.CoreV1().Pods(namespace).UpdateStatus(ctx, live, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("reporting a vSphere Pod: %w", err)
	}
	return d.vspherePodEvents(ctx, client, live, imageName, failure)
}

func (d *daemon) vspherePodEvents(ctx context.Context, client kubernetes.Interface, live *corev1.Pod, imageName, failure string) error {
	events := []struct {
		kind, reason, from, message string
		count                       int32
	}{
		{corev1.EventTypeNormal, "Scheduled", "default-scheduler", fmt.Sprintf("Successfully assigned %s/%s to %s", namespace, live.Name, esxiHost), 1},
		{corev1.EventTypeNormal, "Image", "image-controller", fmt.Sprintf("Image %s bound successfully", path.Base(imageName)), 2},
		{corev1.EventTypeNormal, "SuccessfulRealizeNSXResource", "nsx-container-ncp", "Successfully realized NSX resource for Pod", 4},
		{corev1.EventTypeNormal, "Pulling", "kubelet", "Waiting " + imageName, 1},
		{corev1.EventTypeWarning, "Failed", "kubelet", failure, 1},
	}
	now := d.opts.Now()
	for i, e := range events {
		if e.message == "" {
			continue
		}
		at := metav1.NewTime(now.Add(time.Duration(i-len(events)) * time.Second))
		_, err := client.CoreV1().Events(namespace).Create(ctx, &corev1.Event{
			ObjectMeta:     metav1.ObjectMeta{Name: fmt.Sprintf("%s.%x", live.Name, at.UnixNano()), Namespace: namespace},
			InvolvedObject: corev1.ObjectReference{Kind: "Pod", APIVersion: "v1", Namespace: namespace, Name: live.Name, UID: live.UID},
			Type:           e.kind, Reason: e.reason, Message: e.message, Count: e.count, FirstTimestamp: at, LastTimestamp: at,
			Source: corev1.EventSource{Component: e.from},
		}, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("telling of a vSphere Pod: %w", err)
		}
	}
	return nil
}

// clearVSpherePods deletes the vSphere Pods and what is told of them.
func (d *daemon) clearVSpherePods(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(d.config)
	if err != nil {
		return fmt.Errorf("making a client of the Supervisor: %w", err)
	}
	now := int64(0)
	if err := client.CoreV1().Pods(namespace).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{}); err != nil {
		return fmt.Errorf("deleting vSphere Pods: %w", err)
	}
	if err := client.CoreV1().Events(namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		return fmt.Errorf("deleting events: %w", err)
	}
	return nil
}
