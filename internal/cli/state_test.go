package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/internal/state/file"
)

// locked makes a run that bob holds, and returns the state folder and bob's release.
func locked(t *testing.T) (string, func() error) {
	t.Helper()
	dir := t.TempDir()
	s := file.New(dir)
	_, err := s.Append(t.Context(), "r1", 1, state.Draft{Time: time.Unix(1, 0), Kind: "run.created", Data: json.RawMessage(`{"source":"x"}`)})
	if err != nil {
		t.Fatal(err)
	}
	release, err := s.Lock(t.Context(), "r1", state.Holder{User: "bob", Host: "elsewhere", PID: 7, Since: time.Unix(0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	return dir, release
}

// TestUnlockAsks types answers at a terminal: only the run's id breaks its lock. It is not parallel: urfave/cli
// keeps its help flag in a variable that each command line writes.
func TestUnlockAsks(t *testing.T) {
	for name, tc := range map[string]struct {
		reason, typed string
		interactive   bool
		code          int
	}{
		"TheRun":     {"the run's id confirms", "r1\n", true, ExitDone},
		"Yes":        {"yes is not what was asked for", "yes\n", true, ExitFailed},
		"Nothing":    {"an empty line confirms nothing", "\n", true, ExitFailed},
		"End":        {"nor does the end of the input", "", true, ExitFailed},
		"NoTerminal": {"without a terminal nobody can confirm", "r1\n", false, ExitFailed},
	} {
		t.Run(name, func(t *testing.T) {
			dir, release := locked(t)
			var out, said bytes.Buffer
			stdio := IO{In: strings.NewReader(tc.typed), Out: &out, Err: &said, Interactive: tc.interactive}
			if code := Main(t.Context(), stdio, []string{"tkgfix", "--state", dir, "state", "unlock", "r1"}); code != tc.code {
				t.Errorf("%s: exit %d, want %d\n%s", tc.reason, code, tc.code, said.String())
			}
			if !strings.Contains(said.String(), "run r1 is locked by bob@elsewhere (pid 7) since 1970-01-01T00:00:00Z, for ") {
				t.Errorf("it does not say who holds the lock, since when and for how long:\n%s", said.String())
			}
			if lost := errors.Is(release(), state.ErrNotLocked); lost != (tc.code == ExitDone) {
				t.Errorf("%s: the lock was broken: %t", tc.reason, lost)
			}
		})
	}
}

func TestLockHint(t *testing.T) {
	t.Parallel()
	since := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		reason string
		since  time.Time
		want   string
	}{
		"Known":   {"for how long", since, "it has been held for 1h2m3s; wait"},
		"Unknown": {"a holder without a name", time.Time{}, "it has been held; wait"},
		"Future":  {"clocks that differ", since.Add(24 * time.Hour), "it has been held; wait"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := lockHint(&state.LockedError{Run: "r1", Holder: state.Holder{Since: tc.since}}, since.Add(time.Hour+2*time.Minute+3*time.Second))
			if !strings.HasPrefix(got, tc.want) || !strings.Contains(got, "tkgfix state unlock r1") {
				t.Errorf("%s: %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}

func TestPrunable(t *testing.T) {
	t.Parallel()
	at := func(hour int) time.Time { return time.Date(2026, 11, 23, hour, 0, 0, 0, time.UTC) }
	all := []listed{
		{ID: "a", Status: engine.Done, Updated: at(1)}, {ID: "b", Status: engine.Rejected, Updated: at(9)},
		{ID: "c", Status: engine.Failed, Updated: at(2)}, {ID: "d", Status: engine.Done, Updated: at(3)},
		{ID: "e", Status: "damaged"}, {ID: "f", Status: engine.Done, Updated: at(4)},
	}
	for name, tc := range map[string]struct {
		reason string
		keep   int
		before time.Time
		want   string
	}{
		"All":     {"only what is done or rejected", 0, at(23), "a b d f"},
		"Old":     {"when it ended counts, not when it began", 0, at(4), "a d"},
		"Keep":    {"the youngest stay", 2, at(23), "a b"},
		"Both":    {"both must hold", 2, at(5), "a"},
		"KeepAll": {"more are kept than there are", 99, at(23), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, l := range prunable(all, tc.keep, tc.before) {
				got = append(got, l.ID)
			}
			if diff := cmp.Diff(tc.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// BenchmarkListRuns lists two hundred runs of 50 KiB.
func BenchmarkListRuns(b *testing.B) {
	dir := b.TempDir()
	s := file.New(dir)
	for i := range 200 {
		_, err := s.Append(b.Context(), fmt.Sprintf("r%04d", i), 1, state.Draft{Kind: "run.created", Data: json.RawMessage(`{"source":"` + strings.Repeat("x", 50000) + `"}`)})
		if err != nil {
			b.Fatal(err)
		}
	}
	e := &engine.Engine{Store: s}
	for b.Loop() {
		if _, err := summaries(b.Context(), e, time.Now()); err != nil {
			b.Fatal(err)
		}
	}
}
