package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
)

// moment is an instant of a request's life at which a proxy can stop the world.
type moment struct {
	method, path string
	// after is true for the instant at which the API server has answered and the client does not know it yet; else the
	// API server has not seen the request.
	after bool
}

// rehearsed marks the context of a request that is only a dry-run.
type rehearsed struct{}

func (m moment) matches(r *http.Request) bool {
	return r.Method == m.method && strings.Contains(r.URL.Path, m.path) && r.Context().Value(rehearsed{}) == nil
}

// read takes note of whether a request is a dry-run: a deletion says so in its body, the others in the query.
func read(r *http.Request) (*http.Request, error) {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, 4<<20))
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if strings.Contains(r.URL.RawQuery, "dryRun") || r.Method == http.MethodDelete && bytes.Contains(body, []byte(`"dryRun"`)) {
		r = r.WithContext(context.WithValue(r.Context(), rehearsed{}, true))
	}
	return r, nil
}

// interpose puts a proxy between tkgfix and the Supervisor, as a load balancer would be, and returns the kubeconfig that
// goes through it. strike is called once, at the moment; the request that it struck is never answered.
func (l *laboratory) interpose(t *testing.T, m moment, strike func()) string {
	t.Helper()
	config, err := clientcmd.LoadFromFile(l.kubeconfig("platform"))
	if err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	for _, cluster := range config.Clusters {
		target, err := url.Parse(cluster.Server)
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(cluster.CertificateAuthorityData) {
			t.Fatal("the kubeconfig holds no CA")
		}
		struck := func() {
			hit := false
			once.Do(func() { hit = true; strike() })
			if hit {
				panic(http.ErrAbortHandler)
			}
		}
		proxy := &httputil.ReverseProxy{
			Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
			Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}},
			ModifyResponse: func(r *http.Response) error {
				if m.after && m.matches(r.Request) && r.StatusCode < 300 {
					struck()
				}
				return nil
			},
		}
		server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r, err := read(r)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			if !m.after && m.matches(r) {
				struck()
			}
			proxy.ServeHTTP(w, r)
		}))
		t.Cleanup(server.Close)
		cluster.Server = server.URL
		cluster.CertificateAuthority = ""
		cluster.CertificateAuthorityData = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	}
	path := filepath.Join(t.TempDir(), "through-proxy.yaml")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		t.Fatal(err)
	}
	return path
}
