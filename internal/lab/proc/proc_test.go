package proc

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseStat(t *testing.T) {
	t.Parallel()
	after := "1 1 1 0 -1 4194560 1 1 1 1 1 1 1 1 20 0 1 0 12345 1 1"
	cases := map[string]struct {
		reason string
		data   string
		want   uint64
		gone   bool
		fails  bool
	}{
		"Plain":     {"field 22", "7 (sleep) S " + after, 12345, false, false},
		"Brackets":  {"a name may hold brackets and spaces", "7 (a) b (c) S " + after, 12345, false, false},
		"Zombie":    {"a zombie has ended", "7 (sleep) Z " + after, 0, true, true},
		"Short":     {"too few fields", "7 (sleep) S 1", 0, false, true},
		"Empty":     {"nothing", "", 0, false, true},
		"NotNumber": {"no number where the time is", "7 (x) S " + strings.Repeat("a ", 30), 0, false, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := parseStat([]byte(tc.data))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
			if (err != nil) != tc.fails || errors.Is(err, fs.ErrNotExist) != tc.gone {
				t.Errorf("%s: error %v", tc.reason, err)
			}
		})
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("7 (sleep) S 1 1 1 0 -1 4194560 1 1 1 1 1 1 1 1 20 0 1 0 12345 1 1"))
	f.Add([]byte(")"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if n, err := parseStat(data); err != nil && n != 0 && !errors.Is(err, fs.ErrNotExist) && !strings.Contains(err.Error(), "range") {
			t.Errorf("a number beside an error: %d, %v", n, err)
		}
	})
}

func TestStopAndNotes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	group, err := NewGroup(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	path, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	child, err := group.Run(t.Context(), filepath.Join(t.TempDir(), "log"), path, "300")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(1, len(names(t, dir))); diff != "" {
		t.Errorf("notes while it runs (-want, +got):\n%s", diff)
	}
	child.Stop(time.Minute)
	child.Stop(time.Minute)
	if diff := cmp.Diff(0, len(names(t, dir))); diff != "" {
		t.Errorf("notes when it is gone (-want, +got):\n%s", diff)
	}
	if child.Err() == nil {
		t.Error("nothing says how it ended")
	}
}

func TestEndLeft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	group, err := NewGroup(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	path, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	child, err := group.Run(t.Context(), filepath.Join(t.TempDir(), "log"), path, "300")
	if err != nil {
		t.Fatal(err)
	}
	// A process of the same id that started at another time is somebody else's and stays.
	note := filepath.Join(dir, names(t, dir)[0])
	right, err := os.ReadFile(note)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		reason, note string
		alive        bool
	}{{"another start time", "1", true}, {"no number", "x", true}, {"the right one", string(right), false}} {
		if err := os.WriteFile(note, []byte(step.note), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := EndLeft(t.Context(), dir, 10*time.Second); err != nil {
			t.Fatal(err)
		}
		_, err := StartTime(child.cmd.Process.Pid)
		if diff := cmp.Diff(step.alive, err == nil); diff != "" {
			t.Errorf("%s (-want, +got):\n%s", step.reason, diff)
		}
	}
	if err := EndLeft(t.Context(), filepath.Join(dir, "none"), time.Second); err != nil {
		t.Errorf("a folder that is not there: %v", err)
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}
