package crashtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/state"
)

// wakePatience is how long an engine that has lost its lock may take to see that and end.
const wakePatience = time.Minute

// stranger is the name under which this process tries the lock.
func (t *trial) stranger() state.Holder {
	return state.Holder{User: "crashtest", Host: "crashtest", Since: t.Now()}
}

// lockIsHeld tries the lock while an engine holds it: it must be refused, and the holder named.
func (t *trial) lockIsHeld(ctx context.Context, pid int) {
	release, err := t.place.Journal().Lock(ctx, t.id, t.stranger())
	locked, refused := errors.AsType[*state.LockedError](err)
	switch {
	case err == nil:
		t.fail(NoLostLock, fmt.Sprintf("engine %d holds the run, and another could take the lock", pid), fmt.Sprint("release: ", release()))
	case !refused:
		t.fail(NoLostLock, fmt.Sprintf("try the lock that engine %d holds: %v", pid, err))
	case locked.Holder.PID != pid:
		t.fail(NoLostLock, fmt.Sprintf("engine %d holds the run, and the lock names %s", pid, locked.Holder))
	}
}

// lockIsFree tries the lock after an engine has ended or died: it must be free at once.
func (t *trial) lockIsFree(ctx context.Context, pid int) {
	release, err := t.place.Journal().Lock(ctx, t.id, t.stranger())
	if errors.Is(err, state.ErrNotFound) {
		return
	}
	if err == nil {
		err = release()
	}
	if err != nil {
		t.fail(NoLostLock, fmt.Sprintf("engine %d is gone, and the lock cannot be taken: %v", pid, err))
	}
}

// stand stops an engine where it is. A second one must be refused. Then the one that was stopped before it wakes, which must
// not append; and the lock of this one is broken, so that the next can go on.
func (t *trial) stand(ctx context.Context, c *child) error {
	before := t.paused
	t.paused = c
	if err := c.pause(); err != nil {
		return err
	}
	if err := t.secondIsRefused(ctx, c.pid()); err != nil {
		return err
	}
	if before != nil {
		if err := t.wake(ctx, before); err != nil {
			return err
		}
	}
	return t.breakLock(ctx)
}

func (t *trial) secondIsRefused(ctx context.Context, holder int) error {
	second, err := start(t.place.Engine(ctx), job{Act: actRun, Run: t.id})
	if err != nil {
		return err
	}
	e, reached, err := answer(ctx, second)
	if err = errors.Join(err, second.kill()); err != nil {
		return err
	}
	switch {
	case len(reached) > 0:
		t.fail(NoLostLock, fmt.Sprintf("engine %d holds the run, and a second one, %d, came to %s", holder, second.pid(), reached[0]))
	case e == nil || e.Locked == nil:
		t.fail(NoLostLock, fmt.Sprintf("engine %d holds the run, and a second one, %d, was not refused: %+v", holder, second.pid(), e))
	case e.Locked.PID != holder:
		t.fail(NoLostLock, fmt.Sprintf("engine %d holds the run, and a second one was told that %s does", holder, e.Locked))
	}
	return nil
}

// answer lets a child go on everywhere until it ends, and returns how it ended and where it was.
func answer(ctx context.Context, c *child) (*ending, []Boundary, error) {
	var reached []Boundary
	for {
		m, ok, err := c.next(ctx, nil, nil)
		if err != nil || !ok {
			return nil, reached, err
		}
		if m.Ending != nil {
			return m.Ending, reached, nil
		}
		if m.Reach != nil {
			reached = append(reached, Boundary{When: m.Reach.When, Label: m.Reach.Label})
			c.goOn()
		}
	}
}

// breakLock takes the lock from the engine that stands still, as tkgfix state unlock does.
func (t *trial) breakLock(ctx context.Context) error {
	c, err := start(t.place.Engine(ctx), job{Act: actUnlock, Run: t.id})
	if err != nil {
		return err
	}
	e, _, err := answer(ctx, c)
	if err = errors.Join(err, c.kill()); err != nil {
		return err
	}
	if e != nil && e.Error == "" {
		return nil
	}
	if e == nil {
		return fmt.Errorf("break the lock: the engine died: %q", c.talk.last(5))
	}
	return fmt.Errorf("break the lock: %s", e.Error)
}

