package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/plugintest"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

var errBoom = errors.New("boom")

const key = "delete-cluster"

// observed is one answer of a scripted observation.
type observed struct {
	obs sdk.Observation
	err error
}

func yes() observed { return observed{obs: sdk.Observation{State: sdk.Yes, Note: "404"}} }
func no() observed  { return observed{obs: sdk.Observation{State: sdk.No}} }
func underway(note string) observed {
	return observed{obs: sdk.Observation{State: sdk.Underway, Note: note}}
}
func unknowable() observed {
	return observed{obs: sdk.Observation{State: sdk.Unknowable, Note: "kubectl get tkc"}}
}
func transient() observed { return observed{err: plugins.WithKind(plugins.KindTransient, errBoom)} }

func many(o observed, n int) []observed {
	var out []observed
	for range n {
		out = append(out, o)
	}
	return out
}

func TestEffect(t *testing.T) {
	t.Parallel()
	type want struct {
		Acts     int
		Observes int
		State    plugins.EffectState
		Err      error
		Kind     plugins.ErrorKind
		Hint     string
		Took     time.Duration
		Progress []string
	}
	cases := map[string]struct {
		reason   string
		journal  plugins.EffectState
		observe  []observed // the last one repeats
		actErr   error
		before   map[plugintest.Method]error
		deadline time.Duration
		want     want
	}{
		"Done": {
			reason:  "what is done is neither looked at nor done again",
			journal: plugins.EffectDone,
			observe: []observed{no()},
			want:    want{State: plugins.EffectDone},
		},
		"First": {
			reason:  "the first time it acts without looking, then looks",
			observe: []observed{yes()},
			want:    want{Acts: 1, Observes: 1, State: plugins.EffectDone},
		},
		"FirstSlow": {
			reason:  "after the act neither no nor underway makes it act again; what is waited for is shown once for each note",
			observe: []observed{no(), underway("a"), underway("a"), underway("b"), yes()},
			want:    want{Acts: 1, Observes: 5, State: plugins.EffectDone, Took: 4 * time.Second, Progress: []string{"a", "b"}},
		},
		"FirstActFails": {
			reason:  "an act that fails leaves the intent open: it may have happened all the same",
			actErr:  errBoom,
			observe: []observed{yes()},
			want:    want{Acts: 1, State: plugins.EffectIntended, Err: errBoom, Kind: plugins.KindFailed},
		},
		"FirstActFailsTransiently": {
			reason:  "the kind of the act's error is kept for the engine, which applies again",
			actErr:  plugins.WithKind(plugins.KindTransient, errBoom),
			observe: []observed{yes()},
			want:    want{Acts: 1, State: plugins.EffectIntended, Err: errBoom, Kind: plugins.KindTransient},
		},
		"FirstUnknowable": {
			reason:  "what cannot be known after the act stops for a person",
			observe: []observed{unknowable()},
			want: want{
				Acts: 1, Observes: 1, State: plugins.EffectIntended,
				Kind: plugins.KindUnknowable, Hint: "kubectl get tkc",
			},
		},
		"IntendedYes": {
			reason:  "it happened before the crash: it is not done again",
			journal: plugins.EffectIntended,
			observe: []observed{yes()},
			want:    want{Observes: 1, State: plugins.EffectDone},
		},
		"IntendedNo": {
			reason:  "it had not begun before the crash: it is done now, once",
			journal: plugins.EffectIntended,
			observe: []observed{no(), no(), yes()},
			want:    want{Acts: 1, Observes: 3, State: plugins.EffectDone, Took: time.Second},
		},
		"IntendedNoActFails": {
			reason:  "an act that fails on resumption leaves the intent open",
			journal: plugins.EffectIntended,
			observe: []observed{no()},
			actErr:  errBoom,
			want:    want{Acts: 1, Observes: 1, State: plugins.EffectIntended, Err: errBoom, Kind: plugins.KindFailed},
		},
		"IntendedUnderway": {
			reason:  "it is on its way: it is waited for, and not done again",
			journal: plugins.EffectIntended,
			observe: append(many(underway("deleting"), 90), yes()),
			want: want{
				Observes: 91, State: plugins.EffectDone, Took: 90 * time.Second,
				Progress: []string{"deleting"},
			},
		},
		"IntendedUnderwayThenNo": {
			reason:  "what was on its way and is not any more, and was not begun by this process, is begun once",
			journal: plugins.EffectIntended,
			observe: []observed{underway("a"), no(), no(), yes()},
			want:    want{Acts: 1, Observes: 4, State: plugins.EffectDone, Took: 2 * time.Second, Progress: []string{"a"}},
		},
		"IntendedUnknowable": {
			reason:  "what cannot be known stops for a person, with what to type",
			journal: plugins.EffectIntended,
			observe: []observed{unknowable()},
			want:    want{Observes: 1, State: plugins.EffectIntended, Kind: plugins.KindUnknowable, Hint: "kubectl get tkc"},
		},
		"ObserveTransient": {
			reason:  "a look that fails for a moment is taken again",
			journal: plugins.EffectIntended,
			observe: []observed{transient(), transient(), yes()},
			want:    want{Observes: 3, State: plugins.EffectDone, Took: 3 * time.Second},
		},
		"ObserveTransientForLong": {
			reason:  "the engine has the last word on how long to try",
			journal: plugins.EffectIntended,
			observe: []observed{transient()},
			want: want{
				Observes: 7, State: plugins.EffectIntended, Err: errBoom,
				Kind: plugins.KindTransient, Took: 35 * time.Second,
			},
		},
		"ObserveFails": {
			reason:  "a look that fails for good must not be taken for a no",
			journal: plugins.EffectIntended,
			observe: []observed{{obs: sdk.Observation{State: sdk.No}, err: errBoom}},
			want:    want{Observes: 1, State: plugins.EffectIntended, Err: errBoom, Kind: plugins.KindFailed},
		},
		"ObserveOddly": {
			reason:  "a state that does not exist is an error, not a no",
			journal: plugins.EffectIntended,
			observe: []observed{{obs: sdk.Observation{State: 17}}},
			want:    want{Observes: 1, State: plugins.EffectIntended, Kind: plugins.KindFailed},
		},
		"JournalUnread": {
			reason: "without the journal nothing is begun",
			before: map[plugintest.Method]error{plugintest.MethodEffect: errBoom},
			want:   want{State: plugins.EffectNone, Err: errBoom, Kind: plugins.KindFailed},
		},
		"IntentNotDurable": {
			reason: "without a durable intent nothing is begun",
			before: map[plugintest.Method]error{plugintest.MethodIntend: errBoom},
			want:   want{State: plugins.EffectNone, Err: errBoom, Kind: plugins.KindFailed},
		},
		"EndNotDurable": {
			reason:  "an end that is not durable is told",
			observe: []observed{yes()},
			before:  map[plugintest.Method]error{plugintest.MethodDone: errBoom},
			want:    want{Acts: 1, Observes: 1, State: plugins.EffectIntended, Err: errBoom, Kind: plugins.KindFailed},
		},
		"ProgressNotShown": {
			reason:  "that something cannot be shown is no reason to stop",
			journal: plugins.EffectIntended,
			observe: []observed{underway("a"), yes()},
			before:  map[plugintest.Method]error{plugintest.MethodProgress: errBoom},
			want:    want{Observes: 2, State: plugins.EffectDone, Took: time.Second},
		},
		"Deadline": {
			reason:   "the engine's timeout ends the waiting, and the error says what was waited for",
			observe:  []observed{underway("machines")},
			deadline: 2500 * time.Millisecond,
			want: want{
				Acts: 1, Observes: 3, State: plugins.EffectIntended, Err: context.DeadlineExceeded,
				Kind: plugins.KindFailed, Took: 2500 * time.Millisecond, Progress: []string{"machines"},
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				host := &plugintest.Host{Before: func(c plugintest.Call) error { return tc.before[c.Method] }}
				host.Set(key, tc.journal)
				if tc.journal == "" {
					host.Set(key, plugins.EffectNone)
				}
				ctx := t.Context()
				if tc.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tc.deadline)
					defer cancel()
				}
				var got want
				start := time.Now()
				err := sdk.Effect(ctx, host, plugins.EffectSpec{Key: key},
					func(context.Context) (sdk.Observation, error) {
						o := tc.observe[min(got.Observes, len(tc.observe)-1)]
						got.Observes++
						return o.obs, o.err
					},
					func(context.Context) error {
						if s := host.State(key); s != plugins.EffectIntended {
							t.Errorf("%s: acted while the journal says %s", tc.reason, s)
						}
						got.Acts++
						return tc.actErr
					})
				got.Took = time.Since(start)
				got.State = host.State(key)
				if err != nil {
					got.Kind, got.Hint = plugins.KindOf(err), plugins.HintOf(err)
				}
				if tc.want.Err != nil && errors.Is(err, tc.want.Err) {
					got.Err = tc.want.Err
				}
				for _, c := range host.Calls(plugintest.MethodProgress) {
					got.Progress = append(got.Progress, c.Text)
				}
				got.Progress = slices.Compact(got.Progress) // said at each look
				if diff := cmp.Diff(tc.want, got, cmp.Comparer(func(a, b error) bool { return errors.Is(a, b) || errors.Is(b, a) })); diff != "" {
					t.Errorf("%s: %v (-want, +got):\n%s", tc.reason, err, diff)
				}
			})
		})
	}
}

