// Package mem keeps journals in memory, for tests and for plans that need no run.
package mem

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/tkgfix/tkgfix/internal/state"
)

// Store is a state.Store in memory.
type Store struct {
	mu    sync.Mutex
	runs  map[string]*journal
	locks map[string]*state.Holder
}

type journal struct {
	data  []byte
	chain state.Chain
}

var _ state.Store = (*Store)(nil)

// New returns an empty store.
func New() *Store {
	return &Store{runs: map[string]*journal{}, locks: map[string]*state.Holder{}}
}

// Append implements state.Store.
func (s *Store) Append(ctx context.Context, run string, at uint64, drafts ...state.Draft) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := state.CheckRun(run); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.runs[run]
	if j == nil {
		j = &journal{}
	}
	if at != j.chain.Seq+1 {
		return 0, fmt.Errorf("append entry %d to run %s: %w", at, run, state.ErrConflict)
	}
	lines, chain, err := j.chain.Extend(drafts)
	if err != nil {
		return 0, err
	}
	s.runs[run] = &journal{data: append(j.data, lines...), chain: chain}
	return chain.Seq, nil
}

// Read implements state.Store.
func (s *Store) Read(_ context.Context, run string, from uint64) ([]state.Entry, error) {
	s.mu.Lock()
	j := s.runs[run]
	s.mu.Unlock()
	if j == nil {
		return nil, fmt.Errorf("run %q: %w", run, state.ErrNotFound)
	}
	entries, _, err := state.Decode(run, state.Chain{}, j.data)
	return entries[min(uint64(len(entries)), max(from, 1)-1):], err
}

// Lock implements state.Store.
func (s *Store) Lock(_ context.Context, run string, holder state.Holder) (func() error, error) {
	if err := state.CheckRun(run); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.runs[run] == nil {
		return nil, fmt.Errorf("lock run %q: %w", run, state.ErrNotFound)
	}
	if h := s.locks[run]; h != nil {
		return nil, &state.LockedError{Run: run, Holder: *h}
	}
	// The pointer tells this lock from a later one by the same holder.
	mine := &holder
	s.locks[run] = mine
	return func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.locks[run] != mine {
			return fmt.Errorf("release run %s: %w", run, state.ErrNotLocked)
		}
		delete(s.locks, run)
		return nil
	}, nil
}

// Break implements state.Store.
func (s *Store) Break(_ context.Context, run string) (state.Holder, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.locks[run]
	if h == nil {
		return state.Holder{}, fmt.Errorf("break the lock of run %q: %w", run, state.ErrNotLocked)
	}
	delete(s.locks, run)
	return *h, nil
}

// List implements state.Store.
func (s *Store) List(context.Context) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.runs)), nil
}
