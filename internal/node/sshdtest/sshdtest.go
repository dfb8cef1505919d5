// Package sshdtest is a node for tests that is as real as one machine allows: Debian's own sshd with PAM and sudo, in a mount and a
// process namespace of its own. Its /etc, /home, /run, /usr/local/share, /var/log and /var/lib/sudo are private folders of the test, so
// that a user, a password, a file of trust or a name in /etc/hosts can be planted without a change to the machine. All else, the
// network too, is the machine's.
//
// Namespaces and a server that lets others in need root. Where sshd or root is missing a test fails: a test that is skipped shows
// nothing.
package sshdtest

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/tkgfix/tkgfix/internal/node"
	"github.com/tkgfix/tkgfix/internal/node/nodetest"
	"github.com/tkgfix/tkgfix/plugins"
)

// User is the login name of a TKG node (tkg-facts.md §3).
const User = "vmware-system-user"

// Password is the password of the user.
const Password = "correct horse"

// Options say how the node differs from a usual one, which takes the key, the password and PAM's question, forwards TCP and lets its user
// become root by sudo without a password.
type Options struct {
	// User is the login name; User if empty.
	User string
	// HostKey is the server's key in PEM, as NewKey returns it; a new one if nil.
	HostKey []byte
	// Certify returns a certificate for the public half of the host key, which the server shows beside the key; none if nil.
	Certify func(gossh.PublicKey) *gossh.Certificate
	// Address is the loopback address to listen on; 127.0.0.1 if empty.
	Address string
	// Port is the port to listen on; a free one if 0. A test that gives the port of a server that was stopped gets it again.
	Port int
	// NoForwarding forbids TCP forwarding, as hardened nodes do.
	NoForwarding bool
	// NoKeys takes no public key.
	NoKeys bool
	// OnlyQuestions takes the password only as the answer to PAM's question (keyboard-interactive), and no public key.
	OnlyQuestions bool
	// Expired makes the password over age, which PAM refuses a session for, whatever opened it.
	Expired bool
}

// Server is a running sshd.
type Server struct {
	// Address and Port are where it listens.
	Address string
	Port    int
	// User is the login name.
	User string
	// PrivateKey opens it, in PEM.
	PrivateKey []byte
	// HostKey is the public half of the server's key.
	HostKey gossh.PublicKey

	root    string
	process *process
}

// NewKey returns a private key in PEM and its signer.
func NewKey(t testing.TB) ([]byte, gossh.Signer) {
	t.Helper()
	return nodetest.NewKey(t)
}

// Start starts a node that ends with the test. It blocks until sshd listens.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	needs(t)
	if o.User == "" {
		o.User = User
	}
	if o.Address == "" {
		o.Address = "127.0.0.1"
	}
	private, login := NewKey(t)
	s := &Server{Address: o.Address, User: o.User, PrivateKey: private, root: t.TempDir()}
	s.HostKey = furnish(t, s.root, o, login.PublicKey())
	s.Port, s.process = listen(t, s.root, o)
	t.Cleanup(func() {
		s.Stop()
		if t.Failed() {
			t.Logf("sshd on port %d said:\n%s", s.Port, s.process.said())
		}
	})
	return s
}

// Stop ends the server and all that was started over it. Stopping twice is fine.
func (s *Server) Stop() { s.process.stop() }

// Fingerprint is that of the host key, as ssh prints it.
func (s *Server) Fingerprint() string { return gossh.FingerprintSHA256(s.HostKey) }

// Log is what sshd logged so far, at its level VERBOSE.
func (s *Server) Log() string { return s.process.said() }

// HostPort is where the server listens, for the network and for ProxyJump.
func (s *Server) HostPort() string { return net.JoinHostPort(s.Address, strconv.Itoa(s.Port)) }

// Conf returns the connection to the node, with a file of pinned keys of its own.
func (s *Server) Conf(t testing.TB) plugins.Nodes {
	t.Helper()
	return plugins.Nodes{
		Via: "ssh", User: s.User, Port: s.Port, HostKeys: "accept-new", KnownHosts: filepath.Join(t.TempDir(), "keys", "known_hosts"),
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

// WriteFile puts a file into one of the node's private folders, such as /etc/ssl/certs/tkg-x.pem, making the folders above it. The file
// belongs to root, as the node sees it at once.
func (s *Server) WriteFile(t testing.TB, path string, data []byte, mode os.FileMode) {
	t.Helper()
	s.within(t, func(root *os.Root) error { return write(root, path, data, mode) })
}

// ReadFile returns a file of one of the node's private folders.
func (s *Server) ReadFile(t testing.TB, path string) []byte {
	t.Helper()
	var data []byte
	s.within(t, func(root *os.Root) (err error) {
		data, err = root.ReadFile(inside(path))
		return err
	})
	return data
}

// Symlink makes a link in one of the node's private folders; it may point anywhere.
func (s *Server) Symlink(t testing.TB, target, path string) {
	t.Helper()
	s.within(t, func(root *os.Root) error { return root.Symlink(target, inside(path)) })
}

// Remove removes a file, or a folder with all that is in it, from one of the node's private folders.
func (s *Server) Remove(t testing.TB, path string) {
	t.Helper()
	s.within(t, func(root *os.Root) error { return root.RemoveAll(inside(path)) })
}

func (s *Server) within(t testing.TB, do func(*os.Root) error) {
	t.Helper()
	root, err := os.OpenRoot(s.root)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	if err := do(root); err != nil {
		t.Fatal(err)
	}
}
