package node_test

import (
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gliderlabs/ssh"
	gossh "golang.org/x/crypto/ssh"

	"github.com/tkgfix/tkgfix/internal/node"
	"github.com/tkgfix/tkgfix/internal/node/nodetest"
	"github.com/tkgfix/tkgfix/internal/node/sshdtest"
	"github.com/tkgfix/tkgfix/plugins"
)

// brief is how long the tests wait for what never comes.
const brief = 2 * time.Second

// accept serves each connection to a port of loopback until the test ends.
func accept(t *testing.T, serve func(net.Conn)) *nodetest.Server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
			go serve(conn)
		}
	}()
	return &nodetest.Server{Address: "127.0.0.1", Port: listener.Addr().(*net.TCPAddr).Port}
}

// serveSSH serves SSH as config says, to whoever comes; then the channels and the requests go to take.
func serveSSH(t *testing.T, config gossh.ServerConfig, take func(<-chan gossh.NewChannel, <-chan *gossh.Request)) func(net.Conn) {
	t.Helper()
	_, key := nodetest.NewKey(t)
	config.AddHostKey(key)
	return func(conn net.Conn) {
		_, channels, requests, err := gossh.NewServerConn(conn, &config)
		if err == nil {
			take(channels, requests)
		}
	}
}

func TestStallBeforeLogin(t *testing.T) {
	t.Parallel()
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	never := func() { <-over }
	drop := func(<-chan gossh.NewChannel, <-chan *gossh.Request) {}
	cases := map[string]struct {
		reason string
		serve  func(net.Conn)
		want   []string
	}{
		"Silent": {"accepts and says nothing", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, []string{"says nothing", "MaxStartups"}},
		"KeyExchange": {
			"says its version and no more", func(c net.Conn) {
				_, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n")
				_, _ = io.Copy(io.Discard, c)
			}, []string{"stalls in the key exchange", "MTU"},
		},
		"Endless": {"greets without end", func(c net.Conn) {
			for err := error(nil); err == nil; {
				_, err = io.WriteString(c, strings.Repeat("hello\r\n", 1000))
			}
		}, nil},
		"AfterKeyExchange": {
			"never says how it may be logged in to",
			serveSSH(t, gossh.ServerConfig{NoClientAuth: true, NoClientAuthCallback: func(gossh.ConnMetadata) (*gossh.Permissions, error) {
				never()
				return nil, errors.New("no")
			}}, drop),
			[]string{"stalls after the key exchange", "console"},
		},
		"Login": {
			"never says whether the password is right",
			serveSSH(t, gossh.ServerConfig{PasswordCallback: func(gossh.ConnMetadata, []byte) (*gossh.Permissions, error) {
				never()
				return nil, errors.New("no")
			}}, drop),
			[]string{"stalls in the login of vmware-system-user", "PAM"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := accept(t, c.serve)
			_, err := node.Machine{Patience: brief}.Dial(t.Context(), server.Conf(t), server.Target(), node.Credentials{Password: "x"})
			says(t, c.reason, err, append(c.want, "node np1-a at 127.0.0.1:", "ssh ")...)
			if plugins.KindOf(err) != plugins.KindTransient {
				t.Errorf("%s: want a transient error, got %s", c.reason, plugins.KindOf(err))
			}
		})
	}
}

