package plugindir_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/plugindir"
	"github.com/tkgfix/tkgfix/plugins"
)

// put writes an executable and sets its mode, whatever the umask.
func put(t *testing.T, path string, mode os.FileMode) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// folder is a temporary folder whose path holds no link.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestFolders(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		env    map[string]string
		want   []string
	}{
		"Home": {reason: "here, then the user's", env: map[string]string{"HOME": "/h"}, want: []string{".tkgfix/plugins", "/h/.local/share/tkgfix/plugins"}},
		"XDG":  {reason: "XDG says where", env: map[string]string{"HOME": "/h", "XDG_DATA_HOME": "/x"}, want: []string{".tkgfix/plugins", "/x/tkgfix/plugins"}},
		"Relative": {
			reason: "XDG has a relative one ignored", env: map[string]string{"HOME": "/h", "XDG_DATA_HOME": "x"},
			want: []string{".tkgfix/plugins", "/h/.local/share/tkgfix/plugins"},
		},
		"Path":   {reason: "the path replaces both", env: map[string]string{"HOME": "/h", "TKGFIX_PLUGIN_PATH": "/a::b"}, want: []string{"/a", "b"}},
		"NoHome": {reason: "a user without home has the local ones", want: []string{".tkgfix/plugins"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := plugindir.Folders(func(k string) string { return tc.env[k] })
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestFindTakesTheFirst(t *testing.T) {
	t.Parallel()
	one, two := folder(t), folder(t)
	first := put(t, filepath.Join(one, "tkgfix-plugin-silence"), 0o755)
	put(t, filepath.Join(two, "tkgfix-plugin-silence"), 0o755)
	put(t, filepath.Join(two, "README"), 0o644)
	elsewhere := put(t, filepath.Join(folder(t), "ticket"), 0o500)
	if err := os.Symlink(elsewhere, filepath.Join(two, "tkgfix-plugin-change-ticket")); err != nil {
		t.Fatal(err)
	}
	got, err := plugindir.Find([]string{one, filepath.Join(one, "none"), two}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []plugindir.Found{{Name: "change-ticket", Path: elsewhere}, {Name: "silence", Path: first}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want, +got):\n%s", diff)
	}
}

// executable makes a plugin of that file name and mode.
func executable(file string, mode os.FileMode) func(*testing.T, string) string {
	return func(t *testing.T, dir string) string {
		t.Helper()
		return put(t, filepath.Join(dir, file), mode)
	}
}

func inOpenFolder(t *testing.T, dir string) string {
	t.Helper()
	path := put(t, filepath.Join(dir, "tkgfix-plugin-x"), 0o755)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return path
}

func linkIntoOpenFolder(t *testing.T, dir string) string {
	t.Helper()
	path := put(t, filepath.Join(dir, "open", "x"), 0o755)
	if err := os.Chmod(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, filepath.Join(dir, "tkgfix-plugin-x")); err != nil {
		t.Fatal(err)
	}
	return path
}

func asFolder(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "tkgfix-plugin-x")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func danglingLink(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "tkgfix-plugin-x")
	if err := os.Symlink("none", path); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFindRefuses(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		// make makes the plugin in dir and returns its path.
		make func(t *testing.T, dir string) string
		// want and hint have PATH for the plugin's path, DIR for its folder's.
		want, hint string
	}{
		"GroupWrites": {
			reason: "who may write to it may replace it",
			make:   executable("tkgfix-plugin-x", 0o770),
			want:   "plugin x: its group may write to PATH", hint: "chmod g-w PATH",
		},
		"OthersWrite": {
			reason: "others even more",
			make:   executable("tkgfix-plugin-x", 0o707),
			want:   "plugin x: others may write to PATH", hint: "chmod o-w PATH",
		},
		"FolderWrites": {
			reason: "who may write to the folder may put another file there",
			make:   inOpenFolder,
			want:   "plugin x: its group and others may write to DIR", hint: "chmod go-w DIR",
		},
		"LinkedFolderWrites": {
			reason: "the folder where a link leads counts as well",
			make:   linkIntoOpenFolder,
			want:   "plugin x: its group and others may write to DIR/open", hint: "chmod go-w DIR/open",
		},
		"NotExecutable": {
			reason: "what cannot be started is told before it is tried",
			make:   executable("tkgfix-plugin-x", 0o644),
			want:   "plugin x: PATH is not executable", hint: "chmod u+x PATH",
		},
		"Folder": {
			reason: "a folder is no plugin",
			make:   asFolder,
			want:   "plugin x: PATH is not a regular file",
		},
		"Dangling": {
			reason: "a link that leads nowhere is told",
			make:   danglingLink,
			want:   "plugin x: lstat DIR/none: no such file or directory",
		},
		"Shipped": {
			reason: "nobody may pass for a shipped step",
			make:   executable("tkgfix-plugin-probe", 0o755),
			want:   "plugin probe: PATH takes the name of a step that tkgfix ships", hint: "rm PATH",
		},
		"Name": {
			reason: "a name that no workflow could use is told",
			make:   executable("tkgfix-plugin-X y", 0o755),
			want:   `"tkgfix-plugin-X y" is no name of a plugin: a step's name is in kebab-case, 64 characters at most`, hint: "rename it",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := folder(t)
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			path := tc.make(t, dir)
			got, err := plugindir.Find([]string{dir}, []string{"probe"})
			if err != nil || len(got) != 1 || got[0].Err == nil {
				t.Fatalf("%s: %v %v", tc.reason, got, err)
			}
			fill := strings.NewReplacer("PATH", path, "DIR", dir).Replace
			if diff := cmp.Diff([]string{fill(tc.want), fill(tc.hint)}, []string{got[0].Err.Error(), plugins.HintOf(got[0].Err)}); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// TestFindRefusesAnothersFile needs root, to give a file away.
func TestFindRefusesAnothersFile(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Fatal("only root can give a file away: run this test as root")
	}
	path := put(t, filepath.Join(folder(t), "tkgfix-plugin-x"), 0o755)
	if err := os.Chown(path, 12345, 0); err != nil {
		t.Fatal(err)
	}
	got, err := plugindir.Find([]string{filepath.Dir(path)}, nil)
	if err != nil || len(got) != 1 || got[0].Err == nil || !strings.Contains(got[0].Err.Error(), "belongs to another user (uid 12345)") {
		t.Errorf("%v %v", got, err)
	}
}
