package trigger

import (
	"context"
	"hash/fnv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/pull"
	"github.com/tkgfix/tkgfix/internal/tkg"
)

const (
	// maxAge is how old an Event may be that still counts: API servers keep them an hour.
	maxAge = time.Hour
	// pulls selects the Events in which a kubelet says why it could not pull, among others.
	pulls = "reason=Failed,involvedObject.kind=Pod"
	// maxPause bounds the pause before a cluster that does not answer is asked again.
	maxPause = 2 * time.Minute
	maxSeen  = 700
)

// watcher watches the Events of one workload cluster, until its context ends.
type watcher struct {
	cluster tkg.Ref
	// supervisor returns a client of the Supervisor that has the way into the cluster.
	supervisor func(context.Context) (*kube.Client, error)
	// found takes a failure, and reached whether the cluster is watched: nil, or why not. Neither blocks.
	found   func(failure)
	reached func(error)
	now     func() time.Time
	// pause is the one before the second attempt.
	pause time.Duration
}

// run watches, and begins again when that ends: with all that is there, by a kubeconfig that is read anew. It blocks.
func (w *watcher) run(ctx context.Context) {
	pause := w.pause
	for {
		begun := false
		err := w.session(ctx, func() {
			begun = true
			w.reached(nil)
		})
		if ctx.Err() != nil {
			return
		}
		w.reached(err)
		if begun {
			pause = w.pause
		}
		if !rest(ctx, spread(pause, w.cluster)) {
			return
		}
		pause = min(2*pause, maxPause)
	}
}

// session watches until an error. begun is called each time that the server has taken a watch.
func (w *watcher) session(ctx context.Context, begun func()) error {
	supervisor, err := w.supervisor(ctx)
	if err != nil {
		return err
	}
	c, err := tkg.WorkloadClient(ctx, supervisor, w.cluster)
	if err != nil {
		return err
	}
	events, err := c.Resource(ctx, "", "Event")
	if err != nil {
		return err
	}
	for from := ""; ; {
		next, err := c.Watch(ctx, events, "", metav1.ListOptions{FieldSelector: pulls, ResourceVersion: from, AllowWatchBookmarks: true}, begun, w.see)
		switch {
		case from != "" && (apierrors.IsResourceExpired(err) || apierrors.IsGone(err)):
			next = "" // and see all that is there once more
		case err != nil:
			return err
		}
		from = next
		if !rest(ctx, w.pause) {
			return ctx.Err()
		}
	}
}

// see reads an Event.
func (w *watcher) see(u *unstructured.Unstructured) {
	ev, err := kube.As[corev1.Event](u)
	if err != nil || ev.InvolvedObject.Kind != "Pod" || ev.Reason != "Failed" {
		return
	}
	now := w.now()
	at := lastSeen(ev)
	if at.After(now) {
		at = now // by a clock that is ahead
	}
	if now.Sub(at) > maxAge {
		return
	}
	f := pull.ParseMessage("", ev.Message)
	if f.Class != pull.Trust || f.Registry == "" {
		return
	}
	pod := pull.Printable(ev.InvolvedObject.Namespace+"/"+ev.InvolvedObject.Name, 253)
	w.found(failure{
		key: key{w.cluster.String(), f.Registry}, at: at,
		seen: pull.Printable("pod "+pod+" cannot pull "+f.Image+": "+f.Reason, maxSeen),
	})
}

// lastSeen returns when an Event last happened.
func lastSeen(ev *corev1.Event) time.Time {
	at := ev.LastTimestamp.Time
	if ev.Series != nil && ev.Series.LastObservedTime.After(at) {
		at = ev.Series.LastObservedTime.Time
	}
	if at.IsZero() {
		at = ev.EventTime.Time
	}
	return at
}

// spread makes the pauses of clusters differ, so that those of one Supervisor do not ask all at once when it comes back.
func spread(pause time.Duration, cluster tkg.Ref) time.Duration {
	h := fnv.New32a()
	_, _ = h.Write([]byte(cluster.String()))
	return pause + pause*time.Duration(h.Sum32()%256)/512
}

// rest waits, and says whether the context is still there.
func rest(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
