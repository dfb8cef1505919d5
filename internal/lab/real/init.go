package real

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/util/wait"
)

// InitCommand is the hidden subcommand of the laboratory's program that ends in Init.
const InitCommand = "node-init"

// What a machine tells the first process of its node, a line each.
const (
	// commandBoot: the network is there.
	commandBoot = "boot"
	// commandKubelet: what the kubelet needs is in its place.
	commandKubelet = "kubelet"
)

const (
	// saidReady is what the first process answers when containerd and sshd do.
	saidReady = "ready\n"
	// readyFD is where it answers.
	readyFD = 3

	nodePath         = "/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin"
	containerdSocket = "run/containerd/containerd.sock"
	answerTimeout    = 30 * time.Second
	answerEvery      = 50 * time.Millisecond
)

// InitOptions say what node Init is the first process of.
type InitOptions struct {
	Root, Name, Address, Kube string
	// Trust is the command that takes in what the node is to trust.
	Trust string
	Now   func() time.Time
}

// Init is the first process of a node: it must run in new mount, process, name, network and IPC namespaces. It sets the node up as
// cloud-init does, runs its daemons, and returns when its input ends, which is when the laboratory does.
func Init(opts InitOptions) error {
	input := bufio.NewReader(os.Stdin)
	if err := expect(input, commandBoot); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(opts.Name)); err != nil {
		return fmt.Errorf("naming the node: %w", err)
	}
	if err := enterRoot(opts.Root, opts.Kube); err != nil {
		return fmt.Errorf("entering the node: %w", err)
	}
	// Trust first: containerd reads it once.
	if err := runOnce(opts.Trust); err != nil {
		return err
	}
	s := newSupervisor(opts)
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGCHLD, unix.SIGHUP)
	if err := s.boot(); err != nil {
		return err
	}
	return s.run(signals, lines(input))
}

func expect(input *bufio.Reader, word string) error {
	line, err := input.ReadString('\n')
	if err != nil || line != word+"\n" {
		return fmt.Errorf("waiting to be told %q: got %q, %w", word, line, errors.Join(err))
	}
	return nil
}

// lines passes on each line and closes the channel when the input ends.
func lines(input *bufio.Reader) <-chan string {
	out := make(chan string)
	go func() {
		defer close(out)
		scanner := bufio.NewScanner(input)
		for scanner.Scan() {
			out <- scanner.Text()
		}
	}()
	return out
}

// runOnce runs a program to its end.
func runOnce(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("running %s: %w", name, err)
	}
	return nil
}

// boot starts containerd and sshd, brings the pause image in, and says that the node is ready.
func (s *supervisor) boot() error {
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		return fmt.Errorf("making sshd's folder: %w", err)
	}
	if err := s.startContainerd(); err != nil {
		return err
	}
	if err := <-s.shown; err != nil {
		return err
	}
	if err := runOnce("ctr", "-n", "k8s.io", "images", "import", "/"+pauseFile); err != nil {
		return err
	}
	if err := os.Remove("/" + pauseFile); err != nil {
		return fmt.Errorf("removing the pause image's file: %w", err)
	}
	if err := s.start(s.sshd); err != nil {
		return err
	}
	if err := answers("tcp", net.JoinHostPort(s.opts.Address, fmt.Sprint(SSHPort))); err != nil {
		return err
	}
	ready := os.NewFile(readyFD, "ready")
	defer ready.Close()
	if _, err := io.WriteString(ready, saidReady); err != nil {
		return fmt.Errorf("saying that the node is ready: %w", err)
	}
	return nil
}

// answers returns when something accepts connections there.
func answers(network, address string) error {
	var last error
	err := wait.PollUntilContextTimeout(context.Background(), answerEvery, answerTimeout, true, func(ctx context.Context) (bool, error) {
		var conn net.Conn
		conn, last = new(net.Dialer).DialContext(ctx, network, address)
		if last == nil {
			_ = conn.Close()
		}
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for %s to answer: %w", filepath.Base(address), errors.Join(err, last))
	}
	return nil
}
