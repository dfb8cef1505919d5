package node_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tkgfix/tkgfix/internal/node"
	"github.com/tkgfix/tkgfix/internal/node/sshdtest"
	"github.com/tkgfix/tkgfix/plugins"
)

// home makes a user's folder with this private key and these lines of known_hosts.
func home(t *testing.T, key []byte, lines ...string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, ".ssh", "known_hosts"), strings.Join(lines, "\n")+"\n", 0o600)
	if key != nil {
		put(t, filepath.Join(dir, ".ssh", "id_ed25519"), string(key), 0o600)
	}
	return dir
}

func put(t *testing.T, path, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// says fails unless the error and its hint hold these words.
func says(t *testing.T, reason string, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: want an error with %q", reason, words)
		return
	}
	text := err.Error() + "; " + plugins.HintOf(err)
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%s: want %q in %s", reason, w, text)
		}
	}
}

func TestOpenSSHLogin(t *testing.T) {
	t.Parallel()
	usual := sshdtest.Start(t, sshdtest.Options{})
	noKeys := sshdtest.Start(t, sshdtest.Options{NoKeys: true})
	questions := sshdtest.Start(t, sshdtest.Options{OnlyQuestions: true})
	other, _ := sshdtest.NewKey(t)
	cases := map[string]struct {
		reason string
		server *sshdtest.Server
		creds  node.Credentials
		ok     bool
	}{
		"Key":               {"the key of CLUSTER-ssh", usual, node.Credentials{PrivateKey: usual.PrivateKey}, true},
		"Password":          {"the password alone", usual, node.Credentials{Password: sshdtest.Password}, true},
		"KeyThenPassword":   {"a key that is refused, then the password", usual, node.Credentials{PrivateKey: other, Password: sshdtest.Password}, true},
		"NoKeys":            {"a server that takes no key", noKeys, node.Credentials{PrivateKey: noKeys.PrivateKey, Password: sshdtest.Password}, true},
		"Questions":         {"PAM asks for the password", questions, node.Credentials{Password: sshdtest.Password}, true},
		"QuestionsAfterKey": {"PAM asks, and there is a key", questions, node.Credentials{PrivateKey: questions.PrivateKey, Password: sshdtest.Password}, true},
		"WrongKey":          {"another key", usual, node.Credentials{PrivateKey: other}, false},
		"WrongPassword":     {"another password", usual, node.Credentials{Password: "battery"}, false},
		"WrongAnswer":       {"another answer", questions, node.Credentials{Password: "battery"}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := node.Machine{}.Dial(t.Context(), c.server.Conf(t), c.server.Target(), c.creds)
			if !c.ok {
				says(t, c.reason, err, "np1-a", "refuses the login of vmware-system-user", "CLUSTER-ssh")
				return
			}
			if err != nil {
				t.Fatalf("%s: %v", c.reason, err)
			}
			defer func() { _ = conn.Close() }()
			out, err := conn.Run(t.Context(), "id -un; sudo -n sh -c 'id -un; cat /etc/shadow' | head -1\n")
			if err != nil || string(out) != "vmware-system-user\nroot\n" {
				t.Errorf("%s: want a user that is root by sudo, got %q, %v", c.reason, out, err)
			}
			if conn.HostKey() != c.server.Fingerprint() {
				t.Errorf("%s: HostKey: want %s, got %s", c.reason, c.server.Fingerprint(), conn.HostKey())
			}
		})
	}
}

func TestOpenSSHExpired(t *testing.T) {
	t.Parallel()
	server := sshdtest.Start(t, sshdtest.Options{Expired: true})
	for name, creds := range map[string]node.Credentials{
		"Key": {PrivateKey: server.PrivateKey}, "Password": {Password: sshdtest.Password},
	} {
		conn, err := node.Machine{}.Dial(t.Context(), server.Conf(t), server.Target(), creds)
		if err == nil {
			_, err = conn.Run(t.Context(), "id\n")
			_ = conn.Close()
		}
		says(t, name, err, "np1-a", "password has expired", "roll the node")
	}
}

// TestOpenSSHDialTCP dials a TLS server by a name that only the node knows, with forwarding and without.
func TestOpenSSHDialTCP(t *testing.T) {
	t.Parallel()
	registry := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
	t.Cleanup(registry.Close)
	roots := x509.NewCertPool()
	roots.AddCert(registry.Certificate())
	_, port, err := net.SplitHostPort(registry.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]sshdtest.Options{"Forwarding": {}, "NoForwarding": {NoForwarding: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := sshdtest.Start(t, o)
			server.WriteFile(t, "/etc/hosts", []byte("127.0.0.1 localhost registry.only-here\n"), 0o644)
			conn := server.Dial(t)
			client := &http.Client{Transport: &http.Transport{
				DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					return conn.DialTCP(ctx, "registry.only-here:"+port)
				},
				TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "example.com", MinVersion: tls.VersionTLS12},
			}}
			resp, err := client.Get("https://registry.only-here:" + port + "/v2/")
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			client.CloseIdleConnections()
			if resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("want the registry's answer, got %s", resp.Status)
			}
			if _, err := conn.DialTCP(t.Context(), closedPort(t)); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("closed port: want ECONNREFUSED, got %v", err)
			}
			if _, err := net.LookupHost("registry.only-here"); err == nil {
				t.Error("the name is known outside of the node")
			}
		})
	}
}
