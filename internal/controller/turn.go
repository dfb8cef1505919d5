package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/controller/runfiles"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/plugins"
)

const (
	// guardEvery is the pause between two looks at a guard that does not hold, such as a maintenance window.
	guardEvery = 10 * time.Minute
	// beginSoon and beginLater are the pauses while a Run cannot begin: something that it names may be on its way.
	beginSoon, beginLater = 15 * time.Second, 5 * time.Minute
)

// turn is one look at a Run, from which it is taken as far as it goes.
type turn struct {
	*runs
	run *v1alpha1.Run
	// saved is the Run as the API server has it.
	saved *v1alpha1.Run
	id    string
	// phase is that of before the turn.
	phase     v1alpha1.Phase
	undecided []v1alpha1.Approval
	// r is what the journal says; nil if there is none.
	r *engine.Run
	// written are the run's files, once they are written in this turn.
	written *runfiles.Files
	// trouble is what stands in the way apart from what the journal says.
	trouble *trouble
}

// reasonHeld is the trouble of a run that another replica holds.
const reasonHeld = "Held"

// trouble is why a Run does not get on.
type trouble struct {
	// reason is one word for the condition.
	reason string
	err    error
	// stalled says that a person must act.
	stalled bool
	after   time.Duration
}

// take is the sub-steps in their order. It returns when to look again; 0 when something else will tell.
func (t *turn) take(ctx context.Context) (time.Duration, error) {
	e := t.engine(t.run)
	r, err := e.Load(ctx, t.id)
	switch {
	case errors.Is(err, state.ErrNotFound):
		if t.run.Spec.Suspend {
			return 0, nil
		}
		if err := t.begin(ctx, e); err != nil {
			return t.cannotBegin(err)
		}
		if r, err = e.Load(ctx, t.id); err != nil {
			return 0, err
		}
	case err != nil:
		return t.damaged(err)
	}
	t.r = r
	for _, step := range []func(context.Context, *engine.Engine) (time.Duration, error){t.resolve, t.decide, t.attempt} {
		if after, err := step(ctx, e); after > 0 || err != nil {
			return after, err
		}
	}
	return t.later(), nil
}

// cannotBegin says why there is no run yet, and when to try again.
func (t *turn) cannotBegin(err error) (time.Duration, error) {
	after := beginSoon
	if t.opts.Engine.Now().Sub(t.run.CreationTimestamp.Time) > 10*time.Minute {
		after = beginLater
	}
	t.trouble = &trouble{reason: "CannotBegin", err: err, after: after}
	switch {
	case errors.Is(err, errInvalid):
		t.trouble.reason, t.trouble.stalled, t.trouble.after = "InvalidWorkflow", true, 0 // until the Workflow is another
	case errors.Is(err, errRefused):
		t.trouble.reason, t.trouble.stalled, t.trouble.after = "Refused", true, 0
	case apierrors.IsNotFound(err):
		t.trouble.reason = "NotFound"
	case apierrors.IsForbidden(err):
		t.trouble.reason = "Forbidden"
	case plugins.KindOf(err) == plugins.KindNotYet:
		t.trouble.reason = "SourceNotReady"
	}
	return t.trouble.after, nil
}

// damaged is a journal that cannot be read. Nothing is done on its account.
func (t *turn) damaged(err error) (time.Duration, error) {
	if _, ok := errors.AsType[*state.CorruptError](err); !ok {
		return 0, err
	}
	t.trouble = &trouble{reason: "JournalDamaged", stalled: true, err: plugins.Hint(err,
		"its JournalEntries were changed: keep them, kubectl get journalentries -n %s -l %s=%s -o yaml, and make a new Run", t.run.Namespace, v1alpha1.LabelRun, t.id)}
	return 0, nil
}

// resolve takes a person's word on an effect that nobody else can tell.
func (t *turn) resolve(ctx context.Context, e *engine.Engine) (time.Duration, error) {
	word := t.run.Annotations[v1alpha1.AnnotationResolve]
	if word == "" || word == t.run.Status.Resolved || t.r.Final() {
		return 0, nil
	}
	effect, outcome, _ := strings.Cut(word, "=")
	r, err := e.Resolve(ctx, t.id, effect, engine.Outcome(outcome), "annotation "+v1alpha1.AnnotationResolve)
	if after, locked := t.locked(err); locked {
		return after, nil
	}
	t.run.Status.Resolved = word
	if err != nil {
		t.say(t.run, warning, "NotResolved", err.Error())
		return 0, nil
	}
	t.r = r
	return 0, nil
}

// attempt carries the run as far as it goes.
func (t *turn) attempt(ctx context.Context, e *engine.Engine) (time.Duration, error) {
	if !t.due() {
		return t.settle(ctx, e)
	}
	files, err := t.ground(ctx)
	if err != nil {
		return t.cannotBegin(err)
	}
	began, before := e.Now(), t.r.Seq
	r, err := t.carry(ctx, e, files)
	t.counts.Attempted(outcome(r, err, e.PlanOnly), e.Now().Sub(began))
	if r != nil {
		t.r = r
	}
	if kerr := t.files.KeepKnownHosts(context.WithoutCancel(ctx), t.run.Namespace, files); kerr != nil {
		t.say(t.run, warning, "HostKeysNotKept", kerr.Error())
	}
	if after, locked := t.locked(err); locked {
		return after, nil
	}
	if _, ok := errors.AsType[*announceError](err); ok {
		return 0, err
	}
	switch {
	case errors.Is(err, state.ErrConflict): // another replica has it
		t.trouble = &trouble{reason: reasonHeld, err: err}
		return t.whileHeld(), nil
	case err != nil && (t.r.Seq == before || t.r.Status == engine.Running || t.r.Status == engine.Planning):
		// The journal does not tell of it: the API server did not answer, or the run could not be taken up at all.
		t.trouble = &trouble{reason: "CannotGoOn", err: err, after: beginSoon}
		return t.trouble.after, nil
	}
	t.run.Status.Resumed = t.run.Annotations[v1alpha1.AnnotationResume]
	if t.r.Final() {
		_ = t.files.Remove(t.run.Namespace, t.id) // what is left goes with the replica
	}
	return 0, nil // how else it ended stands in the journal
}

