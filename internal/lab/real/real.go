// Package real makes nodes of a workload cluster that run what a node runs: Debian's containerd and runc, kubelet, and Debian's sshd
// with sudo and openssl. A node is a set of namespaces (network, mount, process, name, IPC) with a root folder and an address of its
// own on a bridge of the laboratory's.
//
// All that a node mounts, all its processes and its network device go when the first process of its process namespace ends, which
// Linux sees to when the laboratory ends in whatever way. What is left then are the bridge, control groups and files: Remove takes
// them away, by a record that is written before they are made.
package real

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/tkgfix/tkgfix/internal/lab/guest"
	"github.com/tkgfix/tkgfix/internal/lab/proc"
)

// SSHPort is the port of each node's sshd.
const SSHPort = 22

// The addresses of the laboratory's network. What the host serves is below 128: all of that is local to it.
const (
	firstServed, lastServed = 10, 127
	firstNode, lastNode     = 130, 250
)

// Options say what nodes are made of.
type Options struct {
	Group *proc.Group
	// Dir is the laboratory's folder, Binary is hyperkube and Helper the program that has InitCommand.
	Dir, Binary, Helper string
}

// Machines makes machines. It is a guest.Machines.
type Machines struct {
	opts   Options
	record Record
	nodes  *guest.Pool
	pause  []byte
	dns    net.PacketConn

	// These are set before the first Start.
	names       map[string]string
	systemRoots []byte
}

// Open makes the network on which the nodes will be. It needs root. What it makes is on record in the folder, for Remove.
func Open(ctx context.Context, opts Options) (*Machines, error) {
	if err := Check(); err != nil {
		return nil, err
	}
	pause, err := pauseImage()
	if err != nil {
		return nil, err
	}
	record, err := claimNetwork(opts.Dir)
	if err != nil {
		return nil, err
	}
	dns, err := serveNames(ctx, record.gateway())
	if err != nil {
		return nil, errors.Join(err, Remove(ctx, opts.Dir))
	}
	return &Machines{opts: opts, record: record, nodes: guest.PoolOf(record.prefix(), firstNode, lastNode), pause: pause, dns: dns}, nil
}

// Served returns the addresses of the network that the host itself answers: for API servers and registries that nodes are to reach.
func (m *Machines) Served() *guest.Pool {
	return guest.PoolOf(m.record.prefix(), firstServed, lastServed)
}

// Use says what each node finds in its hosts file, with addresses, and trusts from the start, in PEM. It comes before the first Start.
func (m *Machines) Use(names map[string]string, systemRoots []byte) {
	m.names, m.systemRoots = names, systemRoots
}

// Controllers are those that a cluster of such nodes needs: somebody has to take away the taint of a node that was not ready.
func (m *Machines) Controllers() []string { return []string{"node-lifecycle-controller"} }

// Close removes the network and the control groups. No node may be left.
func (m *Machines) Close(ctx context.Context) error {
	return errors.Join(m.dns.Close(), Remove(ctx, m.opts.Dir))
}

// Start makes a machine and returns when its containerd and sshd answer.
func (m *Machines) Start(ctx context.Context, spec guest.MachineSpec) (guest.Machine, error) {
	if err := Supported(spec.Profile); err != nil {
		return nil, err
	}
	address, err := m.nodes.Take()
	if err != nil {
		return nil, err
	}
	machine := &Machine{made: m, spec: spec, address: address}
	if err := machine.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("starting node %s: %w", spec.Name, err), machine.Stop())
	}
	return machine, nil
}

// log is the file of all that a node's programs say. It outlives the node, for who looks into what happened.
func (m *Machines) log(name string) string {
	return filepath.Join(m.opts.Dir, "logs", name+".log")
}

func (m *Machines) makeLogs() error {
	if err := os.MkdirAll(filepath.Join(m.opts.Dir, "logs"), 0o700); err != nil {
		return fmt.Errorf("making the folder of logs: %w", err)
	}
	return nil
}
