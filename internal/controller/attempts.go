package controller

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tkgfix/tkgfix/internal/state"
)

// errShutdown is the cause of an attempt that did not end within the grace of a replica that is to end.
var errShutdown = errors.New("the replica is ending")

// attempts are the runs that this replica is carrying out, so that they can be stopped from elsewhere.
type attempts struct {
	grace time.Duration

	mu      sync.Mutex
	running map[string]*attempt
	// idle is closed when the replica is ending and carries out nothing any more.
	ending bool
	idle   chan struct{}
}

// attempt is one of them.
type attempt struct {
	// stop is closed when nothing more is to be begun.
	stop   chan struct{}
	once   sync.Once
	cancel context.CancelCauseFunc
}

func newAttempts(grace time.Duration) *attempts {
	return &attempts{grace: grace, running: map[string]*attempt{}, idle: make(chan struct{})}
}

// begin notes an attempt. The context that it returns ends when the lock is lost or the grace is over, not when the caller's does: what is
// in flight is to end in order.
func (as *attempts) begin(ctx context.Context, id string) (context.Context, *attempt) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	a := &attempt{stop: make(chan struct{}), cancel: cancel}
	as.mu.Lock()
	defer as.mu.Unlock()
	as.running[id] = a
	if as.ending {
		a.end()
	}
	return ctx, a
}

func (as *attempts) end(id string, a *attempt) {
	a.cancel(nil)
	as.mu.Lock()
	defer as.mu.Unlock()
	if as.running[id] == a {
		delete(as.running, id)
		as.settle()
	}
}

// settle closes idle when there is nothing to wait for. as.mu is held.
func (as *attempts) settle() {
	if !as.ending || len(as.running) > 0 {
		return
	}
	select {
	case <-as.idle:
	default:
		close(as.idle)
	}
}

// end closes the attempt's stop.
func (a *attempt) end() { a.once.Do(func() { close(a.stop) }) }

// stop lets what is in flight of a run finish, and nothing more begin.
func (as *attempts) stop(id string) {
	as.mu.Lock()
	defer as.mu.Unlock()
	if a := as.running[id]; a != nil {
		a.end()
	}
}

// lost ends the attempt at a run whose lock is another's by now: at once, with its plugins.
func (as *attempts) lost(id string) {
	as.mu.Lock()
	defer as.mu.Unlock()
	if a := as.running[id]; a != nil {
		a.cancel(state.ErrConflict)
	}
}

// Start implements manager.Runnable: when the replica is to end, it stops all, and cancels those that are not done within the grace.
func (as *attempts) Start(ctx context.Context) error {
	<-ctx.Done()
	as.each(func(a *attempt) { a.end() })
	timer := time.NewTimer(as.grace)
	defer timer.Stop()
	select {
	case <-as.idle:
	case <-timer.C:
		as.each(func(a *attempt) { a.cancel(errShutdown) })
	}
	return nil
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: every replica has attempts.
func (*attempts) NeedLeaderElection() bool { return false }

func (as *attempts) each(do func(*attempt)) {
	as.mu.Lock()
	defer as.mu.Unlock()
	as.ending = true
	for _, a := range as.running {
		do(a)
	}
	as.settle()
}
