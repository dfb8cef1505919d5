package registry

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	_ "github.com/distribution/distribution/v3/registry/auth/token" // how a guarded registry checks tokens
	"github.com/golang-jwt/jwt/v5"

	"github.com/tkgfix/tkgfix/internal/lab/ca"
)

const (
	tokenLifetime = 5 * time.Minute
	// maxScopes bounds what one token may be asked for.
	maxScopes = 16
)

// Issuer signs tokens for a guarded registry (distribution's docs/spec/auth/token).
type Issuer struct {
	// Realm is the URL of the token server, Service the name of the registry.
	Realm, Service string

	bundle string // the file of the CA that the registry trusts for tokens
	signer tls.Certificate
	now    func() time.Time
}

// access is what a token allows.
type access struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

// NewIssuer makes the key of an issuer and writes the CA by which a registry knows it to the file bundle.
func NewIssuer(realm, service, bundle string, now func() time.Time) (*Issuer, error) {
	root, err := ca.NewRoot("Laboratory token signer", ca.ECDSA, now())
	if err != nil {
		return nil, err
	}
	pair, err := root.Issue(ca.Leaf{CommonName: "token"})
	if err != nil {
		return nil, err
	}
	signer, err := pair.TLS()
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(bundle, root.PEM(), 0o600); err != nil {
		return nil, fmt.Errorf("writing the token signer's certificate: %w", err)
	}
	return &Issuer{Realm: realm, Service: service, bundle: bundle, signer: signer, now: now}, nil
}

func (i *Issuer) name() string { return i.Service + " tokens" }

// token signs a token that allows these accesses.
func (i *Issuer) token(allowed []access) (string, error) {
	now := i.now()
	t := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"iss": i.name(), "sub": "", "aud": i.Service, "exp": now.Add(tokenLifetime).Unix(), "nbf": now.Add(-time.Minute).Unix(), "iat": now.Unix(),
		"access": allowed,
	})
	t.Header["x5c"] = []string{base64.StdEncoding.EncodeToString(i.signer.Certificate[0])}
	signed, err := t.SignedString(i.signer.PrivateKey)
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	return signed, nil
}

// Serve returns the token server. It gives everybody a token, and one that allows to pull only if public says so: without a login
// a private repository's token is good for nothing.
func (i *Issuer) Serve(public bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		allowed := []access{}
		for n, scope := range r.URL.Query()["scope"] {
			parts := strings.Split(scope, ":")
			if public && len(parts) == 3 && parts[0] == "repository" && n < maxScopes {
				allowed = append(allowed, access{Type: parts[0], Name: parts[1], Actions: []string{"pull"}})
			}
		}
		token, err := i.token(allowed)
		if err != nil {
			http.Error(w, "no token today", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "expires_in": int(tokenLifetime.Seconds())}) // the client may be gone
	})
}