// ground writes the run's files, once a turn: a Run that begins is planned on what it began with.
func (t *turn) ground(ctx context.Context) (*runfiles.Files, error) {
	if t.written != nil {
		return t.written, nil
	}
	var err error
	t.written, err = t.files.Write(ctx, t.run)
	return t.written, err
}

// carry runs the engine under this replica's attempts.
func (t *turn) carry(ctx context.Context, e *engine.Engine, files *runfiles.Files) (*engine.Run, error) {
	ctx, a := t.attempts.begin(ctx, t.id)
	defer t.attempts.end(t.id, a)
	e.Stop = a.stop
	w := newWatcher(t)
	defer w.close()
	e.Watch = w.tell
	e.Store = announced{Store: e.Store, announce: func() error {
		if err := t.announce(ctx); err != nil {
			return err
		}
		w.start(ctx)
		return nil
	}}
	if s := t.run.Spec.Connections; s != nil && s.Supervisor != nil && s.Supervisor.InCluster {
		defer t.keepToken(ctx, files)()
	}
	return e.Run(ctx, t.id)
}

// keepToken renews the token of a run whose Supervisor is this cluster, until the function that it returns is called.
func (t *turn) keepToken(ctx context.Context, files *runfiles.Files) func() {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(tokenLife / 3)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := t.files.InCluster(ctx, t.run.Namespace, t.run.Spec.ServiceAccountName, files.Kubeconfig); err != nil {
				t.say(t.run, warning, "TokenNotRenewed", err.Error())
			}
		}
	}()
	return func() { cancel(); <-done }
}

// save writes the status as it is by now, unless somebody has written to the Run since it was looked at: what is true of it then may not be
// what this turn knows.
func (t *turn) save(ctx context.Context) error {
	if err := t.patch(ctx, t.run, t.saved, ifUnchanged(t.saved)); err != nil {
		return err
	}
	t.saved = t.run.DeepCopy()
	return nil
}

// due says whether an attempt may bring the run further.
func (t *turn) due() bool {
	if t.run.Spec.Suspend || t.r.Final() {
		return false
	}
	asked := t.run.Annotations[v1alpha1.AnnotationResume] != t.run.Status.Resumed
	switch t.r.Status {
	case engine.Waiting:
		// Gone on planning only, or a gate that it waited for is open or expired.
		left := t.r.PendingGates(t.opts.Engine.Now())
		pending := func(name string) bool {
			for _, g := range left {
				if g.Step == name {
					return true
				}
			}
			return false
		}
		return asked || t.run.Status.Phase == v1alpha1.PhasePlanned && !t.run.Spec.PlanOnly ||
			slices.ContainsFunc(t.r.WaitsFor, func(g string) bool { return !pending(g) })
	case engine.Failed:
		return asked
	case engine.Blocked:
		return asked || t.closed() && t.opts.Engine.Now().Sub(t.r.Updated) >= guardEvery
	}
	return true
}

// closed says whether a guard stands in the way, which time may open.
func (t *turn) closed() bool { return t.r.Status == engine.Blocked && t.r.Guard != "" }

// later returns when time alone may bring the run further.
func (t *turn) later() time.Duration {
	now := t.opts.Engine.Now()
	if t.closed() {
		return max(guardEvery-now.Sub(t.r.Updated), time.Second)
	}
	if t.r.Status == engine.Interrupted && !t.run.Spec.Suspend {
		return time.Second // by a replica that has ended; this one goes on if it does not end too
	}
	if t.r.Status != engine.Waiting {
		return 0
	}
	var next time.Duration
	for _, g := range t.r.PendingGates(now) {
		end := g.Judged(t.r.Created.By.Identity).Deadline()
		if left := max(end.Sub(now), time.Second); !end.IsZero() && (next == 0 || left < next) {
			next = left
		}
	}
	return next
}

// locked says whether another replica holds the run, and when to look again.
func (t *turn) locked(err error) (time.Duration, bool) {
	if _, ok := errors.AsType[*state.LockedError](err); !ok {
		return 0, false
	}
	t.trouble = &trouble{reason: reasonHeld, err: err}
	return t.whileHeld(), true
}

// whileHeld is the pause between two looks at a run that another replica holds. A Lease has run out when it was the same for its whole time,
// so two pauses are a little more than that.
func (t *turn) whileHeld() time.Duration { return t.opts.Lease * 11 / 20 }

var (
	errInvalid = errors.New("the workflow is not valid")
	errRefused = errors.New("refused")
)

// refuse is an error that errRefused marks.
func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errRefused, fmt.Errorf(format, args...))
}
