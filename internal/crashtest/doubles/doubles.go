// Package doubles holds doubles of the product's parts, each with one thing wrong that a crash test must catch. Only tests import it.
package doubles

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/plugins"
)

// All returns what makes each double of a sound engine, by name; none leaves it as it is.
func All() map[string]func(*engine.Engine) {
	return map[string]func(*engine.Engine){
		"none":       func(*engine.Engine) {},
		"no-fsync":   func(e *engine.Engine) { e.Store = &lossy{Store: e.Store} },
		"no-observe": func(e *engine.Engine) { e.Launch = blindLaunch(e.Launch) },
		"no-fence":   func(e *engine.Engine) { e.Store = unfenced{e.Store} },
		"no-lock":    func(e *engine.Engine) { e.Store = unlocked{e.Store} },
		"no-digest":  func(e *engine.Engine) { e.Store = unbound{e.Store} },
	}
}

// lossy acknowledges an intent before it is durable: it is written with the entry after it, or lost with the process.
type lossy struct {
	state.Store
	mu   sync.Mutex
	held []state.Draft
}

func (s *lossy) Append(ctx context.Context, run string, at uint64, drafts ...state.Draft) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if drafts[0].Kind == "effect.intended" {
		s.held = append(s.held, drafts...)
		return at, nil
	}
	at -= uint64(len(s.held))
	drafts = append(s.held, drafts...)
	s.held = nil
	return s.Store.Append(ctx, run, at, drafts...)
}

// unfenced appends at the end, wherever the writer believes that it is.
type unfenced struct{ state.Store }

func (s unfenced) Append(ctx context.Context, run string, at uint64, drafts ...state.Draft) (uint64, error) {
	entries, err := s.Read(ctx, run, 1)
	if at > 1 && err != nil {
		return 0, err
	}
	return s.Store.Append(ctx, run, uint64(len(entries))+1, drafts...)
}

// unlocked lets everyone in.
type unlocked struct{ state.Store }

func (unlocked) Lock(context.Context, string, state.Holder) (func() error, error) {
	return func() error { return nil }, nil
}

// unbound takes every approval for one of what the gate shows now.
type unbound struct{ state.Store }

func (s unbound) Read(ctx context.Context, run string, from uint64) ([]state.Entry, error) {
	entries, err := s.Store.Read(ctx, run, from)
	shown := map[string]string{}
	for _, e := range entries {
		var d struct {
			Gate any
			Plan struct {
				Gates []struct{ Step, Digest string }
			}
		}
		_ = json.Unmarshal(e.Data, &d)
		if g, ok := d.Gate.(map[string]any); ok {
			shown[g["step"].(string)] = g["digest"].(string)
		}
		for _, g := range d.Plan.Gates {
			shown[g.Step] = g.Digest
		}
	}
	for i, e := range entries {
		var d map[string]any
		if e.Kind != "gate.decided" || json.Unmarshal(e.Data, &d) != nil {
			continue
		}
		d["digest"] = shown[d["gate"].(string)]
		entries[i].Data, _ = json.Marshal(d)
	}
	return entries, err
}

// launchFunc is an engine's Launch.
type launchFunc = func(plugins.Connections, func(context.Context, engine.Process) error) engine.Plugins

// blindLaunch makes plugins that never learn that an effect was intended before: they act again without a look.
func blindLaunch(launch launchFunc) launchFunc {
	return func(conns plugins.Connections, started func(context.Context, engine.Process) error) engine.Plugins {
		return blindPlugins{launch(conns, started)}
	}
}

type blindPlugins struct{ engine.Plugins }

func (p blindPlugins) Step(ctx context.Context, uses string) (plugins.Step, error) {
	s, err := p.Plugins.Step(ctx, uses)
	return blindStep{s}, err
}

type blindStep struct{ plugins.Step }

func (s blindStep) Apply(ctx context.Context, req plugins.ApplyRequest, host plugins.Host) (plugins.ApplyResponse, error) {
	return s.Step.Apply(ctx, req, blindHost{host})
}

type blindHost struct{ plugins.Host }

func (h blindHost) Effect(ctx context.Context, key string) (plugins.EffectState, error) {
	s, err := h.Host.Effect(ctx, key)
	if s == plugins.EffectIntended {
		s = plugins.EffectNone
	}
	return s, err
}

func (h blindHost) Intend(ctx context.Context, spec plugins.EffectSpec) error {
	if s, err := h.Host.Effect(ctx, spec.Key); err != nil || s == plugins.EffectIntended {
		return err
	}
	return h.Host.Intend(ctx, spec)
}
