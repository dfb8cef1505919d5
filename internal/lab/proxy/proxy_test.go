package proxy_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tkgfix/tkgfix/internal/lab/ca"
	"github.com/tkgfix/tkgfix/internal/lab/proxy"
)

// TestProxy asks a server through each kind of proxy, by a client that trusts the proxy's CA, the server's, or neither.
func TestProxy(t *testing.T) {
	t.Parallel()
	authority, err := ca.NewRoot("Proxy", ca.ECDSA, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	target := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	t.Cleanup(target.Close)
	proxys, servers := x509.NewCertPool(), x509.NewCertPool()
	proxys.AppendCertsFromPEM(authority.PEM())
	servers.AddCert(target.Certificate())
	dial := func(ctx context.Context, network, hostport string) (net.Conn, error) {
		if hostport != "example.com:443" {
			return nil, &net.DNSError{Err: "no such host", Name: hostport}
		}
		return new(net.Dialer).DialContext(ctx, network, target.Listener.Addr().String())
	}
	cases := map[string]struct {
		reason string
		mode   proxy.Mode
		url    string
		roots  *x509.CertPool
		want   string
	}{
		"Opens":        {"the server's own certificate comes through", proxy.Opens, "https://example.com/", servers, "hello"},
		"Nowhere":      {"a host that the proxy does not know", proxy.Opens, "https://nowhere.lab/", servers, "Bad Gateway"},
		"Plain":        {"nothing but tunnels", proxy.Opens, "http://example.com/", servers, "405 this proxy opens tunnels only"},
		"Intercepts":   {"the proxy's certificate comes in its place", proxy.Intercepts, "https://example.com/", proxys, "hello"},
		"Intercepted":  {"who trusts the server alone sees it", proxy.Intercepts, "https://example.com/", servers, "certificate signed by unknown authority"},
		"Refuses":      {"403", proxy.Refuses, "https://example.com/", servers, "Forbidden"},
		"Authenticate": {"407", proxy.Authenticates, "https://example.com/", servers, "Proxy Authentication Required"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(&proxy.Proxy{Mode: tc.mode, Authority: authority, Roots: servers, Dial: dial})
			t.Cleanup(server.Close)
			at, err := url.Parse(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			transport := &http.Transport{Proxy: http.ProxyURL(at), TLSClientConfig: &tls.Config{RootCAs: tc.roots, MinVersion: tls.VersionTLS12}}
			t.Cleanup(transport.CloseIdleConnections)
			for range 2 { // the second time with the certificate that was issued
				if got := get(t, &http.Client{Transport: transport}, tc.url); !strings.Contains(got, tc.want) {
					t.Errorf("%s: want %q, got %q", tc.reason, tc.want, got)
				}
				transport.CloseIdleConnections()
			}
		})
	}
}

func get(t *testing.T, client *http.Client, address string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Sprint(resp.StatusCode, " ", string(body))
	}
	return string(body)
}
