package plugintest

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/tkgfix/tkgfix/plugins"
)

// Method names a method of plugins.Host.
type Method string

// The methods of plugins.Host.
const (
	MethodEffect   Method = "effect"
	MethodIntend   Method = "intend"
	MethodDone     Method = "done"
	MethodProgress Method = "progress"
)

// Call is one call that a step made of its host.
type Call struct {
	Method Method
	// Key is the effect's, empty for Progress.
	Key string
	// Target is Intend's.
	Target plugins.Target
	// Text is the note of Done or the message of Progress.
	Text string
}

// Host is a plugins.Host whose journal lies in memory and outlives an Apply, so that a second Apply with the same Host is
// one that resumes. It refuses what the engine refuses: a second intent, a done without one. The zero value is ready. Its methods
// may be called from several goroutines at once.
type Host struct {
	// Before is called with each call before it is journalled; an error of it is the call's answer, and nothing is journalled. It
	// may be nil. It plays the engine that cannot write, or, by cancelling the context of the Apply, the one that is killed.
	Before func(Call) error
	// After is called with each call after it was journalled; an error of it is the call's answer although
	// the journal holds the call. It may be nil. It plays the answer that was lost.
	After func(Call) error

	mu     sync.Mutex
	states map[string]plugins.EffectState
	calls  []Call
}

var _ plugins.Host = (*Host)(nil)

// Effect returns what the journal holds of an effect.
func (h *Host) Effect(ctx context.Context, key string) (plugins.EffectState, error) {
	var state plugins.EffectState
	err := h.call(ctx, Call{Method: MethodEffect, Key: key}, func(have plugins.EffectState) (plugins.EffectState, error) {
		state = have
		return have, nil
	})
	return state, err
}

// Intend journals an intent.
func (h *Host) Intend(ctx context.Context, spec plugins.EffectSpec) error {
	c := Call{Method: MethodIntend, Key: spec.Key, Target: spec.Target}
	return h.call(ctx, c, func(have plugins.EffectState) (plugins.EffectState, error) {
		if have != plugins.EffectNone {
			return have, fmt.Errorf("intend %s: the journal holds it as %s", spec.Key, have)
		}
		return plugins.EffectIntended, nil
	})
}

// Done journals an end.
func (h *Host) Done(ctx context.Context, key, note string) error {
	return h.call(ctx, Call{Method: MethodDone, Key: key, Text: note}, func(have plugins.EffectState) (plugins.EffectState, error) {
		if have != plugins.EffectIntended {
			return have, fmt.Errorf("done %s: the journal holds it as %s", key, have)
		}
		return plugins.EffectDone, nil
	})
}

// Progress records a message.
func (h *Host) Progress(ctx context.Context, message string) error {
	return h.call(ctx, Call{Method: MethodProgress, Text: message}, func(have plugins.EffectState) (plugins.EffectState, error) {
		return have, nil
	})
}

// Set puts an effect into the journal, as an earlier run would have left it.
func (h *Host) Set(key string, state plugins.EffectState) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.set(key, state)
}

// State returns what the journal holds of an effect.
func (h *Host) State(key string) plugins.EffectState {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state(key)
}

// Calls returns the calls that were answered well, in their order. With methods it returns only those.
func (h *Host) Calls(methods ...Method) []Call {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []Call
	for _, c := range h.calls {
		if len(methods) == 0 || slices.Contains(methods, c.Method) {
			out = append(out, c)
		}
	}
	return out
}

// call does one call: Before, the journal, After. The hooks run without the lock, so that they may call the Host.
func (h *Host) call(ctx context.Context, c Call, next func(plugins.EffectState) (plugins.EffectState, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if h.Before != nil {
		if err := h.Before(c); err != nil {
			return err
		}
	}
	if err := h.record(c, next); err != nil {
		return err
	}
	if h.After != nil {
		return h.After(c)
	}
	return nil
}

func (h *Host) record(c Call, next func(plugins.EffectState) (plugins.EffectState, error)) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	state, err := next(h.state(c.Key))
	if err != nil {
		return err
	}
	if c.Method != MethodProgress {
		h.set(c.Key, state)
	}
	h.calls = append(h.calls, c)
	return nil
}

func (h *Host) state(key string) plugins.EffectState {
	if s, ok := h.states[key]; ok {
		return s
	}
	return plugins.EffectNone
}

func (h *Host) set(key string, state plugins.EffectState) {
	if h.states == nil {
		h.states = map[string]plugins.EffectState{}
	}
	h.states[key] = state
}
