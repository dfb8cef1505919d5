package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const headerTimeout = 10 * time.Second

// Speech is what a server speaks at its address.
type Speech string

// The ways to speak.
const (
	// TLS is HTTP over TLS, as it should be.
	TLS Speech = ""
	// Plain is HTTP without TLS.
	Plain Speech = "plain"
	// Banner is another protocol, which greets as an SSH server does.
	Banner Speech = "banner"
	// Silent accepts connections and never says a word.
	Silent Speech = "silent"
	// Refused is nobody at all.
	Refused Speech = "refused"
)

// Front is how a server answers.
type Front struct {
	Speech Speech
	// Certificate is what it presents when it speaks TLS.
	Certificate tls.Certificate
	// MaxVersion is the newest version of TLS that it speaks; 0 for the newest there is. Below TLS 1.2 it speaks all down to 1.0.
	MaxVersion uint16
	// Clients are the CAs of the client certificates that it demands; nil if it demands none.
	Clients *x509.CertPool
	Handler http.Handler
}

// Server is an address at which a front answers, which may be changed while it runs.
type Server struct {
	address string

	mu  sync.Mutex
	end func() error
}

// NewServer returns a server of the address (host:port) that does not listen until Serve.
func NewServer(address string) *Server {
	return &Server{address: address, end: func() error { return nil }}
}

// Address returns host:port.
func (s *Server) Address() string { return s.address }

// Serve ends what answered before, with its connections, and lets the front answer from now on. It does not block.
func (s *Server) Serve(ctx context.Context, front Front) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.end()
	s.end = func() error { return nil }
	if err != nil {
		return fmt.Errorf("ending what answered at %s: %w", s.address, err)
	}
	if front.Speech == Refused {
		return nil
	}
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", s.address)
	if err != nil {
		return fmt.Errorf("opening a server's port: %w", err)
	}
	switch front.Speech {
	case Banner:
		s.end = talk(listener, "SSH-2.0-OpenSSH_9.6\r\n")
	case Silent:
		s.end = talk(listener, "")
	default:
		s.end = front.serveHTTP(listener)
	}
	return nil
}

// Close ends the server.
func (s *Server) Close() error { return s.Serve(context.Background(), Front{Speech: Refused}) }

func (f Front) serveHTTP(listener net.Listener) func() error {
	server := &http.Server{
		Handler: f.Handler, TLSConfig: f.config(), ReadHeaderTimeout: headerTimeout,
		// Handshakes that a client gives up are what this server is for.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if f.Speech == Plain {
			_ = server.Serve(listener) // always ErrServerClosed after Close
			return
		}
		_ = server.ServeTLS(listener, "", "")
	}()
	return func() error {
		err := server.Close()
		<-done
		return err
	}
}

func (f Front) config() *tls.Config {
	config := &tls.Config{Certificates: []tls.Certificate{f.Certificate}, MinVersion: tls.VersionTLS12, MaxVersion: f.MaxVersion}
	if f.MaxVersion != 0 && f.MaxVersion < tls.VersionTLS12 {
		config.MinVersion = tls.VersionTLS10 // what an old server speaks is the fault that is planted
	}
	if f.Clients != nil {
		config.ClientCAs, config.ClientAuth = f.Clients, tls.RequireAndVerifyClientCert
	}
	return config
}

// talk greets each connection with a text and then keeps it open without a word, until it is ended.
func talk(listener net.Listener, greeting string) func() error {
	open, closeAll := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed
			}
			group.Go(func() {
				defer context.AfterFunc(open, func() { _ = conn.Close() })()
				defer conn.Close()
				if _, err := io.WriteString(conn, greeting); err == nil {
					_, _ = io.Copy(io.Discard, conn) // until the client has had enough
				}
			})
		}
	})
	return func() error {
		err := listener.Close()
		closeAll()
		group.Wait()
		return err
	}
}

// RedirectBlobs sends who asks next for a blob to the same path on another host (host:port), as registries on object stores do.
func RedirectBlobs(next http.Handler, host string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			to := url.URL{Scheme: "https", Host: host, Path: r.URL.Path}
			http.Redirect(w, r, to.String(), http.StatusTemporaryRedirect)
			return
		}
		next.ServeHTTP(w, r)
	})
}
