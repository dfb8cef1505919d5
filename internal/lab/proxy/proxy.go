// Package proxy is a forward proxy as companies have them: it opens tunnels (CONNECT), or refuses to, or looks into them.
package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/tkgfix/tkgfix/internal/lab/ca"
)

// Mode is what a proxy does with a request for a tunnel.
type Mode string

// The modes.
const (
	// Opens connects to whatever is asked for.
	Opens Mode = "opens"
	// Intercepts connects, and answers TLS itself with a certificate of its own CA.
	Intercepts Mode = "intercepts"
	// Refuses answers 403, as a proxy does for hosts that it does not know.
	Refuses Mode = "refuses"
	// Authenticates answers 407 to those who do not log in, and nobody can.
	Authenticates Mode = "authenticates"
)

const dialTimeout = 10 * time.Second

// Proxy is an http.Handler that serves CONNECT. Nothing else passes.
type Proxy struct {
	Mode Mode
	// Authority signs what the mode Intercepts presents; Roots are what it trusts itself.
	Authority *ca.Authority
	Roots     *x509.CertPool
	// Dial connects from the proxy: it resolves names by itself.
	Dial func(ctx context.Context, network, hostport string) (net.Conn, error)

	mu     sync.Mutex
	issued map[string]tls.Certificate
}

// ServeHTTP serves one request. It blocks until a tunnel is closed by either side.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method != http.MethodConnect:
		http.Error(w, "this proxy opens tunnels only", http.StatusMethodNotAllowed)
		return
	case p.Mode == Refuses:
		http.Error(w, "the policy does not allow this host", http.StatusForbidden)
		return
	case p.Mode == Authenticates:
		w.Header().Set("Proxy-Authenticate", `Basic realm="Corp proxy"`)
		http.Error(w, "log in first", http.StatusProxyAuthRequired)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), dialTimeout)
	upstream, err := p.Dial(ctx, "tcp", r.Host)
	cancel()
	if err != nil {
		http.Error(w, "the host does not answer", http.StatusBadGateway)
		return
	}
	defer upstream.Close()
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		http.Error(w, "no tunnel over this connection", http.StatusInternalServerError)
		return
	}
	client, buffered, err := hijacker.Hijack()
	if err != nil {
		return // the connection is gone
	}
	defer client.Close()
	if _, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	p.tunnel(withBuffered(client, buffered.Reader), upstream, r.Host)
}

// tunnel copies both ways, through TLS of its own on both sides if the proxy intercepts.
func (p *Proxy) tunnel(client, upstream net.Conn, hostport string) {
	if p.Mode == Intercepts {
		host, _, err := net.SplitHostPort(hostport)
		if err != nil {
			return
		}
		pair, err := p.certificate(host)
		if err != nil {
			return
		}
		client = tls.Server(client, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})
		upstream = tls.Client(upstream, &tls.Config{ServerName: host, RootCAs: p.Roots, MinVersion: tls.VersionTLS12})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(upstream, client)
		_ = upstream.Close()
	}()
	_, _ = io.Copy(client, upstream)
	_ = client.Close()
	<-done
}

// certificate returns the proxy's own certificate for the host.
func (p *Proxy) certificate(host string) (tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pair, ok := p.issued[host]; ok {
		return pair, nil
	}
	issued, err := p.Authority.Issue(ca.Leaf{CommonName: host, DNS: []string{host}})
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("issuing the proxy's certificate for %s: %w", host, err)
	}
	pair, err := issued.TLS()
	if err != nil {
		return tls.Certificate{}, err
	}
	if p.issued == nil {
		p.issued = map[string]tls.Certificate{}
	}
	p.issued[host] = pair
	return pair, nil
}

// bufferedConn is a connection of which something has been read already.
type bufferedConn struct {
	net.Conn
	from *bufio.Reader
}

func (c bufferedConn) Read(b []byte) (int, error) { return c.from.Read(b) }

func withBuffered(conn net.Conn, from *bufio.Reader) net.Conn {
	if from.Buffered() == 0 {
		return conn
	}
	return bufferedConn{conn, from}
}
