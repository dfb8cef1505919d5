package metrics

import (
	"context"
	"errors"

	"github.com/tkgfix/tkgfix/internal/state"
)

// How appends and locks end.
const (
	ok       = "ok"
	conflict = "conflict"
	failed   = "error"
	taken    = "taken"
	held     = "held"
)

// The kinds of entries that are counted by themselves: docs/state-format.md.
const (
	entryIntended = "effect.intended"
	entryDone     = "effect.done"
)

// effectOf returns what an entry says of an effect, false if it is about none.
func effectOf(kind string) (string, bool) {
	switch kind {
	case entryIntended:
		return "intended", true
	case entryDone:
		return "done", true
	}
	return "", false
}

func effectKinds() []string { return []string{"intended", "done"} }

// store counts what is asked of another store.
type store struct {
	state.Store
	m *Metrics
}

var _ state.Store = (*store)(nil)

// Store returns next with its appends and locks counted.
func (m *Metrics) Store(next state.Store) state.Store { return &store{next, m} }

// Append implements state.Store.
func (s *store) Append(ctx context.Context, run string, at uint64, drafts ...state.Draft) (uint64, error) {
	began := s.m.now()
	seq, err := s.Store.Append(ctx, run, at, drafts...)
	s.m.appending.Observe(s.m.now().Sub(began).Seconds())
	switch {
	case err == nil:
		s.m.appends.WithLabelValues(ok).Inc()
	case errors.Is(err, state.ErrConflict):
		s.m.appends.WithLabelValues(conflict).Inc()
	default:
		s.m.appends.WithLabelValues(failed).Inc()
	}
	if err != nil {
		return seq, err
	}
	s.m.entries.Add(float64(len(drafts)))
	for _, d := range drafts {
		if effect, ok := effectOf(d.Kind); ok {
			s.m.effects.WithLabelValues(effect).Inc()
		}
	}
	return seq, nil
}

// Lock implements state.Store.
func (s *store) Lock(ctx context.Context, run string, holder state.Holder) (func() error, error) {
	release, err := s.Store.Lock(ctx, run, holder)
	result := taken
	if _, locked := errors.AsType[*state.LockedError](err); locked {
		result = held
	} else if err != nil {
		result = failed
	}
	s.m.locks.WithLabelValues(result).Inc()
	return release, err
}

// Break implements state.Store.
func (s *store) Break(ctx context.Context, run string) (state.Holder, error) {
	holder, err := s.Store.Break(ctx, run)
	if err == nil {
		s.m.takeovers.Inc()
	}
	return holder, err
}
