//go:build realnodes

package e2e

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/wait"
)

// TestRealLeavesNothing kills the laboratory, and whoever starts it, at moments of its life, and wants nothing to be left after it was
// taken down, twice.
func TestRealLeavesNothing(t *testing.T) {
	for _, tc := range []struct {
		name, reason string
		// there is a pattern of files in the laboratory's folder: the moment has come when there is one.
		there string
	}{
		{"Network", "there is a bridge", "real.json"},
		{"Machine", "a node is being made", "nodes/*/*/etc"},
		{"Daemons", "a node's programs begin to run", "logs/*.log"},
		{"Kubelet", "a kubelet is about to run", "nodes/*/*/etc/kubernetes/kubelet.key"},
		{"Pods", "containers run", "nodes/dev2/*/var/log/containers/web-*"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "lab")
			before := machine(t, dir)
			killAt(t, dir, tc.there)
			if diff := cmp.Diff(before, machine(t, dir)); diff == "" {
				t.Errorf("%s: nothing of the laboratory can be seen: this test looks at the wrong things", tc.reason)
			}
			for range 2 {
				command(t, nil, filepath.Join(bin, "tkgfix-lab"), "down", "--dir", dir).wantCode(t, 0)
				if diff := cmp.Diff(before, machine(t, dir)); diff != "" {
					t.Errorf("%s: left on the machine (-before, +after):\n%s", tc.reason, diff)
				}
				if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s: the laboratory's folder is left: %v", tc.reason, err)
				}
			}
		})
	}
}

// TestRealKilled kills tkgfix while it looks at nodes that are real, and wants nothing to be left after the laboratory was taken down.
func TestRealKilled(t *testing.T) {
	dir := filepath.Dir(t.TempDir()) // all that this test makes is in there
	before := machine(t, dir)
	lab := upWith(t, "real", "missing-ca")
	_, worker := lab.sickNodes(t)
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "tkgfix"), append([]string{"plan", documentedFix}, lab.inputs("team-a/dev1", lab.ca("root"))...)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+lab.kubeconfig("platform"), "TKGFIX_STATE="+lab.state)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	err := wait.PollUntilContextTimeout(t.Context(), 5*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		log, err := os.ReadFile(filepath.Join(lab.dir, "logs", worker.Name+".log"))
		return strings.Contains(string(log), "Accepted publickey"), err
	})
	if err != nil {
		t.Fatalf("waiting for a login: %v", err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGKILL {
		t.Fatalf("it was not killed: %v", cmd.ProcessState)
	}
	for range 2 {
		command(t, nil, filepath.Join(bin, "tkgfix-lab"), "down", "--dir", lab.dir).wantCode(t, 0)
		if diff := cmp.Diff(before, machine(t, dir)); diff != "" {
			t.Errorf("left on the machine (-before, +after):\n%s", diff)
		}
	}
}

// killAt starts a laboratory in dir and kills it, and who started it, as soon as there is a file.
func killAt(t *testing.T, dir, pattern string) {
	t.Helper()
	up := exec.CommandContext(t.Context(), filepath.Join(bin, "tkgfix-lab"), "up", "--dir", dir, "--nodes", "real", "--scenario", "missing-ca")
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = down(dir) })
	err := wait.PollUntilContextTimeout(t.Context(), 5*time.Millisecond, 3*time.Minute, true, func(context.Context) (bool, error) {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		return len(found) > 0, err
	})
	if err != nil {
		t.Fatalf("waiting for %s: %v", pattern, err)
	}
	_ = up.Process.Kill() // it may have ended: then there is nobody to take the laboratory down
	_ = up.Wait()
	raw, err := os.ReadFile(filepath.Join(dir, "lab.json"))
	if err != nil {
		t.Fatal(err)
	}
	kill(t, decode[struct{ PID int }](t, raw).PID)
}

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
