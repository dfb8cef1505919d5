package probe

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"go/version"
	"math/big"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// rule is a change of what Go takes, that came with one of its releases.
type rule struct {
	// verdict is that on a connection which the rule refuses.
	verdict string
	// since is the first release with the rule.
	since string
	// setting is the GODEBUG setting, with its value, that takes the rule back. With one, the go line of containerd's go.mod decides,
	// whatever compiled it, unless the process has the setting itself. Without one the compiler decides, and that is not known. See
	// https://go.dev/doc/godebug.
	setting string
}

// The rules on which a verdict can turn, from https://go.dev/doc/godebug#history unless said otherwise.
var (
	ruleNegativeSerial = rule{"negative-serial", "1.23", "x509negativeserial=1"}
	ruleTinyKey        = rule{"weak-key", "1.24", "rsa1024min=0"}
	ruleRSAExchange    = rule{"no-common-cipher", "1.22", "tlsrsakex=1"}
	ruleTripleDES      = rule{"no-common-cipher", "1.23", "tls3des=1"}
	// The greeting no longer fits into one packet: with X25519Kyber768Draft00 in 1.23, and with X25519MLKEM768 from 1.24 on.
	ruleLargeHello = rule{"hello-too-large", "1.23", "tlsmlkem=0"}
	// Seen with each release from 1.15 to 1.25 (tls-cases.md F17).
	rulePolicies = rule{"invalid-policies", "1.24", ""}
	// https://go.dev/doc/go1.18#sha1. Its setting was not yet bound to the go line, and went with 1.24.
	ruleSHA1 = rule{"weak-signature", "1.18", ""}
)

// Build is what a containerd is built with, and what it is told. The zero value is today's Go.
type Build struct {
	// Name is for a sentence, such as "this node's containerd 1.7.27".
	Name string
	// Go is the go line of its go.mod, such as 1.21.
	Go string
	// Debug is the GODEBUG of its process.
	Debug string
}

// spares says whether a containerd does without the rule. One that is not known has all of them.
func (r rule) spares(b Build) bool {
	key, off, ok := strings.Cut(r.setting, "=")
	if !ok {
		return false
	}
	spared := r.older(b)
	for _, set := range strings.Split(b.Debug, ",") { // the last one counts
		if value, ok := strings.CutPrefix(set, key+"="); ok {
			spared = value == off
		}
	}
	return spared
}

func (r rule) older(b Build) bool { return b.known() && version.Compare("go"+b.Go, "go"+r.since) < 0 }

func (b Build) known() bool { return version.IsValid("go" + b.Go) }

// words say what the rule makes of a containerd.
func (r rule) words(b Build) string {
	text := "fails from Go " + r.since + " on"
	name := cmp.Or(b.Name, "this containerd")
	switch spared := r.spares(b); {
	case spared && !r.older(b):
		return sentence(text, name+" is told by GODEBUG to accept it")
	case spared:
		return sentence(text, fmt.Sprintf("%s is built with the rules of Go %s and accepts it", name, b.Go))
	case r.older(b) && r.setting == "":
		return sentence(text, "whether "+name+" was compiled with an older one is not known")
	case b.known() && !r.older(b):
		return sentence(text, fmt.Sprintf("%s is built with the rules of Go %s", name, b.Go))
	}
	return text
}

// ruleOf is the rule behind a verdict that needs no second look: nil if there is none.
func ruleOf(id string, chain []*x509.Certificate) *rule {
	switch {
	case id == rulePolicies.verdict:
		return &rulePolicies
	case id == ruleSHA1.verdict && len(chain) > 0 && slices.Contains(
		[]x509.SignatureAlgorithm{x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1}, chain[0].SignatureAlgorithm):
		return &ruleSHA1
	}
	return nil
}

// olderSuites are the cipher suites that Go's client offered before 1.22, up to TLS 1.2, beside today's (crypto/tls, cipher_suites.go).
func olderSuites() []uint16 {
	var out []uint16
	for _, s := range tls.CipherSuites() {
		out = append(out, s.ID)
	}
	return append(out, tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA, tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_CBC_SHA, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA)
}

// suiteRule is the rule by which a cipher suite went.
func suiteRule(suite uint16) rule {
	if suite == tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA {
		return ruleTripleDES
	}
	return ruleRSAExchange
}

// olderCurves are the key exchanges that Go's client offered before 1.23.
func olderCurves() []tls.CurveID {
	return []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}
}

var errNotOlder = errors.New("no certificate that an older Go would read")

// parseOlder reads a certificate as Go did before 1.23: with a negative serial number. What was signed stays as it came, so that
// signatures can be checked.
func parseOlder(der []byte) (*x509.Certificate, error) {
	if c, err := x509.ParseCertificate(der); err == nil {
		return c, nil
	}
	changed := slices.Clone(der)
	in := cryptobyte.String(changed)
	var cert, tbs, serial cryptobyte.String
	if !in.ReadASN1(&cert, asn1.SEQUENCE) {
		return nil, errNotOlder
	}
	head := len(der) - len(in) - len(cert)
	if !cert.ReadASN1(&tbs, asn1.SEQUENCE) || !tbs.SkipOptionalASN1(asn1.Tag(0).ContextSpecific().Constructed()) ||
		!tbs.ReadASN1(&serial, asn1.INTEGER) || len(serial) == 0 || serial[0]&0x80 == 0 {
		return nil, errNotOlder
	}
	number := new(big.Int).SetBytes(serial)
	number.Sub(number, new(big.Int).Lsh(big.NewInt(1), uint(8*len(serial))))
	serial[0] = serial[0]&0x7f | 0x40 // serial lies in changed: a number above zero, in its shortest form
	c, err := x509.ParseCertificate(changed)
	if err != nil {
		return nil, err
	}
	c.Raw, c.RawTBSCertificate, c.SerialNumber = der, der[head:head+len(c.RawTBSCertificate)], number
	return c, nil
}

// parseAllOlder reads a whole chain; nil if one of it cannot be read.
func parseAllOlder(list [][]byte) []*x509.Certificate {
	var out []*x509.Certificate
	for _, der := range list {
		c, err := parseOlder(der)
		if err != nil {
			return nil
		}
		out = append(out, c)
	}
	return out
}
