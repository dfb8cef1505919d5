package program

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/util/wait"
)

func TestWait(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "wait")
	if err := os.WriteFile(path, Wait(), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		reason string
		signal syscall.Signal
		first  bool
	}{
		"Term":  {"what kubelet sends to end a container", syscall.SIGTERM, false},
		"Int":   {"what a terminal sends", syscall.SIGINT, false},
		"First": {"the first process of a container ignores what it does not wait for", syscall.SIGTERM, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), path)
			if tc.first {
				cmd.SysProcAttr = namespaces()
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			waitBlocked(t, cmd.Process.Pid)
			select {
			case err := <-ended:
				t.Fatalf("%s: it ended before it was told to: %v", tc.reason, err)
			default:
			}
			if err := cmd.Process.Signal(tc.signal); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-ended:
				if err != nil {
					t.Errorf("%s: %v", tc.reason, err)
				}
			case <-time.After(10 * time.Second):
				t.Errorf("%s: it does not end", tc.reason)
			}
		})
	}
}

// namespaces makes a process the first of a process namespace.
func namespaces() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
	if os.Geteuid() != 0 {
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return attr
}

// waitBlocked returns when the process waits in rt_sigtimedwait (proc_pid_syscall(5)).
func waitBlocked(t *testing.T, pid int) {
	t.Helper()
	var seen string
	err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) {
		data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "syscall"))
		seen = string(data)
		return strings.HasPrefix(seen, fmt.Sprint(unix.SYS_RT_SIGTIMEDWAIT)+" "), err
	})
	if err != nil {
		t.Fatalf("process %d does not wait for a signal, it is in system call %q: %v", pid, seen, err)
	}
}
