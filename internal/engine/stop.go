package engine

import (
	"context"
	"errors"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// ErrStopped is the cause of an attempt that ended because Engine.Stop was closed. The run can be resumed.
var ErrStopped = errors.New("interrupted")

// watchStop ends the attempt when Engine.Stop is closed: at once if nothing is in flight, else when the effects in flight are
// known to have happened. The function that it returns ends the watching, and returns when it has ended.
func (x *execution) watchStop(ctx context.Context) func() {
	done := make(chan struct{})
	var group errgroup.Group
	group.Go(func() error {
		select {
		case <-x.Stop: // a nil one never comes
			x.stop()
		case <-ctx.Done():
		case <-done:
		}
		return nil
	})
	return func() {
		close(done)
		_ = group.Wait()
	}
}

func (x *execution) stop() {
	x.mu.Lock()
	x.stopping = true
	flying := x.inFlight()
	x.mu.Unlock()
	if len(flying) == 0 {
		x.cancel(ErrStopped)
		return
	}
	x.tell(Event{Kind: EventStopping, Text: strings.Join(flying, ", ")})
}

func (x *execution) isStopping() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.stopping
}

// begin notes that a step or instance is being applied; the function that it returns, that it no longer is.
func (x *execution) begin(id string) func() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.applying == nil {
		x.applying = map[string]bool{}
	}
	x.applying[id] = true
	return func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		delete(x.applying, id)
		x.landed()
	}
}

// landed ends an attempt that is being stopped once nothing is in flight any more. x.mu is held.
func (x *execution) landed() {
	if x.stopping && len(x.inFlight()) == 0 {
		x.cancel(ErrStopped)
	}
}

// inFlight returns the effects that are intended, not known to have happened, and worked on by this attempt. x.mu is held.
func (x *execution) inFlight() []string {
	var out []string
	for i := range x.run.Effects {
		if e := &x.run.Effects[i]; e.Open() && x.applying[e.Step] {
			out = append(out, e.Name())
		}
	}
	return out
}

// openEffects returns the effects of the run that nobody knows the end of.
func (x *execution) openEffects() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.run.OpenEffects()
}

// OpenEffects returns the names of the effects that are intended and not known to have happened.
func (r *Run) OpenEffects() []string {
	var out []string
	for i := range r.Effects {
		if r.Effects[i].Open() {
			out = append(out, r.Effects[i].Name())
		}
	}
	return slices.Clip(out)
}

// Name returns step/key, by which a person names the effect.
func (e *Effect) Name() string { return e.Step + "/" + e.Key }
