// Package ca makes the certificates of the laboratory: the private PKI behind its registry and the ones that its API servers need.
//
// Keys of the registry's PKI are RSA, because the text that Go gives for a re-issued CA names the algorithm (tkg-facts.md §6.1).
package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// Kind of key of a certificate.
type Kind int

// The kinds of key.
const (
	// RSA is a key of 2048 bits.
	RSA Kind = iota
	// ECDSA is a key on P-256, which is quick to make.
	ECDSA
)

const (
	rsaBits    = 2048
	caLifetime = 10 * 365 * 24 * time.Hour
	// Leaves are valid from an hour ago, so that a clock that is a little behind does not matter.
	leeway       = time.Hour
	leafLifetime = 365 * 24 * time.Hour
)

// Authority is a certificate that signs others, with its key.
type Authority struct {
	cert *x509.Certificate
	key  crypto.Signer
	kind Kind
	now  time.Time
	// chain is what a server with a leaf of this authority has to send besides the leaf: everything up to, not including, the root.
	chain []*x509.Certificate
}

// Leaf says what certificate to issue.
type Leaf struct {
	CommonName   string
	Organization []string
	DNS          []string
	IPs          []net.IP
	// Client makes it a client's certificate as well as a server's.
	Client bool
	// ClientOnly makes it a client's certificate and no server's.
	ClientOnly bool
	// Ago moves its time of validity into the past.
	Ago time.Duration
	// Bare leaves out the intermediates that a server has to send.
	Bare bool
}

// Pair is a certificate chain and its key, in PEM.
type Pair struct{ Cert, Key []byte }

// NewRoot makes a self-signed authority named commonName, valid from now.
func NewRoot(commonName string, kind Kind, now time.Time) (*Authority, error) {
	key, err := newKey(kind)
	if err != nil {
		return nil, err
	}
	template, err := authorityTemplate(commonName, now)
	if err != nil {
		return nil, err
	}
	cert, err := sign(template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &Authority{cert: cert, key: key, kind: kind, now: now}, nil
}

// Intermediate makes an authority that a signs.
func (a *Authority) Intermediate(commonName string) (*Authority, error) {
	key, err := newKey(a.kind)
	if err != nil {
		return nil, err
	}
	template, err := authorityTemplate(commonName, a.now)
	if err != nil {
		return nil, err
	}
	template.MaxPathLenZero = true
	cert, err := sign(template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	return &Authority{cert: cert, key: key, kind: a.kind, now: a.now, chain: append([]*x509.Certificate{cert}, a.chain...)}, nil
}

// Issue makes a leaf. The pair's certificate is followed by the intermediates, as a server should send them.
func (a *Authority) Issue(leaf Leaf) (Pair, error) {
	key, err := newKey(a.kind)
	if err != nil {
		return Pair{}, err
	}
	serial, err := serialNumber()
	if err != nil {
		return Pair{}, err
	}
	cert, err := sign(leaf.template(serial, a.now), a.cert, key.Public(), a.key)
	if err != nil {
		return Pair{}, err
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return Pair{}, err
	}
	out := encode(cert)
	for _, c := range a.chain {
		if !leaf.Bare {
			out = append(out, encode(c)...)
		}
	}
	return Pair{Cert: out, Key: keyPEM}, nil
}

func (l Leaf) template(serial *big.Int, now time.Time) *x509.Certificate {
	usage := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	switch {
	case l.ClientOnly:
		usage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	case l.Client:
		usage = append(usage, x509.ExtKeyUsageClientAuth)
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: l.CommonName, Organization: l.Organization},
		NotBefore:    now.Add(-leeway - l.Ago),
		NotAfter:     now.Add(leafLifetime - l.Ago),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:  usage,
		DNSNames:     l.DNS,
		IPAddresses:  l.IPs,
	}
}

// Expired returns the authority's own certificate of an earlier time, with the same key, which ran out a day ago.
func (a *Authority) Expired() ([]byte, error) {
	template, err := authorityTemplate(a.cert.Subject.CommonName, a.now.Add(-caLifetime-24*time.Hour))
	if err != nil {
		return nil, err
	}
	cert, err := sign(template, template, a.key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	return encode(cert), nil
}

// PEM returns the authority's own certificate.
func (a *Authority) PEM() []byte { return encode(a.cert) }

// SigningKey makes a key pair for service account tokens and returns it with both halves in PEM.
func SigningKey() (key *ecdsa.PrivateKey, private, public []byte, err error) {
	key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("making a signing key: %w", err)
	}
	private, err = encodeKey(key)
	if err != nil {
		return nil, nil, nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, nil, nil, fmt.Errorf("encoding a public key: %w", err)
	}
	return key, private, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

func authorityTemplate(commonName string, now time.Time) (*x509.Certificate, error) {
	serial, err := serialNumber()
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{"Laboratory Corp"}, CommonName: commonName},
		NotBefore:             now.Add(-leeway),
		NotAfter:              now.Add(caLifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}, nil
}

func newKey(kind Kind) (crypto.Signer, error) {
	var key crypto.Signer
	var err error
	if kind == RSA {
		key, err = rsa.GenerateKey(rand.Reader, rsaBits)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	return key, nil
}

func serialNumber() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("making a serial number: %w", err)
	}
	return n.Add(n, big.NewInt(1)), nil
}

func sign(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, fmt.Errorf("signing the certificate of %s: %w", template.Subject.CommonName, err)
	}
	return x509.ParseCertificate(der)
}

func encode(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

func encodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
