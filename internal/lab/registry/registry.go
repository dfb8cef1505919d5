// Package registry runs a container registry (github.com/distribution/distribution) over TLS with a private certificate.
package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory" // the driver that the registry uses
	"github.com/sirupsen/logrus"

	"github.com/tkgfix/tkgfix/internal/lab/ca"
)

const headerTimeout = 10 * time.Second

// Registry is a running registry.
type Registry struct {
	server   *http.Server
	app      *handlers.App
	listener net.Listener
	done     chan struct{}
}

// Start serves a registry on the address (host:port) with the certificate, keeping images in memory.
func Start(ctx context.Context, address string, pair ca.Pair) (*Registry, error) {
	cert, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		return nil, fmt.Errorf("reading the registry's certificate: %w", err)
	}
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("opening the registry's port: %w", err)
	}
	logrus.SetLevel(logrus.ErrorLevel) // the library's own logger; it logs each request otherwise
	config := &configuration.Configuration{Storage: configuration.Storage{
		"inmemory":    nil,
		"maintenance": {"uploadpurging": map[any]any{"enabled": false}},
	}}
	config.Log.AccessLog.Disabled = true
	config.Log.Level = "error"
	config.HTTP.Secret = "one registry, one process: nothing to share the secret with"
	r := &Registry{listener: listener, app: handlers.NewApp(ctx, config), done: make(chan struct{})}
	r.server = &http.Server{
		Handler:           r.app,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12},
		ReadHeaderTimeout: headerTimeout,
		// Handshakes that a client gives up are what this registry is for.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	go func() {
		defer close(r.done)
		_ = r.server.ServeTLS(listener, "", "") // always ErrServerClosed after Close
	}()
	return r, nil
}

// Close ends the registry.
func (r *Registry) Close() error {
	err := errors.Join(r.server.Close(), r.app.Shutdown())
	<-r.done
	return err
}
