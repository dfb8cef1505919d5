package pluginhost_test

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tkgfix/tkgfix/internal/pluginhost"
	"github.com/tkgfix/tkgfix/internal/wire"
)

// awaitDeath waits for the kernel's word that a process is dead.
func awaitDeath(t *testing.T, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return // gone already
	}
	defer func() { _ = unix.Close(fd) }()
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 20_000)
		if err == unix.EINTR {
			continue
		}
		if n != 1 {
			t.Fatalf("process %d is not dead after 20 s", pid)
		}
		return
	}
}

// TestKilledHostTakesPluginsAlong kills a host with SIGKILL while its plugin hangs in an Apply.
func TestKilledHostTakesPluginsAlong(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "ph")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	host := exec.CommandContext(t.Context(), os.Args[0], "host", dir)
	host.Stderr = t.Output()
	out, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatalf("host says nothing: %v", err)
	}
	var processes []pluginhost.Process
	if err := json.Unmarshal(line, &processes); err != nil || len(processes) != 1 {
		t.Fatalf("host says %s: %v", line, err)
	}
	t.Cleanup(func() { _ = pluginhost.End(context.Background(), processes[0]) })
	if alive, err := pluginhost.Alive(processes[0]); !alive || err != nil {
		t.Fatalf("the plugin does not live while its host does: %v %v", alive, err)
	}
	if err := host.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = host.Wait()
	awaitDeath(t, processes[0].PID)
	if alive, err := pluginhost.Alive(processes[0]); alive || err != nil {
		t.Errorf("the plugin outlives its host: %v %v", alive, err)
	}
}

// TestCrashTakesChildrenAlong has a plugin start a process that holds its output open, and crash.
func TestCrashTakesChildrenAlong(t *testing.T) {
	t.Parallel()
	host := newHost(t, nil)
	step := newStep(t, host, "odd")
	s := mustDo(t, step, "child")
	if _, err := do(t.Context(), step, "exit"); err == nil {
		t.Error("a crash is no error")
	}
	awaitDeath(t, s.Child)
}

func TestAliveAndEnd(t *testing.T) {
	t.Parallel()
	host := newHost(t, nil)
	newStep(t, host, "odd")
	p := host.Processes()[0]

	for name, other := range map[string]pluginhost.Process{
		"another start":    {Name: p.Name, PID: p.PID, StartTicks: p.StartTicks + 1, BootID: p.BootID},
		"another boot":     {Name: p.Name, PID: p.PID, StartTicks: p.StartTicks, BootID: "another"},
		"another process":  {Name: p.Name, PID: os.Getpid(), StartTicks: p.StartTicks, BootID: p.BootID},
		"nobody's process": {Name: p.Name, PID: 1 << 30, StartTicks: p.StartTicks, BootID: p.BootID},
	} {
		if alive, err := pluginhost.Alive(other); alive || err != nil {
			t.Errorf("%s passes for the plugin: %v %v", name, alive, err)
		}
		if err := pluginhost.End(t.Context(), other); err != nil {
			t.Errorf("%s: end: %v", name, err)
		}
	}
	for _, pid := range []int{-1, 0, 1} {
		if _, err := pluginhost.Alive(pluginhost.Process{PID: pid, BootID: p.BootID}); err == nil {
			t.Errorf("pid %d is taken for a plugin's", pid)
		}
		if err := pluginhost.End(t.Context(), pluginhost.Process{PID: pid, BootID: p.BootID}); err == nil {
			t.Errorf("pid %d would be killed", pid)
		}
	}
	if alive, err := pluginhost.Alive(p); !alive || err != nil {
		t.Fatalf("End killed a process that it was not given: %v %v", alive, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for range 2 {
		if err := pluginhost.End(ctx, p); err != nil {
			t.Errorf("end: %v", err)
		}
		if alive, err := pluginhost.Alive(p); alive || err != nil {
			t.Errorf("it lives on: %v %v", alive, err)
		}
	}
}

// TestOrphansCount has a process lead a group, leave a child behind in it and die, as a plugin does whose host is gone. A child that
// has no plugin's environment belongs to somebody else who got the same number.
func TestOrphansCount(t *testing.T) {
	t.Parallel()
	for name, environ := range map[string][]string{"ours": {wire.LifelineEnv + "=3"}, "another's": {"X=1"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, child := leaveOrphan(t, environ)
			ours := name == "ours"
			if alive, err := pluginhost.Alive(p); alive != ours || err != nil {
				t.Errorf("%s: alive %v, err %v", name, alive, err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if err := pluginhost.End(ctx, p); err != nil {
				t.Errorf("end: %v", err)
			}
			if alive, err := pluginhost.Alive(p); alive || err != nil {
				t.Errorf("it lives on: %v %v", alive, err)
			}
			if lives := unix.Kill(child, 0) == nil; lives && ours {
				awaitDeath(t, child) // it may be a zombie for a moment
			} else if !lives && !ours {
				t.Error("End killed what is not ours")
			}
		})
	}
}

// leaveOrphan returns a dead leader of a group and its living child.
func leaveOrphan(t *testing.T, environ []string) (pluginhost.Process, int) {
	t.Helper()
	leader := exec.CommandContext(t.Context(), "/bin/sh", "-c", `"$0" block 1 >/dev/null & echo $!; read line`, os.Args[0])
	leader.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	leader.Env = environ
	in, err := leader.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := leader.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := leader.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Kill(child, unix.SIGKILL) })
	p, err := pluginhost.Identify("sh", leader.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	_ = in.Close()
	_ = leader.Wait()
	return p, child
}

// TestNoFileIsInherited has this process hold a file open as one that a shell handed to it.
func TestNoFileIsInherited(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "of the shell")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETFD, 0); err != nil {
		t.Fatal(err)
	}
	s := mustDo(t, newStep(t, newHost(t, nil), "odd"), "say")
	if len(s.Files) < 4 || slices.Contains(s.Files, path) {
		t.Errorf("the plugin has open: %v", s.Files)
	}
}
