package debugpod

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/plugins"
)

const (
	pollEvery = 300 * time.Millisecond
	// lookTimeout bounds one look at the pod.
	lookTimeout = 10 * time.Second
	// maxEvents bounds what is read about a pod that does not start.
	maxEvents = 200
)

// unfitError says why an image will not do, so that the next one is tried.
type unfitError struct{ why string }

func (e *unfitError) Error() string { return "the image will not do: " + e.why }

// wait returns when the pod's container runs, or with why it does not.
func (m *maker) wait(ctx context.Context, t *transport) error {
	last := &corev1.Pod{}
	err := wait.PollUntilContextTimeout(ctx, pollEvery, startTimeout, true, func(context.Context) (bool, error) {
		// Not by the context of the wait: close to its end the client refuses to ask, with words of its own.
		look, cancel := context.WithTimeout(ctx, lookTimeout)
		defer cancel()
		obj, err := m.cluster.Get(look, m.pods, t.pod.Namespace, t.pod.Name)
		switch {
		case err != nil && look.Err() != nil && ctx.Err() == nil:
			return false, nil // asked again, until the time is over
		case apierrors.IsNotFound(err), err == nil && obj.GetUID() != t.uid:
			return false, errors.New("somebody deleted the pod")
		case plugins.KindOf(err) == plugins.KindTransient:
			return false, nil
		case err != nil:
			return false, err
		}
		if last, err = kube.As[corev1.Pod](obj); err != nil {
			return false, err
		}
		return standing(last)
	})
	if wait.Interrupted(err) && ctx.Err() == nil {
		return m.late(ctx, t, last)
	}
	return err
}

// standing says whether the pod's container runs, or why it never will.
func standing(pod *corev1.Pod) (bool, error) {
	for _, s := range pod.Status.ContainerStatuses {
		switch {
		case s.Name != container:
		case s.State.Running != nil:
			return true, nil
		case s.State.Terminated != nil && pod.Status.Reason == "":
			return false, ended(s.State.Terminated)
		case s.State.Waiting != nil:
			return false, waits(s.State.Waiting)
		}
	}
	switch pod.Status.Phase {
	case corev1.PodFailed, corev1.PodSucceeded:
		return false, plugins.Hint(fmt.Errorf("the kubelet does not run the pod: %s: %s", quoted(pod.Status.Reason), quoted(pod.Status.Message)),
			"make room on the node, or mend what it says; see: kubectl describe node %s", pod.Spec.NodeName)
	}
	return false, nil
}

// ended is about a container that was started and is no more. It does nothing but sleep, so the image is at fault.
func ended(s *corev1.ContainerStateTerminated) error {
	if noShell(s.Message) {
		return &unfitError{"it has no shell"}
	}
	return &unfitError{fmt.Sprintf("its container ended with code %d: %s: %s", s.ExitCode, quoted(s.Reason), quoted(s.Message))}
}

// waits is about a container that is not started yet; nil means that it may be.
func waits(s *corev1.ContainerStateWaiting) error {
	switch s.Reason {
	case "ErrImageNeverPull":
		return &unfitError{"it is not on the node"}
	case "InvalidImageName":
		return &unfitError{"its name is none: " + quoted(s.Message)}
	case "ErrImagePull", "ImagePullBackOff":
		return fmt.Errorf("the kubelet pulls the image though the pod says Never: %s", quoted(s.Message))
	case "CreateContainerError", "RunContainerError":
		if noShell(s.Message) {
			return &unfitError{"it has no shell"}
		}
	}
	return nil
}

// noShell knows how runc and crun say that a program is not in the image.
func noShell(message string) bool {
	return strings.Contains(message, "executable file not found") || strings.Contains(message, "executable file `sh` not found") ||
		strings.Contains(message, "no such file or directory: unknown")
}

// late says what is known of a pod that did not start in time.
func (m *maker) late(ctx context.Context, t *transport, pod *corev1.Pod) error {
	why := "its kubelet has not taken notice of it"
	if pod.Status.StartTime != nil || len(pod.Status.ContainerStatuses) > 0 {
		why = "its container is not started"
	}
	for _, s := range pod.Status.ContainerStatuses {
		if w := s.State.Waiting; w != nil {
			why = fmt.Sprintf("%s: %s", quoted(w.Reason), quoted(w.Message))
		}
	}
	if warning := m.warning(ctx, t); warning != "" {
		why += "; the last warning: " + warning
	}
	return plugins.Hint(plugins.WithKind(plugins.KindTransient, fmt.Errorf("the pod does not run after %s: %s", startTimeout, why)),
		"see: kubectl describe node %s; SSH may still reach it: connections.nodes.via: ssh", m.node.Name)
}

// warning returns the last warning about the pod, empty if there is none or it cannot be read: it is only more to say.
func (m *maker) warning(ctx context.Context, t *transport) string {
	opts := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("involvedObject.uid", string(t.uid)).String()}
	var out string
	var at time.Time
	seen := 0
	_ = m.cluster.Each(ctx, m.events, namespace, opts, func(u *unstructured.Unstructured) error {
		if seen++; seen > maxEvents {
			return errors.New("enough")
		}
		event, err := kube.As[corev1.Event](u)
		if err != nil || event.Type != corev1.EventTypeWarning || event.LastTimestamp.Time.Before(at) {
			return nil
		}
		out, at = fmt.Sprintf("%s: %s", quoted(event.Reason), quoted(event.Message)), event.LastTimestamp.Time
		return nil
	})
	return out
}

// quoted bounds what the cluster says and makes it safe to print.
func quoted(s string) string {
	const most = 300
	if len(s) > most {
		s = s[:most]
	}
	return strconv.QuoteToASCII(s)
}
