package certs

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
)

// Fingerprint returns the SHA-256 of the whole certificate, in lower-case hex.
func Fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// SPKI returns the SHA-256 of the public key alone, in lower-case hex. Two certificates of one key share it.
func SPKI(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// Roots are the certificates that a node trusts. It does not change once made and may be used by several goroutines.
type Roots struct {
	certs   []*x509.Certificate
	pool    *x509.CertPool
	known   map[string]bool
	subject map[string][]*x509.Certificate
	ignored map[string]string
}

// NewRoots reads a node's trust files, by path, as Go reads them at a program's start: what Go cannot take it drops without a
// word. Ignored tells what was dropped. The files are the caller's choice: Go itself takes the first bundle that it finds
// and every file of the certificate folders.
func NewRoots(files map[string][]byte) *Roots {
	r := &Roots{
		pool: x509.NewCertPool(), known: map[string]bool{},
		subject: map[string][]*x509.Certificate{}, ignored: map[string]string{},
	}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		bundle, err := ParseBundle(files[path])
		r.add(bundle.Certs)
		switch dropped := bundle.dropped(); {
		case err != nil:
			r.ignored[path] = err.Error()
		case dropped != "":
			r.ignored[path] = fmt.Sprintf("only %d certificates taken: %s", len(bundle.Certs), dropped)
		}
	}
	return r
}

// With returns a copy that trusts certs as well. It works on a nil receiver.
func (r *Roots) With(certs ...*x509.Certificate) *Roots {
	next := NewRoots(nil)
	if r != nil {
		next.add(r.certs)
		maps.Copy(next.ignored, r.ignored)
	}
	next.add(certs)
	return next
}

// Has tells whether exactly this certificate is trusted.
func (r *Roots) Has(c *x509.Certificate) bool { return r != nil && r.known[string(c.Raw)] }

// All returns the certificates that are trusted.
func (r *Roots) All() []*x509.Certificate {
	if r == nil {
		return nil
	}
	return slices.Clone(r.certs)
}

// Ignored returns the files of which Go drops something, by path, each with the reason.
func (r *Roots) Ignored() map[string]string {
	if r == nil {
		return map[string]string{}
	}
	return maps.Clone(r.ignored)
}

// Len returns how many different certificates are trusted.
func (r *Roots) Len() int {
	if r == nil {
		return 0
	}
	return len(r.certs)
}

// Pool returns the roots for a tls.Config. It is never nil, so that this machine's own roots never take part.
func (r *Roots) Pool() *x509.CertPool {
	if r == nil {
		return x509.NewCertPool()
	}
	return r.pool.Clone()
}

func (r *Roots) add(certs []*x509.Certificate) {
	for _, c := range certs {
		if c == nil || r.known[string(c.Raw)] {
			continue
		}
		r.known[string(c.Raw)] = true
		r.certs = append(r.certs, c)
		r.pool.AddCert(c)
		r.subject[string(c.RawSubject)] = append(r.subject[string(c.RawSubject)], c)
	}
}

// issuersOf returns the trusted certificates that carry the name of c's issuer.
func (r *Roots) issuersOf(c *x509.Certificate) []*x509.Certificate {
	if r == nil {
		return nil
	}
	return r.subject[string(c.RawIssuer)]
}

func sameName(a, b []byte) bool { return len(a) > 0 && bytes.Equal(a, b) }
