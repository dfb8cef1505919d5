package pluginhost

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestSweepLeavesWhatIsNotLeftBehind has a folder with all that a sweep may meet.
func TestSweepLeavesWhatIsNotLeftBehind(t *testing.T) {
	t.Parallel()
	base, now := t.TempDir(), time.Now()
	living, err := newRoom(base, now)
	if err != nil {
		t.Fatal(err)
	}
	mkdir := func(path ...string) string {
		p := filepath.Join(path...)
		if err := os.MkdirAll(p, 0o700); err != nil {
			t.Fatal(err)
		}
		return p
	}
	mkdir(base, roomPrefix+"dead", "home1", "work")
	mkdir(base, roomMaking+"young")
	old := mkdir(base, roomMaking+"old")
	if err := os.Chtimes(old, now, now.Add(-2*makingTime)); err != nil {
		t.Fatal(err)
	}
	mkdir(base, "plugin-dir1") // of another program that uses go-plugin
	if err := os.Symlink(mkdir(base, "somebody's"), filepath.Join(base, roomPrefix+"link")); err != nil {
		t.Fatal(err)
	}
	want := []string{"plugin-dir1", "somebody's", roomMaking + "young", filepath.Base(living.path), roomPrefix + "link"}
	if os.Geteuid() == 0 { // and only root can give a folder away
		if err := os.Chown(mkdir(base, roomPrefix+"another's"), 12345, 0); err != nil {
			t.Fatal(err)
		}
		want = append(want, roomPrefix+"another's")
	}
	sweep(base, now)
	entries, err := os.ReadDir(base)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want, +got):\n%s", diff)
	}
	if err := living.remove(); err != nil {
		t.Error(err)
	}
	if err := living.remove(); err != nil {
		t.Errorf("twice: %v", err)
	}
}
