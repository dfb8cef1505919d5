package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/tkgfix/tkgfix/plugins"
)

// dialSSH reaches a node by SSH, through the jump hosts if there are any, and logs in.
func (m machine) dialSSH(ctx context.Context, conf plugins.Nodes, target Target, creds Credentials) (*Conn, error) {
	hops, err := ParseJump(conf.Jump)
	if err != nil {
		return nil, err
	}
	known, err := m.openHostKeys(conf, target)
	if err != nil {
		return nil, err
	}
	keys, err := m.open(ctx, conf)
	if err != nil {
		return nil, fmt.Errorf("log in to node %s: %w", target.Name, err)
	}
	defer keys.close()
	legs, err := m.legs(conf, target, creds, hops, keys)
	if err != nil {
		return nil, err
	}
	way := &way{ctx: ctx, known: known, patience: m.patience.login}
	for _, l := range legs {
		if err := way.extend(l); err != nil {
			_ = way.Close()
			if ctx.Err() != nil {
				return nil, fmt.Errorf("reach node %s: %w", target.Name, ctx.Err())
			}
			return nil, err
		}
	}
	c := New(target, way.hostKey, &sshTransport{client: way.last(), way: way})
	c.patience = m.patience
	return c, nil
}

// legs returns the hosts to connect to, one after the other, and what opens each.
func (m machine) legs(conf plugins.Nodes, target Target, creds Credentials, hops []Hop, keys *keyring) ([]leg, error) {
	var out []leg
	for _, h := range hops {
		if h.User == "" {
			h.User = m.user
		}
		opens, err := keys.hop(m)
		if err != nil {
			return nil, fmt.Errorf("log in to jump host %s: %w", h.Address(), err)
		}
		out = append(out, leg{
			host: host{what: "jump host " + h.Host, address: h.Address(), pin: strings.ToLower(h.Address())}, user: h.User, opens: opens,
			refused: "name its key with identityFile (--ssh-key), or say agent: true (--ssh-agent) and ssh-add it",
			try:     fmt.Sprintf("ssh -p %d %s@%s", h.Port, h.User, h.Host),
		})
	}
	opens, err := keys.node(conf, creds)
	if err != nil {
		return nil, fmt.Errorf("log in to node %s: %w", target.Name, err)
	}
	jump := ""
	if len(hops) > 0 {
		jump = "-J " + conf.Jump + " "
	}
	return append(out, leg{
		host: nodeHost(conf, target), user: conf.User, opens: opens,
		refused: "the Secrets CLUSTER-ssh and CLUSTER-ssh-password hold the login, unless the cluster sets its own user or the password is over",
		try:     fmt.Sprintf("ssh %s-p %d %s@%s", jump, conf.Port, conf.User, target.Address),
	}), nil
}

// nodeHost is a node as a holder of a host key: pinned by its Machine.
func nodeHost(conf plugins.Nodes, target Target) host {
	return host{
		what: "node " + target.Name, address: net.JoinHostPort(target.Address, strconv.Itoa(conf.Port)),
		pin: net.JoinHostPort(target.HostKeyAlias, "22"), machine: true,
	}
}

// sshTransport is a connection over SSH.
type sshTransport struct {
	client *ssh.Client
	way    io.Closer
}

func (t *sshTransport) Exec(_ context.Context, command string, stdin io.Reader, stdout, stderr io.Writer) error {
	session, err := t.client.NewSession()
	if err != nil {
		return fmt.Errorf("open a session: %w", err)
	}
	defer func() { _ = session.Close() }()
	session.Stdin, session.Stdout, session.Stderr = stdin, stdout, stderr
	err = session.Run(command)
	if exit, ok := errors.AsType[*ssh.ExitError](err); ok {
		return &ExitError{Code: exit.ExitStatus()}
	}
	return err
}

func (t *sshTransport) Dial(ctx context.Context, hostport string) (net.Conn, error) {
	conn, err := t.client.DialContext(ctx, "tcp", hostport)
	if err == nil {
		return conn, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return nil, dialError(err, hostport)
}

// dialError tells why an SSH server did not dial: ErrForwarding, ErrLost, or what it ran into.
func dialError(err error, hostport string) error {
	refused, ok := errors.AsType[*ssh.OpenChannelError](err)
	switch {
	case !ok:
		return fmt.Errorf("%w: %w", ErrLost, err)
	case refused.Reason != ssh.ConnectionFailed:
		return ErrForwarding
	}
	return &net.OpError{Op: "dial", Net: "tcp", Addr: remoteAddr(hostport), Err: dialCause(refused.Message, hostport)}
}

func (t *sshTransport) Alive(context.Context) error {
	_, _, err := t.client.SendRequest("keepalive@openssh.com", true, nil)
	return err
}

func (t *sshTransport) Close() error { return t.way.Close() }
