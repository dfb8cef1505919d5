package kubelet

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// outcome is what came of one container's image.
type outcome struct {
	image   Image
	waiting *waiting
}

// place is where a pod is.
type place struct{ hostIP, podIP string }

// podStatus returns the status that kubelet would report for the outcomes of the pod's containers, in their order. Times of what
// has not changed are kept.
func podStatus(pod *corev1.Pod, outcomes []outcome, where place, now time.Time) corev1.PodStatus {
	at := metav1.NewTime(now)
	status := *pod.Status.DeepCopy()
	status.HostIP, status.HostIPs = where.hostIP, []corev1.HostIP{{IP: where.hostIP}}
	started := corev1.ConditionFalse
	if !creating(outcomes) {
		started = corev1.ConditionTrue
		status.PodIP, status.PodIPs = where.podIP, []corev1.PodIP{{IP: where.podIP}}
	}
	if status.StartTime == nil {
		status.StartTime = &at
	}
	since := map[string]*corev1.ContainerStateRunning{}
	for _, s := range pod.Status.ContainerStatuses {
		since[s.Name] = s.State.Running
	}
	var unready []string
	status.ContainerStatuses = nil
	for i, container := range pod.Spec.Containers {
		running := since[container.Name]
		if running == nil {
			running = &corev1.ContainerStateRunning{StartedAt: at}
		}
		s := containerStatus(pod.UID, container, outcomes[i], running)
		if !s.Ready {
			unready = append(unready, container.Name)
		}
		status.ContainerStatuses = append(status.ContainerStatuses, s)
	}
	ready, reason, message := corev1.ConditionTrue, "", ""
	status.Phase = corev1.PodRunning
	if len(unready) > 0 {
		status.Phase = corev1.PodPending
		ready, reason, message = corev1.ConditionFalse, "ContainersNotReady", fmt.Sprintf("containers with unready status: %v", unready)
	}
	for _, c := range []corev1.PodCondition{
		{Type: corev1.PodReadyToStartContainers, Status: started},
		{Type: corev1.PodInitialized, Status: corev1.ConditionTrue},
		{Type: corev1.ContainersReady, Status: ready, Reason: reason, Message: message},
		{Type: corev1.PodReady, Status: ready, Reason: reason, Message: message},
	} {
		setCondition(&status, c, at)
	}
	return status
}

// creating says whether the pod's sandbox is still to be made.
func creating(outcomes []outcome) bool {
	return slices.ContainsFunc(outcomes, func(o outcome) bool { return o.waiting != nil && o.waiting.reason == reasonCreating })
}

// containerStatus says that a container waits, or that it runs since then.
func containerStatus(pod types.UID, container corev1.Container, out outcome, since *corev1.ContainerStateRunning) corev1.ContainerStatus {
	started := out.waiting == nil
	s := corev1.ContainerStatus{Name: container.Name, Image: container.Image, Ready: started, Started: &started}
	if !started {
		s.State.Waiting = &corev1.ContainerStateWaiting{Reason: out.waiting.reason, Message: out.waiting.message}
		return s
	}
	s.ImageID = out.image.ID
	s.ContainerID = fmt.Sprintf("containerd://%x", sha256.Sum256([]byte(string(pod)+container.Name)))
	s.State.Running = since
	return s
}

// setCondition replaces the condition of want's type and keeps its time if the status has not changed.
func setCondition(status *corev1.PodStatus, want corev1.PodCondition, at metav1.Time) {
	want.LastTransitionTime = at
	for i, c := range status.Conditions {
		if c.Type != want.Type {
			continue
		}
		if c.Status == want.Status {
			want.LastTransitionTime = c.LastTransitionTime
		}
		status.Conditions[i] = want
		return
	}
	status.Conditions = append(status.Conditions, want)
}
