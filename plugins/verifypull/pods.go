package verifypull

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tkgfix/tkgfix/internal/handshake"
	"github.com/tkgfix/tkgfix/internal/pull"
	"github.com/tkgfix/tkgfix/internal/tkg"
)

// state is how far a pod is, as far as images go.
type state int

const (
	// other: none of its images is of the registry, or it is on its way out.
	other state = iota
	// unplaced: the scheduler finds no node for it, which no pull can change.
	unplaced
	starting
	failing
	pulled
)

// tally counts the pods that use a registry.
type tally struct {
	registry string
	// made tells when each worker was created.
	made                                map[string]time.Time
	pulled, failing, starting, unplaced int
	// fresh counts pods with an image that was pulled by a worker after the worker was made.
	fresh int
	// why is the first failure, for people.
	why string
}

func newTally(registry string, workers []tkg.Node) tally {
	t := tally{registry: registry, made: map[string]time.Time{}}
	for _, w := range workers {
		t.made[w.Name] = w.Created
	}
	return t
}

func (t *tally) total() int { return t.pulled + t.failing + t.starting + t.unplaced }

// add counts a pod.
func (t *tally) add(pod *corev1.Pod) {
	is, why, started := judge(pod, t.registry)
	switch is {
	case unplaced:
		t.unplaced++
	case starting:
		t.starting++
	case failing:
		t.failing++
		t.why = cmp.Or(t.why, fmt.Sprintf("%s/%s: %s", pod.Namespace, pod.Name, why))
	case pulled:
		t.pulled++
		if made, ok := t.made[pod.Spec.NodeName]; ok && !made.IsZero() && !started.Before(made) {
			t.fresh++
		}
	}
}

// judge says how far a pod is. started is when the first of its containers with an image of the registry was started.
func judge(pod *corev1.Pod, registry string) (is state, why string, started time.Time) {
	if pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodFailed {
		return other, "", started
	}
	statuses := map[string]corev1.ContainerStatus{}
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		statuses[s.Name] = s
	}
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		status := statuses[c.Name]
		if !uses(c.Image, status, registry) {
			continue
		}
		at, ok := startOf(status)
		switch {
		case ok:
			if started.IsZero() || at.Before(started) {
				started = at
			}
			is = pulled
		case isPullFailure(status):
			return failing, reason(c.Image, status.State.Waiting), started
		default:
			why = "starting"
		}
	}
	switch {
	case why == "":
		return is, "", started
	case isUnplaced(pod):
		return unplaced, "", started
	default:
		return starting, "", started
	}
}

// uses reports whether a container's image is of the registry, or is pulled from it although it is named otherwise (a mirror), as far as
// a failure tells. Without a registry every image counts.
func uses(image string, status corev1.ContainerStatus, registry string) bool {
	if registry == "" || sameRegistry(pull.ParseMessage(image, "").Registry, registry) {
		return true
	}
	return isPullFailure(status) && sameRegistry(pull.ParseMessage(image, status.State.Waiting.Message).Registry, registry)
}

// sameRegistry compares what is dialled, so that host and host:443 are one.
func sameRegistry(a, b string) bool {
	_, x, errA := handshake.HostPort(a)
	_, y, errB := handshake.HostPort(b)
	return errA == nil && errB == nil && x == y
}

// startOf returns when a container was first seen started: then its image has been pulled.
func startOf(s corev1.ContainerStatus) (time.Time, bool) {
	switch {
	case s.LastTerminationState.Terminated != nil:
		return s.LastTerminationState.Terminated.StartedAt.Time, true
	case s.State.Running != nil:
		return s.State.Running.StartedAt.Time, true
	case s.State.Terminated != nil:
		return s.State.Terminated.StartedAt.Time, true
	}
	return time.Time{}, false
}

// isPullFailure knows the words of the kubelet for an image that it does not get.
func isPullFailure(s corev1.ContainerStatus) bool {
	if s.State.Waiting == nil {
		return false
	}
	switch s.State.Waiting.Reason {
	case "ErrImagePull", "ImagePullBackOff", "ImageInspectError", "ErrImageNeverPull", "InvalidImageName", "RegistryUnavailable",
		"SignatureValidationFailed":
		return true
	}
	return false
}

// reason says why in few words; the cause is in the message as a rule, but not while the kubelet backs off.
func reason(image string, w *corev1.ContainerStateWaiting) string {
	if f := pull.ParseMessage(image, w.Message); f.Reason != "" {
		return fmt.Sprintf("%s (%s: %s)", w.Reason, f.Class, f.Reason)
	}
	return w.Reason
}

func isUnplaced(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable
	})
}
