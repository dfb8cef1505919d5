// Package e2e drives the real tkgfix against the laboratory: real API servers, a real registry, nodes reached by real SSH.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tkgfix/tkgfix/internal/cli"
	"github.com/tkgfix/tkgfix/internal/crashtest/doubles"
)

// bin is the folder of the binaries under test, built by TestMain.
var bin string

func TestMain(m *testing.M) {
	// This binary is also tkgfix with a double in the place of one of its parts, and the plugins which that starts.
	double, ok := doubles.All()[os.Getenv(doubleEnv)]
	if ok || len(os.Args) > 1 && os.Args[1] == "plugin" {
		os.Exit(cli.CrashtestDouble(context.Background(), cli.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, os.Args, double))
	}
	// And a process that holds a debug pod, for a test to kill.
	if name := os.Getenv(holdEnv); name != "" {
		fmt.Fprintln(os.Stderr, hold(context.Background(), os.Getenv("KUBECONFIG"), name))
		os.Exit(1)
	}
	os.Exit(run(m))
}

// doubleEnv names the double that this binary is to be.
const doubleEnv = "TKGFIX_E2E_DOUBLE"

func run(m *testing.M) int {
	if os.Getenv("TKGFIX_KUBE") == "" {
		fmt.Fprintln(os.Stderr, "TKGFIX_KUBE does not name the laboratory's Kubernetes: TKGFIX_KUBE=$(hack/kube/build.sh) go test ./e2e")
		return 1
	}
	dir, err := os.MkdirTemp("", "tkgfix-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = dir
	build := exec.Command("go", "build", "-trimpath", "-o", dir+"/", "../cmd/tkgfix", "../cmd/tkgfix-lab")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the binaries: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// result is what a command did.
type result struct {
	code           int
	stdout, stderr string
}

// command runs a program to its end, five minutes at most.
func command(t *testing.T, env []string, name string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), append(env, "PATH="+bin+":"+os.Getenv("PATH"))...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	began := time.Now()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s %s: %v", name, strings.Join(args, " "), err)
	}
	t.Logf("%s %s: exit %d after %s", filepath.Base(name), strings.Join(args, " "), cmd.ProcessState.ExitCode(), time.Since(began).Round(time.Millisecond))
	return result{code: cmd.ProcessState.ExitCode(), stdout: stdout.String(), stderr: stderr.String()}
}

// wantCode fails the test, with what the command said, unless it ended with code.
func (r result) wantCode(t *testing.T, code int) result {
	t.Helper()
	if r.code != code {
		t.Fatalf("exit %d, want %d\nstdout:\n%s\nstderr:\n%s", r.code, code, r.stdout, r.stderr)
	}
	return r
}

// wantSaid fails the test unless the command said each of these words on standard error.
func (r result) wantSaid(t *testing.T, words ...string) result {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(r.stderr, w) {
			t.Errorf("standard error does not say %q:\n%s", w, r.stderr)
		}
	}
	return r
}

func decode[T any](t *testing.T, data []byte) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("decode %T: %v\n%.2000s", v, err, data)
	}
	return v
}
