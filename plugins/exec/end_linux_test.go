package exec

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tkgfix/tkgfix/internal/pluginhost"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/plugintest"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// hostEnv makes this test program play tkgfix: its value is the request of the Apply.
const hostEnv = "EXEC_TEST_REQUEST"

func TestMain(m *testing.M) {
	switch {
	case len(os.Args) == 2 && os.Args[1] == "serve-exec":
		sdk.Serve(New(sdk.Env{}))
	case os.Getenv(hostEnv) != "":
		if err := playHost(os.Getenv(hostEnv)); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	default:
		os.Exit(m.Run())
	}
}

// playHost starts the plugin as tkgfix does, says which process it is and applies.
func playHost(raw string) error {
	var req plugins.ApplyRequest
	if err := json.Unmarshal([]byte(raw), &req); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ctx := context.Background()
	host := pluginhost.New(pluginhost.Options{
		Executable: self, Args: func(string) []string { return []string{"serve-exec"} },
		OnStart: func(p pluginhost.Process) error { return json.NewEncoder(os.Stdout).Encode(p) },
	})
	defer func() { _ = host.Close(ctx) }()
	s, err := host.Step(ctx, Name)
	if err != nil {
		return err
	}
	_, err = s.Apply(ctx, req, &plugintest.Host{})
	return err
}

// family is a command that has a child and, in a session of its own if wanted, a grandchild, all of which would live for long.
func family(t *testing.T, setsid bool) (command []string, pids func() []int) {
	t.Helper()
	dir := t.TempDir()
	prefix := ""
	if setsid {
		prefix = "setsid "
	}
	path := filepath.Join(dir, "family")
	write(t, path, fmt.Sprintf(`#!/bin/sh
trap '' TERM
%[2]ssh -c 'trap "" TERM; echo $$ >%[1]s/grandchild; exec sleep 300' &
(trap '' TERM; echo >/dev/null; exec sleep 300) &
echo $! >%[1]s/child
echo $$ >%[1]s/self
wait
`, dir, prefix))
	return []string{path}, func() []int {
		deadline := time.NewTimer(30 * time.Second)
		defer deadline.Stop()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			var out []int
			for _, name := range []string{"grandchild", "child", "self"} {
				raw, _ := os.ReadFile(filepath.Join(dir, name))
				if pid, err := strconv.Atoi(strings.TrimSpace(string(raw))); err == nil {
					out = append(out, pid)
				}
			}
			if len(out) == 3 {
				return out
			}
			select {
			case <-tick.C:
			case <-deadline.C:
				t.Fatalf("the command did not start: %v", out)
			}
		}
	}
}

// lives reports whether a process runs.
func lives(t *testing.T, pid int) bool {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

// TestContextEndsAll ends the context of a command that does not want to go.
func TestContextEndsAll(t *testing.T) {
	t.Parallel()
	for name, setsid := range map[string]bool{"Group": false, "Session": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			command, pids := family(t, setsid)
			ctx, cancel := context.WithCancel(t.Context())
			answered := make(chan error, 1)
			go func() {
				_, err := newStep(nil).Plan(ctx, plugins.PlanRequest{Effect: plugins.Read, Input: encode(t, m{"command": command})})
				answered <- err
			}()
			all := pids()
			for _, pid := range all {
				if !lives(t, pid) {
					t.Fatalf("process %d does not run", pid)
				}
			}
			cancel()
			if err := <-answered; !errors.Is(err, context.Canceled) {
				t.Errorf("error: %v", err)
			}
			for _, pid := range all {
				if lives(t, pid) {
					t.Errorf("process %d outlives the step", pid)
				}
			}
		})
	}
}

// TestLeftBehindIsEnded has a command that ends well and leaves a process behind that holds its output open.
func TestLeftBehindIsEnded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, out, err := read(t, newStep(nil), m{"command": []string{"sh", "-c", "sleep 300 & echo $! >" + dir + "/pid; echo well"}})
	if err != nil || out.Stdout != "well\n" {
		t.Errorf("%+v, %v", out, err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	if pid, err := strconv.Atoi(strings.TrimSpace(string(raw))); err != nil || lives(t, pid) {
		t.Errorf("process %q outlives the step, %v", raw, err)
	}
}

// TestKilledHost kills -9 a tkgfix whose command acts. The command dies with the plugin, and what it started is gone once the engine
// has proved the plugin dead, as it does before it asks observe.
func TestKilledHost(t *testing.T) {
	t.Parallel()
	command, pids := family(t, false)
	in := m{"command": command, "observe": []string{"false"}, "target": "t", "undo": "none"}
	s := newStep(nil)
	resp, err := s.Plan(t.Context(), plugins.PlanRequest{Effect: plugins.Change, Input: encode(t, in)})
	if err != nil {
		t.Fatal(err)
	}
	req := plugins.ApplyRequest{RunID: "r", StepID: "s", Effect: plugins.Change, Input: encode(t, in), Changes: resp.Changes}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	host := osexec.CommandContext(t.Context(), self)
	host.Env = append(os.Environ(), hostEnv+"="+string(encode(t, req)))
	stdout, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = host.Process.Kill(); _ = host.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var plugin pluginhost.Process
	if err := json.Unmarshal([]byte(line), &plugin); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	all := pids()
	if err := host.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := pluginhost.End(ctx, plugin); err != nil {
		t.Fatal(err)
	}
	for _, pid := range append(all, plugin.PID) {
		if lives(t, pid) {
			t.Errorf("process %d outlives tkgfix", pid)
		}
	}
}
