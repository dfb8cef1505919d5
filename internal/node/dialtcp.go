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
	// ErrForwarding says that the node does not dial for others: its SSH server forbids TCP forwarding, or there is none.
	ErrForwarding = errors.New("the SSH server forbids TCP forwarding")
	// ErrLost says that the connection to the node broke.
	ErrLost = errors.New("the connection is lost")
)

// DialTCP lets the node dial host:port and returns the connection, which may know no deadlines: end it by closing it. The node
// resolves the name. Where the SSH server forbids forwarding, or there is none, a program of the node carries the bytes: bash, python3,
// socat, nc or busybox, whichever is there. A dial that did not succeed is a *net.OpError as the node's own would be, so that what was
// wrong (name, refused, no route, time) can be told apart; it takes 30 seconds at most. ErrForwarding means that nothing on the node
// can dial, ErrLost that the node was not even asked. It blocks on the network.
func (c *Conn) DialTCP(ctx context.Context, hostport string) (net.Conn, error) {
	bounded, cancel := context.WithTimeout(ctx, c.patience.dial)
	defer cancel()
	conn, err := c.transport.Dial(bounded, hostport)
	if errors.Is(err, ErrForwarding) {
		conn, err = c.carry(bounded, hostport)
	}
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("dial %s from node %s: %w", hostport, c.target.Name, ctx.Err())
	case errors.Is(err, ErrForwarding):
		return nil, plugins.Hint(fmt.Errorf("dial %s from node %s: %w", hostport, c.target.Name, err),
			"allow it in the node's /etc/ssh/sshd_config: AllowTcpForwarding local (or yes)")
	case errors.Is(err, ErrLost):
		return nil, c.lost(err)
	case bounded.Err() != nil:
		return nil, c.unanswered(ctx, hostport)
	}
	return nil, fmt.Errorf("from node %s: %w", c.target.Name, err)
}

// unanswered tells a dial that the node made in vain from a node that is no longer there.
func (c *Conn) unanswered(ctx context.Context, hostport string) error {
	if err := c.Alive(ctx); err != nil {
		return err
	}
	return fmt.Errorf("from node %s: %w", c.target.Name,
		&net.OpError{Op: "dial", Net: "tcp", Addr: remoteAddr(hostport), Err: syscall.ETIMEDOUT})
}

// Alive asks the node for a sign of life. The error is ErrLost if none comes within 15 seconds; the connection is then closed.
func (c *Conn) Alive(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.patience.login)
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

// dialCause turns the words of an SSH server, or of a program on the node, into the error that Go has for them.
func dialCause(message, hostport string) error {
	host, _, _ := net.SplitHostPort(hostport)
	text := strings.ToLower(message)
	if host != "" {
		text = strings.ReplaceAll(text, strings.ToLower(host), "") // a host may be called timeout.example
	}
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(text, w) {
				return true
			}
		}
		return false
	}
	switch {
	case has("connection refused"):
		return syscall.ECONNREFUSED
	case has("no such host", "not known", "no address associated", "nodename nor servname", "non-recoverable failure", "bad address"):
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
