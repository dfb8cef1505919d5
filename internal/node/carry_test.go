package node_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gliderlabs/ssh"
	gossh "golang.org/x/crypto/ssh"

	"github.com/tkgfix/tkgfix/internal/node"
	"github.com/tkgfix/tkgfix/internal/node/nodetest"
	"github.com/tkgfix/tkgfix/plugins"
)

// nodeWith is a node that forbids forwarding and has these programs, beside what every node has.
func nodeWith(t *testing.T, programs ...string) *node.Conn {
	t.Helper()
	bin := t.TempDir()
	for _, name := range append([]string{"sh", "cat", "true"}, programs...) {
		path, err := exec.LookPath(name)
		if name == "python3" {
			path, err = "/usr/bin/python3", nil
		}
		if err != nil {
			t.Fatalf("%v: install what the tests need with hack/deps.sh", err)
		}
		if err := os.Symlink(path, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	return nodetest.Start(t, nodetest.Options{NoForwarding: true, Session: func(s ssh.Session) {
		nodetest.Shell(s, []string{"PATH=" + bin})
	}}).Dial(t)
}

func closedPort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

func TestCarry(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	}))
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	for _, program := range []string{"bash", "python3", "socat", "nc", "busybox"} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			conn := nodeWith(t, program)
			tcp, err := conn.DialTCP(t.Context(), server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			if got := tcp.RemoteAddr().String(); got != server.Listener.Addr().String() {
				t.Errorf("RemoteAddr: got %s", got)
			}
			client := &http.Client{Transport: &http.Transport{
				DialContext:     func(context.Context, string, string) (net.Conn, error) { return tcp, nil },
				TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			}}
			want := strings.Repeat("0123456789abcdef", 1<<16)
			resp, err := client.Post("https://example.com/", "text/plain", strings.NewReader(want))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil || string(got) != want {
				t.Errorf("want a mebibyte there and back, got %d bytes, %v", len(got), err)
			}
			if err := tcp.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
}

func TestCarryErrors(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"bash", "python3", "socat", "nc", "busybox"} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			conn := nodeWith(t, program)
			_, err := conn.DialTCP(t.Context(), closedPort(t))
			if op := (*net.OpError)(nil); !errors.Is(err, syscall.ECONNREFUSED) || !errors.As(err, &op) || op.Op != "dial" {
				t.Errorf("closed port: want a dial that is refused, got %v", err)
			}
			_, err = conn.DialTCP(t.Context(), "no-such-host.invalid:443")
			if dns := (*net.DNSError)(nil); !errors.As(err, &dns) || dns.Name != "no-such-host.invalid" {
				t.Errorf("no such name: want a DNS error, got %v", err)
			}
			if err := conn.Alive(t.Context()); err != nil {
				t.Errorf("Alive after it: %v", err)
			}
		})
	}
}

func TestCarryNothing(t *testing.T) {
	t.Parallel()
	_, err := nodeWith(t).DialTCP(t.Context(), "127.0.0.1:443")
	if !errors.Is(err, node.ErrForwarding) || !strings.Contains(err.Error(), "none of bash, python3") || !strings.Contains(plugins.HintOf(err), "AllowTcpForwarding") {
		t.Errorf("a node with nothing: want ErrForwarding with the hint, got %v; %s", err, plugins.HintOf(err))
	}
	for _, hostport := range []string{"-e:443", "a b:443", "a';id;':443", "a:0", "a:x", "a", "$(id):443", ":443"} {
		if conn, err := nodeWith(t, "bash").DialTCP(t.Context(), hostport); err == nil {
			_ = conn.Close()
			t.Errorf("%q was dialled", hostport)
		}
	}
}

func TestCarryEnds(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"bash", "python3", "socat"} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = listener.Close() })
			accepted := make(chan net.Conn, 2)
			go func() {
				for {
					c, err := listener.Accept()
					if err != nil {
						return
					}
					// socat dials once more, to see whether it can.
					if one := make([]byte, 1); func() bool { _, err := c.Read(one); return err != nil }() {
						_ = c.Close()
						continue
					}
					accepted <- c
				}
			}()
			conn := nodeWith(t, program)
			dial := func() (here, there net.Conn) {
				here, err := conn.DialTCP(t.Context(), listener.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := here.Write([]byte("x")); err != nil {
					t.Fatal(err)
				}
				return here, <-accepted
			}

			here, there := dial()
			_ = here.Close()
			if _, err := there.Read(make([]byte, 1)); err == nil {
				t.Error("our end is not seen there")
			}
			_ = there.Close()

			here, there = dial()
			_, _ = there.Write([]byte("y"))
			_ = there.Close()
			if got, err := io.ReadAll(here); err != nil || string(got) != "y" {
				t.Errorf("their end: want y and the end, got %q, %v", got, err)
			}
			_ = here.Close()

			here, there = dial()
			_ = here.SetReadDeadline(time.Now().Add(time.Millisecond))
			if _, err := here.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("a deadline: want it to end the read, got %v", err)
			}
			_, _ = here.Close(), there.Close()
		})
	}
}

func TestCarryReset(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"bash", "python3"} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = listener.Close() })
			go func() {
				c, err := listener.Accept()
				if err != nil {
					return
				}
				_, _ = c.Read(make([]byte, 1))
				_ = c.(*net.TCPConn).SetLinger(0)
				_ = c.Close()
			}()
			here, err := nodeWith(t, program).DialTCP(t.Context(), listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = here.Close() }()
			_, _ = here.Write([]byte("x"))
			if _, err := here.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("want ECONNRESET, as the node's own read would end, got %v", err)
			}
		})
	}
}

func TestCarryLost(t *testing.T) {
	t.Parallel()
	conn := nodetest.Start(t, nodetest.Options{NoForwarding: true, Session: func(s ssh.Session) {
		_ = s.Context().Value(ssh.ContextKeyConn).(*gossh.ServerConn).Close()
	}}).Dial(t)
	if _, err := conn.DialTCP(t.Context(), "127.0.0.1:443"); !errors.Is(err, node.ErrLost) || plugins.KindOf(err) != plugins.KindTransient {
		t.Errorf("the connection breaks while a program is asked: want ErrLost, transient, got %v", err)
	}
}