func TestEffectRefusesNoKey(t *testing.T) {
	t.Parallel()
	host := &plugintest.Host{}
	err := sdk.Effect(t.Context(), host, plugins.EffectSpec{}, nil, nil)
	if err == nil || len(host.Calls()) > 0 {
		t.Errorf("an effect without a key: err %v, calls %v", err, host.Calls())
	}
}

func TestEffectEndedBeforeAct(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	host := &plugintest.Host{After: func(c plugintest.Call) error {
		if c.Method == plugintest.MethodIntend {
			cancel()
		}
		return nil
	}}
	err := sdk.Effect(ctx, host, plugins.EffectSpec{Key: key}, nil, func(context.Context) error {
		t.Error("acted although the run was cancelled after the intent")
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("want context.Canceled, got %v", err)
	}
}

// killed is what a process dies of at a kill point.
type killed struct{}

// world is what the effect acts on. It outlives the process.
type world struct {
	// took counts how often the act took hold.
	took int
	// polls is how many looks it takes until it has happened.
	polls int
	// points counts the points at which a process may be killed; killAt is the one at which it is.
	points, killAt int
	trace          []string
}

// point is a place where the process may die, before or after something happened.
func (w *world) point(what string) {
	w.points++
	w.trace = append(w.trace, what)
	if w.points == w.killAt {
		panic(killed{})
	}
}

func (w *world) observe(context.Context) (sdk.Observation, error) {
	w.point("before observe")
	defer w.point("after observe")
	switch {
	case w.took == 0:
		return sdk.Observation{State: sdk.No}, nil
	case w.polls > 0:
		w.polls--
		return sdk.Observation{State: sdk.Underway, Note: "deleting"}, nil
	default:
		return sdk.Observation{State: sdk.Yes}, nil
	}
}

func (w *world) act(context.Context) error {
	w.point("before act")
	w.took++
	w.point("after act")
	return nil
}

// apply is one process that applies; it reports whether it lived to the end.
func (w *world) apply(t *testing.T, host plugins.Host) (lived bool) {
	t.Helper()
	defer func() {
		if v := recover(); v != nil {
			if _, ok := v.(killed); !ok {
				panic(v)
			}
		}
	}()
	if err := sdk.Effect(t.Context(), host, plugins.EffectSpec{Key: key}, w.observe, w.act); err != nil {
		t.Fatalf("effect: %v", err)
	}
	return true
}

// TestEffectKilledAnywhere kills the process at every point, and the one that resumes at every point too: the act takes hold once.
func TestEffectKilledAnywhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		run := func(first, second int) (points int) {
			w := &world{polls: 2, killAt: first}
			host := &plugintest.Host{
				Before: func(c plugintest.Call) error { w.point("before " + string(c.Method)); return nil },
				After:  func(c plugintest.Call) error { w.point("after " + string(c.Method)); return nil },
			}
			lived := w.apply(t, host)
			firstPoints := w.points
			for _, at := range []int{second, 0} {
				if !lived {
					w.points, w.killAt = 0, at
					lived = w.apply(t, host)
				}
			}
			where := fmt.Sprintf("killed at %d, then at %d: %s", first, second, strings.Join(w.trace, ", "))
			if !lived {
				t.Fatalf("%s: did not end", where)
			}
			if w.took != 1 {
				t.Errorf("%s: took hold %d times", where, w.took)
			}
			if s := host.State(key); s != plugins.EffectDone {
				t.Errorf("%s: journal says %s", where, s)
			}
			return firstPoints
		}
		points := run(0, 0)
		if points < 10 {
			t.Fatalf("only %d points: the test kills nowhere", points)
		}
		for first := 1; first <= points; first++ {
			for second := 0; second <= points; second++ {
				run(first, second)
			}
		}
	})
}
