package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/tkgfix/tkgfix/plugins"
)

// leg is one host to log in to.
type leg struct {
	host
	user  string
	opens login
	// refused says where to look when the login is refused, try is the command that does the same by hand.
	refused, try string
}

// way is a chain of SSH connections, each through the one before.
type way struct {
	ctx      context.Context //nolint:containedctx // of the one dial that it is made in
	known    *hostKeys
	patience time.Duration
	clients  []*ssh.Client
	// hostKey is the fingerprint of the last host's key.
	hostKey string
}

func (w *way) last() *ssh.Client { return w.clients[len(w.clients)-1] }

// Close ends all connections. The first goes first: what runs over it cannot hold it up then.
func (w *way) Close() error {
	var first error
	for n, c := range w.clients {
		if err := c.Close(); n == 0 {
			first = err
		}
	}
	return first
}

// extend connects to the next host and logs in.
func (w *way) extend(l leg) error {
	algorithms := w.known.algorithms(l.host)
	ctx, cancel := context.WithTimeout(w.ctx, w.patience)
	defer cancel()
	var err error
	for _, methods := range l.opens.rounds() {
		a := &attempt{way: w, leg: l}
		var client *ssh.Client
		client, err = a.connect(ctx, &ssh.ClientConfig{User: l.user, Auth: methods, HostKeyAlgorithms: algorithms})
		if err == nil {
			w.clients = append(w.clients, client)
			w.hostKey, _ = a.shown()
			return nil
		}
		if !a.refused {
			return err
		}
	}
	return err
}

// attempt is one connection to a host, and how far it came.
type attempt struct {
	*way
	leg

	heard   atomic.Bool // the server said something
	asked   atomic.Bool // it said how it may be logged in to
	refused bool        // it takes none of that

	// The key exchange may still be under way when the connection was closed.
	mu      sync.Mutex
	hostKey string // the fingerprint, once it is shown
	keyErr  error  // what is wrong with it
}

// judge checks the host key that is shown.
func (a *attempt) judge(ctx context.Context, key ssh.PublicKey) error {
	err := a.known.check(ctx, a.host, key)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hostKey, a.keyErr = ssh.FingerprintSHA256(plain(key)), err
	return err
}

// shown returns the fingerprint of the host key, empty before it is shown, and what is wrong with it.
func (a *attempt) shown() (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.hostKey, a.keyErr
}

func (a *attempt) connect(ctx context.Context, config *ssh.ClientConfig) (*ssh.Client, error) {
	raw, err := a.reach(ctx)
	if err != nil {
		return nil, err
	}
	// The handshake knows no context. Closing a connection through a jump host that is stuck ends nothing: so all are closed.
	stop := context.AfterFunc(ctx, func() { _, _ = a.way.Close(), raw.Close() })
	config.HostKeyCallback = func(_ string, _ net.Addr, key ssh.PublicKey) error {
		return a.judge(ctx, key)
	}
	config.AuthCallback = func(*ssh.ClientAuthContext) (ssh.AuthMethod, error) {
		if ctx.Err() == nil { // it is called once more when the connection was closed
			a.asked.Store(true)
		}
		return nil, nil //nolint:nilnil // the next of config.Auth
	}
	conn, channels, requests, err := ssh.NewClientConn(&listening{Conn: raw, heard: &a.heard}, a.address, config)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = raw.Close()
		return nil, a.explain(ctx, err)
	}
	return ssh.NewClient(conn, channels, requests), nil
}

// reach makes the TCP connection, from here or from the host before.
func (a *attempt) reach(ctx context.Context) (net.Conn, error) {
	if len(a.clients) == 0 {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", a.address)
		if err != nil {
			return nil, a.unreachable(err)
		}
		return conn, nil
	}
	conn, err := a.last().DialContext(ctx, "tcp", a.address)
	if err == nil {
		return conn, nil
	}
	if ctx.Err() != nil {
		return nil, a.unreachable(fmt.Errorf("the jump host before it gives no connection within %s", a.patience))
	}
	err = dialError(err, a.address)
	if errors.Is(err, ErrForwarding) {
		return nil, plugins.Hint(fmt.Errorf("reach %s at %s: the jump host before it: %w", a.what, a.address, err),
			"allow it in the jump host's /etc/ssh/sshd_config: AllowTcpForwarding local (or yes), and PermitOpen any")
	}
	return nil, a.unreachable(fmt.Errorf("from the jump host before it: %w", err))
}

func (a *attempt) explain(ctx context.Context, err error) error {
	_, keyErr := a.shown()
	switch {
	case keyErr != nil:
		return keyErr
	case ctx.Err() != nil:
		return a.stalled()
	case isRefusal(err):
		a.refused = true
		return plugins.Hint(fmt.Errorf("%s (%s) refuses the login of %s%s", a.what, a.address, a.user, reasons(a.opens.passedOver)),
			"%s; try: %s", a.leg.refused, a.try)
	case strings.Contains(err.Error(), "no common algorithm for host key"):
		return a.known.otherKind(a.host)
	}
	return a.unreachable(err)
}

// isRefusal tells that the server takes none of what was offered, or no more of it.
func isRefusal(err error) bool {
	text := strings.ToLower(err.Error())
	return strings.Contains(text, "unable to authenticate") || strings.Contains(text, "too many authentication failures")
}

// stalled says at what a server that no longer answers was.
func (a *attempt) stalled() error {
	what, hint := "it accepts the connection and says nothing", "its SSH server has too many logins under way (MaxStartups), is stopped, or a firewall answers in its place"
	hostKey, _ := a.shown()
	switch {
	case a.asked.Load():
		what, hint = "it stalls in the login of "+a.user, "PAM, the directory service or the disk of that host may hang; look at its console"
	case hostKey != "":
		what, hint = "it stalls after the key exchange, before the login", "the host may be out of memory or its disk may hang; look at its console"
	case a.heard.Load():
		what, hint = "it stalls in the key exchange", "a firewall may drop large packets: compare the MTU of both ends"
	}
	return plugins.Hint(plugins.WithKind(plugins.KindTransient, fmt.Errorf("reach %s at %s: no SSH handshake within %s: %s", a.what, a.address, a.patience, what)),
		"%s; try: %s", hint, strings.Replace(a.try, "ssh ", "ssh -v ", 1))
}

func (a *attempt) unreachable(err error) error {
	return plugins.Hint(plugins.WithKind(plugins.KindTransient, fmt.Errorf("reach %s at %s: %w", a.what, a.address, err)),
		"try: %s; networks of NSX are not routed from outside: run tkgfix on a machine that reaches the nodes, or name a jump host", a.try)
}

// listening notes that the other side said something.
type listening struct {
	net.Conn
	heard *atomic.Bool
}

func (l *listening) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if n > 0 {
		l.heard.Store(true)
	}
	return n, err
}
