package kubelet

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// How kubelet words a pod whose time is over (pkg/kubelet/active_deadline.go).
const (
	reasonDeadline  = "DeadlineExceeded"
	messageDeadline = "Pod was active on the node longer than the specified deadline"
	// exitKilled is the exit code of a container that was killed.
	exitKilled = 137
)

// never returns a timer that is not set.
func never() *time.Timer {
	t := time.NewTimer(0)
	t.Stop()
	return t
}

// limit sets when the pod's time is over. It may be made shorter while the pod runs.
func (w *worker) limit(pod *corev1.Pod) {
	if pod.Spec.ActiveDeadlineSeconds == nil {
		return
	}
	began := w.kubelet.opts.Now()
	if pod.Status.StartTime != nil {
		began = pod.Status.StartTime.Time
	}
	end := began.Add(time.Duration(*pod.Spec.ActiveDeadlineSeconds) * time.Second)
	w.over.Reset(max(0, end.Sub(w.kubelet.opts.Now())))
}

// expire reports that the pod's time is over. The API server deletes such a pod without asking the kubelet.
func (w *worker) expire(ctx context.Context) {
	w.emitter("")(corev1.EventTypeNormal, reasonDeadline, messageDeadline)
	pods := w.kubelet.opts.Client.CoreV1().Pods(w.pod.Namespace)
	live, err := pods.Get(ctx, w.pod.Name, metav1.GetOptions{})
	if err != nil || live.UID != w.pod.UID {
		return
	}
	at := metav1.NewTime(w.kubelet.opts.Now())
	live.Status.Phase, live.Status.Reason, live.Status.Message = corev1.PodFailed, reasonDeadline, messageDeadline
	for i := range live.Status.ContainerStatuses {
		s := &live.Status.ContainerStatuses[i]
		ended := corev1.ContainerStateTerminated{ExitCode: exitKilled, Reason: "Error", FinishedAt: at, ContainerID: s.ContainerID}
		if s.State.Running != nil {
			ended.StartedAt = s.State.Running.StartedAt
		}
		s.State, s.Ready = corev1.ContainerState{Terminated: &ended}, false
	}
	for _, kind := range []corev1.PodConditionType{corev1.ContainersReady, corev1.PodReady} {
		setCondition(&live.Status, corev1.PodCondition{Type: kind, Status: corev1.ConditionFalse, Reason: "PodFailed"}, at)
	}
	_, _ = pods.UpdateStatus(ctx, live, metav1.UpdateOptions{}) // a pod that changed meanwhile is being deleted
}
