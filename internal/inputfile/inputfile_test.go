package inputfile_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/inputfile"
)

func TestRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string, size int) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, bytes.Repeat([]byte("x"), size), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		reason string
		path   string
		size   int
		err    string
	}{
		"most":     {reason: "a file of the largest size is read whole", path: write("most", inputfile.MaxSize), size: inputfile.MaxSize},
		"too much": {reason: "one byte more is refused and not cut off", path: write("over", inputfile.MaxSize+1), err: "larger than"},
		"folder":   {reason: "a folder is no file", path: dir, err: "not a regular file"},
		"pipe":     {reason: "a pipe without a writer must not block the step", path: pipe, err: "not a regular file"},
		"absent":   {reason: "a file that is not there is named", path: filepath.Join(dir, "no"), err: "no such file"},
		"relative": {reason: "the plugin's folder is not the user's", path: "ca.pem", err: "not absolute"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, err := inputfile.Read(tc.path)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("%s: error %v, want %q in it", tc.reason, err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			if diff := cmp.Diff(tc.size, len(data)); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestCandidateNeverEchoesAKey(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ca.pem")
	const secret = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="
	text := "-----BEGIN PRIVATE KEY-----\n" + secret + "\n-----END PRIVATE KEY-----\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := inputfile.Candidate(path)
	if err == nil || !strings.Contains(err.Error(), "private key") {
		t.Fatalf("error %v, want one that speaks of a private key", err)
	}
	if strings.Contains(err.Error(), secret[:8]) {
		t.Errorf("the error echoes the key: %v", err)
	}
}
