package plugindir_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/plugindir"
)

const (
	sumA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	sumB = "0000000000000000000000000000000000000000000000000000000000000000"
)

const lockText = `# Which plugins of third parties tkgfix may start. Made by: tkgfix plugins lock. Keep it with your workflows, under version control.
apiVersion: tkgfix.dev/v1alpha1
kind: PluginLock
plugins:
- name: http-check
  version: 1.0.0
  sha256:
    linux/amd64: "0000000000000000000000000000000000000000000000000000000000000000"
- name: silence
  version: 2.1.0-rc.1
  sha256:
    darwin/arm64: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    linux/amd64: "0000000000000000000000000000000000000000000000000000000000000000"
`

func TestLockRoundTrip(t *testing.T) {
	t.Parallel()
	var lock plugindir.Lock
	lock.Set("silence", "2.0.0", "windows/amd64", sumA)
	lock.Set("silence", "2.1.0-rc.1", "linux/amd64", sumB) // another version: what was locked of the old one goes
	lock.Set("http-check", "1.0.0", "linux/amd64", sumA)
	lock.Set("http-check", "1.0.0", "linux/amd64", sumB)
	lock.Set("silence", "2.1.0-rc.1", "darwin/arm64", sumA) // the same version: the other platform stays
	path := filepath.Join(t.TempDir(), "lock.yaml")
	if err := lock.Write(path); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(lockText, string(raw)); diff != "" {
		t.Errorf("file (-want, +got):\n%s", diff)
	}
	got, err := plugindir.ReadLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&lock, got); diff != "" {
		t.Errorf("read again (-want, +got):\n%s", diff)
	}
}

func TestLockOfNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock.yaml")
	for range 2 {
		got, err := plugindir.ReadLock(path)
		if err != nil || len(got.Entries) != 0 {
			t.Errorf("want nothing, got %v %v", got, err)
		}
		if err := got.Write(path); err != nil { // and then read what was written
			t.Fatal(err)
		}
	}
}

func TestLockRefuses(t *testing.T) {
	t.Parallel()
	const head = "apiVersion: tkgfix.dev/v1alpha1\nkind: PluginLock\nplugins:\n"
	cases := map[string]struct {
		reason, src string
		want        []string
	}{
		"Empty":      {reason: "an empty file is no lock", want: []string{"l: empty"}},
		"UnknownKey": {reason: "a key that is misread must not be passed over", src: head + "- name: a\n  vresion: 1.0.0\n  sha256: {}\n", want: []string{"l:6:11: { cannot be used"}},
		"Keys": {
			reason: "all that is wrong is told", src: head + "- name: a\n  vresion: 1.0.0\n",
			want: []string{`l:5:3: unknown key "vresion" in a plugin; expected name, version, sha256`, "a plugin has no version", "a plugin has no sha256"},
		},
		"TopKey":   {reason: "at the top too", src: head + "- name: a\nplugin: 1\n", want: []string{`unknown key "plugin" in the file`}},
		"Version":  {reason: "another format is told", src: "apiVersion: v2\nkind: PluginLock\nplugins: []\n", want: []string{`l:1:13: apiVersion is "v2"; this tkgfix reads "tkgfix.dev/v1alpha1"`}},
		"BadSum":   {reason: "a digest that is none trusts nothing", src: head + "- name: a\n  version: 1.0.0\n  sha256:\n    linux/amd64: abc\n", want: []string{"l:7:18: the digest of linux/amd64 must have 64"}},
		"Platform": {reason: "nor does a platform that is none", src: head + "- name: a\n  version: 1.0.0\n  sha256:\n    linux: " + sumA + "\n", want: []string{`l:7:5: "linux" is no platform`}},
		"BadName":  {reason: "names are kebab-case", src: head + "- name: ../a\n  version: v1\n  sha256:\n    linux/amd64: " + sumA + "\n", want: []string{`name "../a"`, `version "v1"`}},
		"Twice": {
			reason: "two entries of a name could say two things",
			src:    strings.Replace(lockText, "http-check", "silence", 1), want: []string{"l:9:7: plugin silence a second time"},
		},
		"KeyTwice": {reason: "two keys of a name too", src: head + "- name: a\n  name: b\n", want: []string{"l:5:3: "}},
		"NotAList": {reason: "plugins is a list", src: head + "  a: b\n", want: []string{"plugins must be a list"}},
		"Null":     {reason: "nothing is no list", src: head, want: []string{"plugins must be a list"}},
		"Anchor":   {reason: "no anchors", src: head + "- &a\n", want: []string{"cannot be used"}},
		"Flow":     {reason: "no nesting without end", src: head + strings.Repeat("[", 1000), want: []string{"[ cannot be used"}},
		"Lists":    {reason: "nor by dashes", src: head + strings.Repeat("- ", 1000), want: []string{"a list in a list cannot be used"}},
		"Syntax":   {reason: "what is not YAML is told with its place", src: head + "- name: 'a\n", want: []string{"l:4:"}},
		"Two":      {reason: "one document", src: lockText + "---\na: b\n", want: []string{"a second document"}},
		"Scalar":   {reason: "a text is no lock", src: "hello\n", want: []string{"l:1:1: the file must be a mapping"}},
		"Large":    {reason: "a file has bounds", src: strings.Repeat("#", 1<<20+1), want: []string{"larger than 1048576 bytes"}},
		"Binary":   {reason: "a file is text", src: "\xff", want: []string{"not UTF-8"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := plugindir.ParseLock("l", []byte(tc.src))
			if err == nil {
				t.Fatalf("%s: read as %+v", tc.reason, got)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%s: want %q in:\n%v", tc.reason, want, err)
				}
			}
		})
	}
}

// FuzzParseLock looks for input that is read as a lock which, written, is not read as the same.
func FuzzParseLock(f *testing.F) {
	f.Add([]byte(lockText))
	f.Add([]byte("apiVersion: tkgfix.dev/v1alpha1\nkind: PluginLock\nplugins: []\n"))
	f.Add([]byte("? a\n: - b"))
	f.Fuzz(func(t *testing.T, src []byte) {
		lock, err := plugindir.ParseLock("l", src)
		if err != nil {
			return
		}
		path := filepath.Join(t.TempDir(), "l")
		if err := lock.Write(path); err != nil {
			t.Fatal(err)
		}
		again, err := plugindir.ReadLock(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(lock, again); diff != "" {
			t.Errorf("(-first, +second):\n%s", diff)
		}
	})
}
