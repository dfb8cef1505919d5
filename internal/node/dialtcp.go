package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"github.com/tkgfix/tkgfix/plugins"
)

var (
	// ErrForwarding says that the node's SSH server does not let it dial for us.
	ErrForwarding = errors.New("the SSH server forbids TCP forwarding")
	// ErrLost says that the connection to the node broke.
	ErrLost = errors.New("the connection is lost")
)

// DialTCP lets the node dial host:port and returns the connection, which knows no deadlines: end it by closing it. The node
// resolves the name. A dial that did not succeed is a *net.OpError as the node's own would be, so that what was wrong (name,
// refused, no route, time) can be told apart. ErrForwarding and ErrLost mean that the node was not even asked. It blocks on the
// network.
func (c *Conn) DialTCP(ctx context.Context, hostport string) (net.Conn, error) {
	conn, err := c.transport.Dial(ctx, hostport)
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("dial %s from node %s: %w", hostport, c.target.Name, ctx.Err())
	case errors.Is(err, ErrForwarding):
		return nil, plugins.Hint(fmt.Errorf("dial %s from node %s: %w", hostport, c.target.Name, ErrForwarding),
			"allow it in the node's /etc/ssh/sshd_config: AllowTcpForwarding local (or yes)")
	case errors.Is(err, ErrLost):
		return nil, c.lost(err)
	}
	return nil, fmt.Errorf("from node %s: %w", c.target.Name, err)
}

// Alive asks the node for a sign of life. The error is ErrLost if none comes within 15 seconds; the connection is then closed.
func (c *Conn) Alive(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = c.transport.Close() })
	defer stop()
	if err := c.transport.Alive(ctx); err != nil {
		return c.lost(fmt.Errorf("%w: %w", ErrLost, err))
	}
	return nil
}

func (c *Conn) lost(err error) error {
	return plugins.WithKind(plugins.KindTransient, fmt.Errorf("node %s: %w", c.target.Name, err))
}

// dialCause turns the words of an SSH server into the error that Go has for them.
func dialCause(message, hostport string) error {
	text := strings.ToLower(message)
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(text, w) {
				return true
			}
		}
		return false
	}
	host, _, _ := net.SplitHostPort(hostport)
	switch {
	case has("connection refused"):
		return syscall.ECONNREFUSED
	case has("no such host", "not known", "no address associated", "nodename nor servname", "non-recoverable failure"):
		return &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	case has("name resolution", "server misbehaving"):
		return &net.DNSError{Err: "temporary failure in name resolution", Name: host, IsTemporary: true}
	case has("no route to host"):
		return syscall.EHOSTUNREACH
	case has("network is unreachable"):
		return syscall.ENETUNREACH
	case has("timed out", "timeout"):
		return syscall.ETIMEDOUT
	case has("reset by peer"):
		return syscall.ECONNRESET
	}
	return errors.New(lastLine(message))
}

type remoteAddr string

func (remoteAddr) Network() string  { return "tcp" }
func (r remoteAddr) String() string { return string(r) }
