//go:build gitops

// Package gitops drives the controller as GitOps does: commits to Git repositories that a server hands out over HTTP, pulled by a loop of
// git pull and applied by Argo CD's own engine, to a real API server; and a laboratory as the patient.
package gitops

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/kube/planetest"
	"github.com/tkgfix/tkgfix/internal/lab/proc"
)

var (
	// bin is the folder of the binaries under test, engine that of what hack/gitops builds.
	bin, engine string
	// management is the cluster on which the controller runs.
	management *planetest.Plane
	// children are the processes that the tests start. None outlives them.
	children *proc.Group
	// admin may do everything on the management cluster.
	admin client.Client
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if engine = os.Getenv("TKGFIX_GITOPS"); engine == "" || os.Getenv("TKGFIX_KUBE") == "" {
		fmt.Fprintln(os.Stderr, "TKGFIX_GITOPS and TKGFIX_KUBE do not name what hack/gitops/build.sh and hack/kube/build.sh print: make e2e-gitops")
		return 1
	}
	dir, err := os.MkdirTemp("", "tkgfix-gitops-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = dir
	build := exec.Command("go", "build", "-trimpath", "-o", dir+"/", "../../cmd/tkgfix", "../../cmd/tkgfix-lab")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the binaries: %v\n%s", err, out)
		return 1
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if children, err = proc.NewGroup(ctx, filepath.Join(dir, "processes")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	began := time.Now()
	options := planetest.Options{Controllers: []string{"garbage-collector-controller"}, Tokens: tokens()}
	code := planetest.Main(m, options, func(p *planetest.Plane) {
		management = p
		if admin, err = clientOf(p); err != nil {
			panic(err)
		}
	})
	if management == nil {
		return code
	}
	if err := sweep(began); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func clientOf(p *planetest.Plane) (client.Client, error) {
	config, err := p.Config("admin")
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	return client.New(config, client.Options{Scheme: scheme})
}

// eventually waits, two minutes at most, until look finds what is waited for. What look says is told if it never does.
func eventually(t *testing.T, what string, look func(ctx context.Context) (found bool, seen string)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	began, tick := time.Now(), time.NewTicker(50*time.Millisecond)
	defer tick.Stop()
	for {
		found, seen := look(ctx)
		if found {
			t.Logf("%s: after %s", what, time.Since(began).Round(time.Millisecond))
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not after %s: %s", what, time.Since(began).Round(time.Millisecond), seen)
		}
	}
}

// result is what a command did.
type result struct {
	code           int
	stdout, stderr string
}

// command runs a program to its end, two minutes at most.
func command(t *testing.T, env []string, name string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), append(env, "PATH="+bin+":"+os.Getenv("PATH"))...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s %s: %v", name, strings.Join(args, " "), err)
	}
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
