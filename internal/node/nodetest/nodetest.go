// Package nodetest is a node for tests: a real SSH server on loopback that runs what it is told with the real sh of this machine.
package nodetest

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/gliderlabs/ssh"
	gossh "golang.org/x/crypto/ssh"

	"github.com/tkgfix/tkgfix/internal/node"
	"github.com/tkgfix/tkgfix/plugins"
)

// User is the login name.
const User = "vmware-system-user"

// Password is the password of User.
const Password = "correct horse"

// Server is a running node.
type Server struct {
	// Address and Port are where it listens.
	Address string
	Port    int
	// PrivateKey opens it.
	PrivateKey []byte
	// Fingerprint is that of its host key.
	Fingerprint string
}

// Options say how the node differs from a usual one.
type Options struct {
	// HostKey is the node's key; a new one if nil.
	HostKey gossh.Signer
	// NoForwarding forbids direct-tcpip.
	NoForwarding bool
	// Resolve replaces what the node is asked to dial, if not nil.
	Resolve func(hostport string) string
	// Session replaces what the node does with a session, if not nil.
	Session ssh.Handler
}

// NewKey returns a private key in PEM and its signer.
func NewKey(t testing.TB) ([]byte, gossh.Signer) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := gossh.MarshalPrivateKey(key, "test")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := gossh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(block), signer
}

// Start starts a node that ends with the test.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	private, login := NewKey(t)
	if o.HostKey == nil {
		_, o.HostKey = NewKey(t)
	}
	if o.Session == nil {
		o.Session = shell
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &ssh.Server{
		HostSigners: []ssh.Signer{o.HostKey},
		Handler:     o.Session,
		PublicKeyHandler: func(ctx ssh.Context, key ssh.PublicKey) bool {
			return ctx.User() == User && ssh.KeysEqual(key, login.PublicKey())
		},
		PasswordHandler: func(ctx ssh.Context, password string) bool { return ctx.User() == User && password == Password },
		ChannelHandlers: map[string]ssh.ChannelHandler{"session": ssh.DefaultSessionHandler, "direct-tcpip": o.forward},
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-done; !errors.Is(err, ssh.ErrServerClosed) {
			t.Errorf("serve SSH: %v", err)
		}
	})
	addr := listener.Addr().(*net.TCPAddr)
	return &Server{
		Address: addr.IP.String(), Port: addr.Port, PrivateKey: private, Fingerprint: gossh.FingerprintSHA256(o.HostKey.PublicKey()),
	}
}

// Conf returns the connection to the node, with a file of pinned keys of its own.
func (s *Server) Conf(t testing.TB) plugins.Nodes {
	t.Helper()
	return plugins.Nodes{
		Via: "ssh", User: User, Port: s.Port, HostKeys: "accept-new", KnownHosts: filepath.Join(t.TempDir(), "keys", "known_hosts"),
	}
}

// Target returns the node to dial.
func (s *Server) Target() node.Target {
	return node.Target{Name: "np1-a", Address: s.Address, HostKeyAlias: "6f1c7a52-0000-4000-8000-000000000001"}
}

// Dial logs in with the key; the connection ends with the test.
func (s *Server) Dial(t testing.TB) *node.Conn {
	t.Helper()
	conn, err := node.Dial(t.Context(), s.Conf(t), s.Target(), node.Credentials{PrivateKey: s.PrivateKey})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// shell runs the command with sh, as sshd does.
func shell(s ssh.Session) { Shell(s, nil) }

// Shell runs the command of a session with sh, as sshd does. Env is the command's environment; nil is that of this process.
func Shell(s ssh.Session, env []string) {
	ctx, cancel := context.WithCancel(s.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", s.RawCommand())
	cmd.Env, cmd.Stdout, cmd.Stderr = env, s, s.Stderr()
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		_ = s.Exit(255)
		return
	}
	go func() {
		// Ends with the session; what the command does not read is lost, as it is with sshd.
		_, _ = io.Copy(stdin, s)
		_ = stdin.Close()
	}()
	err = cmd.Wait()
	code := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		code = 255
	}
	_ = s.Exit(code)
}

func (o Options) forward(srv *ssh.Server, conn *gossh.ServerConn, open gossh.NewChannel, ctx ssh.Context) {
	var asked struct {
		Host       string
		Port       uint32
		OriginHost string
		OriginPort uint32
	}
	if err := gossh.Unmarshal(open.ExtraData(), &asked); err != nil || o.NoForwarding {
		_ = open.Reject(gossh.Prohibited, "administratively prohibited: open failed")
		return
	}
	target := net.JoinHostPort(asked.Host, strconv.Itoa(int(asked.Port)))
	if o.Resolve != nil {
		target = o.Resolve(target)
	}
	out, err := new(net.Dialer).DialContext(ctx, "tcp", target)
	if err != nil {
		_ = open.Reject(gossh.ConnectionFailed, err.Error())
		return
	}
	channel, requests, err := open.Accept()
	if err != nil {
		_ = out.Close()
		return
	}
	go gossh.DiscardRequests(requests)
	splice(channel, out)
}
