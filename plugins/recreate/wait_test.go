package recreate

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/plugintest"
)

func TestPoll(t *testing.T) {
	t.Parallel()
	errBoom := errors.New("boom")
	type answer struct {
		done bool
		note string
		err  error
	}
	cases := map[string]struct {
		reason   string
		answers  []answer // the last one is given for ever
		progress []string
		err      string
	}{
		"done": {
			reason: "each new note is shown once", answers: []answer{{note: "a"}, {note: "a"}, {note: "b"}, {done: true}},
			progress: []string{"a", "b"},
		},
		"may pass": {
			reason:   "an error that may pass is a note like any other",
			answers:  []answer{{err: plugins.WithKind(plugins.KindTransient, errBoom)}, {done: true}},
			progress: []string{"boom"},
		},
		"final": {reason: "any other error ends the waiting", answers: []answer{{err: errBoom}}, err: "wait: boom"},
		"deadline": {
			reason: "the deadline ends it with what was waited for", answers: []answer{{note: "a"}, {note: "b"}},
			progress: []string{"a", "b"}, err: "wait (b): context deadline exceeded",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				host := &plugintest.Host{}
				r := run{supervisor: supervisor{ref: tkg.Ref{Namespace: "team-a", Name: "dev1"}}, host: host}
				i := -1
				err := r.poll(ctx, "wait", func(context.Context) (bool, string, error) {
					i = min(i+1, len(tc.answers)-1)
					return tc.answers[i].done, tc.answers[i].note, tc.answers[i].err
				})
				if tc.err == "" && err != nil || tc.err != "" && (err == nil || err.Error() != tc.err) {
					t.Errorf("%s: error %v, want %q", tc.reason, err, tc.err)
				}
				if errors.Is(err, context.DeadlineExceeded) && !strings.Contains(plugins.HintOf(err), "kubectl describe") {
					t.Errorf("%s: the hint has no command: %q", tc.reason, plugins.HintOf(err))
				}
				var got []string
				for _, c := range host.Calls(plugintest.MethodProgress) {
					got = append(got, c.Text)
				}
				got = slices.Compact(got) // said at each look
				if diff := cmp.Diff(tc.progress, got); diff != "" {
					t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
				}
			})
		})
	}
}

func TestApplyRefusesBeforeItActs(t *testing.T) {
	t.Parallel()
	host := &plugintest.Host{}
	_, err := step{}.Apply(t.Context(), plugins.ApplyRequest{RunID: "r1", Input: []byte(`{}`), Changes: []plugins.PlannedChange{{Action: plugins.Delete}}}, host)
	if err == nil {
		t.Error("a change that was never planned is carried out")
	}
	if calls := host.Calls(); len(calls) > 0 {
		t.Errorf("the host was touched: %+v", calls)
	}
}
