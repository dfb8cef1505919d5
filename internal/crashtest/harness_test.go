package crashtest_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tkgfix/tkgfix/internal/crashtest"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/pluginhost"
)

func harness(t *testing.T, mutant string) *crashtest.Harness {
	var n atomic.Int64
	return &crashtest.Harness{
		World: desk{t: t, mutant: mutant}, Now: time.Now, Tell: t.Logf, Seed: 1, Random: 1,
		NewID: func() (string, error) { return fmt.Sprintf("run-%d", n.Add(1)), nil },
		Alive: func(p engine.Process) (bool, error) { return pluginhost.Alive(pluginhost.Process(p)) },
	}
}

func test(t *testing.T, h *crashtest.Harness) *crashtest.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	r, err := h.Run(ctx, func(r crashtest.RoundReport) { t.Logf("round %s: %d points in %s", r.Name, r.Points, r.Took) })
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// complain fails the test with each thing that did not hold.
func complain(t *testing.T, r *crashtest.Report) {
	t.Helper()
	for _, round := range r.Rounds {
		for _, f := range round.Failures {
			t.Errorf("round %s, schedule %s", round.Name, f.Schedule)
			for _, v := range f.Violations {
				t.Error(v)
			}
		}
	}
}

// TestSoundEngine kills a run that is right wherever it can, in every round: nothing must fail.
func TestSoundEngine(t *testing.T) {
	t.Parallel()
	r := test(t, harness(t, "none"))
	complain(t, r)
	points := map[crashtest.Round]int{}
	for _, round := range r.Rounds {
		points[round.Name] += round.Points
	}
	// run.created, resumed, 3 plugins, planned, waiting, 2 decisions, resumed, 2 plugins, 2 steps of 3 entries, 3 effects of 2, finished
	for _, name := range crashtest.Rounds() {
		if want := map[crashtest.Round]int{"before": 20, "after": 20, "plugin": 15, "pause": 6, "meddle": 1, "random": 1}[name]; points[name] < want {
			t.Errorf("round %s: %d points struck, want %d at least", name, points[name], want)
		}
	}
}

// TestMutants gives each mutant a schedule under which it does harm. It must be caught, by the assertion that it breaks; the
// sound engine must pass the same.
func TestMutants(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason   string
		schedule string
		want     crashtest.Assertion
		says     string
	}{
		"no-fsync": {
			"the act is done and its intent is lost", "kill-engine:before:effect.done(turn/turn)",
			crashtest.Intended, "no intent is left in the journal for",
		},
		"no-observe": {
			"the act is done again", "kill-engine:before:effect.done(turn/turn)",
			crashtest.OneEffect, "2 times: patch lamps desk u0",
		},
		"no-fence": {
			"one that lost its lock writes into another's journal", "pause-engine:before:effect.intended(turn/turn)",
			crashtest.NoLostLock, "woke and appended",
		},
		"no-lock": {
			"two at once", "pause-engine:before:effect.intended(turn/turn)",
			crashtest.NoLostLock, "another could take the lock",
		},
		"no-digest": {
			"what was approved is not what is done", "meddle",
			crashtest.Approved, "which nobody approved",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, mutant := range []string{name, "none"} {
				h := harness(t, mutant)
				var err error
				if h.Schedule, err = crashtest.ParseSchedule(tc.schedule); err != nil {
					t.Fatal(err)
				}
				r := test(t, h)
				if mutant == "none" {
					complain(t, r)
					continue
				}
				if !slices.Contains(r.Assertions(), tc.want) {
					t.Errorf("%s: not caught by %q, but by %q", tc.reason, tc.want, r.Assertions())
				}
				if got := said(r); !strings.Contains(got, tc.says) {
					t.Errorf("%s: the report does not say %q:\n%s", tc.reason, tc.says, got)
				}
			}
		})
	}
}

func said(r *crashtest.Report) string {
	var b strings.Builder
	for _, round := range r.Rounds {
		for _, f := range round.Failures {
			for _, v := range f.Violations {
				fmt.Fprintln(&b, v)
			}
		}
	}
	return b.String()
}

// TestShortestSchedule lets a mutant fail in a whole round, and wants the one point that does it.
func TestShortestSchedule(t *testing.T) {
	t.Parallel()
	h := harness(t, "no-observe")
	h.Rounds, h.ShrinkBudget = []crashtest.Round{crashtest.RoundBefore}, 10*time.Minute
	r := test(t, h)
	if r.Failures != 1 {
		t.Fatalf("%d failures: %s", r.Failures, said(r))
	}
	f := r.Rounds[len(r.Rounds)-1].Failures[0]
	const want = "kill-engine:before:effect.done(turn/turn)@effect.intended(turn/turn)"
	if f.Schedule != want || f.Struck < 5 {
		t.Errorf("of %d points it kept %s, want %s", f.Struck, f.Schedule, want)
	}
}
