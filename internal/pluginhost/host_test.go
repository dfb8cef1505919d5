package pluginhost_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/pluginhost"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/plugintest"
)

// newHost returns a host of this test binary, closed when the test ends.
func newHost(t *testing.T, change func(*pluginhost.Options)) *pluginhost.Host {
	t.Helper()
	options := pluginhost.Options{Executable: os.Args[0], Args: pluginArgs, TempDir: socketDir(t), Stderr: t.Output()}
	if change != nil {
		change(&options)
	}
	host := pluginhost.New(options)
	t.Cleanup(func() {
		if err := host.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return host
}

// socketDir is a folder with a short path that must be empty at the end of the test.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ph")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("sockets are left behind: %v", left)
		}
		_ = os.RemoveAll(dir)
	})
	return dir
}

func newStep(t *testing.T, host *pluginhost.Host, name string) plugins.Step {
	t.Helper()
	step, err := host.Step(t.Context(), name)
	if err != nil {
		t.Fatalf("step %s: %v", name, err)
	}
	return step
}

func do(ctx context.Context, step plugins.Step, what string) (said, error) {
	resp, err := step.Plan(ctx, plugins.PlanRequest{Input: json.RawMessage(fmt.Sprintf(`{"do":%q}`, what))})
	if err != nil {
		return said{}, err
	}
	var s said
	return s, json.Unmarshal(resp.Outputs, &s)
}

func mustDo(t *testing.T, step plugins.Step, what string) said {
	t.Helper()
	s, err := do(t.Context(), step, what)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	return s
}

func TestStartsOnceAndReuses(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var started []pluginhost.Process
	host := newHost(t, func(o *pluginhost.Options) {
		o.OnStart = func(p pluginhost.Process) error {
			mu.Lock()
			defer mu.Unlock()
			started = append(started, p)
			return nil
		}
	})
	if got := host.Processes(); len(got) > 0 {
		t.Fatalf("processes run before a step is asked for: %v", got)
	}
	var group sync.WaitGroup
	pids := make([]int, 8)
	for n := range pids {
		group.Go(func() {
			step, err := host.Step(t.Context(), "odd")
			if err != nil {
				t.Errorf("step: %v", err)
				return
			}
			s, err := do(t.Context(), step, "say")
			if err != nil {
				t.Errorf("say: %v", err)
			}
			pids[n] = s.PID
		})
	}
	group.Wait()
	if len(slices.Compact(pids)) != 1 || len(started) != 1 || started[0].PID != pids[0] {
		t.Errorf("want one process for all calls, got %v, started %v", pids, started)
	}
	if diff := cmp.Diff(started, host.Processes()); diff != "" {
		t.Errorf("processes are those that were journalled (-want, +got):\n%s", diff)
	}
	step := newStep(t, host, "odd")
	if diff := cmp.Diff((odd{name: "odd"}).Describe(), step.Describe()); diff != "" {
		t.Errorf("the description crosses whole (-want, +got):\n%s", diff)
	}
	other := mustDo(t, newStep(t, host, "odd-two"), "say")
	if other.PID == pids[0] || len(host.Processes()) != 2 {
		t.Errorf("another step has a process of its own: %d and %d", other.PID, pids[0])
	}
	if other.Group != other.PID {
		t.Errorf("a plugin leads its own process group: pid %d, group %d", other.PID, other.Group)
	}
}

func TestEnvironmentIsScrubbed(t *testing.T) {
	t.Parallel()
	host := newHost(t, func(o *pluginhost.Options) {
		o.Environ = []string{
			"PATH=/bin", "HOME=/home/me", "TMPDIR=/tmp", "LANG=C", "SSL_CERT_FILE=/a", "SSL_CERT_DIR=/b",
			"HTTPS_PROXY=http://p:1", "no_proxy=x", "KUBECONFIG=/secret", "AWS_SECRET_ACCESS_KEY=s", "LD_PRELOAD=/x.so", "PATHS=1",
		}
	})
	s := mustDo(t, newStep(t, host, "odd"), "say")
	var got []string
	for _, e := range s.Environ {
		if name, _, _ := strings.Cut(e, "="); !strings.HasPrefix(name, "PLUGIN_") && !strings.HasPrefix(name, "TKGFIX_") {
			got = append(got, name)
		}
	}
	slices.Sort(got)
	want := []string{"HOME", "HTTPS_PROXY", "LANG", "PATH", "SSL_CERT_DIR", "SSL_CERT_FILE", "TMPDIR", "no_proxy"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("environment (-want, +got):\n%s", diff)
	}
}

