package probe

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/proxy"

	"github.com/tkgfix/tkgfix/internal/certs"
)

// stageTime bounds one dial and one handshake.
const stageTime = 10 * time.Second

// Dialer opens TCP connections.
type Dialer func(ctx context.Context, network, address string) (net.Conn, error)

// The stages of a connection, for errors.
const (
	stageConnect   = "connect"
	stageProxy     = "proxy"
	stageHandshake = "handshake"
)

// stageError says at which stage a connection failed.
type stageError struct {
	stage string
	err   error
	// status is what a proxy answered to CONNECT.
	status int
}

func (e *stageError) Error() string { return e.err.Error() }
func (e *stageError) Unwrap() error { return e.err }

// route is the way to a host: what is dialled in the place of it, and by which proxy.
type route struct {
	dial    Dialer
	connect map[string]string
	proxy   func(*url.URL) (*url.URL, error)
	pool    func() *tls.Config
}

// address returns what is dialled for host and port.
func (r route) address(host, port string) string {
	for _, key := range []string{net.JoinHostPort(host, port), host} {
		to, ok := r.connect[key]
		if !ok {
			continue
		}
		if _, _, err := net.SplitHostPort(to); err == nil {
			return to
		}
		return net.JoinHostPort(strings.Trim(to, "[]"), port)
	}
	return net.JoinHostPort(host, port)
}

// via returns the proxy for a host, nil for none.
func (r route) via(host, port string) (*url.URL, error) {
	if r.proxy == nil {
		return nil, nil
	}
	return r.proxy(&url.URL{Scheme: "https", Host: net.JoinHostPort(host, port)})
}

// open dials a host, by its proxy if it has one and direct is false. The error is a *stageError.
func (r route) open(ctx context.Context, host, port string, direct bool) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, stageTime)
	defer cancel()
	address := r.address(host, port)
	through, err := r.via(host, port)
	if err != nil {
		return nil, &stageError{stage: stageProxy, err: errors.New("the proxy's address cannot be read")}
	}
	if through == nil || direct {
		conn, err := r.dial(ctx, "tcp", address)
		if err != nil {
			return nil, &stageError{stage: stageConnect, err: err}
		}
		return conn, nil
	}
	conn, err := r.tunnel(ctx, through, address)
	if _, staged := errors.AsType[*stageError](err); err != nil && !staged {
		err = &stageError{stage: stageProxy, err: fmt.Errorf("proxyconnect tcp: %w", err)}
	}
	return conn, err
}

// tunnel asks a proxy for a connection to address, as net/http does.
func (r route) tunnel(ctx context.Context, through *url.URL, address string) (net.Conn, error) {
	port := through.Port()
	if port == "" {
		port = map[string]string{"https": "443", "socks5": "1080", "socks5h": "1080"}[through.Scheme]
	}
	if port == "" {
		port = "80"
	}
	at := net.JoinHostPort(through.Hostname(), port)
	if strings.HasPrefix(through.Scheme, "socks5") {
		return r.socks(ctx, through, at, address)
	}
	conn, err := r.dial(ctx, "tcp", at)
	if err != nil {
		return nil, err
	}
	if through.Scheme == "https" {
		config := r.pool()
		config.ServerName = through.Hostname()
		secured := tls.Client(conn, config)
		if err := secured.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, err
		}
		conn = secured
	}
	out, err := ask(ctx, conn, through, address)
	if err != nil {
		_ = conn.Close()
	}
	return out, err
}

func (r route) socks(ctx context.Context, through *url.URL, at, address string) (net.Conn, error) {
	var auth *proxy.Auth
	if u := through.User; u != nil {
		password, _ := u.Password()
		auth = &proxy.Auth{User: u.Username(), Password: password}
	}
	d, err := proxy.SOCKS5("tcp", at, auth, socksDial(r.dial))
	if err != nil {
		return nil, err
	}
	able, ok := d.(proxy.ContextDialer)
	if !ok {
		return nil, errors.New("the proxy cannot be asked within a time")
	}
	return able.DialContext(ctx, "tcp", address)
}

// socksDial is a Dialer in the form that x/net wants.
type socksDial Dialer

func (d socksDial) Dial(network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), stageTime)
	defer cancel()
	return d(ctx, network, address)
}

func (d socksDial) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return d(ctx, network, address)
}

// ask sends CONNECT and reads the answer's head, which is bounded by the reader's size and by time.
func ask(ctx context.Context, conn net.Conn, through *url.URL, address string) (net.Conn, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // one that a node dialled knows no deadlines
	defer stop()
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: http.Header{}}
	if u := through.User; u != nil {
		password, _ := u.Password()
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+password)))
	}
	if err := req.Write(conn); err != nil {
		return nil, err
	}
	limited := &limitedConn{Conn: conn, left: 64 << 10}
	br := bufio.NewReaderSize(limited, 4096)
	resp, err := http.ReadResponse(br, req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		_, text, found := strings.Cut(resp.Status, " ")
		if !found {
			text = "unknown status code"
		}
		return nil, &stageError{stage: stageProxy, err: errors.New(certs.Clean(text)), status: resp.StatusCode}
	}
	limited.left = 1 << 62
	if br.Buffered() > 0 {
		return &bufferedConn{Conn: conn, r: br}, nil
	}
	return conn, nil
}

// limitedConn ends an answer that does not end.
type limitedConn struct {
	net.Conn
	left int
}

func (c *limitedConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errors.New("the proxy's answer is too long")
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// bufferedConn gives first what was read ahead.
type bufferedConn struct {
	net.Conn
	r *bufio.Reader
}

func (c *bufferedConn) Read(p []byte) (int, error) { return c.r.Read(p) }

// shownProxy is a proxy's address without its credentials.
func shownProxy(u *url.URL) string {
	if u == nil {
		return ""
	}
	return certs.Clean((&url.URL{Scheme: u.Scheme, Host: u.Host}).String())
}
