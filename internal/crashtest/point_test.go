package crashtest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/crashtest"
)

func TestParsePoint(t *testing.T) {
	t.Parallel()
	at := func(w crashtest.When, label, since string) crashtest.Boundary {
		return crashtest.Boundary{When: w, Label: label, Since: since}
	}
	for name, tc := range map[string]struct {
		reason string
		text   string
		want   crashtest.Point
		err    string
	}{
		"Least":       {"a label is enough", "kill-engine:before:run.created", crashtest.Point{Do: crashtest.KillEngine, Boundary: at(crashtest.Before, "run.created", "")}, ""},
		"KeyWithSign": {"a key may hold a colon", "kill-plugin:after:effect.done(recreate/apply-workloads:1)", crashtest.Point{Do: crashtest.KillPlugin, Boundary: at(crashtest.After, "effect.done(recreate/apply-workloads:1)", "")}, ""},
		"Instance":    {"a step may be an instance", "pause-engine:before:effect.intended(recreate%5B0%5D/delete)", crashtest.Point{Do: crashtest.PauseEngine, Boundary: at(crashtest.Before, "effect.intended(recreate%5B0%5D/delete)", "")}, ""},
		"All": {
			"everything at once", "kill-plugin:during:call.apply(trust)@step.started(trust)#2+1.5s",
			crashtest.Point{Do: crashtest.KillPlugin, Boundary: at(crashtest.During, "call.apply(trust)", "step.started(trust)"), Nth: 2, Delay: 1500 * time.Millisecond}, "",
		},
		"Meddle":       {"it has no boundary", "meddle", crashtest.Point{Do: crashtest.Meddle}, ""},
		"NoSuchDo":     {"what is not known is refused", "kill-all:before:run.created", crashtest.Point{}, "expected WHAT:WHEN:LABEL"},
		"NoLabel":      {"a boundary has a label", "kill-engine:before:", crashtest.Point{}, "expected WHAT:WHEN:LABEL"},
		"DuringEntry":  {"an append is no call", "kill-plugin:during:effect.done(a/b)", crashtest.Point{}, `"during" goes with`},
		"BeforeCall":   {"a call is no append", "kill-plugin:before:call.plan(a)", crashtest.Point{}, `"during" goes with`},
		"DelayedEntry": {"an append takes no time", "kill-engine:before:run.created+1s", crashtest.Point{}, "has a delay"},
		"NoDelay":      {"a delay is a duration", "kill-plugin:during:call.plan(a)+soon", crashtest.Point{}, "is no duration"},
		"Negative":     {"a delay is ahead", "kill-plugin:during:call.plan(a)+-1s", crashtest.Point{}, "is no duration"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := crashtest.ParsePoint(tc.text)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("%s: got %v, want an error with %q", tc.reason, err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
			if got.String() != tc.text {
				t.Errorf("written %q, read from %q", got, tc.text)
			}
		})
	}
}

func TestParseSchedule(t *testing.T) {
	t.Parallel()
	s, err := crashtest.ParseSchedule("# found on 2026-11-24\nkill-engine:before:run.created  meddle\n\n kill-engine:after:run.planned\n")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.String(), "kill-engine:before:run.created meddle kill-engine:after:run.planned"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, text := range []string{"", "# nothing but a comment", "meddle nonsense"} {
		if s, err := crashtest.ParseSchedule(text); err == nil {
			t.Errorf("%q was read as %q", text, s)
		}
	}
}

// FuzzParsePoint checks that what is read is written so that it is read as the same.
func FuzzParsePoint(f *testing.F) {
	f.Add("kill-plugin:during:call.apply(trust)@step.started(trust)#2+1.5s")
	f.Add("pause-engine:before:effect.intended(a/b:1)@run.planned")
	f.Add("meddle")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := crashtest.ParsePoint(text)
		if err != nil {
			return
		}
		again, err := crashtest.ParsePoint(p.String())
		if err != nil {
			t.Fatalf("%q was read, and written as %q, which is not: %v", text, p, err)
		}
		p.Nth, again.Nth = max(p.Nth, 1), max(again.Nth, 1)
		if diff := cmp.Diff(p, again); diff != "" {
			t.Errorf("%q (-read, +read again):\n%s", text, diff)
		}
	})
}
