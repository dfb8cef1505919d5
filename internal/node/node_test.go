package node_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/gliderlabs/ssh"

	"github.com/tkgfix/tkgfix/internal/node"
	"github.com/tkgfix/tkgfix/internal/node/nodetest"
	"github.com/tkgfix/tkgfix/plugins"
)

func TestDialLogin(t *testing.T) {
	t.Parallel()
	server := nodetest.Start(t, nodetest.Options{})
	other, _ := nodetest.NewKey(t)
	cases := map[string]struct {
		reason string
		creds  node.Credentials
		ok     bool
		hint   string
	}{
		"Key":             {reason: "the key of CLUSTER-ssh opens it", creds: node.Credentials{PrivateKey: server.PrivateKey}, ok: true},
		"Password":        {reason: "the password opens it", creds: node.Credentials{Password: nodetest.Password}, ok: true},
		"KeyThenPassword": {reason: "a key that the node refuses does not stop the password", creds: node.Credentials{PrivateKey: other, Password: nodetest.Password}, ok: true},
		"BrokenKey":       {reason: "nor does one that cannot be read", creds: node.Credentials{PrivateKey: []byte("x"), Password: nodetest.Password}, ok: true},
		"WrongKey":        {reason: "another key is refused", creds: node.Credentials{PrivateKey: other}, hint: "CLUSTER-ssh"},
		"WrongPassword":   {reason: "another password is refused", creds: node.Credentials{Password: "battery"}, hint: "CLUSTER-ssh"},
		"BrokenOnly":      {reason: "a key that cannot be read, alone, is an error", creds: node.Credentials{PrivateKey: []byte("x")}, hint: "ssh-privatekey"},
		"Nothing":         {reason: "nothing opens nothing", hint: "CLUSTER-ssh"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := node.Dial(t.Context(), server.Conf(t), server.Target(), c.creds)
			if c.ok != (err == nil) {
				t.Fatalf("%s: Dial: %v", c.reason, err)
			}
			if err != nil {
				if !strings.Contains(err.Error(), "np1-a") || !strings.Contains(plugins.HintOf(err), c.hint) {
					t.Errorf("%s: want the node's name and the hint %q, got %v; %s", c.reason, c.hint, err, plugins.HintOf(err))
				}
				if plugins.KindOf(err) != plugins.KindFailed {
					t.Errorf("%s: want a final error, got %s", c.reason, plugins.KindOf(err))
				}
				return
			}
			if got := conn.HostKey(); got != server.Fingerprint {
				t.Errorf("HostKey: want %s, got %s", server.Fingerprint, got)
			}
			if err := conn.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
}

func TestDialUnreachable(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	_ = listener.Close()
	server := &nodetest.Server{Address: "127.0.0.1", Port: port}
	_, err = node.Dial(t.Context(), server.Conf(t), server.Target(), node.Credentials{Password: "x"})
	if plugins.KindOf(err) != plugins.KindTransient || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("want a transient refusal, got %v (%s)", err, plugins.KindOf(err))
	}
	want := fmt.Sprintf("np1-a at 127.0.0.1:%d", port)
	if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(plugins.HintOf(err), fmt.Sprintf("ssh -p %d", port)) {
		t.Errorf("want %q and the command to try, got %v; %s", want, err, plugins.HintOf(err))
	}
}

func TestDialSilentServer(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	server := &nodetest.Server{Address: "127.0.0.1", Port: listener.Addr().(*net.TCPAddr).Port}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		conn, err := listener.Accept() // the server accepts and says nothing
		cancel()
		if err == nil {
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}
	}()
	_, err = node.Dial(ctx, server.Conf(t), server.Target(), node.Credentials{Password: "x"})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("want the context's error, got %v", err)
	}
}

func TestHostKeys(t *testing.T) {
	t.Parallel()
	_, key := nodetest.NewKey(t)
	first := nodetest.Start(t, nodetest.Options{HostKey: key})
	second := nodetest.Start(t, nodetest.Options{})
	conf := first.Conf(t)
	creds := node.Credentials{Password: nodetest.Password}
	dial := func(s *nodetest.Server, mode, alias string) error {
		c, target := conf, s.Target()
		c.Port, c.HostKeys = s.Port, mode
		if alias != "" {
			target.HostKeyAlias = alias
		}
		conn, err := node.Dial(t.Context(), c, target, creds)
		if err == nil {
			_ = conn.Close()
		}
		return err
	}

	err := dial(first, "strict", "")
	if err == nil || !strings.Contains(err.Error(), "not pinned") || !strings.Contains(plugins.HintOf(err), first.Target().HostKeyAlias) {
		t.Errorf("strict, unknown key: want a refusal with the line to add, got %v; %s", err, plugins.HintOf(err))
	}
	if _, err := os.Stat(conf.KnownHosts); !os.IsNotExist(err) {
		t.Errorf("strict must not pin: %v", err)
	}
	if err := dial(first, "accept-new", ""); err != nil {
		t.Fatalf("accept-new, first sight: %v", err)
	}
	for path, want := range map[string]os.FileMode{conf.KnownHosts: 0o600, filepath.Dir(conf.KnownHosts): 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("mode of %s: want %v, got %v, %v", path, want, info.Mode().Perm(), err)
		}
	}
	if err := dial(first, "strict", ""); err != nil {
		t.Errorf("strict, pinned key: %v", err)
	}
	for _, mode := range []string{"accept-new", "strict"} {
		err := dial(second, mode, "")
		if err == nil || !strings.Contains(err.Error(), "host key changed") || !strings.Contains(plugins.HintOf(err), "ssh-keygen -R "+first.Target().HostKeyAlias) {
			t.Errorf("%s, changed key: want a refusal with the ssh-keygen line, got %v; %s", mode, err, plugins.HintOf(err))
		}
	}
	if err := dial(second, "accept-new", "6f1c7a52-0000-4000-8000-000000000002"); err != nil {
		t.Errorf("the same address under another Machine is another node: %v", err)
	}
	for _, alias := range []string{"*", "a,b", "a b", "a\nb", "", "-R"} {
		c, target := conf, first.Target()
		target.HostKeyAlias = alias
		if _, err := node.Dial(t.Context(), c, target, creds); err == nil {
			t.Errorf("alias %q: want a refusal", alias)
		}
	}
}

