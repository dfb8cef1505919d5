// Package vm is a node of a workload cluster as it is seen from outside: a root folder of its own, an SSH server on an address of
// its own, and a containerd that trusts what was in the folder when it started.
package vm

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/tkgfix/tkgfix/internal/lab/proc"
)

// User is the login of each node (tkg-facts.md §3).
const User = "vmware-system-user"

// SSHPort is the port of each node's SSH server.
const SSHPort = 2222

// restartEvery is how often a node looks whether somebody asked for a restart of containerd.
const restartEvery = 100 * time.Millisecond

// runTimeout bounds a script.
const runTimeout = time.Minute

// Spec says what node to make.
type Spec struct {
	Name string
	// Root is the folder that the node has as its root. It must not exist.
	Root string
	// Address is the node's loopback address.
	Address string
	// Hosts are names that the node knows, with their addresses.
	Hosts map[string]string
	// Routes are addresses that the node's network delivers elsewhere than to themselves.
	Routes map[string]string
	// Family is the kind of operating system; Photon if empty.
	Family Family
	// Clock is what is added to the time on the node: a clock that is wrong is wrong from the first boot on.
	Clock time.Duration
	// SystemRoots is what the operating system trusts by itself, in PEM.
	SystemRoots []byte
	// Trust is rendered once, when the node is made: as cloud-init does at first boot (tkg-facts.md §2).
	Trust []Trust
	// AuthorizedKey is the public key that may log in, in authorized_keys format; Password is the other way in.
	AuthorizedKey []byte
	Password      string
	// Helper is the program that runs commands inside the node (Enter).
	Helper string
	Now    func() time.Time
}

// Node is a running node.
type Node struct {
	spec   Spec
	group  *proc.Group
	server *server
	cancel context.CancelFunc
	// watched is closed when nobody waits for restarts any more.
	watched chan struct{}

	mu         sync.Mutex
	containerd Containerd
}

// Containerd is what a running containerd has taken in when it started.
type Containerd struct {
	Roots *x509.CertPool
	// Environment is NAME=value.
	Environment []string
	// SandboxImage is the image of each pod's pause container.
	SandboxImage string
}

// Start makes the node and serves SSH on it.
func Start(ctx context.Context, group *proc.Group, spec Spec) (*Node, error) {
	if err := makeRoot(ctx, spec); err != nil {
		return nil, err
	}
	n := &Node{spec: spec, group: group}
	if err := n.startContainerd(); err != nil {
		return nil, err
	}
	var err error
	if n.server, err = serve(ctx, n); err != nil {
		return nil, err
	}
	watching, cancel := context.WithCancel(context.WithoutCancel(ctx))
	n.cancel, n.watched = cancel, make(chan struct{})
	go n.watchRestart(watching)
	return n, nil
}

// watchRestart restarts containerd when somebody on the node asks for that.
func (n *Node) watchRestart(ctx context.Context) {
	defer close(n.watched)
	ticker := time.NewTicker(restartEvery)
	defer ticker.Stop()
	request := filepath.Join(n.spec.Root, restart)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if _, err := os.Lstat(request); err == nil {
			_ = n.startContainerd() // the stamp is stale if this fails; the roots are new
			_ = os.Remove(request)
		}
	}
}

// Stop ends the node's SSH server with all its sessions and removes the root folder.
func (n *Node) Stop() error {
	n.cancel()
	<-n.watched
	err := n.server.Close()
	if removeErr := os.RemoveAll(n.spec.Root); removeErr != nil {
		return fmt.Errorf("removing node %s: %w", n.spec.Name, removeErr)
	}
	return err
}

// Name returns the node's name.
func (n *Node) Name() string { return n.spec.Name }

// Address returns the node's loopback address.
func (n *Node) Address() string { return n.spec.Address }

// Root returns the node's root folder.
func (n *Node) Root() string { return n.spec.Root }

// startContainerd loads what containerd goes by and notes the time.
func (n *Node) startContainerd() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.containerd = Containerd{Roots: Roots(n.spec.Root), Environment: unitEnvironment(n.spec.Root), SandboxImage: sandboxImage(n.spec.Root)}
	return writeStamp(n.spec.Root, n.Now(), n.containerd.Environment)
}

// Containerd returns what the node's containerd goes by since its last start.
func (n *Node) Containerd() Containerd {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.containerd
}

// Now returns the time as the node's clock has it.
func (n *Node) Now() time.Time { return n.spec.Now().Add(n.spec.Clock) }

// FS returns the node's files.
func (n *Node) FS() fs.FS { return tree(n.spec.Root) }

// Run runs a script on the node, as somebody who has logged in does, and returns when it has ended. The error holds what it wrote.
func (n *Node) Run(ctx context.Context, script string) error {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	cmd := n.command(script, false)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := n.group.Start(ctx, cmd); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("running a script on %s: %w: %s", n.spec.Name, err, strings.TrimSpace(said.String()))
	}
	return nil
}

// Lookup resolves a name as the node does: by its own etc/hosts. An address is its own.
func (n *Node) Lookup(name string) (string, error) {
	if ip := net.ParseIP(name); ip != nil {
		return name, nil
	}
	data, err := readInside(n.spec.Root, "etc/hosts")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("reading the hosts of %s: %w", n.spec.Name, err)
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(line)
		for i, field := range fields {
			if i > 0 && strings.EqualFold(field, strings.TrimSuffix(name, ".")) {
				return fields[0], nil
			}
		}
	}
	return "", &net.DNSError{Err: "no such host", Name: name, Server: "10.96.0.10:53", IsNotFound: true}
}

// Dial connects from the node, to a name that the node resolves.
func (n *Node) Dial(ctx context.Context, network, hostport string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, err
	}
	address, err := n.Lookup(host)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	if to, ok := n.spec.Routes[address]; ok {
		address = to
	}
	dialer := net.Dialer{Timeout: dialTimeout, LocalAddr: &net.TCPAddr{IP: net.ParseIP(n.spec.Address)}}
	conn, err := dialer.DialContext(ctx, network, net.JoinHostPort(address, port))
	if failed, ok := errors.AsType[*net.OpError](err); ok {
		failed.Source = nil // nobody on a node says where it dials from
	}
	return conn, err
}