// TestStallBehindJump dials a node that accepts and says nothing, through a real jump host.
func TestStallBehindJump(t *testing.T) {
	t.Parallel()
	silent := accept(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	jump := sshdtest.Start(t, sshdtest.Options{User: "ops"})
	conf := silent.Conf(t)
	conf.Jump = "ops@" + jump.HostPort()
	_, err := node.Machine{Home: home(t, jump.PrivateKey), Patience: 10 * time.Second}.Dial(t.Context(), conf, silent.Target(), node.Credentials{Password: "x"})
	says(t, "behind a jump host", err, "node np1-a at 127.0.0.1:", "says nothing", "ssh -v -J ops@127.0.0.1:")
}

// TestStallOfJump has a jump host that takes the login and then answers nothing.
func TestStallOfJump(t *testing.T) {
	t.Parallel()
	stuck := make(chan struct{})
	t.Cleanup(func() { close(stuck) })
	// Forwards nothing and never says so.
	jump := accept(t, serveSSH(t, gossh.ServerConfig{PublicKeyCallback: func(gossh.ConnMetadata, gossh.PublicKey) (*gossh.Permissions, error) { return nil, nil }},
		func(<-chan gossh.NewChannel, <-chan *gossh.Request) { <-stuck }))
	key, _ := nodetest.NewKey(t)
	conf := jump.Conf(t)
	conf.Jump = net.JoinHostPort(jump.Address, strconv.Itoa(jump.Port))
	target := jump.Target()
	target.Address = "10.0.0.1"
	_, err := node.Machine{User: "ops", Home: home(t, key), Patience: brief}.Dial(t.Context(), conf, target, node.Credentials{Password: "x"})
	says(t, "a jump host that never answers", err, "node np1-a at 10.0.0.1:", "the jump host before it gives no connection within")
}

func TestStallOfSession(t *testing.T) {
	t.Parallel()
	anybody := gossh.ServerConfig{PasswordCallback: func(gossh.ConnMetadata, []byte) (*gossh.Permissions, error) { return nil, nil }}
	servers := map[string]*nodetest.Server{
		"NoChannel": accept(t, serveSSH(t, anybody, func(_ <-chan gossh.NewChannel, requests <-chan *gossh.Request) { gossh.DiscardRequests(requests) })),
		"NoAnswer": accept(t, serveSSH(t, anybody, func(channels <-chan gossh.NewChannel, requests <-chan *gossh.Request) {
			go gossh.DiscardRequests(requests)
			for c := range channels {
				_, _, _ = c.Accept() // the command is never begun
			}
		})),
		"NoOutput": nodetest.Start(t, nodetest.Options{Session: func(s ssh.Session) { <-s.Context().Done() }}),
		"OneLine": nodetest.Start(t, nodetest.Options{Session: func(s ssh.Session) {
			_, _ = io.WriteString(s, "one\n")
			<-s.Context().Done()
		}}),
	}
	for name, server := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := node.Machine{Patience: brief}.Dial(t.Context(), server.Conf(t), server.Target(), node.Credentials{Password: nodetest.Password})
			if err != nil {
				t.Fatal(err)
			}
			_, err = conn.Run(t.Context(), "true\n")
			says(t, name, err, "run the script on node np1-a: it printed nothing for "+brief.String(), "console")
			if plugins.KindOf(err) != plugins.KindTransient {
				t.Errorf("want a transient error, got %s", plugins.KindOf(err))
			}
		})
	}
}

// TestSlowIsNotSilent runs a script that takes longer than a silence may, and says something all the while.
func TestSlowIsNotSilent(t *testing.T) {
	t.Parallel()
	server := nodetest.Start(t, nodetest.Options{})
	conn, err := node.Machine{Patience: 2 * time.Second}.Dial(t.Context(), server.Conf(t), server.Target(), node.Credentials{Password: nodetest.Password})
	if err != nil {
		t.Fatal(err)
	}
	out, err := conn.Run(t.Context(), "for i in 1 2 3 4 5 6; do echo $i; sleep 0.5; done\n")
	if err != nil || string(out) != "1\n2\n3\n4\n5\n6\n" {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestStallOfDial(t *testing.T) {
	t.Parallel()
	anybody := gossh.ServerConfig{PasswordCallback: func(gossh.ConnMetadata, []byte) (*gossh.Permissions, error) { return nil, nil }}
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	alive := accept(t, serveSSH(t, anybody, func(_ <-chan gossh.NewChannel, requests <-chan *gossh.Request) { gossh.DiscardRequests(requests) }))
	dead := accept(t, serveSSH(t, anybody, func(<-chan gossh.NewChannel, <-chan *gossh.Request) { <-over }))
	dial := func(s *nodetest.Server) error {
		conn, err := node.Machine{Patience: brief}.Dial(t.Context(), s.Conf(t), s.Target(), node.Credentials{Password: nodetest.Password})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_, err = conn.DialTCP(t.Context(), "10.0.0.1:443")
		return err
	}
	if err := dial(alive); !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("the node lives and its dial is not answered: want ETIMEDOUT, got %v", err)
	}
	if err := dial(dead); !errors.Is(err, node.ErrLost) || plugins.KindOf(err) != plugins.KindTransient {
		t.Errorf("the node no longer answers: want ErrLost, transient, got %v", err)
	}
	carried := nodetest.Start(t, nodetest.Options{NoForwarding: true, Session: func(s ssh.Session) { <-s.Context().Done() }})
	if err := dial(carried); !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("the program on the node is not answered: want ETIMEDOUT, got %v", err)
	}
	greets := nodetest.Start(t, nodetest.Options{NoForwarding: true, Session: func(s ssh.Session) {
		for err := error(nil); err == nil; {
			_, err = io.WriteString(s, "welcome\n")
		}
	}})
	if err := dial(greets); err == nil || !strings.Contains(err.Error(), "prints too much") {
		t.Errorf("a login shell that prints without end: want an error, got %v", err)
	}
}
