package engine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/internal/state/mem"
)

var errCrash = errors.New("crash")

// crashing is a store whose engine dies at its n-th append, before or after the entry is durable. After that every append
// fails, as for a dead process.
type crashing struct {
	state.Store
	left  int
	after bool
	dead  bool
}

func (c *crashing) Append(ctx context.Context, run string, at uint64, drafts ...state.Draft) (uint64, error) {
	if c.dead {
		return 0, errCrash
	}
	c.left--
	if c.left > 0 {
		return c.Store.Append(ctx, run, at, drafts...)
	}
	c.dead = true
	if c.after {
		if _, err := c.Store.Append(ctx, run, at, drafts...); err != nil {
			return 0, err
		}
	}
	return 0, errCrash
}

// TestCrashAtEveryBoundary kills the engine at each append of a whole run, resumes it, and wants the same end: the lamp is
// on, and it was turned on once.
func TestCrashAtEveryBoundary(t *testing.T) {
	t.Parallel()
	boundaries := 0
	for _, after := range []bool{false, true} {
		for n := 1; ; n++ {
			w := &world{serial: "s1"}
			store := mem.New()
			create(t, newEngine(w, store))
			c := &crashing{Store: store, left: n, after: after}
			name := fmt.Sprintf("append %d, durable %t", n, after)
			if !throughCrash(t, name, w, newEngine(w, c), newEngine(w, store)) {
				break
			}
			if !w.on || w.turned != 1 {
				t.Errorf("%s: lit %t, turned on %d times", name, w.on, w.turned)
			}
			boundaries++
		}
	}
	// resumed, planned, waiting, decided, resumed, planned again, started, intended, done, finished, planned, finished
	if boundaries < 20 {
		t.Errorf("only %d boundaries were met: the run is not the one that was meant", boundaries)
	}
}

// throughCrash drives a run with the engine that dies, then with the one that lives, and says whether the first died.
func throughCrash(t *testing.T, name string, w *world, dies, lives *engine.Engine) bool {
	t.Helper()
	for _, e := range []*engine.Engine{dies, lives} {
		for range 10 {
			r, err := e.Run(t.Context(), "r")
			if errors.Is(err, errCrash) {
				break
			}
			if errors.Is(err, engine.ErrFinal) || err == nil && r.Status == engine.Done {
				return e == lives
			}
			if err != nil || r.Status != engine.Waiting {
				t.Fatalf("%s: status %s, %v", name, r.Status, err)
			}
			if w.turned > 0 {
				t.Fatalf("%s: waits for approval of what it has done", name)
			}
			if err := approve(t, e, r.PendingGates(e.Now())[0].Digest); errors.Is(err, errCrash) {
				break
			}
		}
	}
	t.Fatalf("%s: no end after ten attempts", name)
	return false
}

// TestFencedWriterStops has another writer append while a step acts: the engine must not go on.
func TestFencedWriterStops(t *testing.T) {
	t.Parallel()
	w := &world{}
	store := mem.New()
	e := newEngine(w, store)
	create(t, e)
	r := run(t, e, engine.Waiting)
	if err := approve(t, e, r.PendingGates(e.Now())[0].Digest); err != nil {
		t.Fatal(err)
	}
	e.Watch = func(ev engine.Event) {
		if ev.Kind != engine.EventApplying {
			return
		}
		now, err := e.Load(t.Context(), "r")
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := store.Append(t.Context(), "r", now.Seq+1, state.Draft{Kind: "other.writer", Data: []byte("{}")}); err != nil {
			t.Error(err)
		}
	}
	_, err := e.Run(t.Context(), "r")
	if !errors.Is(err, state.ErrConflict) {
		t.Errorf("got %v, want ErrConflict", err)
	}
	if w.turned != 0 {
		t.Error("a fenced engine acted")
	}
}
