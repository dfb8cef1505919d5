package pluginhost_test

import (
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

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/pluginhost"
	"github.com/tkgfix/tkgfix/plugins"
)

// foreign puts a script into a folder that starts this test binary as the plugin. It has no arguments, as a third party's has none.
func foreign(t *testing.T, name string) pluginhost.Program {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tkgfix-plugin-"+name)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\nexec '%s' plugin '%s'\n", self, name)
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	digest, err := pluginhost.Digest(path)
	if err != nil {
		t.Fatal(err)
	}
	return pluginhost.Program{Path: path, SHA256: digest}
}

func foreignHost(t *testing.T, program pluginhost.Program, change func(*pluginhost.Options)) *pluginhost.Host {
	t.Helper()
	return newHost(t, func(o *pluginhost.Options) {
		o.Executable, o.Args = "", nil
		o.Foreign = func(string) (*pluginhost.Program, error) { return &program, nil }
		if change != nil {
			change(o)
		}
	})
}

func TestForeignRunsApart(t *testing.T) {
	t.Parallel()
	program := foreign(t, "odd")
	host := foreignHost(t, program, func(o *pluginhost.Options) {
		o.Environ = []string{"PATH=/bin:/usr/bin", "TMPDIR=/elsewhere", "KUBECONFIG=/secret", "PWD=/mine", "SSH_AUTH_SOCK=/agent"}
		o.Agent = func(string) bool { return true }
	})
	step := newStep(t, host, "odd")
	s := mustDo(t, step, "say")
	if s.Dir == "" || filepath.Base(s.Dir) != "work" || !strings.Contains(s.Dir, "/tkgfix-run-") {
		t.Errorf("the working folder is not a private one: %s", s.Dir)
	}
	if info, err := os.Stat(s.Dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the working folder: %v %v", info, err)
	}
	var got []string
	for _, e := range s.Environ {
		if name, _, _ := strings.Cut(e, "="); name == "TMPDIR" || name == "PWD" || name == "KUBECONFIG" || name == "SSH_AUTH_SOCK" {
			got = append(got, strings.Replace(e, s.Dir, "WORK", 1))
		}
	}
	if diff := cmp.Diff([]string{"TMPDIR=WORK", "PWD=WORK"}, got); diff != "" {
		t.Errorf("environment (-want, +got):\n%s", diff)
	}
	if _, err := do(t.Context(), step, "exit"); err == nil {
		t.Error("a crash is no error")
	}
	again := mustDo(t, step, "say")
	if again.PID == s.PID || again.Dir == s.Dir {
		t.Errorf("want a new process in a new folder, got %d in %s", again.PID, again.Dir)
	}
	if _, err := os.Stat(s.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder of the one that crashed is still there: %v", err)
	}
}

func TestForeignIsChecked(t *testing.T) {
	t.Parallel()
	program := foreign(t, "odd")
	raw, err := os.ReadFile(program.Path)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)-1] = ' ' // the same script to a shell
	if err := os.WriteFile(program.Path, raw, 0o700); err != nil {
		t.Fatal(err)
	}
	found, err := pluginhost.Digest(program.Path)
	if err != nil {
		t.Fatal(err)
	}
	host := foreignHost(t, program, nil)
	_, err = host.Step(t.Context(), "odd")
	got, ok := errors.AsType[*pluginhost.MismatchError](err)
	if !ok {
		t.Fatalf("one byte is another, and it is started: %v", err)
	}
	want := &pluginhost.MismatchError{Name: "odd", Path: program.Path, Want: program.SHA256, Found: found}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want, +got):\n%s", diff)
	}
	if hint := plugins.HintOf(err); !strings.HasSuffix(hint, "tkgfix plugins lock odd") {
		t.Errorf("the hint has no next command: %q", hint)
	}
}

// TestForeignRunsWhatWasChecked replaces the file after it was copied, as far as a host can be raced: the process that runs must be
// the one whose bytes were hashed, and a restart must look again.
func TestForeignRunsWhatWasChecked(t *testing.T) {
	t.Parallel()
	program := foreign(t, "odd")
	host := foreignHost(t, program, func(o *pluginhost.Options) {
		o.OnStart = func(pluginhost.Process) error {
			return os.WriteFile(program.Path, []byte("#!/bin/sh\necho evil\n"), 0o700)
		}
	})
	step := newStep(t, host, "odd")
	mustDo(t, step, "say")
	if _, err := do(t.Context(), step, "exit"); err == nil {
		t.Fatal("a crash is no error")
	}
	_, err := do(t.Context(), step, "say")
	if _, ok := errors.AsType[*pluginhost.MismatchError](err); !ok {
		t.Errorf("it was started again from a file that was replaced: %v", err)
	}
}

