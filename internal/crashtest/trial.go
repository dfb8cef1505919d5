package crashtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/internal/state"
)

// The bounds of a trial.
const (
	maxChildren = 2000
	// leftPatience is how long a plugin may outlive its engine: it looks for its parent every second.
	leftPatience = 5 * time.Second
	lookEvery    = 50 * time.Millisecond
)

// trial carries one run to its end in one place, under one director.
type trial struct {
	*Harness
	place    Place
	director director
	// want is the end of the undisturbed run; nil in that run itself.
	want *Outcome
	id   string

	approved approvals
	seen     []engine.Process // every plugin's process that was started
	reached  map[Boundary]bool
	struck   Schedule
	since    string
	uses     map[string]string // by step id
	meddling meddling
	paused   *child
	bad      []Violation
}

// result is what came of a trial.
type result struct {
	outcome *Outcome
	struck  Schedule
	reached map[Boundary]bool
	bad     []Violation
}

func (t *trial) fail(a Assertion, evidence ...string) {
	t.bad = append(t.bad, Violation{Assertion: a, Evidence: evidence})
}

// carry takes the run to its end, or to the first violation. The error is one of the machinery, not of what is tested.
func (t *trial) carry(ctx context.Context) (*result, error) {
	defer t.endPaused()
	var run *engine.Run
	for n := 0; len(t.bad) == 0; n++ {
		var err error
		if run, err = t.look(ctx); err != nil {
			return nil, err
		}
		if len(t.bad) > 0 || run != nil && run.Final() {
			break
		}
		if n >= maxChildren {
			t.fail(GoesOn, fmt.Sprintf("no end after %d engines", n))
			break
		}
		if err := t.further(ctx, run); err != nil {
			return nil, err
		}
		if err := t.check(ctx); err != nil {
			return nil, err
		}
	}
	outcome, err := t.finish(ctx, run)
	if err != nil {
		return nil, err
	}
	return &result{outcome: outcome, struck: t.struck, reached: t.reached, bad: t.bad}, nil
}

