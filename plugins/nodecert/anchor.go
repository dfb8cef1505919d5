package nodecert

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/tkgfix/tkgfix/internal/certs"
)

// anchor is a certificate in a trust file. Two of one subject and key are the same CA: one that was renewed with its key verifies the
// same chains.
type anchor struct {
	// cert is nil when the Go of this program does not read it.
	cert *x509.Certificate
	der  []byte
}

// key is the same for certificates that are the same CA.
func (a anchor) key() string {
	if a.cert == nil {
		return "der " + string(a.der)
	}
	return "key " + string(a.cert.RawSubject) + string(a.cert.RawSubjectPublicKeyInfo)
}

func anchors(list []*x509.Certificate) []anchor {
	var out []anchor
	for _, c := range list {
		out = append(out, anchor{cert: c, der: c.Raw})
	}
	return out
}

// negativeSerial is what Go says of such a certificate from 1.23 on (https://go.dev/doc/go1.23#cryptox509pkgcryptox509).
const negativeSerial = "negative serial number"

// refused returns the certificates in PEM that Go refuses since 1.23 and took before.
func refused(data []byte) []anchor {
	var out []anchor
	for len(out) < 100 {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" || len(block.Headers) > 0 {
			continue
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil && strings.Contains(err.Error(), negativeSerial) {
			out = append(out, anchor{der: block.Bytes})
		}
	}
	return out
}

// name says which certificate it is, for people.
func (a anchor) name() string {
	if a.cert == nil {
		return "the certificate " + a.fingerprint()
	}
	return certs.Info(a.cert).Subject
}

func (a anchor) fingerprint() string {
	sum := sha256.Sum256(a.der)
	return hex.EncodeToString(sum[:])
}

// turns says from which Go on the CA is refused, empty if on none.
func (a anchor) turns() (since, why string) {
	if a.cert == nil {
		return "1.23", "its serial number is negative"
	}
	if key, ok := a.cert.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() < 1024 {
		return "1.24", fmt.Sprintf("its RSA key has %d bits", key.N.BitLen())
	}
	return "", ""
}

func fingerprints(list []anchor) []string {
	out := []string{}
	for _, a := range list {
		out = append(out, a.fingerprint())
	}
	return out
}

// set holds CAs by key.
type set map[string]bool

func newSet(lists ...[]anchor) set {
	s := set{}
	for _, list := range lists {
		for _, a := range list {
			s[a.key()] = true
		}
	}
	return s
}

// holds reports that all of a list are in the set; it is false for an empty list.
func (s set) holds(list []anchor) bool {
	for _, a := range list {
		if !s[a.key()] {
			return false
		}
	}
	return len(list) > 0
}
