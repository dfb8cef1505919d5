package kubelet

import (
	"crypto/sha256"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// outcome is what came of one container's image.
type outcome struct {
	image   Image
	waiting *waiting
}

// podStatus returns the status that kubelet would report for the outcomes of the pod's containers, in their order. Times of what
// has not changed are kept.
func podStatus(pod *corev1.Pod, outcomes []outcome, host, podIP string, now time.Time) corev1.PodStatus {
	at := metav1.NewTime(now)
	status := *pod.Status.DeepCopy()
	status.HostIP, status.HostIPs = host, []corev1.HostIP{{IP: host}}
	status.PodIP, status.PodIPs = podIP, []corev1.PodIP{{IP: podIP}}
	if status.StartTime == nil {
		status.StartTime = &at
	}
	old := map[string]corev1.ContainerStatus{}
	for _, s := range pod.Status.ContainerStatuses {
		old[s.Name] = s
	}
	var unready []string
	status.ContainerStatuses = nil
	for i, container := range pod.Spec.Containers {
		s := containerStatus(pod, container, outcomes[i], old[container.Name], at)
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
	setCondition(&status, corev1.PodReadyToStartContainers, corev1.ConditionTrue, "", "", at)
	setCondition(&status, corev1.PodInitialized, corev1.ConditionTrue, "", "", at)
	setCondition(&status, corev1.ContainersReady, ready, reason, message, at)
	setCondition(&status, corev1.PodReady, ready, reason, message, at)
	return status
}

func containerStatus(pod *corev1.Pod, container corev1.Container, out outcome, old corev1.ContainerStatus, at metav1.Time) corev1.ContainerStatus {
	started := out.waiting == nil
	s := corev1.ContainerStatus{Name: container.Name, Image: container.Image, Ready: started, Started: &started}
	if !started {
		s.State.Waiting = &corev1.ContainerStateWaiting{Reason: out.waiting.reason, Message: out.waiting.message}
		return s
	}
	s.ImageID = out.image.ID
	s.ContainerID = fmt.Sprintf("containerd://%x", sha256.Sum256([]byte(string(pod.UID)+container.Name)))
	s.State.Running = &corev1.ContainerStateRunning{StartedAt: at}
	if old.State.Running != nil {
		s.State.Running = old.State.Running
	}
	return s
}

func setCondition(status *corev1.PodStatus, kind corev1.PodConditionType, value corev1.ConditionStatus, reason, message string, at metav1.Time) {
	for i := range status.Conditions {
		c := &status.Conditions[i]
		if c.Type != kind {
			continue
		}
		if c.Status != value {
			c.LastTransitionTime = at
		}
		c.Status, c.Reason, c.Message = value, reason, message
		return
	}
	status.Conditions = append(status.Conditions, corev1.PodCondition{Type: kind, Status: value, Reason: reason, Message: message, LastTransitionTime: at})
}