// look reads the journal with this process's own store; nil before there is one.
func (t *trial) look(ctx context.Context) (*engine.Run, error) {
	entries, err := t.place.Journal().Read(ctx, t.id, 1)
	if errors.Is(err, state.ErrNotFound) {
		t.since = ""
		return nil, nil
	}
	if corrupt, ok := errors.AsType[*state.CorruptError](err); ok {
		t.fail(Intact, corrupt.Error())
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	t.since = lastProgress(facts(entries))
	run, err := engine.Replay(t.id, entries)
	if err != nil {
		t.fail(Intact, err.Error())
		return nil, nil
	}
	return run, nil
}

// further has one engine do what a person would have it do next.
func (t *trial) further(ctx context.Context, run *engine.Run) error {
	j := job{Run: t.id, Act: actRun}
	switch {
	case run == nil:
		j.Act = actCreate
	case run.Status == engine.Waiting && len(run.PendingGates(t.Now())) > 0:
		j.Act = actDecide
		j.Decision = t.decide(run.PendingGates(t.Now())[0])
	case run.Status == engine.Waiting && t.director.meddles() && t.meddling.stage == 0:
		return t.meddle(ctx)
	}
	e, disturbed, err := t.attend(ctx, j)
	if err != nil || disturbed {
		return err
	}
	good := e.Error == "" && (j.Act != actRun || e.Status == engine.Waiting || e.Status == engine.Done)
	if !good {
		t.fail(GoesOn, fmt.Sprintf("%s ended %s: %s", j.Act, e.Status, e.Error))
	}
	return nil
}

// decide approves what a gate shows, and remembers it. Each decision on the same changes is another person's.
func (t *trial) decide(g plan.Gate) *approval.Decision {
	t.approved[g.Step] = append(t.approved[g.Step], g.Digest)
	times := 0
	for _, d := range t.approved[g.Step] {
		if d == g.Digest {
			times++
		}
	}
	return &approval.Decision{
		Gate: g.Step, Digest: g.Digest, Approved: true, At: t.Now(), By: approval.Identity{Name: fmt.Sprintf("approver-%d@crashtest", times)},
		Reason: "crashtest",
	}
}

// attend runs one child to its end, and does at each boundary what the director says.
func (t *trial) attend(ctx context.Context, j job) (ending, bool, error) {
	c, err := start(t.place.Engine(ctx), j)
	if err != nil {
		return ending{}, false, err
	}
	a := attendance{trial: t, child: c, job: j}
	e, err := a.converse(ctx)
	if a.kept {
		return e, true, err
	}
	if err != nil {
		return e, a.disturbed, errors.Join(err, c.kill())
	}
	if werr := c.wait(); werr != nil {
		return e, a.disturbed, werr
	}
	if e.Error == "" && e.Status == "" && !a.ended && !a.disturbed {
		t.fail(GoesOn, append([]string{"the engine died by itself; its last words:"}, c.talk.last(12)...)...)
		return e, true, nil
	}
	t.lockIsFree(ctx, c.pid())
	return e, a.disturbed, nil
}

// attendance is one child that is attended.
type attendance struct {
	*trial
	child     *child
	job       job
	disturbed bool
	ended     bool
	// kept is true if the child was left standing still.
	kept   bool
	probed bool
	timer  *time.Timer
	strike func()
}

// converse answers a child until it has ended, is dead or stands still.
func (a *attendance) converse(ctx context.Context) (ending, error) {
	for {
		var due <-chan time.Time
		if a.timer != nil {
			due = a.timer.C
		}
		m, ok, err := a.child.next(ctx, due, a.strike)
		if err != nil || !ok {
			return ending{}, err
		}
		if m.Ending != nil {
			a.ended = true
			return *m.Ending, nil
		}
		if m.Reach == nil {
			continue
		}
		if a.timer != nil && m.Reach.When == After && isCall(Boundary{Label: m.Reach.Label}) {
			if a.timer.Stop() {
				a.strike() // the call was shorter than the delay
			}
			a.timer = nil
		}
		if err := a.at(ctx, m.Reach); err != nil || a.kept {
			return ending{}, err
		}
	}
}

// at does what the director says where the child is, and lets it go on if it still can.
func (a *attendance) at(ctx context.Context, r *reach) error {
	if r.Process != nil && r.When == Before {
		a.seen = append(a.seen, *r.Process)
	}
	if r.Uses != "" {
		a.uses[r.Step] = r.Uses
	}
	b := Boundary{When: r.When, Label: r.Label, Since: a.since}
	if !isCall(b) {
		a.reached[b] = true
	}
	if r.When == After && progress(r.Label) {
		a.since = r.Label
	}
	p, hit := a.director.at(b)
	if r.Locked && (hit || !a.probed) {
		a.probed = true
		a.lockIsHeld(ctx, a.child.pid())
	}
	if hit {
		a.struck = append(a.struck, p)
		a.disturbed = true
		a.Tell("%s", p)
		switch {
		case p.Do == PauseEngine:
			a.kept = true
			return a.stand(ctx, a.child)
		case p.Do == KillEngine && p.When != During:
			return a.child.kill()
		case p.Do == KillPlugin && p.When != During:
			a.killPlugin(r)
		case p.When == During:
			a.later(p, r)
		}
	}
	a.child.goOn()
	return nil
}

// later arms what happens during a call.
func (a *attendance) later(p Point, r *reach) {
	a.timer = time.NewTimer(p.Delay)
	a.strike = func() {
		if p.Do == KillPlugin {
			a.killPlugin(r)
			return
		}
		_ = a.child.cmd.Process.Kill() // that it is dead shows when its messages end
	}
}

// killPlugin kills the process of the plugin at work. One that is dead already is as good.
func (a *attendance) killPlugin(r *reach) {
	name := r.Uses
	if name == "" {
		name = a.uses[r.Step]
	}
	if name == "" {
		name = a.uses[base(r.Step)]
	}
	if r.Process != nil {
		name = r.Process.Name
	}
	for _, p := range slices.Backward(a.seen) {
		if p.Name == name {
			if alive, err := a.Alive(p); err == nil && alive {
				_ = syscall.Kill(p.PID, syscall.SIGKILL)
			}
			return
		}
	}
}

// check holds what there is now against what must hold at any time.
func (t *trial) check(ctx context.Context) error {
	entries, err := t.place.Journal().Read(ctx, t.id, 1)
	if _, damaged := errors.AsType[*state.CorruptError](err); damaged || errors.Is(err, state.ErrNotFound) {
		return nil // look says so
	}
	if err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	writes, err := t.place.Writes(ctx)
	if err != nil {
		return fmt.Errorf("read the audit log: %w", err)
	}
	all := facts(entries)
	t.assert(Intact, checkChain(all))
	t.assert(Approved, checkApproved(all, t.approved))
	t.assert(Intended, checkIntended(all, writes))
	t.assert(OneEffect, checkOne(all, writes))
	if t.want != nil {
		t.assert(OneEffect, checkNoMore(writes, t.want.Writes))
	}
	return nil
}

func (t *trial) assert(a Assertion, bad []string) {
	if len(bad) > 0 {
		t.fail(a, bad...)
	}
}

// finish looks at the end: how it is, and what is left.
func (t *trial) finish(ctx context.Context, run *engine.Run) (*Outcome, error) {
	if err := t.wakePaused(ctx); err != nil {
		return nil, err
	}
	if len(t.bad) > 0 || run == nil {
		return nil, nil
	}
	if err := t.check(ctx); err != nil {
		return nil, err
	}
	if err := t.noneLeft(ctx); err != nil {
		return nil, err
	}
	writes, err := t.place.Writes(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	world, err := t.place.End(ctx, run)
	if err != nil {
		return nil, fmt.Errorf("look at the end: %w", err)
	}
	entries, err := t.entries(ctx)
	if err != nil {
		return nil, err
	}
	out := &Outcome{Lines: slices.Concat(runLines(run, lateSteps(facts(entries)), t.rename), world), Writes: countWrites(writes)}
	if run.Status != engine.Done {
		t.fail(SameEnd, fmt.Sprintf("the run is %s: %s", run.Status, run.Error))
	}
	if t.want != nil {
		t.assert(SameEnd, diffLines(t.want.Lines, out.Lines))
		for key, n := range t.want.Writes {
			if out.Writes[key] < n {
				t.fail(SameEnd, fmt.Sprintf("%d times, %d in the undisturbed run: %s", out.Writes[key], n, key))
			}
		}
	}
	return out, nil
}

func (t *trial) rename(s string) string {
	if r, ok := t.place.(Renamer); ok {
		return r.Rename(s)
	}
	return s
}

// noneLeft waits a moment for the plugins that were started to be gone.
func (t *trial) noneLeft(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leftPatience)
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		var left []string
		for _, p := range t.seen {
			alive, err := t.Alive(p)
			if err != nil {
				return fmt.Errorf("look for plugin %s: %w", p.Name, err)
			}
			if alive {
				left = append(left, fmt.Sprintf("plugin %s, process %d, is alive", p.Name, p.PID))
			}
		}
		if len(left) == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.fail(NoneLeft, left...)
			return nil
		}
	}
}