func TestForeignMustSayTheSame(t *testing.T) {
	t.Parallel()
	program := foreign(t, "odd")
	said := odd{name: "odd"}.Describe()
	said.Effect = plugins.Read
	program.Said = &said
	host := foreignHost(t, program, nil)
	if _, err := host.Step(t.Context(), "odd"); err == nil || !strings.Contains(err.Error(), "describes itself otherwise than before") {
		t.Errorf("a plugin that was validated as reading is now destroying: %v", err)
	}
}

func TestForeignDoesNotStart(t *testing.T) {
	t.Parallel()
	script := func(body string) func(*testing.T) pluginhost.Program {
		return func(t *testing.T) pluginhost.Program {
			t.Helper()
			path := filepath.Join(t.TempDir(), "tkgfix-plugin-odd")
			if err := os.WriteFile(path, []byte(body), 0o700); err != nil {
				t.Fatal(err)
			}
			digest, err := pluginhost.Digest(path)
			if err != nil {
				t.Fatal(err)
			}
			return pluginhost.Program{Path: path, SHA256: digest}
		}
	}
	cases := map[string]struct {
		reason  string
		program func(*testing.T) pluginhost.Program
		want    string
	}{
		"AnotherProtocol": {
			reason:  "a plugin for another version of the protocol is told as such",
			program: func(t *testing.T) pluginhost.Program { t.Helper(); return foreign(t, "protocol-2") },
			want:    "it speaks another version of the plugin protocol: Plugin version: 2, Client versions: [1]",
		},
		"NoPlugin":  {reason: "a program that is none is told by what it says", program: script("#!/bin/sh\necho hello\n"), want: "hello"},
		"Hangs":     {reason: "one that says nothing is given up", program: script("#!/bin/sh\nread x <&3\n"), want: "it did not say what it is within 1s"},
		"NotThere":  {reason: "one that has gone is told", program: func(*testing.T) pluginhost.Program { return pluginhost.Program{Path: "/none/x"} }, want: "no such file"},
		"NotAFile":  {reason: "a folder is told", program: func(t *testing.T) pluginhost.Program { t.Helper(); return pluginhost.Program{Path: t.TempDir()} }, want: "is not a regular file"},
		"NotAnExec": {reason: "a file without an interpreter is told", program: script("hello"), want: "exec format error"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := foreignHost(t, tc.program(t), func(o *pluginhost.Options) {
				if name == "Hangs" {
					o.StartTimeout = time.Second
				}
			})
			_, err := host.Step(t.Context(), "odd")
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: want %q in %v", tc.reason, tc.want, err)
			}
		})
	}
}

// TestByHand starts a plugin as a curious person would.
func TestByHand(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), os.Args[0], "plugin", "odd").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), "This binary is a plugin") {
		t.Errorf("want exit 1 and what it is, got %v: %s", err, out)
	}
}

// TestRoomOfDeadHost leaves a host's folder behind by SIGKILL, and has the next host remove it, and not that of a living one.
func TestRoomOfDeadHost(t *testing.T) {
	t.Parallel()
	base := socketDir(t)
	options := func(o *pluginhost.Options) { o.TempDir = base }
	living := newHost(t, options)
	newStep(t, living, "odd")
	killed := startHost(t, base)
	if got := rooms(t, base); len(got) != 2 {
		t.Fatalf("two hosts have %v", got)
	}
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait()
	next := newHost(t, options)
	newStep(t, next, "odd")
	if got := rooms(t, base); len(got) != 2 {
		t.Errorf("of a dead, a living and a new host, two folders must be there, not %v", got)
	}
	mustDo(t, newStep(t, living, "odd-two"), "say")
	for _, h := range []*pluginhost.Host{living, next} {
		if err := h.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	if got := rooms(t, base); len(got) != 0 {
		t.Errorf("closed hosts left %v", got)
	}
}

// startHost starts a host in a process of its own and returns when its plugin is in the middle of an Apply.
func startHost(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	host := exec.CommandContext(t.Context(), os.Args[0], "host", dir)
	host.Stderr = t.Output()
	out, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	var processes []pluginhost.Process
	if err := json.NewDecoder(out).Decode(&processes); err != nil || len(processes) != 1 {
		t.Fatalf("host says %v: %v", processes, err)
	}
	t.Cleanup(func() { _ = pluginhost.End(context.Background(), processes[0]) })
	return host
}

func rooms(t *testing.T, base string) []string {
	t.Helper()
	got, err := filepath.Glob(filepath.Join(base, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return got
}
