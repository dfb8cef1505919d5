//go:build realnodes

package e2e

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// machine returns what there is on this machine of laboratories with real nodes: network devices, control groups, mounts, and
// processes in namespaces or control groups of theirs. dir is a folder of laboratories.
func machine(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	devices, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range devices {
		if strings.HasPrefix(d.Name, "tkgfix") {
			out = append(out, "device "+d.Name)
		}
	}
	groups, err := filepath.Glob("/sys/fs/cgroup/*/tkgfix*")
	if err != nil {
		t.Fatal(err)
	}
	out = append(out, groups...)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, dir) {
			out = append(out, "mount "+line)
		}
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		if belongs(p, dir) {
			out = append(out, "process "+filepath.Base(p))
		}
	}
	slices.Sort(out)
	return out
}

// belongs says whether a process is of a laboratory in dir: by its words, its control groups or the mounts that it sees.
func belongs(process, dir string) bool {
	words := func(name, what string) bool {
		data, err := os.ReadFile(filepath.Join(process, name))
		return err == nil && strings.Contains(string(data), what) // it may have ended meanwhile
	}
	return words("cmdline", dir) || words("mountinfo", dir) || words("cgroup", "/tkgfix")
}

// kill kills a process and returns when it is gone.
func kill(t *testing.T, pid int) {
	t.Helper()
	if pid <= 1 {
		t.Fatalf("process %d is not one to kill", pid)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	err := wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) {
		return syscall.Kill(pid, 0) == syscall.ESRCH, nil
	})
	if err != nil {
		t.Fatalf("process %d does not end: %v", pid, err)
	}
}