// wakePaused wakes the engine that stands still at the end of a trial.
func (t *trial) wakePaused(ctx context.Context) error {
	if t.paused == nil {
		return nil
	}
	c := t.paused
	t.paused = nil
	if len(t.bad) > 0 {
		return c.kill()
	}
	return t.wake(ctx, c)
}

// endPaused kills what stands still when a trial was broken off.
func (t *trial) endPaused() {
	if t.paused != nil {
		_ = t.paused.kill()
	}
}

// wake lets an engine go on whose lock was broken while it stood still. It must end with an error, append nothing and write
// nothing.
func (t *trial) wake(ctx context.Context, c *child) error {
	before, err := t.entries(ctx)
	if err != nil {
		return err
	}
	writes, err := t.place.Writes(ctx)
	if err != nil {
		return fmt.Errorf("read the audit log: %w", err)
	}
	limited, cancel := context.WithTimeout(ctx, wakePatience)
	defer cancel()
	if err := c.wake(); err != nil {
		return err
	}
	c.goOn()
	e, _, err := answer(limited, c)
	if err = errors.Join(err, c.kill()); err != nil && ctx.Err() == nil && limited.Err() != nil {
		t.fail(NoLostLock, fmt.Sprintf("engine %d lost its lock and goes on %s after it woke", c.pid(), wakePatience))
		return nil
	}
	if err != nil {
		return err
	}
	return t.hasDoneNothing(ctx, c, e, before, len(writes))
}

func (t *trial) hasDoneNothing(ctx context.Context, c *child, e *ending, before []state.Entry, writes int) error {
	after, err := t.entries(ctx)
	if err != nil {
		return err
	}
	for _, f := range facts(after[min(len(before), len(after)):]) {
		t.fail(NoLostLock, fmt.Sprintf("engine %d lost its lock, woke and appended entry %d: %s", c.pid(), f.Seq, f.label()))
	}
	now, err := t.place.Writes(ctx)
	if err != nil {
		return fmt.Errorf("read the audit log: %w", err)
	}
	for _, w := range now[min(writes, len(now)):] {
		t.fail(NoLostLock, fmt.Sprintf("engine %d lost its lock, woke and acted: %s", c.pid(), w))
	}
	if e != nil && e.Error == "" {
		t.fail(NoLostLock, fmt.Sprintf("engine %d lost its lock and ended %s without an error", c.pid(), e.Status))
	}
	return nil
}

func (t *trial) entries(ctx context.Context) ([]state.Entry, error) {
	entries, err := t.place.Journal().Read(ctx, t.id, 1)
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	return entries, nil
}

// meddling is how far somebody else is with changing what was approved.
type meddling struct{ stage int }

// meddle changes what was approved. The run must go back to its gate, and must stay there as long as nobody approves what it
// shows now. Then the change is taken back, and the run goes on.
func (t *trial) meddle(ctx context.Context) error {
	t.meddling.stage++
	m, ok := t.place.(Meddler)
	if !ok {
		return errors.New("nobody can meddle in this place")
	}
	undo, err := m.Meddle(ctx)
	if err != nil {
		return fmt.Errorf("meddle: %w", err)
	}
	t.struck = append(t.struck, Point{Do: Meddle})
	for range 2 {
		e, disturbed, err := t.attend(ctx, job{Act: actRun, Run: t.id})
		if err != nil {
			return err
		}
		if err := t.check(ctx); err != nil || len(t.bad) > 0 {
			return err
		}
		if !disturbed && e.Status != engine.Waiting {
			t.fail(Approved, fmt.Sprintf("what was approved was changed by somebody else, and the run did not go back to its gate: it is %s %s", e.Status, e.Error))
		}
	}
	if err := undo(ctx); err != nil {
		return fmt.Errorf("take back the meddling: %w", err)
	}
	return nil
}
