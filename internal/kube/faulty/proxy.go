package faulty

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// Proxy is an API server that fails now and then.
type Proxy struct {
	faults Faults
	server *httptest.Server

	mu     sync.Mutex
	counts map[Fault]int
}

type (
	faultKey struct{}
	connKey  struct{}
)

// watchReads is after how many pieces a watch is dropped.
const watchReads = 3

// errLost ends a request whose answer does not arrive.
var errLost = errors.New("the answer is lost")

// New starts one in front of the server of upstream. What comes through it comes from the user of upstream or, if that has no client
// certificate and no token, from whom the request says. It connects to the server with the first request.
func New(upstream *rest.Config, faults Faults) (*Proxy, error) {
	transport, err := rest.TransportFor(upstream)
	if err != nil {
		return nil, fmt.Errorf("set up the connection to %s: %w", upstream.Host, err)
	}
	to, err := url.Parse(upstream.Host)
	if err != nil {
		return nil, fmt.Errorf("read the address of the API server: %w", err)
	}
	quiet := log.New(io.Discard, "", 0)
	p := &Proxy{faults: faults, counts: map[Fault]int{}}
	forward := &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(to) },
		Transport:      transport,
		FlushInterval:  -1, // events are passed on as they come
		ErrorLog:       quiet,
		ModifyResponse: lose,
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	p.server = httptest.NewUnstartedServer(p.handler(forward))
	p.server.EnableHTTP2 = true
	p.server.Config.ErrorLog = quiet
	p.server.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) }
	p.server.StartTLS()
	return p, nil
}

// Config returns how to reach the proxy. It holds no credentials.
func (p *Proxy) Config() *rest.Config {
	c := &rest.Config{Host: p.server.URL, QPS: -1, WarningHandler: rest.NoWarnings{}}
	c.CAData = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw})
	return c
}

// Counts returns how many requests each fault had, None among them.
func (p *Proxy) Counts() map[Fault]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.counts)
}

// Close ends it and all connections.
func (p *Proxy) Close() {
	p.server.CloseClientConnections()
	p.server.Close()
}

func (p *Proxy) handler(forward http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f := possible(p.faults(r), r)
		p.mu.Lock()
		p.counts[f]++
		p.mu.Unlock()
		switch f {
		case Busy:
			answer(w, http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests)
		case BusyLater:
			w.Header().Set("Retry-After", "0")
			answer(w, http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests)
		case Internal:
			answer(w, http.StatusInternalServerError, metav1.StatusReasonInternalError)
		case Unavailable:
			http.Error(w, "no server is available", http.StatusServiceUnavailable)
		case Timeout:
			answer(w, http.StatusGatewayTimeout, metav1.StatusReasonTimeout)
		case Conflict:
			answer(w, http.StatusConflict, metav1.StatusReasonConflict)
		case Reset:
			panic(http.ErrAbortHandler)
		case ResetAll:
			cut(r)
			panic(http.ErrAbortHandler)
		default:
			forward.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), faultKey{}, f)))
		}
	})
}

func answer(w http.ResponseWriter, code int, reason metav1.StatusReason) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(status(code, reason)) // who does not read it has gone
}

func status(code int, reason metav1.StatusReason) []byte {
	out, err := json.Marshal(metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure,
		Code: int32(code), Reason: reason, Message: "a fault that was planted: " + string(reason),
	})
	if err != nil {
		panic(err) // it has a form
	}
	return out
}

// cut resets the connection of a request.
func cut(r *http.Request) {
	c, ok := r.Context().Value(connKey{}).(*tls.Conn)
	if !ok {
		return
	}
	if tcp, ok := c.NetConn().(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // else it ends in peace, which is a fault too
	}
	_ = c.NetConn().Close() // a connection that is gone already is what was wanted
}

// lose takes away the answer to what was carried out.
func lose(resp *http.Response) error {
	switch resp.Request.Context().Value(faultKey{}) {
	case ResetDone:
		_, err := io.Copy(io.Discard, resp.Body)
		return errors.Join(errLost, err)
	case TimeoutDone:
		return replace(resp, http.StatusGatewayTimeout, metav1.StatusReasonTimeout)
	case LaterDone:
		resp.Header.Set("Retry-After", "0")
		return replace(resp, http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable)
	case DropWatch:
		resp.Body = &dropped{ReadCloser: resp.Body, left: watchReads}
	}
	return nil
}

func replace(resp *http.Response, code int, reason metav1.StatusReason) error {
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	body := status(code, reason)
	resp.StatusCode, resp.Status = code, http.StatusText(code)
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp.Header.Del("Content-Encoding")
	resp.Header.Set("Content-Type", "application/json")
	resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}

// dropped is the body of a watch that ends too early.
type dropped struct {
	io.ReadCloser
	left int
}

// Read implements io.Reader.
func (d *dropped) Read(b []byte) (int, error) {
	if d.left == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	d.left--
	return d.ReadCloser.Read(b)
}
