package certs_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net"
	"testing"
	"time"
)

const host = "registry.corp.test"

// now is when the cases are judged; the certificates are made around it, so that no test ages.
func now() time.Time { return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) }

// id is a certificate with its key.
type id struct {
	*x509.Certificate
	key crypto.Signer
}

// option changes a template before it is signed.
type option func(*x509.Certificate)

func newKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign makes a certificate for key, by parent, or by itself when parent is nil.
func sign(t *testing.T, template *x509.Certificate, parent *id, key crypto.Signer) *id {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<60))
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = serial
	if template.NotBefore.IsZero() {
		template.NotBefore = now().AddDate(-1, 0, 0)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = now().AddDate(1, 0, 0)
	}
	by, signer := template, key
	if parent != nil {
		by, signer = parent.Certificate, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	return &id{parsed(t, der), key}
}

func parsed(t *testing.T, der []byte) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func root(t *testing.T, cn string, opts ...option) *id { return authority(t, cn, nil, opts...) }

func authority(t *testing.T, cn string, parent *id, opts ...option) *id {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: cn, Organization: []string{"Corp"}}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	for _, o := range opts {
		o(template)
	}
	return sign(t, template, parent, newKey(t))
}

func server(t *testing.T, parent *id, opts ...option) *id {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, o := range opts {
		o(template)
	}
	return sign(t, template, parent, newKey(t))
}

// pki is the ordinary case: a root that signs an intermediate that signs a server.
type pki struct{ root, inter, leaf *id }

func newPKI(t *testing.T, leafOpts ...option) pki {
	t.Helper()
	r := root(t, "Corp Root CA")
	i := authority(t, "Corp Issuing CA", r)
	return pki{root: r, inter: i, leaf: server(t, i, leafOpts...)}
}

func list(ids ...*id) []*x509.Certificate {
	var out []*x509.Certificate
	for _, i := range ids {
		out = append(out, i.Certificate)
	}
	return out
}

// resigned changes the certificate's bytes, as no honest CA would.
func resigned(t *testing.T, c *id, change func(der []byte)) *id {
	t.Helper()
	der := bytes.Clone(c.Raw)
	change(der)
	return &id{parsed(t, der), c.key}
}

func organization(name string) option {
	return func(c *x509.Certificate) {
		c.Subject.Organization = nil
		if name != "" {
			c.Subject.Organization = []string{name}
		}
	}
}

func valid(from, to time.Time) option {
	return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = from, to }
}

func past() option { return valid(now().AddDate(-2, 0, 0), now().AddDate(0, 0, -1)) }

func names(dns ...string) option { return func(c *x509.Certificate) { c.DNSNames = dns } }

func notCA(c *x509.Certificate) { c.IsCA = false }

func critical(c *x509.Certificate) {
	c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 7}, Critical: true, Value: []byte{5, 0}}}
}

func addresses(ips ...string) option {
	return func(c *x509.Certificate) {
		for _, ip := range ips {
			c.IPAddresses = append(c.IPAddresses, net.ParseIP(ip))
		}
	}
}

func rsaServer(t *testing.T, parent *id, bits int) *id {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatalf("this Go makes no RSA keys of %d bits: %v", bits, err)
	}
	return sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}}, parent, key)
}

// sha1Server is signed with SHA-1. crypto/x509 does not make such a certificate, so the bytes are changed: the algorithm in
// both places, and the signature made anew.
func sha1Server(t *testing.T) (*id, *id) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	r := sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "Sha1 Root"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, key)
	leaf := server(t, r)
	sha256OID := []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b}
	sha1OID := []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05}
	der := bytes.ReplaceAll(leaf.Raw, sha256OID, sha1OID)
	weak := parsed(t, der)
	sum := crypto.SHA1.New()
	sum.Write(weak.RawTBSCertificate)
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA1, sum.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	return r, resigned(t, &id{weak, leaf.key}, func(b []byte) { copy(b[len(b)-len(sig):], sig) })
}
