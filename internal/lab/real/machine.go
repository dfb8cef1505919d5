package real

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tkgfix/tkgfix/internal/lab/guest"
	"github.com/tkgfix/tkgfix/internal/lab/proc"
)

const (
	// startTimeout bounds how long a node's containerd and sshd may take to answer.
	startTimeout = time.Minute
	// runTimeout bounds a script.
	runTimeout = time.Minute
	// endGrace is how long the first process of a node may take to end; it ends at once, and all others with it.
	endGrace = 5 * time.Second
	// controlPlaneRole marks a node of the control plane, as a label and as a taint.
	controlPlaneRole = "node-role.kubernetes.io/control-plane"
)

// Machine is a running machine. It is a guest.Machine, and like one it is not for several goroutines at once.
type Machine struct {
	made    *Machines
	spec    guest.MachineSpec
	address string
	process *proc.Process
	// life is the first process's input: it takes commands there, and ends when that does.
	life   io.WriteCloser
	joined bool
}

// Address returns the node's address on the bridge.
func (m *Machine) Address() string { return m.address }

// Root returns the node's root folder. What the node mounts there is not seen from outside.
func (m *Machine) Root() string { return m.spec.Root }

// cgroup is the path of the control group of the node's pods in each hierarchy.
func (m *Machine) cgroup() string { return filepath.Join(m.made.record.cgroup(), m.spec.Name) }

func (m *Machine) start(ctx context.Context) error {
	if err := m.made.makeLogs(); err != nil {
		return err
	}
	if err := m.makeRoot(ctx); err != nil {
		return err
	}
	if err := makeCgroups(m.cgroup()); err != nil {
		return err
	}
	ready, err := m.launch(ctx)
	if err != nil {
		return err
	}
	defer ready.Close()
	if err := m.made.record.connect(m.process.PID(), m.address); err != nil {
		return err
	}
	if err := m.command(commandBoot); err != nil {
		return err
	}
	return m.waitReady(ctx, ready)
}

// launch starts the first process of the node, which waits for its network, and returns where it says that the node is ready.
func (m *Machine) launch(ctx context.Context) (*os.File, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("making a pipe: %w", err)
	}
	defer write.Close()
	cmd := exec.Command(m.made.opts.Helper, InitCommand, "--root", m.spec.Root, "--name", m.spec.Name, "--address", m.address, "--kube", m.made.opts.Binary,
		"--trust", m.trustCommand())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC, Setsid: true}
	cmd.Env = []string{"PATH=" + nodePath, "LANG=C"}
	cmd.ExtraFiles = []*os.File{write}
	if m.life, err = cmd.StdinPipe(); err != nil {
		return nil, errors.Join(err, read.Close())
	}
	if m.process, err = m.made.opts.Group.Watch(ctx, m.made.log(m.spec.Name), cmd); err != nil {
		return nil, errors.Join(err, read.Close())
	}
	return read, nil
}

// command tells the first process of the node what to do.
func (m *Machine) command(word string) error {
	if _, err := io.WriteString(m.life, word+"\n"); err != nil {
		return fmt.Errorf("commanding node %s: %w", m.spec.Name, err)
	}
	return nil
}

// waitReady returns when the first process of the node says that all of it answers. It closes from.
func (m *Machine) waitReady(ctx context.Context, from io.ReadCloser) error {
	limited, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	defer context.AfterFunc(limited, func() { _ = from.Close() })()
	line, err := bufio.NewReader(from).ReadString('\n')
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil || line != saidReady {
		return fmt.Errorf("waiting for containerd and sshd: %w; what they said: %s", errors.Join(err, limited.Err()), m.made.log(m.spec.Name))
	}
	return nil
}

// Run runs a script of sh in the node's namespaces, as root. The error holds what it wrote.
func (m *Machine) Run(ctx context.Context, script string) error {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", "--target", strconv.Itoa(m.process.PID()), "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd", "--", "sh", "-c", script)
	cmd.Env = []string{"PATH=" + nodePath, "LANG=C", "HOME=/root"}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("running a script on %s: %w: %s", m.spec.Name, err, bytes.TrimSpace(out))
	}
	return nil
}

// Join gives the kubelet what it needs, starts it, and then asks the cluster whether the node is ready.
func (m *Machine) Join(ctx context.Context, member guest.Membership) (bool, error) {
	if !m.joined {
		files, err := m.kubeletFiles(member)
		if err != nil {
			return false, err
		}
		for _, f := range files {
			if err := writeFile(m.path(f.name), f.data, f.mode); err != nil {
				return false, fmt.Errorf("preparing the kubelet of %s: %w", m.spec.Name, err)
			}
		}
		if err := m.command(commandKubelet); err != nil {
			return false, err
		}
		m.joined = true
	}
	node, err := member.Client.CoreV1().Nodes().Get(ctx, m.spec.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("asking about node %s: %w", m.spec.Name, err)
	}
	if member.Node.ControlPlane {
		if err := markControlPlane(ctx, member, node); err != nil {
			return false, err
		}
	}
	return isReady(node), nil
}

// isReady says whether kubelet calls the node ready and the taints of a new one have gone.
func isReady(node *corev1.Node) bool {
	for _, taint := range node.Spec.Taints {
		if taint.Key == corev1.TaintNodeNotReady {
			return false
		}
	}
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// markControlPlane labels the node as kubeadm does, which a kubelet may not do itself. The taint came with the kubelet's flags.
func markControlPlane(ctx context.Context, member guest.Membership, node *corev1.Node) error {
	if _, ok := node.Labels[controlPlaneRole]; ok {
		return nil
	}
	patch := fmt.Appendf(nil, `{"metadata":{"labels":{%q:""}}}`, controlPlaneRole)
	if _, err := member.Client.CoreV1().Nodes().Patch(ctx, node.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("marking node %s: %w", node.Name, err)
	}
	return nil
}

// Stop ends the node with all its processes and removes what it had. Stopping one that did not quite start does what is left.
func (m *Machine) Stop() error {
	if m.process != nil {
		_ = m.life.Close() // an error means that it is gone
		m.process.Stop(endGrace)
	}
	errs := []error{m.made.record.disconnect(m.address), removeCgroups(context.Background(), m.cgroup())}
	// What was mounted there has gone with the node's mount namespace.
	errs = append(errs, os.RemoveAll(m.spec.Root))
	m.made.nodes.Release(m.address)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("removing node %s: %w", m.spec.Name, err)
	}
	return nil
}
