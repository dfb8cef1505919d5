// Package statetest is the suite that each state.Store must pass.
package statetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/state"
)

// Run runs the suite. open returns an empty store; reopen returns a second one over the same journals, as another process
// would have it.
func Run(t *testing.T, open func(t *testing.T) (store state.Store, reopen func() state.Store)) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, state.Store, func() state.Store){
		"AppendThenRead":  appendThenRead,
		"ReadFrom":        readFrom,
		"Fence":           fence,
		"RaceOneWins":     raceOneWins,
		"AllOrNone":       allOrNone,
		"LockExcludes":    lockExcludes,
		"LockNeedsARun":   lockNeedsARun,
		"Break":           breakLock,
		"BreakFences":     breakFences,
		"BreakRace":       breakRace,
		"NoSuchRun":       noSuchRun,
		"HostileRunID":    hostileRunID,
		"ListsInOrder":    listsInOrder,
		"SurvivesReopen":  survivesReopen,
		"CallersMayReuse": callersMayReuse,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, reopen := open(t)
			test(t, s, reopen)
		})
	}
}

func draft(n int) state.Draft {
	return state.Draft{
		Time: time.Date(2026, 11, 23, 12, 0, n, 0, time.UTC), Kind: "test.entry", Data: json.RawMessage(fmt.Sprintf(`{"n":%d,"text":"<ü&>"}`, n)),
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func fill(t *testing.T, s state.Store, run string, n int) {
	t.Helper()
	for i := 1; i <= n; i++ {
		seq, err := s.Append(t.Context(), run, uint64(i), draft(i))
		must(t, err)
		if seq != uint64(i) {
			t.Fatalf("append %d returned %d", i, seq)
		}
	}
}

func numbers(entries []state.Entry) []string {
	var out []string
	for _, e := range entries {
		var d struct{ N int }
		if json.Unmarshal(e.Data, &d) != nil {
			d.N = -1
		}
		out = append(out, fmt.Sprintf("%d:%s:%d:%s", e.Seq, e.Kind, d.N, e.Time.Format("05")))
	}
	return out
}

func appendThenRead(t *testing.T, s state.Store, _ func() state.Store) {
	fill(t, s, "a", 3)
	got, err := s.Read(t.Context(), "a", 1)
	must(t, err)
	want := []string{"1:test.entry:1:01", "2:test.entry:2:02", "3:test.entry:3:03"}
	if diff := cmp.Diff(want, numbers(got)); diff != "" {
		t.Errorf("Read (-want, +got):\n%s", diff)
	}
	for i, e := range got[1:] {
		sealed, _, err := state.Seal(got[i].Seq, got[i].Prev, state.Draft{Time: got[i].Time, Kind: got[i].Kind, Data: got[i].Data})
		must(t, err)
		if e.Prev != sealed.Sum || sealed.Sum == "" {
			t.Errorf("entry %d does not hold the sum of the one before", e.Seq)
		}
	}
}

func readFrom(t *testing.T, s state.Store, _ func() state.Store) {
	fill(t, s, "a", 3)
	for from, want := range map[uint64]int{0: 3, 1: 3, 2: 2, 3: 1, 4: 0, 99: 0} {
		got, err := s.Read(t.Context(), "a", from)
		must(t, err)
		if len(got) != want {
			t.Errorf("Read from %d returned %d entries, want %d", from, len(got), want)
		}
	}
}

func fence(t *testing.T, s state.Store, reopen func() state.Store) {
	fill(t, s, "a", 2)
	other := reopen()
	_, err := other.Append(t.Context(), "a", 3, draft(3))
	must(t, err)
	for _, at := range []uint64{0, 1, 2, 3, 5} {
		if _, err := s.Append(t.Context(), "a", at, draft(9)); !errors.Is(err, state.ErrConflict) {
			t.Errorf("append at %d, where 4 is next: got %v, want ErrConflict", at, err)
		}
	}
	got, err := s.Read(t.Context(), "a", 1)
	must(t, err)
	if len(got) != 3 {
		t.Errorf("a refused append left %d entries, want 3", len(got))
	}
}

func raceOneWins(t *testing.T, s state.Store, reopen func() state.Store) {
	fill(t, s, "a", 1)
	const writers = 8
	var wg sync.WaitGroup
	won := make(chan int, writers)
	for i := range writers {
		mine := reopen()
		wg.Go(func() {
			if _, err := mine.Append(t.Context(), "a", 2, draft(i)); err == nil {
				won <- i
			} else if !errors.Is(err, state.ErrConflict) {
				t.Errorf("writer %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	close(won)
	if len(won) != 1 {
		t.Errorf("%d writers appended entry 2, want 1", len(won))
	}
}

func allOrNone(t *testing.T, s state.Store, _ func() state.Store) {
	bad := state.Draft{Time: time.Now(), Kind: "bad", Data: json.RawMessage(`{"half":`)}
	if _, err := s.Append(t.Context(), "a", 1, draft(1), bad); err == nil {
		t.Fatal("an entry that is no JSON was taken")
	}
	if _, err := s.Append(t.Context(), "a", 1, draft(1), draft(2)); err != nil {
		t.Fatalf("the refused append left something behind: %v", err)
	}
}

func lockExcludes(t *testing.T, s state.Store, reopen func() state.Store) {
	fill(t, s, "a", 1)
	first := state.Holder{User: "ann", Host: "jump", PID: 42, Since: time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)}
	release, err := s.Lock(t.Context(), "a", first)
	must(t, err)
	_, err = reopen().Lock(t.Context(), "a", state.Holder{User: "bob"})
	locked, ok := errors.AsType[*state.LockedError](err)
	if !ok {
		t.Fatalf("second lock: got %v, want a LockedError", err)
	}
	if diff := cmp.Diff(first, locked.Holder); diff != "" {
		t.Errorf("holder (-want, +got):\n%s", diff)
	}
	must(t, release())
	release, err = reopen().Lock(t.Context(), "a", state.Holder{User: "bob"})
	if err != nil {
		t.Fatalf("lock after release: %v", err)
	}
	must(t, release())
}

func noSuchRun(t *testing.T, s state.Store, _ func() state.Store) {
	if _, err := s.Read(t.Context(), "none", 1); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("Read: got %v, want ErrNotFound", err)
	}
	got, err := s.List(t.Context())
	must(t, err)
	if len(got) != 0 {
		t.Errorf("List of an empty store: %q", got)
	}
}

func hostileRunID(t *testing.T, s state.Store, _ func() state.Store) {
	for _, id := range []string{"", ".", "..", "../x", "a/b", "A", "a b", "-a", "a\n", string(make([]byte, 300))} {
		if _, err := s.Append(t.Context(), id, 1, draft(1)); err == nil {
			t.Errorf("a run called %q was made", id)
		}
		if _, err := s.Lock(t.Context(), id, state.Holder{}); err == nil {
			t.Errorf("a run called %q was locked", id)
		}
		if _, err := s.Read(t.Context(), id, 1); !errors.Is(err, state.ErrNotFound) {
			t.Errorf("Read of %q: got %v, want ErrNotFound", id, err)
		}
	}
}

func listsInOrder(t *testing.T, s state.Store, _ func() state.Store) {
	for _, id := range []string{"c", "a", "b"} {
		fill(t, s, id, 1)
	}
	got, err := s.List(t.Context())
	must(t, err)
	if diff := cmp.Diff([]string{"a", "b", "c"}, got); diff != "" {
		t.Errorf("List (-want, +got):\n%s", diff)
	}
}

func survivesReopen(t *testing.T, s state.Store, reopen func() state.Store) {
	fill(t, s, "a", 2)
	again := reopen()
	_, err := again.Append(t.Context(), "a", 3, draft(3))
	must(t, err)
	_, err = s.Append(t.Context(), "a", 4, draft(4))
	must(t, err)
	got, err := again.Read(t.Context(), "a", 1)
	must(t, err)
	if len(got) != 4 {
		t.Errorf("%d entries, want 4", len(got))
	}
}

func callersMayReuse(t *testing.T, s state.Store, _ func() state.Store) {
	d := draft(1)
	_, err := s.Append(t.Context(), "a", 1, d)
	must(t, err)
	copy(d.Data, strconv.Itoa(9999999))
	got, err := s.Read(t.Context(), "a", 1)
	must(t, err)
	if got := numbers(got); got[0] != "1:test.entry:1:01" {
		t.Errorf("the journal holds the caller's memory: %s", got)
	}
}
