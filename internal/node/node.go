package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

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
	target  Target
	client  *ssh.Client
	hostKey string
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
	known, err := newPins(conf, target)
	if err != nil {
		return nil, err
	}
	algorithms, err := known.algorithms()
	if err != nil {
		return nil, err
	}
	methods, err := creds.methods()
	if err != nil {
		return nil, fmt.Errorf("log in to node %s: %w", target.Name, err)
	}
	bounded, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	d := &dialling{conf: conf, target: target, address: net.JoinHostPort(target.Address, strconv.Itoa(conf.Port))}
	conn, err := d.dial(bounded, known, &ssh.ClientConfig{User: conf.User, Auth: methods, HostKeyAlgorithms: algorithms})
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("reach node %s: %w", target.Name, ctx.Err())
	}
	return conn, err
}

type dialling struct {
	conf    plugins.Nodes
	target  Target
	address string
	keyErr  error
}

func (d *dialling) dial(ctx context.Context, known *pins, config *ssh.ClientConfig) (*Conn, error) {
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", d.address)
	if err != nil {
		return nil, d.unreachable(err)
	}
	// The handshake knows no context: closing the connection ends it.
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	conn := &Conn{target: d.target}
	config.HostKeyCallback = func(_ string, remote net.Addr, key ssh.PublicKey) error {
		conn.hostKey = ssh.FingerprintSHA256(key)
		d.keyErr = known.check(ctx, remote, key)
		return d.keyErr
	}
	sshConn, channels, requests, err := ssh.NewClientConn(raw, d.address, config)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = raw.Close()
		return nil, d.explain(ctx, err)
	}
	conn.client = ssh.NewClient(sshConn, channels, requests)
	return conn, nil
}

func (d *dialling) explain(ctx context.Context, err error) error {
	switch {
	case d.keyErr != nil:
		return d.keyErr
	case ctx.Err() != nil:
		return d.unreachable(fmt.Errorf("no SSH handshake within %s", dialTimeout))
	case strings.Contains(err.Error(), "unable to authenticate"):
		return plugins.Hint(fmt.Errorf("node %s (%s) refuses the login of %s", d.target.Name, d.address, d.conf.User),
			"the Secrets CLUSTER-ssh and CLUSTER-ssh-password hold the login, unless the cluster sets its own user or the password "+
				"is over; try: ssh -p %d %s@%s", d.conf.Port, d.conf.User, d.target.Address)
	case strings.Contains(err.Error(), "no common algorithm for host key"):
		return plugins.Hint(fmt.Errorf("node %s (%s) no longer has a host key of the pinned kind", d.target.Name, d.address),
			"it may be another machine; only if that is right: ssh-keygen -R %s -f %s", d.target.HostKeyAlias, d.conf.KnownHosts)
	}
	return d.unreachable(err)
}

func (d *dialling) unreachable(err error) error {
	return plugins.Hint(plugins.WithKind(plugins.KindTransient, fmt.Errorf("reach node %s at %s: %w", d.target.Name, d.address, err)),
		"try: ssh -p %d %s@%s; networks of NSX are not routed from outside: run tkgfix on a machine that reaches the nodes",
		d.conf.Port, d.conf.User, d.target.Address)
}

// Name returns the node's name.
func (c *Conn) Name() string { return c.target.Name }

// HostKey returns the fingerprint of the node's host key, as ssh prints it: SHA256:...
func (c *Conn) HostKey() string { return c.hostKey }

// Close ends the connection and all that goes over it.
func (c *Conn) Close() error {
	if err := c.client.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close the connection to node %s: %w", c.target.Name, err)
	}
	return nil
}
