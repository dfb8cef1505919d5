package certs

import (
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// Verdict says whether a chain is trusted, and if not why.
type Verdict struct {
	OK    bool  `json:"ok"`
	Class Class `json:"class"`
	// Error is Go's exact text (but for control characters, which a hostile name may hold), without the "tls: failed to verify certificate: " that Go 1.20 and later put before it.
	Error string `json:"error"`
	// Missing names the certificate that would complete the chain, so that a person can fetch it: subject, key id when the chain
	// names one, and what it issued. It is empty when no certificate would help.
	Missing string `json:"missing"`
	// Chain is what was presented, leaf first.
	Chain []CertInfo `json:"chain"`
	// Note says what else a person should know.
	Note string `json:"note"`
}

// CertInfo is a certificate in a few words.
type CertInfo struct {
	Subject     string    `json:"subject"`
	Issuer      string    `json:"issuer"`
	Fingerprint string    `json:"fingerprint"`
	NotAfter    time.Time `json:"notAfter"`
	IsCA        bool      `json:"isCA"`
}

// Info returns a certificate in a few words.
func Info(c *x509.Certificate) CertInfo {
	return CertInfo{
		Subject: Subject(c), Issuer: name(c.Issuer.String()), Fingerprint: Fingerprint(c),
		NotAfter: c.NotAfter.UTC(), IsCA: c.BasicConstraintsValid && c.IsCA,
	}
}

// Subject returns the subject as text, never empty and safe to print.
func Subject(c *x509.Certificate) string { return name(c.Subject.String()) }

// Judge verifies a presented chain, leaf first, for host (a name or an address, with or without a port) by the rules by which
// containerd does: Go's, with the given roots alone and the rest of the chain as intermediates. When that fails it explains why.
// It never trusts a certificate because the server sent it.
func Judge(chain []*x509.Certificate, host string, roots *Roots, now time.Time) Verdict {
	if len(chain) == 0 || chain[0] == nil {
		return Verdict{Class: ClassOther, Error: "the server sent no certificate"}
	}
	j := &judge{chain: chain, host: hostOnly(host), roots: roots, now: now}
	v := Verdict{Class: ClassOK, OK: true}
	for _, c := range chain {
		v.Chain = append(v.Chain, Info(c))
	}
	chains, err := j.verify()
	if err == nil {
		v.Note = j.praise(chains[0])
		return v
	}
	v.OK, v.Error = false, cleanTo(err.Error(), 2048)
	e := j.explain(err)
	v.Class, v.Missing, v.Note = e.class, e.missing, e.note
	return v
}

type judge struct {
	chain []*x509.Certificate
	host  string
	roots *Roots
	now   time.Time
}

type explanation struct {
	class         Class
	missing, note string
}

func (j *judge) verify() ([][]*x509.Certificate, error) {
	between := x509.NewCertPool()
	for _, c := range j.chain[1:] {
		between.AddCert(c)
	}
	return j.chain[0].Verify(x509.VerifyOptions{
		DNSName: j.host, Roots: j.roots.Pool(), Intermediates: between, CurrentTime: j.now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
}

func (j *judge) explain(err error) explanation {
	leaf := j.chain[0]
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return j.explainInvalid(invalid)
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return j.also(j.explainName(leaf))
	}
	if _, ok := errors.AsType[x509.UnhandledCriticalExtension](err); ok {
		return explanation{class: ClassCriticalExtension, note: "the certificate must be issued again without the critical extension; no trust helps"}
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return j.walk()
	}
	return explanation{class: ClassOther}
}

func (j *judge) explainName(leaf *x509.Certificate) explanation {
	if len(leaf.DNSNames) == 0 && len(leaf.IPAddresses) == 0 {
		return explanation{class: ClassNoSAN, note: "the certificate has no subject alternative name and must be issued again with " + j.host + "; no trust helps"}
	}
	return explanation{class: ClassNameMismatch, note: fmt.Sprintf("the certificate is for %s; use one of these names in image references, or have it issued again for %s", sans(leaf), j.host)}
}

func (j *judge) explainInvalid(err x509.CertificateInvalidError) explanation {
	switch err.Reason {
	case x509.Expired:
		return j.explainTime(err.Cert)
	case x509.NotAuthorizedToSign:
		return explanation{class: ClassIntermediateNotACA, note: Subject(err.Cert) + " is not a CA certificate and must be issued again"}
	case x509.TooManyIntermediates:
		return explanation{class: ClassPathLength, note: Subject(err.Cert) + " does not allow that many CAs below it"}
	case x509.CANotAuthorizedForThisName:
		return explanation{class: ClassNameConstraint, note: "a CA of the chain may not sign for " + j.host}
	case x509.IncompatibleUsage:
		return explanation{class: ClassKeyUsage, note: "the certificate must be issued again for server authentication"}
	}
	return explanation{class: ClassOther}
}

func (j *judge) explainTime(bad *x509.Certificate) explanation {
	if j.now.Before(bad.NotBefore) {
		return j.also(explanation{class: ClassNotYetValid, note: fmt.Sprintf("%s is valid from %s: compare the node's clock first", Subject(bad), day(bad.NotBefore))})
	}
	gone := fmt.Sprintf("%s expired on %s", Subject(bad), day(bad.NotAfter))
	if bad.Equal(j.chain[0]) {
		return j.also(explanation{class: ClassExpired, note: gone + ": renew the server's certificate"})
	}
	if j.roots.Has(bad) {
		return explanation{class: ClassExpiredRoot, missing: "the renewed " + describe(bad), note: gone + ": it is the trusted one, so trust its successor"}
	}
	if under := j.walk(); under.class != "" && under.class != ClassOther {
		under.note = join(gone+" as well", under.note)
		return under
	}
	return explanation{class: ClassExpiredIntermediate, note: gone + ": the server must send its successor"}
}

// also adds what is wrong with the trust, for Go reports names and dates of the leaf first.
func (j *judge) also(e explanation) explanation {
	under := j.walk()
	if under.class == "" || under.class == ClassOther {
		return e
	}
	next := "once that is mended, trust fails as well (" + string(under.class) + ")"
	if under.missing != "" {
		next += ": missing " + under.missing
	}
	e.note = join(e.note, next)
	return e
}

// praise returns what a person should know about a chain that Go accepts.
func (j *judge) praise(chain []*x509.Certificate) string {
	leaf, anchor := chain[0], chain[len(chain)-1]
	var notes []string
	switch {
	case len(chain) == 1:
		notes = append(notes, "the server's own certificate is trusted, not its CA: this breaks when it is renewed")
	case !selfIssued(anchor):
		notes = append(notes, "trust ends at the intermediate "+Subject(anchor)+": Go accepts that, openssl does not")
	}
	if left := leaf.NotAfter.Sub(j.now); left < 30*24*time.Hour {
		notes = append(notes, "the server's certificate expires on "+day(leaf.NotAfter))
	}
	return strings.Join(notes, "; ")
}

// describe names a certificate so that it can be found: subject and key.
func describe(c *x509.Certificate) string {
	text := Subject(c)
	if len(c.SubjectKeyId) > 0 {
		text += ", key id " + keyID(c.SubjectKeyId)
	}
	return text + ", SHA-256 " + Fingerprint(c)
}

// describeIssuer names a certificate that nobody has, by what it issued.
func describeIssuer(child *x509.Certificate) string {
	text := name(child.Issuer.String())
	if len(child.AuthorityKeyId) > 0 {
		text += ", key id " + keyID(child.AuthorityKeyId)
	}
	text += " (issuer of " + Subject(child) + ")"
	if len(child.IssuingCertificateURL) > 0 {
		text += ", published at " + printableURL(child.IssuingCertificateURL[0])
	}
	return text
}

func keyID(id []byte) string {
	parts := make([]string, 0, len(id))
	for _, b := range id[:min(len(id), 32)] {
		parts = append(parts, strings.ToUpper(hex.EncodeToString([]byte{b})))
	}
	return strings.Join(parts, ":")
}

func sans(c *x509.Certificate) string {
	var out []string
	for _, n := range c.DNSNames {
		out = append(out, clean(n))
	}
	for _, ip := range c.IPAddresses {
		out = append(out, ip.String())
	}
	if len(out) > 8 {
		out = append(out[:8], fmt.Sprintf("and %d more", len(out)-8))
	}
	return strings.Join(out, ", ")
}

func hostOnly(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}

func name(dn string) string {
	if dn = clean(dn); dn == "" {
		return "(no name)"
	}
	return dn
}

// clean bounds text out of a certificate and takes out what a terminal would act on.
func clean(s string) string { return cleanTo(s, 256) }

func cleanTo(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if runes := []rune(s); len(runes) > limit {
		return string(runes[:limit]) + "..."
	}
	return s
}

func printableURL(raw string) string {
	if at := strings.LastIndexByte(raw, '@'); at >= 0 {
		return "(an address with a credential in it)"
	}
	return clean(raw)
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

func join(parts ...string) string {
	var out []string
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, "; ")
}
