package trigger

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/pull"
	"github.com/tkgfix/tkgfix/plugins"
)

type queue = workqueue.TypedRateLimitingInterface[ctrl.Request]

const (
	maxMessage = 1024
	maxNote    = 1000 // of an Event
)

// The reasons of a Trigger's conditions.
const (
	reasonWatching    = "Watching"
	reasonConnecting  = "Connecting"
	reasonUnreachable = "Unreachable"
	reasonSuspended   = "Suspended"
	reasonConnection  = "NoSupervisor"
	reasonCannotOpen  = "CannotOpen"
	reasonStorm       = "Storm"
)

// outlook is how a Trigger stands.
type outlook struct {
	ready           metav1.ConditionStatus
	reason, message string
	// stalled says that the brake holds.
	stalled bool
}

// idle says why nothing is watched for a Trigger; the zero outlook if something is.
func idle(t *v1alpha1.Trigger) outlook {
	switch c := t.Spec.Run.Connections; {
	case t.Spec.Suspend:
		return outlook{metav1.ConditionFalse, reasonSuspended, "it is suspended: nothing is watched", false}
	case c == nil || c.Supervisor == nil:
		return outlook{metav1.ConditionFalse, reasonConnection, "spec.run.connections.supervisor is missing: the clusters are reached through it", false}
	}
	return outlook{}
}

// standing says how a Trigger stands whose clusters are watched. What keeps a Run from being opened comes first.
func standing(w *watched, t *v1alpha1.Trigger, b brake, openErr error) outlook {
	if openErr != nil {
		return outlook{metav1.ConditionFalse, reasonCannotOpen, explain(openErr), false}
	}
	if b.held > 0 {
		return outlook{metav1.ConditionFalse, reasonStorm, fmt.Sprintf(
			"the brake holds until %s: %d Runs were opened within %s, and %d clusters and registries wait; look for what they have in common",
			b.until.UTC().Format(time.RFC3339), t.Spec.Storm.MaxRuns, t.Spec.Storm.Per.Duration, b.held), true}
	}
	names, first := w.trouble()
	if len(names) == 0 {
		return outlook{metav1.ConditionTrue, reasonWatching, fmt.Sprintf("%d clusters are watched", len(t.Spec.Clusters)), false}
	}
	if _, ok := errors.AsType[connecting](first); ok {
		return outlook{metav1.ConditionUnknown, reasonConnecting, fmt.Sprintf("%d of %d clusters are being connected", len(names), len(t.Spec.Clusters)), false}
	}
	const most = 5
	shown := strings.Join(names[:min(len(names), most)], ", ")
	if len(names) > most {
		shown += ", ..."
	}
	return outlook{metav1.ConditionFalse, reasonUnreachable,
		fmt.Sprintf("%d of %d clusters are not watched (%s): %s", len(names), len(t.Spec.Clusters), shown, explain(first)), false}
}

// explain returns an error with its hint.
func explain(err error) string {
	out := err.Error()
	if hint := plugins.HintOf(err); hint != "" {
		out += "; " + hint
	}
	return out
}

// say writes how a Trigger stands, if that is new, and tells of what is new of it.
func (c *triggers) say(ctx context.Context, t *v1alpha1.Trigger, runs []v1alpha1.Run, o outlook) error {
	before := t.DeepCopy()
	s := &t.Status
	s.ObservedGeneration = t.Generation
	if runs != nil {
		s.Opened, s.LastOpenedAt = int32(min(len(runs), 1<<30)), latest(runs) //nolint:gosec // bounded
	}
	message := pull.Printable(o.message, maxMessage)
	at := metav1.NewTime(c.opts.Now())
	meta.SetStatusCondition(&s.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: o.ready, ObservedGeneration: t.Generation, LastTransitionTime: at, Reason: o.reason, Message: message,
	})
	if o.stalled {
		meta.SetStatusCondition(&s.Conditions, metav1.Condition{
			Type: v1alpha1.ConditionStalled, Status: metav1.ConditionTrue, ObservedGeneration: t.Generation, LastTransitionTime: at, Reason: o.reason, Message: message,
		})
	} else {
		meta.RemoveStatusCondition(&s.Conditions, v1alpha1.ConditionStalled)
	}
	if equality.Semantic.DeepEqual(before.Status, t.Status) {
		return nil
	}
	if err := c.Status().Patch(ctx, t, client.MergeFrom(before)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("write the status of Trigger %s: %w", t.Name, err)
	}
	c.tell(t, before, o)
	return nil
}

// tell makes a Kubernetes Event of a change that a person should know of.
func (c *triggers) tell(t, before *v1alpha1.Trigger, o outlook) {
	was := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.ConditionReady)
	if was != nil && was.Reason == o.reason {
		return
	}
	switch o.reason {
	case reasonStorm, reasonUnreachable, reasonCannotOpen, reasonConnection:
		c.opts.Recorder.Eventf(t, nil, corev1.EventTypeWarning, o.reason, "Watch", "%s", pull.Printable(o.message, maxNote))
	}
}
