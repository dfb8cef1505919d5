//go:build replicas

package replicas

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/tkgfix/tkgfix/internal/lab/proc"
)

// lease is how long a replica that is not heard of keeps a run.
const lease = 3 * time.Second

// replica is a process of tkgfix controller.
type replica struct {
	*proc.Process
	// name is its host's name and its login.
	name string
	// space is its mount namespace, by which its processes are found.
	space string
	// wire is between it and the API server; nil if there is none.
	wire *wire
	log  string
	// health and metrics are where it answers.
	health, metrics string
}

// pod says how a replica is run.
type pod struct {
	namespace, leaders string
	// alone gives it a PID namespace of its own, as a pod has it, so that no replica can end another's processes. What it starts then dies with
	// it by the kernel's hand in any case; otherwise that is for it to see to.
	alone bool
	// wired puts a wire between it and the API server that can be cut.
	wired bool
}

var began atomic.Int64

// inside runs in the replica's namespaces: a file system of its own for what it writes, and a name.
const inside = `set -e
mount -t tmpfs tmpfs /run
mkdir /run/tmp
[ "$1" = shared ] || mount -t proc proc /proc
echo "$2" >/proc/sys/kernel/hostname
shift 2
exec "$@"`

// start starts a replica. It does not wait until that is ready.
func (p pod) start(t *testing.T) *replica {
	t.Helper()
	r := &replica{name: replicaName(int(began.Add(1)) - 1)}
	kubeconfig, err := management.Bearer(r.name, r.name+"-token")
	must(t, err)
	if p.wired {
		r.wire = newWire(t, management.URL())
		kubeconfig = bytes.ReplaceAll(kubeconfig, []byte(management.URL()), []byte("https://"+r.wire.address()))
	}
	dir := filepath.Join(management.Dir, r.name)
	must(t, os.Mkdir(dir, 0o700))
	config := filepath.Join(dir, "kubeconfig")
	must(t, os.WriteFile(config, kubeconfig, 0o600))
	r.health, r.metrics, r.log = freeAddress(t), freeAddress(t), filepath.Join(dir, "log")
	pids := "shared"
	attrs := &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS}
	if p.alone {
		pids, attrs.Cloneflags = "own", syscall.CLONE_NEWPID
	}
	cmd := exec.Command("sh", "-c", inside, "replica", pids, r.name, filepath.Join(bin, "tkgfix"), "controller",
		"--kubeconfig", config, "--namespace", p.namespace, "--leader-elect-namespace", p.leaders, "--lease", lease.String(), "--grace", "5s",
		"--metrics-address", r.metrics, "--health-address", r.health)
	cmd.SysProcAttr, cmd.Env = attrs, append(pluginEnv(), "PATH="+os.Getenv("PATH"), "HOME=/run", "TMPDIR=/run/tmp")
	r.Process, err = group.Watch(t.Context(), r.log, cmd)
	must(t, err)
	space := fmt.Sprintf("/proc/%d/ns/mnt", r.PID())
	r.space, err = os.Readlink(space)
	must(t, err)
	// As long as this is open the kernel gives the number of the namespace to no other, whose processes would be taken for the replica's.
	held, err := os.Open(space)
	must(t, err)
	t.Cleanup(func() {
		r.kill(t)
		_ = held.Close()
		if t.Failed() {
			said, _ := os.ReadFile(r.log)
			t.Logf("%s said:\n%s", r.name, said)
		}
	})
	return r
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}

// ready waits until the replica knows the Runs.
func (r *replica) ready(t *testing.T) {
	t.Helper()
	err := poll(t, 30*time.Second, func(ctx context.Context) (bool, error) {
		if !r.alive() {
			return false, r.Err()
		}
		_, err := get(ctx, "http://"+r.health+"/readyz")
		return err == nil, nil // it does not listen yet, or does not know the Runs
	})
	if err != nil {
		t.Fatalf("wait for %s to be ready: %v", r.name, err)
	}
}

// get returns what answers at a URL.
func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return io.ReadAll(resp.Body)
}

// goroutines returns how many the replica has, and whether it is the leader, which does more than others.
func (r *replica) goroutines(ctx context.Context) (n int, leads bool, err error) {
	text, err := get(ctx, "http://"+r.metrics+"/metrics")
	if err != nil {
		return 0, false, err
	}
	_, after, _ := bytes.Cut(text, []byte("\ngo_goroutines "))
	line, _, _ := bytes.Cut(after, []byte("\n"))
	if n, err = strconv.Atoi(string(line)); err != nil {
		return 0, false, fmt.Errorf("read the metrics: %w", err)
	}
	return n, bytes.Contains(text, []byte(`leader_election_master_status{name="tkgfix-controller"} 1`)), nil
}

func (r *replica) alive() bool {
	select {
	case <-r.Done():
		return false
	default:
		return true
	}
}

// kill kills the replica, as a machine that loses its power would, and waits until nothing of it is left: its plugins must end with it.
func (r *replica) kill(t *testing.T) {
	t.Helper()
	_ = syscall.Kill(r.PID(), syscall.SIGKILL) // an error means that it is gone
	<-r.Done()
	var left []int
	_ = wait.PollUntilContextTimeout(context.WithoutCancel(t.Context()), 20*time.Millisecond, 5*time.Second, true, func(context.Context) (bool, error) {
		left = r.processes(t)
		return len(left) == 0, nil
	})
	if len(left) > 0 {
		t.Errorf("%s is dead and these processes of it are not: %v", r.name, left)
	}
}

// processes returns what runs in the replica's mount namespace: itself, and its plugins.
func (r *replica) processes(t *testing.T) []int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	must(t, err)
	var out []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if space, err := os.Readlink("/proc/" + e.Name() + "/ns/mnt"); err == nil && space == r.space { // else it has gone meanwhile
			out = append(out, pid)
		}
	}
	return out
}

// signal sends a signal to the replica and all that it started, as when a machine is frozen.
func (r *replica) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	for _, pid := range r.processes(t) {
		if err := syscall.Kill(pid, s); err != nil {
			t.Errorf("signal process %d of %s: %v", pid, r.name, err)
		}
	}
}
