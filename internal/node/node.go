package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/tkgfix/tkgfix/plugins"
)

// dialTimeout bounds reaching a node and logging in.
const dialTimeout = 15 * time.Second

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
}

// New returns a connection to a node over a transport, which it closes. hostKey is the fingerprint of the node's host key, empty where
// there is none.
func New(target Target, hostKey string, transport Transport) *Conn {
	return &Conn{target: target, hostKey: hostKey, transport: transport}
}

// Dial connects to a node and logs in, with the key and then with the password, within 15 seconds. In the mode accept-new the
// key of a Machine that was never seen is pinned. A node that cannot be reached is plugins.KindTransient; the error names
// the node, its address and the port. Dial blocks on the network and writes the file of pinned keys.
func Dial(ctx context.Context, conf plugins.Nodes, target Target, creds Credentials) (*Conn, error) {
	if conf.Via != "ssh" {
		return nil, fmt.Errorf("connections.nodes.via is %q: only ssh is known", conf.Via)
	}
	if target.Address == "" {
		return nil, plugins.Hint(fmt.Errorf("node %s has no address", target.Name),
			"see whether the machine is up: kubectl get machines,virtualmachines -A | grep %s", target.Name)
	}
	return dialSSH(ctx, conf, target, creds)
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