func TestAgentIsForThoseWhoMay(t *testing.T) {
	t.Parallel()
	host := newHost(t, func(o *pluginhost.Options) {
		o.Environ = []string{"PATH=/bin", "SSH_AUTH_SOCK=/run/agent", "SSH_AGENT_PID=7"}
		o.Agent = func(name string) bool { return name == "odd" }
	})
	for name, want := range map[string]bool{"odd": true, "even": false} {
		s := mustDo(t, newStep(t, host, name), "say")
		if got := slices.Contains(s.Environ, "SSH_AUTH_SOCK=/run/agent"); got != want {
			t.Errorf("step %s: want the agent: %v, got %v", name, want, got)
		}
		if slices.Contains(s.Environ, "SSH_AGENT_PID=7") {
			t.Errorf("step %s can end the agent", name)
		}
	}
}

func TestErrorsOfStep(t *testing.T) {
	t.Parallel()
	host := newHost(t, nil)
	step := newStep(t, host, "odd")
	before := mustDo(t, step, "say").PID

	_, err := do(t.Context(), step, "boom")
	want := &plugins.Error{Kind: plugins.KindFailed, Message: "boom", Hint: "say what to do"}
	var got *plugins.Error
	if !errors.As(err, &got) || got.Kind != want.Kind || err.Error() != want.Message || got.Hint != want.Hint {
		t.Errorf("an error crosses whole: want %+v, got %+v", want, err)
	}
	if _, err = do(t.Context(), step, "panic"); err == nil || err.Error() != "plugin odd panicked: oh no" {
		t.Errorf("a panic becomes an error that names the plugin, got %v", err)
	}
	if _, err = do(t.Context(), step, "large"); err == nil || !strings.Contains(err.Error(), "larger than max") {
		t.Errorf("an answer that is too large is told, got %v", err)
	}
	if after := mustDo(t, step, "say").PID; after != before {
		t.Errorf("none of that ends the process, but it is %d and was %d", after, before)
	}
}

func TestCrashIsToldAndRestarted(t *testing.T) {
	t.Parallel()
	for what, want := range map[string][]string{
		"exit":            {"plugin odd crashed: exit status 7", "the [31mred[0m last line"},
		"panic elsewhere": {"plugin odd crashed: exit status 2", "nil pointer dereference"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			starts := 0
			host := newHost(t, func(o *pluginhost.Options) {
				o.OnStart = func(pluginhost.Process) error { mu.Lock(); defer mu.Unlock(); starts++; return nil }
			})
			step := newStep(t, host, "odd")
			first := mustDo(t, step, "say")
			_, err := do(t.Context(), step, what)
			if err == nil {
				t.Fatal("a crash is no error")
			}
			for _, w := range want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("want %q in the error, got %v", w, err)
				}
			}
			if n := strings.Count(err.Error(), "\n"); n > 30 {
				t.Errorf("the error has %d lines", n)
			}
			if got := host.Processes(); len(got) != 0 {
				t.Errorf("a dead process is listed: %v", got)
			}
			again := mustDo(t, step, "say")
			if again.PID == first.PID || starts != 2 {
				t.Errorf("want a new process, got %d after %d in %d starts", again.PID, first.PID, starts)
			}
		})
	}
}

func TestCancelReachesStep(t *testing.T) {
	t.Parallel()
	host := newHost(t, nil)
	step := newStep(t, host, "odd")
	ctx, cancel := context.WithCancel(t.Context())
	journal := &plugintest.Host{Before: func(plugintest.Call) error { cancel(); return nil }}
	_, err := step.Apply(ctx, plugins.ApplyRequest{Input: json.RawMessage(`{"do":"wait"}`)}, journal)
	if !errors.Is(err, context.Canceled) || plugins.KindOf(err) != plugins.KindConflict || plugins.HintOf(err) != "go on" ||
		err.Error() != "stopped at the lights: context canceled" {
		t.Errorf("want what the step said when it was cancelled, got %v", err)
	}
	if len(host.Processes()) != 1 {
		t.Error("a step that honours its cancellation was killed")
	}
}

func TestIgnoredCancelIsKilled(t *testing.T) {
	t.Parallel()
	host := newHost(t, func(o *pluginhost.Options) { o.Grace = 200 * time.Millisecond })
	step := newStep(t, host, "odd")
	process := host.Processes()[0]
	ctx, cancel := context.WithCancel(t.Context())
	journal := &plugintest.Host{Before: func(plugintest.Call) error { cancel(); return nil }}
	_, err := step.Apply(ctx, plugins.ApplyRequest{Input: json.RawMessage(`{"do":"hang"}`)}, journal)
	want := "plugin odd was killed: it went on for 200ms after it was cancelled: context canceled"
	if err == nil || err.Error() != want || !errors.Is(err, context.Canceled) {
		t.Errorf("want %q, got %v", want, err)
	}
	if alive, err := pluginhost.Alive(process); alive || err != nil {
		t.Errorf("it is alive when Apply has returned: %v %v", alive, err)
	}
	mustDo(t, step, "say")
}

