package vm

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/subtle"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/gliderlabs/ssh"
	gossh "golang.org/x/crypto/ssh"
)

const (
	dialTimeout = 10 * time.Second
	// A session whose channel the client closed is noticed by asking it this often.
	keepalive = time.Second
	// exitKilled is what a shell answers for a killed command.
	exitKilled = 137
)

type server struct {
	ssh    *ssh.Server
	cancel context.CancelFunc
	done   chan struct{}
}

// NewKey makes an SSH key pair: the private key in OpenSSH's PEM form and the public one in authorized_keys form.
func NewKey(comment string) (private, public []byte, err error) {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("making an SSH key: %w", err)
	}
	block, err := gossh.MarshalPrivateKey(key, comment)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding an SSH key: %w", err)
	}
	sshPub, err := gossh.NewPublicKey(pub)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding an SSH key: %w", err)
	}
	return pem.EncodeToMemory(block), gossh.MarshalAuthorizedKey(sshPub), nil
}

// serve starts the node's SSH server, with a host key that nobody has seen before: a node that is made anew is another node.
func serve(ctx context.Context, n *Node) (*server, error) {
	allowed, _, _, _, err := ssh.ParseAuthorizedKey(n.spec.AuthorizedKey)
	if err != nil {
		return nil, fmt.Errorf("reading the key that may log in to %s: %w", n.spec.Name, err)
	}
	_, hostKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the host key of %s: %w", n.spec.Name, err)
	}
	signer, err := gossh.NewSignerFromKey(hostKey)
	if err != nil {
		return nil, fmt.Errorf("making the host key of %s: %w", n.spec.Name, err)
	}
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", net.JoinHostPort(n.spec.Address, strconv.Itoa(SSHPort)))
	if err != nil {
		return nil, fmt.Errorf("opening the SSH port of %s: %w", n.spec.Name, err)
	}
	sessions, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &server{cancel: cancel, done: make(chan struct{})}
	s.ssh = &ssh.Server{
		HostSigners: []ssh.Signer{signer},
		Version:     "OpenSSH_9.3",
		Handler:     func(sess ssh.Session) { n.session(sessions, sess, false) },
		SubsystemHandlers: map[string]ssh.SubsystemHandler{
			"sftp": func(sess ssh.Session) { n.session(sessions, sess, true) },
		},
		ChannelHandlers: map[string]ssh.ChannelHandler{
			"session":      ssh.DefaultSessionHandler,
			"direct-tcpip": n.forward,
		},
		PublicKeyHandler: func(c ssh.Context, key ssh.PublicKey) bool { return c.User() == User && ssh.KeysEqual(key, allowed) },
		PasswordHandler: func(c ssh.Context, password string) bool {
			return c.User() == User && subtle.ConstantTimeCompare([]byte(password), []byte(n.spec.Password)) == 1
		},
	}
	go func() {
		defer close(s.done)
		_ = s.ssh.Serve(listener) // always ErrServerClosed after Close
	}()
	return s, nil
}

// Close ends the server, its connections and their commands.
func (s *server) Close() error {
	err := s.ssh.Close()
	s.cancel()
	<-s.done
	return err
}

// session runs a command, a shell or the sftp server inside the node until it ends or the client goes away.
func (n *Node) session(serving context.Context, sess ssh.Session, sftp bool) {
	ctx, cancel := context.WithCancel(sess.Context())
	defer cancel()
	defer context.AfterFunc(serving, cancel)()
	go watch(ctx, cancel, sess)

	cmd := n.command(sess.RawCommand(), sftp)
	cmd.Stdout, cmd.Stderr = sess, sess.Stderr()
	// Not cmd.Stdin: Wait would wait until the client closes its side.
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = n.group.Start(ctx, cmd)
	}
	if err != nil {
		fmt.Fprintf(sess.Stderr(), "%v\n", err)
		_ = sess.Exit(1)
		return
	}
	go func() {
		_, _ = io.Copy(stdin, sess)
		_ = stdin.Close()
	}()
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })()
	_ = sess.Exit(exitCode(cmd.Wait()))
}

// watch cancels when the client closed the session or sent it a deadly signal.
func watch(ctx context.Context, cancel context.CancelFunc, sess ssh.Session) {
	signals := make(chan ssh.Signal, 1)
	sess.Signals(signals)
	defer sess.Signals(nil)
	ticker := time.NewTicker(keepalive)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-signals:
			if s == ssh.SIGKILL || s == ssh.SIGTERM || s == ssh.SIGINT || s == ssh.SIGHUP {
				cancel()
			}
		case <-ticker.C:
			if _, err := sess.SendRequest("keepalive@openssh.com", true, nil); err != nil {
				cancel()
			}
		}
	}
}

func exitCode(err error) int {
	if err == nil {
		return 0
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return 1
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return exitKilled
	}
	return exit.ExitCode()
}

// forward serves direct-tcpip: the node resolves the name and dials.
func (n *Node) forward(_ *ssh.Server, _ *gossh.ServerConn, newChan gossh.NewChannel, ctx ssh.Context) {
	var request struct {
		Host       string
		Port       uint32
		OriginHost string
		OriginPort uint32
	}
	if err := gossh.Unmarshal(newChan.ExtraData(), &request); err != nil {
		_ = newChan.Reject(gossh.ConnectionFailed, "reading the forwarding request: "+err.Error())
		return
	}
	conn, err := n.Dial(ctx, "tcp", net.JoinHostPort(request.Host, strconv.FormatUint(uint64(request.Port), 10)))
	if err != nil {
		_ = newChan.Reject(gossh.ConnectionFailed, err.Error())
		return
	}
	channel, requests, err := newChan.Accept()
	if err != nil {
		_ = conn.Close()
		return
	}
	go gossh.DiscardRequests(requests)
	join(ctx, channel, conn)
}

// join copies both ways, passes on half-closes, and closes both when both are through or ctx ends.
func join(ctx context.Context, channel gossh.Channel, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close(); _ = channel.Close() })
	through := make(chan struct{})
	go func() {
		defer close(through)
		_, _ = io.Copy(conn, channel)
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		}
	}()
	_, _ = io.Copy(channel, conn)
	_ = channel.CloseWrite()
	<-through
	stop()
	_ = conn.Close()
	_ = channel.Close()
}
