package controller

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/engine"
)

// sayEvery is the pause between two statuses during an attempt.
const sayEvery = 2 * time.Second

// watcher says in a Run's status what its attempt is doing. Each look of a step is told to it: it says the latest, now and then.
type watcher struct {
	turn *turn
	// news is a signal that there is something new; done ends the writing.
	news, done chan struct{}
	wg         sync.WaitGroup

	mu    sync.Mutex
	doing string
	phase v1alpha1.Phase

	// last is the Run as it was written last; nil if it was not.
	last *v1alpha1.Run
}

func newWatcher(t *turn) *watcher {
	return &watcher{turn: t, news: make(chan struct{}, 1), done: make(chan struct{})}
}

// start begins the writing, once the Run's lock is held and the attempt is announced.
func (w *watcher) start(ctx context.Context) {
	run := w.turn.run.DeepCopy() // the turn's own is the turn's
	w.phase = run.Status.Phase
	w.wg.Go(func() { w.write(ctx, run) })
}

// tell is the engine's Watch. It does not block.
func (w *watcher) tell(ev engine.Event) {
	text := ev.ID
	if ev.Text != "" {
		text += ": " + ev.Text
	}
	w.mu.Lock()
	switch ev.Kind {
	case engine.EventPlanning, engine.EventPlanned:
		w.doing = "planning " + text
	case engine.EventPlan:
		w.phase, w.doing = v1alpha1.PhaseRunning, "planned"
	case engine.EventApplying, engine.EventProgress, engine.EventApplied, engine.EventRetry:
		w.doing = text
	case engine.EventVoided:
		w.doing = "the approval of " + ev.ID + " is void: what it is about has changed"
	}
	w.mu.Unlock()
	if ev.Kind == engine.EventVoided {
		w.turn.say(w.turn.run, warning, "ApprovalVoid", "what was approved of "+ev.ID+" is not what would be done now")
	}
	select {
	case w.news <- struct{}{}:
	default:
	}
}

func (w *watcher) write(ctx context.Context, run *v1alpha1.Run) {
	tick := time.NewTicker(sayEvery)
	defer tick.Stop()
	for {
		select {
		case <-w.done:
			return
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		select {
		case <-w.news:
		default:
			continue
		}
		before := run.DeepCopy()
		w.mu.Lock()
		run.Status.Doing, run.Status.Phase = cut(w.doing, maxMessage), w.phase
		w.mu.Unlock()
		conditions(run, progressing(string(run.Status.Phase), run.Status.Doing))
		if err := w.say(ctx, run, before); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "say what an attempt is doing")
			run = before
			continue
		}
		w.last = run.DeepCopy()
	}
}

// say writes a status over the one that was written before. It never writes over another's: what is sent by a replica that is cut off may
// arrive when another has finished its run. That the Run was changed in other ways is no matter.
func (w *watcher) say(ctx context.Context, run, before *v1alpha1.Run) error {
	err := w.turn.patch(ctx, run, before, ifUnchanged(before))
	if !apierrors.IsConflict(err) {
		return err
	}
	there := &v1alpha1.Run{}
	if err := w.turn.direct.Get(ctx, client.ObjectKeyFromObject(run), there); err != nil {
		return fmt.Errorf("read Run %s: %w", run.Name, err)
	}
	if !sameStatus(there, before) {
		return err
	}
	before.ResourceVersion = there.ResourceVersion
	return w.turn.patch(ctx, run, before, ifUnchanged(before))
}

// ifUnchanged is a patch from what a Run was, if it still is that.
func ifUnchanged(before *v1alpha1.Run) client.Patch {
	return client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
}

// sameStatus compares statuses as they are sent: times in whole seconds.
func sameStatus(a, b *v1alpha1.Run) bool {
	left, lerr := json.Marshal(a.Status)
	right, rerr := json.Marshal(b.Status)
	return lerr == nil && rerr == nil && bytes.Equal(left, right)
}

// close ends the writing, and waits until it has ended: the status of the outcome comes after, and goes on from what was written.
func (w *watcher) close() {
	close(w.done)
	w.wg.Wait()
	if w.last != nil {
		w.turn.run.Status, w.turn.run.ResourceVersion = w.last.Status, w.last.ResourceVersion
		w.turn.saved = w.turn.run.DeepCopy()
	}
}
