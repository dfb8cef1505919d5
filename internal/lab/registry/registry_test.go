package registry_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/tkgfix/tkgfix/internal/lab/ca"
	"github.com/tkgfix/tkgfix/internal/lab/registry"
)

// freeAddress returns an address of loopback that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func TestServerChangesFronts(t *testing.T) {
	t.Parallel()
	root, err := ca.NewRoot("Root", ca.ECDSA, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := root.Issue(ca.Leaf{CommonName: "localhost", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}})
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := pair.TLS()
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(root.PEM())
	server := registry.NewServer(freeAddress(t))
	t.Cleanup(func() { _ = server.Close() })
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	// One server goes through all of them, twice.
	steps := []struct {
		reason string
		front  registry.Front
		want   string
	}{
		{"nobody listens", registry.Front{Speech: registry.Refused}, "connection refused"},
		{"HTTP over TLS", registry.Front{Certificate: certificate, Handler: ok}, "ok"},
		{"an error of the registry's", registry.Front{Certificate: certificate, Handler: registry.Answer(http.StatusTooManyRequests, "TOOMANYREQUESTS", "slow down")}, "429"},
		{"no TLS", registry.Front{Speech: registry.Plain, Handler: ok}, "server gave HTTP response to HTTPS client"},
		{"another protocol", registry.Front{Speech: registry.Banner}, "first record does not look like a TLS handshake"},
		{"no word", registry.Front{Speech: registry.Silent}, "Client.Timeout"},
		{"TLS 1.1", registry.Front{Certificate: certificate, Handler: ok, MaxVersion: tls.VersionTLS11}, "protocol version"},
		{"a client certificate is wanted", registry.Front{Certificate: certificate, Handler: ok, Clients: roots}, "certificate required"},
	}
	for range 2 {
		for _, step := range steps {
			if err := server.Serve(t.Context(), step.front); err != nil {
				t.Fatal(err)
			}
			if got := ask(t, "https://"+server.Address(), roots); !strings.Contains(got, step.want) {
				t.Errorf("%s: want %q, got %q", step.reason, step.want, got)
			}
		}
	}
}

// ask returns what a server answers: the body, else status or error.
func ask(t *testing.T, url string, roots *x509.CertPool) string {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 500 * time.Millisecond}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Sprint(resp.StatusCode, string(body), err)
	}
	return string(body)
}

// TestGuarded asks for a manifest as a client does: without a token, with one that is good for nothing, and with one that is good.
func TestGuarded(t *testing.T) {
	t.Parallel()
	issuer, err := registry.NewIssuer("https://auth.lab/token", "registry.lab", filepath.Join(t.TempDir(), "signer.pem"), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	store := registry.NewGuarded(t.Context(), issuer)
	if err := store.Seed(t.Context(), "demo/web", "1", issuer); err != nil {
		t.Fatal(err)
	}
	manifest := func(token string) (int, string) {
		return serve(t, store, "/v2/demo/web/manifests/1", token)
	}
	status, challenge := manifest("")
	if status != http.StatusUnauthorized || !strings.Contains(challenge, `realm="https://auth.lab/token"`) {
		t.Errorf("without a token: %d %s", status, challenge)
	}
	for public, want := range map[bool]int{false: http.StatusUnauthorized, true: http.StatusOK} {
		_, body := serve(t, issuer.Serve(public), "/token?service=registry.lab&scope=repository:demo/web:pull", "")
		var answer struct{ Token string }
		if err := json.Unmarshal([]byte(body), &answer); err != nil {
			t.Fatal(err)
		}
		if got, _ := manifest(answer.Token); got != want {
			t.Errorf("a token that allows to pull (%v): status %d, want %d", public, got, want)
		}
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
}

func TestRedirectBlobs(t *testing.T) {
	t.Parallel()
	handler := registry.RedirectBlobs(registry.Answer(http.StatusTeapot, "X", "next"), "blobs.lab:5445")
	for path, want := range map[string]int{"/v2/demo/web/blobs/sha256:1": http.StatusTemporaryRedirect, "/v2/demo/web/manifests/1": http.StatusTeapot} {
		got, said := serve(t, handler, path, "")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: status (-want, +got):\n%s", path, diff)
		}
		if want == http.StatusTemporaryRedirect && said != "https://blobs.lab:5445"+path {
			t.Errorf("%s leads to %s", path, said)
		}
	}
}

// serve asks a handler over loopback and returns the status and what goes with it: the challenge, the location or the body.
func serve(t *testing.T, handler http.Handler, path, token string) (int, string) {
	t.Helper()
	server := registry.NewServer(freeAddress(t))
	if err := server.Serve(t.Context(), registry.Front{Speech: registry.Plain, Handler: handler}); err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodGet, "http://"+server.Address()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", ocispec.MediaTypeImageManifest)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, header := range []string{"Www-Authenticate", "Location"} {
		if value := resp.Header.Get(header); value != "" && resp.StatusCode != http.StatusOK {
			return resp.StatusCode, value
		}
	}
	return resp.StatusCode, string(body)
}
