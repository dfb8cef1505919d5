// Package registry runs a container registry (github.com/distribution/distribution) and the servers around it: a token server, and
// fronts that present whatever certificate and behaviour a scenario asks for.
package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory" // the driver that the registry uses
	"github.com/sirupsen/logrus"
)

// Store is a registry without a server: it keeps images in memory and answers as an http.Handler.
type Store struct{ app *handlers.App }

// New returns an empty registry that lets everybody in.
func New(ctx context.Context) *Store { return newStore(ctx, nil) }

// NewGuarded returns an empty registry that asks for a token of the issuer.
func NewGuarded(ctx context.Context, issuer *Issuer) *Store {
	return newStore(ctx, configuration.Auth{"token": {
		"realm": issuer.Realm, "service": issuer.Service, "issuer": issuer.name(), "rootcertbundle": issuer.bundle,
	}})
}

func newStore(ctx context.Context, auth configuration.Auth) *Store {
	logrus.SetLevel(logrus.ErrorLevel) // the library's own logger; it logs each request otherwise
	config := &configuration.Configuration{Auth: auth, Storage: configuration.Storage{
		"inmemory":    nil,
		"maintenance": {"uploadpurging": map[any]any{"enabled": false}},
	}}
	config.Log.AccessLog.Disabled = true
	config.Log.Level = "error"
	config.HTTP.Secret = "one registry, one process: nothing to share the secret with"
	return &Store{app: handlers.NewApp(ctx, config)}
}

// ServeHTTP answers as a registry.
func (s *Store) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.app.ServeHTTP(w, r) }

// Close ends the registry.
func (s *Store) Close() error { return s.app.Shutdown() }

// Answer is a handler that gives each request the same error, in the form of the registry API.
func Answer(status int, code, message string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q}]}`+"\n", code, message) // the client may be gone
	})
}

// errSeed is wrapped by what goes wrong while an image is pushed.
var errSeed = errors.New("pushing the laboratory's image")
