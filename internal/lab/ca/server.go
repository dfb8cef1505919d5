package ca

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" // crypto.SHA1
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"time"
)

// ServerKind says what is wrong with a server's certificate.
type ServerKind string

// The kinds of certificate that a server may present (tls-cases.md, families trust, time, name, usage and crypto).
const (
	// Good is issued by the intermediate, which is sent with it.
	Good ServerKind = ""
	// Expired ran out a day ago.
	Expired ServerKind = "expired"
	// OtherName is for another host of the same domain.
	OtherName ServerKind = "other-name"
	// NoSAN names the host in its subject only.
	NoSAN ServerKind = "no-san"
	// Bare is sent without the intermediate.
	Bare ServerKind = "bare"
	// SelfSigned is issued by itself and is no CA.
	SelfSigned ServerKind = "self-signed"
	// Default is what an ingress controller presents when no rule fits.
	Default ServerKind = "default"
	// SHA1 is signed with SHA-1.
	SHA1 ServerKind = "sha1"
	// OtherKey does not belong to the private key that the server uses.
	OtherKey ServerKind = "other-key"
	// ClientOnly may be used by clients only.
	ClientOnly ServerKind = "client-only"
	// Foreign is good, but issued by Partner.
	Foreign ServerKind = "foreign"
)

// Server issues a certificate of the kind for the host name.
func (c *Corporate) Server(kind ServerKind, host string) (Pair, error) {
	good := Leaf{CommonName: host, DNS: []string{host}, IPs: []net.IP{}}
	switch kind {
	case Good:
		return c.Intermediate.Issue(good)
	case Foreign:
		return c.PartnerIssuing.Issue(good)
	case Expired:
		good.Ago = leafLifetime + 24*time.Hour
	case OtherName:
		good.CommonName, good.DNS = "harbor.corp.lab", []string{"harbor.corp.lab"}
	case NoSAN:
		good.DNS = nil
	case Bare:
		good.Bare = true
	case ClientOnly:
		good.ClientOnly = true
	case SelfSigned:
		return selfSigned(good, c.Root.now)
	case Default:
		return selfSigned(Leaf{CommonName: "Kubernetes Ingress Controller Fake Certificate", Organization: []string{"Acme Co"}, DNS: []string{"ingress.local"}}, c.Root.now)
	case SHA1:
		return c.withSHA1(good)
	case OtherKey:
		return c.withOtherKey(good)
	default:
		return Pair{}, fmt.Errorf("no kind of server certificate %q", kind)
	}
	return c.Intermediate.Issue(good)
}

// TLS returns the pair as a TLS server uses it. Unlike tls.X509KeyPair it lets a key pass that does not belong to the certificate.
func (p Pair) TLS() (tls.Certificate, error) {
	var out tls.Certificate
	for rest := p.Cert; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		out.Certificate = append(out.Certificate, block.Bytes)
	}
	block, _ := pem.Decode(p.Key)
	if block == nil || len(out.Certificate) == 0 {
		return out, errors.New("a server's certificate or key is not PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return out, fmt.Errorf("reading a server's key: %w", err)
	}
	out.PrivateKey = key
	return out, nil
}

// Leaf returns the pair's first certificate alone, in PEM.
func (p Pair) Leaf() []byte {
	block, _ := pem.Decode(p.Cert)
	if block == nil {
		return nil
	}
	return pem.EncodeToMemory(block)
}

func selfSigned(leaf Leaf, now time.Time) (Pair, error) {
	key, err := newKey(RSA)
	if err != nil {
		return Pair{}, err
	}
	serial, err := serialNumber()
	if err != nil {
		return Pair{}, err
	}
	template := leaf.template(serial, now)
	template.BasicConstraintsValid = true
	cert, err := sign(template, template, key.Public(), key)
	if err != nil {
		return Pair{}, err
	}
	keyPEM, err := encodeKey(key)
	return Pair{Cert: encode(cert), Key: keyPEM}, err
}

func (c *Corporate) withOtherKey(leaf Leaf) (Pair, error) {
	pair, err := c.Intermediate.Issue(leaf)
	if err != nil {
		return Pair{}, err
	}
	other, err := newKey(RSA)
	if err != nil {
		return Pair{}, err
	}
	pair.Key, err = encodeKey(other)
	return pair, err
}

// The last arc of sha256WithRSAEncryption and sha1WithRSAEncryption in 1.2.840.113549.1.1 (RFC 8017, appendix C).
const (
	arcSHA256 = 11
	arcSHA1   = 5
)

// withSHA1 issues a certificate and signs it anew with SHA-1, which crypto/x509 does not do: the algorithm is named twice, in what is
// signed and beside it, and both names have the length of the former ones.
func (c *Corporate) withSHA1(leaf Leaf) (Pair, error) {
	pair, err := c.Intermediate.Issue(leaf)
	if err != nil {
		return Pair{}, err
	}
	block, rest := pem.Decode(pair.Cert)
	pkcs1 := []byte{0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01}
	der := bytes.ReplaceAll(block.Bytes, append(bytes.Clone(pkcs1), arcSHA256), append(bytes.Clone(pkcs1), arcSHA1))
	weak, err := x509.ParseCertificate(der)
	if err != nil {
		return Pair{}, fmt.Errorf("reading a certificate with SHA-1: %w", err)
	}
	key, ok := c.Intermediate.key.(*rsa.PrivateKey)
	if !ok {
		return Pair{}, errors.New("signing with SHA-1 takes an RSA key")
	}
	sum := crypto.SHA1.New()
	sum.Write(weak.RawTBSCertificate)
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA1, sum.Sum(nil))
	if err != nil {
		return Pair{}, fmt.Errorf("signing with SHA-1: %w", err)
	}
	copy(der[len(der)-len(signature):], signature)
	pair.Cert = append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), rest...)
	return pair, nil
}