func TestEndedContextCallsNothing(t *testing.T) {
	t.Parallel()
	host := newHost(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := host.Step(ctx, "odd"); !errors.Is(err, context.Canceled) {
		t.Errorf("want context.Canceled, got %v", err)
	}
	if _, err := do(ctx, newStep(t, host, "odd"), "exit"); !errors.Is(err, context.Canceled) {
		t.Errorf("want context.Canceled, got %v", err)
	}
	if len(host.Processes()) != 1 {
		t.Error("the step was called although its context had ended")
	}
}

func TestDoesNotStart(t *testing.T) {
	t.Parallel()
	errBoom := errors.New("boom")
	cases := map[string]struct {
		reason string
		name   string
		change func(*pluginhost.Options)
		want   []string
		is     error
	}{
		"NoHandshake": {
			reason: "what the plugin said before it gave up is shown",
			name:   "no-handshake", want: []string{"start plugin no-handshake: ", "cannot find my feet"},
		},
		"NeverReady": {
			reason: "a plugin that says nothing is given up and killed",
			name:   "never-ready", want: []string{"start plugin never-ready: "}, is: context.DeadlineExceeded,
			change: func(o *pluginhost.Options) { o.StartTimeout = 300 * time.Millisecond },
		},
		"Misnamed": {
			reason: "a plugin that serves another step is not used",
			name:   "misnamed", want: []string{`plugin misnamed serves the step "other"`},
		},
		"NoExecutable": {
			reason: "an executable that is not there is told",
			name:   "odd", want: []string{"start plugin odd: ", "no such file"}, is: os.ErrNotExist,
			change: func(o *pluginhost.Options) { o.Executable = "/nonexistent/tkgfix" },
		},
		"NotJournalled": {
			reason: "a process that could not be journalled is not used",
			name:   "odd", want: []string{"start plugin odd: journal its process: boom"}, is: errBoom,
			change: func(o *pluginhost.Options) { o.OnStart = func(pluginhost.Process) error { return errBoom } },
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := newHost(t, tc.change)
			_, err := host.Step(t.Context(), tc.name)
			if err == nil {
				t.Fatalf("%s: it started", tc.reason)
			}
			for _, w := range tc.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%s: want %q in %v", tc.reason, w, err)
				}
			}
			if tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("%s: want %v, got %v", tc.reason, tc.is, err)
			}
			if got := host.Processes(); len(got) > 0 {
				t.Errorf("%s: it runs: %v", tc.reason, got)
			}
		})
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	host := newHost(t, nil)
	step := newStep(t, host, "odd")
	newStep(t, host, "odd-two")
	processes := host.Processes()
	for range 2 {
		if err := host.Close(t.Context()); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	for _, p := range processes {
		if alive, err := pluginhost.Alive(p); alive || err != nil {
			t.Errorf("%v lives on: %v %v", p, alive, err)
		}
	}
	if _, err := host.Step(t.Context(), "odd"); !errors.Is(err, pluginhost.ErrClosed) {
		t.Errorf("want ErrClosed, got %v", err)
	}
	if _, err := do(t.Context(), step, "say"); !errors.Is(err, pluginhost.ErrClosed) {
		t.Errorf("want ErrClosed, got %v", err)
	}
}

func TestCloseEndsWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	for name, inner := range map[string]string{"Honours": "wait", "Hangs": "hang"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := newHost(t, nil)
			step := newStep(t, host, "odd")
			process := host.Processes()[0]
			begun, answer := make(chan struct{}), make(chan error, 1)
			journal := &plugintest.Host{Before: func(plugintest.Call) error { close(begun); return nil }}
			go func() {
				input := json.RawMessage(fmt.Sprintf(`{"do":%q}`, inner))
				_, err := step.Apply(context.Background(), plugins.ApplyRequest{Input: input}, journal)
				answer <- err
			}()
			<-begun
			if err := host.Close(t.Context()); err != nil {
				t.Errorf("close: %v", err)
			}
			if err := <-answer; err == nil {
				t.Error("an Apply whose plugin was ended succeeds")
			}
			if alive, err := pluginhost.Alive(process); alive || err != nil {
				t.Errorf("it lives on: %v %v", alive, err)
			}
		})
	}
}

// TestStarterThread starts a plugin from a thread that then ends: the plugin must not go with it.
func TestStarterThread(t *testing.T) {
	t.Parallel()
	host := newHost(t, nil)
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		_, err := host.Step(context.Background(), "odd")
		started <- err
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	before := host.Processes()
	step := newStep(t, host, "odd")
	for range 50 {
		if s := mustDo(t, step, "say"); s.PID != before[0].PID {
			t.Fatalf("the plugin was started again: %d, then %d", before[0].PID, s.PID)
		}
	}
}
