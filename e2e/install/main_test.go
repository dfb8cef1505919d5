// Package install holds the ways to install the controller against each other, and against a real API server.
package install

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tkgfix/tkgfix/internal/kube/planetest"
)

var (
	// root is the module's folder.
	root string
	// deploy is kubectl and helm in one program.
	deploy string
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if root, err = planetest.Root(); err == nil {
		deploy, err = built(filepath.Join(root, "hack", "deploy", "build.sh"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// built runs a script that prints the path of a program.
func built(script string) (string, error) {
	cmd := exec.Command(script)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", script, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// result is what a command did.
type result struct {
	code           int
	stdout, stderr string
}

// command runs a program to its end in the module's folder.
func command(t *testing.T, stdin []byte, env []string, name string, args ...string) result {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env, cmd.Stdin = root, append(os.Environ(), env...), bytes.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s %s: %v", name, strings.Join(args, " "), err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// ok fails the test unless the command did what it was to do, and returns what it printed.
func (r result) ok(t *testing.T) string {
	t.Helper()
	if r.code != 0 {
		t.Fatalf("exit %d\nstdout:\n%s\nstderr:\n%s", r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// refused fails the test unless the command failed with these words.
func (r result) refused(t *testing.T, words string) {
	t.Helper()
	if r.code == 0 || !strings.Contains(r.stderr, words) {
		t.Errorf("exit %d, want a failure that says %q\nstdout:\n%s\nstderr:\n%s", r.code, words, r.stdout, r.stderr)
	}
}
