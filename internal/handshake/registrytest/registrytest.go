// Package registrytest is a registry's front door for tests: a real TLS listener on loopback, and the authorities to give it
// certificates, good and bad.
package registrytest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"testing"
	"time"
)

// Host is the name of the registry.
const Host = "reg.lab"

// Authority signs certificates.
type Authority struct {
	Cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Leaf is a server's certificate with its key.
type Leaf struct {
	Cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewRoot returns an authority that signed itself.
func NewRoot(t testing.TB, name string) *Authority {
	t.Helper()
	key := newKey(t)
	template := authority(name)
	return &Authority{Cert: sign(t, template, template, key, key), key: key}
}

// Renewed returns the root with another certificate for the same key.
func (a *Authority) Renewed(t testing.TB) *Authority {
	t.Helper()
	template := authority(a.Cert.Subject.CommonName)
	return &Authority{Cert: sign(t, template, template, a.key, a.key), key: a.key}
}

// Intermediate returns an authority that a signed.
func (a *Authority) Intermediate(t testing.TB, name string) *Authority {
	t.Helper()
	key := newKey(t)
	return &Authority{Cert: sign(t, authority(name), a.Cert, key, a.key), key: key}
}

// Leaf returns a certificate for Host that a signed; change may alter it before.
func (a *Authority) Leaf(t testing.TB, change func(*x509.Certificate)) Leaf {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: Host}, DNSNames: []string{Host}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		KeyUsage: x509.KeyUsageDigitalSignature, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	if change != nil {
		change(template)
	}
	key := newKey(t)
	return Leaf{Cert: sign(t, template, a.Cert, key, a.key), key: key}
}

// PEM returns the authority's certificate in PEM.
func (a *Authority) PEM() []byte { return PEM(a.Cert) }

// PEM returns certificates in PEM.
func PEM(list ...*x509.Certificate) []byte {
	var out []byte
	for _, c := range list {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

// Serve starts a TLS listener that presents the leaf with the chain, ends with the test, and shakes hands with all who come;
// change may alter its configuration. It returns its address.
func Serve(t testing.TB, leaf Leaf, change func(*tls.Config), chain ...*x509.Certificate) string {
	t.Helper()
	raw := [][]byte{leaf.Cert.Raw}
	for _, c := range chain {
		raw = append(raw, c.Raw)
	}
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: raw, PrivateKey: leaf.key}}}
	if change != nil {
		change(config)
	}
	return Listen(t, func(conn net.Conn) {
		server := tls.Server(conn, config)
		if server.HandshakeContext(context.Background()) == nil {
			_, _ = server.Read(make([]byte, 1)) // until the client goes
		}
	})
}

// Listen starts a TCP listener that ends with the test and gives each connection to serve, one at a time for each. It returns its
// address.
func Listen(t testing.TB, serve func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = listener.Close(); <-done })
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				go func() { defer func() { _ = conn.Close() }(); serve(conn) }()
			}
		}
	}()
	return listener.Addr().String()
}

func authority(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
	}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t testing.TB, template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = serial
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
