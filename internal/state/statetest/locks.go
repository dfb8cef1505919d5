package statetest

import (
	"cmp"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/state"
)

func holder(user string, pid int) state.Holder {
	return state.Holder{User: user, Host: "jump", PID: pid, Since: time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)}
}

func lockNeedsARun(t *testing.T, s state.Store, _ func() state.Store) {
	if _, err := s.Lock(t.Context(), "none", holder("ann", 1)); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("Lock of a run without a journal: got %v, want ErrNotFound", err)
	}
	if _, err := s.Break(t.Context(), "none"); !errors.Is(err, state.ErrNotLocked) {
		t.Errorf("Break of a run without a journal: got %v, want ErrNotLocked", err)
	}
	got, err := s.List(t.Context())
	must(t, err)
	if len(got) != 0 {
		t.Errorf("locking made runs: %q", got)
	}
}

// breakLock takes a lock away from ann and gives it to bob; ann's release must not touch bob's lock.
func breakLock(t *testing.T, s state.Store, reopen func() state.Store) {
	fill(t, s, "a", 1)
	if h, err := s.Break(t.Context(), "a"); !errors.Is(err, state.ErrNotLocked) || h != (state.Holder{}) {
		t.Errorf("Break of what nobody ever held: %v, %v; want ErrNotLocked", h, err)
	}
	ann, bob := holder("ann", 42), holder("bob", 43)
	releaseAnn, err := s.Lock(t.Context(), "a", ann)
	must(t, err)
	got, err := reopen().Break(t.Context(), "a")
	must(t, err)
	if diff := gocmp.Diff(ann, got); diff != "" {
		t.Errorf("who held it (-want, +got):\n%s", diff)
	}
	if _, err := reopen().Break(t.Context(), "a"); !errors.Is(err, state.ErrNotLocked) {
		t.Errorf("Break of a broken lock: got %v, want ErrNotLocked", err)
	}
	releaseBob, err := reopen().Lock(t.Context(), "a", bob)
	must(t, err)
	if err := releaseAnn(); !errors.Is(err, state.ErrNotLocked) {
		t.Errorf("release of a broken lock: got %v, want ErrNotLocked", err)
	}
	_, err = s.Lock(t.Context(), "a", ann)
	locked, ok := errors.AsType[*state.LockedError](err)
	if !ok {
		t.Fatalf("the release of a broken lock released its successor: got %v, want a LockedError", err)
	}
	if diff := gocmp.Diff(bob, locked.Holder); diff != "" {
		t.Errorf("the release of a broken lock changed its successor's name (-want, +got):\n%s", diff)
	}
	must(t, releaseBob())
	if _, err := s.Break(t.Context(), "a"); !errors.Is(err, state.ErrNotLocked) {
		t.Errorf("Break of a released lock: got %v, want ErrNotLocked", err)
	}
	release, err := s.Lock(t.Context(), "a", ann)
	must(t, err)
	must(t, release())
}

// breakFences breaks a lock as the engine does, by appending first: the old holder cannot append any more.
func breakFences(t *testing.T, s state.Store, reopen func() state.Store) {
	fill(t, s, "a", 2)
	release, err := s.Lock(t.Context(), "a", holder("ann", 42))
	must(t, err)
	defer release()
	breaker := reopen()
	_, err = breaker.Append(t.Context(), "a", 3, draft(3))
	must(t, err)
	_, err = breaker.Break(t.Context(), "a")
	must(t, err)
	if _, err := s.Append(t.Context(), "a", 3, draft(9)); !errors.Is(err, state.ErrConflict) {
		t.Errorf("append of the broken holder: got %v, want ErrConflict", err)
	}
}

// span is the time in which a locker believed to hold the lock, on a clock that counts events.
type span struct{ from, to int64 }

// breakRace has many lock and many break. Those whose release says that they held the lock to the end must have held it
// one after the other, and no more can have lost it than were broken.
func breakRace(t *testing.T, s state.Store, reopen func() state.Store) {
	fill(t, s, "a", 1)
	const lockers, breakers, rounds, breaks = 6, 3, 30, 10
	var (
		clock, left, lost, broke atomic.Int64
		mu                       sync.Mutex
		held                     []span
		wg                       sync.WaitGroup
	)
	left.Store(lockers)
	for i := range lockers {
		mine := reopen()
		wg.Go(func() {
			defer left.Add(-1)
			for done := 0; done < rounds; {
				release, err := mine.Lock(t.Context(), "a", holder("locker", i+1))
				if _, locked := errors.AsType[*state.LockedError](err); locked {
					continue
				}
				if err != nil {
					t.Errorf("lock: %v", err)
					return
				}
				done++
				h := span{from: clock.Add(1)}
				for range 50 {
					runtime.Gosched()
				}
				h.to = clock.Add(1)
				switch err := release(); {
				case err == nil:
					mu.Lock()
					held = append(held, h)
					mu.Unlock()
				case errors.Is(err, state.ErrNotLocked):
					lost.Add(1)
				default:
					t.Errorf("release: %v", err)
				}
			}
		})
	}
	for range breakers {
		wg.Go(func() {
			for mine, done := reopen(), 0; left.Load() > 0 && done < breaks; {
				switch _, err := mine.Break(t.Context(), "a"); {
				case err == nil:
					done++
					broke.Add(1)
				case !errors.Is(err, state.ErrNotLocked):
					t.Errorf("break: %v", err)
					return
				}
				runtime.Gosched()
			}
		})
	}
	wg.Wait()
	slices.SortFunc(held, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	for i := 1; i < len(held); i++ {
		if held[i].from < held[i-1].to {
			t.Errorf("two held the present lock at once: %v and %v", held[i-1], held[i])
		}
	}
	if lost.Load() > broke.Load() {
		t.Errorf("%d lost the lock, %d were broken", lost.Load(), broke.Load())
	}
	if lost.Load() == 0 || len(held) == 0 {
		t.Errorf("%d lost the lock and %d kept it: the race is not the one that was meant", lost.Load(), len(held))
	}
}
