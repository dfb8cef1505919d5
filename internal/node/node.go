package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/tkgfix/tkgfix/plugins"
)

// patience bounds each thing that a node may never answer.
type patience struct {
	// login is for reaching a host and logging in, and for a sign of life.
	login time.Duration
	// dial is for a TCP connection that the node makes: as long as containerd waits for one.
	dial time.Duration
	// silence is for a script that prints nothing.
	silence time.Duration
}

func usualPatience() patience {
	return patience{login: 15 * time.Second, dial: 30 * time.Second, silence: 2 * time.Minute}
}

// Target is a node to reach.
type Target struct {
	// Name is the node's name, for people.
	Name string
	// Address is an IP address or a host name.
	Address string
	// HostKeyAlias is what the host key is pinned under: the UID of the Machine.
	HostKeyAlias string
}

// Conn is a connection to one node. It is safe for use by several goroutines.
type Conn struct {
	target    Target
	hostKey   string
	transport Transport
	patience  patience
}

// New returns a connection to a node over a transport, which it closes. hostKey is the fingerprint of the node's host key, empty where
// there is none.
func New(target Target, hostKey string, transport Transport) *Conn {
	return &Conn{target: target, hostKey: hostKey, transport: transport, patience: usualPatience()}
}

// Dial connects to a node, through the jump hosts if there are any, and logs in: with the keys of the agent if conf says so, then with
// the key and then with the password, each within 15 seconds a host. creds are what the cluster's Secrets hold; the files that conf
// names take their place, and no jump host is offered any of creds. In the mode accept-new the key of a Machine or a jump host that was
// never seen is pinned. What cannot be reached is plugins.KindTransient; the error names the host, its address and the port. Dial blocks
// on the network, reads the user's known_hosts and the files that conf names, and writes the file of pinned keys.
func Dial(ctx context.Context, conf plugins.Nodes, target Target, creds Credentials) (*Conn, error) {
	return here().dial(ctx, conf, target, creds)
}

func (m machine) dial(ctx context.Context, conf plugins.Nodes, target Target, creds Credentials) (*Conn, error) {
	if conf.Via != "ssh" {
		return nil, plugins.Hint(fmt.Errorf("connections.nodes.via is %q: node %s is reached by ssh only", conf.Via, target.Name),
			"say via: ssh, and jump: [user@]host[:port] if the nodes' network is not routed to here")
	}
	if target.Address == "" {
		return nil, plugins.Hint(fmt.Errorf("node %s has no address", target.Name),
			"see whether the machine is up: kubectl get machines,virtualmachines -A | grep %s", target.Name)
	}
	return m.dialSSH(ctx, conf, target, creds)
}

// Name returns the node's name.
func (c *Conn) Name() string { return c.target.Name }

// HostKey returns the fingerprint of the node's host key, as ssh prints it: SHA256:...
func (c *Conn) HostKey() string { return c.hostKey }

// Close ends the connection and all that goes over it.
func (c *Conn) Close() error {
	if err := c.transport.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close the connection to node %s: %w", c.target.Name, err)
	}
	return nil
}
