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

// dialSSH reaches a node by SSH and logs in.
func dialSSH(ctx context.Context, conf plugins.Nodes, target Target, creds Credentials) (*Conn, error) {
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
	hostKey := ""
	config.HostKeyCallback = func(_ string, remote net.Addr, key ssh.PublicKey) error {
		hostKey = ssh.FingerprintSHA256(key)
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
	return New(d.target, hostKey, &sshTransport{ssh.NewClient(sshConn, channels, requests)}), nil
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

// sshTransport is a connection over SSH.
type sshTransport struct{ client *ssh.Client }

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
	refused, ok := errors.AsType[*ssh.OpenChannelError](err)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case !ok:
		return nil, fmt.Errorf("%w: %w", ErrLost, err)
	case refused.Reason != ssh.ConnectionFailed:
		return nil, ErrForwarding
	}
	return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: remoteAddr(hostport), Err: dialCause(refused.Message, hostport)}
}

func (t *sshTransport) Alive(context.Context) error {
	_, _, err := t.client.SendRequest("keepalive@openssh.com", true, nil)
	return err
}

func (t *sshTransport) Close() error { return t.client.Close() }