func TestPinOnce(t *testing.T) {
	t.Parallel()
	server := nodetest.Start(t, nodetest.Options{})
	conf := server.Conf(t)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			conn, err := node.Dial(t.Context(), conf, server.Target(), node.Credentials{Password: nodetest.Password})
			if err != nil {
				t.Errorf("Dial: %v", err)
				return
			}
			_ = conn.Close()
		})
	}
	group.Wait()
	data, err := os.ReadFile(conf.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(data), "\n"); got != 1 {
		t.Errorf("want one pinned key, got %d lines:\n%s", got, data)
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	conn := nodetest.Start(t, nodetest.Options{}).Dial(t)
	out, err := conn.Run(t.Context(), "printf '%s' \"$((6 * 7))\"\n")
	if err != nil || string(out) != "42" {
		t.Errorf("Run: want 42, got %q, %v", out, err)
	}
	_, err = conn.Run(t.Context(), "echo first >&2; printf 'no such \\033thing\\n' >&2; exit 3\n")
	if err == nil || !strings.Contains(err.Error(), "np1-a") || !strings.Contains(err.Error(), "exit code 3") || !strings.Contains(err.Error(), `"no such \x1bthing"`) {
		t.Errorf("Run: want the node, the code and the last line quoted, got %v", err)
	}
}

func TestRunBound(t *testing.T) {
	t.Parallel()
	conn := nodetest.Start(t, nodetest.Options{}).Dial(t)
	if _, err := conn.Run(t.Context(), "while :; do echo 0123456789012345678901234567890123456789; done\n"); err == nil || !strings.Contains(err.Error(), "longer than 8 MiB") {
		t.Errorf("endless output: want the bound, got %v", err)
	}
	conn = nodetest.Start(t, nodetest.Options{}).Dial(t)
	out, err := conn.Run(t.Context(), "head -c 300000 /dev/zero >&2; echo done\n")
	if err != nil || string(out) != "done\n" {
		t.Errorf("long complaints are no failure: got %q, %v", out, err)
	}
}

func TestRunCancel(t *testing.T) {
	t.Parallel()
	started := make(chan struct{})
	server := nodetest.Start(t, nodetest.Options{Session: func(s ssh.Session) {
		close(started)
		<-s.Context().Done() // deaf to signals and to the end of its input
	}})
	conn := server.Dial(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-started; cancel() }()
	if _, err := conn.Run(ctx, "true\n"); !errors.Is(err, context.Canceled) {
		t.Errorf("want the context's error, got %v", err)
	}
}

func TestDialTCP(t *testing.T) {
	t.Parallel()
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = echo.Close() })
	go func() {
		for {
			conn, err := echo.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(conn, conn)
			_ = conn.Close()
		}
	}()
	server := nodetest.Start(t, nodetest.Options{Resolve: func(hostport string) string {
		if hostport == "reg.lab:443" {
			return echo.Addr().String()
		}
		return hostport
	}})
	conn := server.Dial(t)
	tcp, err := conn.DialTCP(t.Context(), "reg.lab:443")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tcp.Close() }()
	if _, err := tcp.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4)
	if _, err := io.ReadFull(tcp, got); err != nil || string(got) != "ping" {
		t.Errorf("want ping, got %q, %v", got, err)
	}

	_, err = conn.DialTCP(t.Context(), "127.0.0.1:1")
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("closed port: want ECONNREFUSED, got %v", err)
	}
	if err := conn.Alive(t.Context()); err != nil {
		t.Errorf("Alive after a refused dial: %v", err)
	}
	_ = conn.Close()
	if _, err := conn.DialTCP(t.Context(), "reg.lab:443"); !errors.Is(err, node.ErrLost) || plugins.KindOf(err) != plugins.KindTransient {
		t.Errorf("closed connection: want ErrLost, transient, got %v", err)
	}
}

func TestCredentialsPrintNothing(t *testing.T) {
	t.Parallel()
	creds := node.Credentials{PrivateKey: []byte("hunter2"), Password: "hunter2"}
	asJSON, err := json.Marshal(map[string]any{"c": creds, "p": &creds})
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{string(asJSON), creds.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		texts = append(texts, fmt.Sprintf(verb, creds), fmt.Sprintf(verb, &creds), fmt.Sprintf(verb, struct{ C node.Credentials }{creds}))
	}
	for _, text := range texts {
		if strings.Contains(text, "hunter2") || strings.Contains(text, "68756e746572") || strings.Contains(text, "104 117") {
			t.Errorf("the credentials are in %q", text)
		}
	}
}
