package certs

import (
	"bytes"
	"crypto/x509"
	"errors"
	"strings"
)

// walk goes up from the leaf, by names and signatures and without looking at dates, and says where the way to a trusted
// certificate ends. The class is empty when it does not end.
func (j *judge) walk() explanation {
	at, seen, left := j.chain[0], map[string]bool{}, maxSignatures
	for range len(j.chain) + 1 {
		if j.roots.Has(at) {
			return explanation{}
		}
		seen[string(at.Raw)] = true
		trusted, sent := j.roots.issuersOf(at), j.sentIssuers(at, seen)
		if left -= len(trusted) + len(sent); left < 0 {
			return explanation{class: ClassOther, note: "the chain has more certificates of one name than are looked at"}
		}
		if signedByAny(at, trusted) != nil {
			return explanation{}
		}
		next := signedByAny(at, sent)
		if next == nil {
			return j.deadEnd(at, trusted, sent)
		}
		at = next
	}
	return explanation{class: ClassOther, note: "the chain goes round in a circle"}
}

// sentIssuers returns what the server sent under the name of c's issuer, except what the walk passed already.
func (j *judge) sentIssuers(c *x509.Certificate, seen map[string]bool) []*x509.Certificate {
	var out []*x509.Certificate
	for _, p := range j.chain[1:] {
		if bytes.Equal(p.RawSubject, c.RawIssuer) && !seen[string(p.Raw)] {
			out = append(out, p)
		}
	}
	return out
}

func signedByAny(c *x509.Certificate, parents []*x509.Certificate) *x509.Certificate {
	for _, p := range parents {
		if c.CheckSignatureFrom(p) == nil {
			return p
		}
	}
	return nil
}

// deadEnd says why nothing signs c: trusted and sent are the certificates that carry its issuer's name and did not sign it.
func (j *judge) deadEnd(c *x509.Certificate, trusted, sent []*x509.Certificate) explanation {
	for _, p := range trusted {
		if e := refused(c, p, true); e.class != "" {
			return j.withLeafNote(e)
		}
	}
	for _, p := range sent {
		if e := refused(c, p, false); e.class != "" {
			return e
		}
	}
	return j.withLeafNote(j.noIssuer(c))
}

// refused says why p, which carries the name of c's issuer, is not accepted as the issuer. The class is empty when p is a
// stranger of the same name that says nothing.
func refused(c, p *x509.Certificate, trusted bool) explanation {
	err := c.CheckSignatureFrom(p)
	if _, weak := errors.AsType[x509.InsecureAlgorithmError](err); weak {
		return explanation{class: ClassWeakSignature, note: Subject(c) + " is signed with " + c.SignatureAlgorithm.String() + ", which Go refuses: it must be issued again with SHA-256"}
	}
	if p.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil {
		return notCA(c, p, trusted) // the right key, so only the CA flags can be in the way
	}
	if errors.Is(err, x509.ErrUnsupportedAlgorithm) || p.PublicKey == nil {
		return explanation{class: ClassUnsupportedKey, note: Subject(p) + " has a kind of key that Go does not know (" + keyKind(p) + "): the CA must be issued again with an ordinary RSA or ECDSA key"}
	}
	if sameName(c.AuthorityKeyId, p.SubjectKeyId) {
		return explanation{class: ClassBadSignature, note: "the signature on " + Subject(c) + " is damaged: " + Subject(p) + " has the key that it names and did not make it"}
	}
	return otherKey(c, p, trusted)
}

func notCA(c, p *x509.Certificate, trusted bool) explanation {
	if !trusted {
		return explanation{class: ClassIntermediateNotACA, note: Subject(p) + ", which the server sends, is not a CA certificate and must be issued again"}
	}
	return explanation{
		class: ClassNotACA, missing: "a CA certificate " + describeIssuer(c),
		note: "the trusted " + Subject(p) + " is not a CA certificate: trust the CA itself",
	}
}

func otherKey(c, p *x509.Certificate, trusted bool) explanation {
	if !trusted {
		return explanation{
			class: ClassMissingIntermediate, missing: describeIssuer(c),
			note: "the server sends " + describe(p) + ", which has the right name and another key: it must send the one that issued " + Subject(c),
		}
	}
	missing := describeIssuer(c)
	if isRoot(c) {
		missing = describe(c)
	}
	return explanation{
		class: ClassSameNameOtherKey, missing: missing,
		note: "trusted is " + describe(p) + ": the same name with another key, so the CA was renewed or made anew",
	}
}

// noIssuer says what is missing when nothing carries the name of c's issuer.
func (j *judge) noIssuer(c *x509.Certificate) explanation {
	leaf := j.chain[0]
	switch {
	case isRoot(c) && c.Equal(leaf):
		return explanation{
			class: ClassSelfSigned, missing: describe(c) + " (self-signed, the server's own)",
			note: "the server's certificate signed itself: better have it issued by a CA, for trust in it breaks when it is renewed",
		}
	case isRoot(c):
		return explanation{
			class: ClassUntrustedRoot, missing: describe(c) + " (root of the presented chain)",
			note: "the server sends its root, but that alone is no reason to trust it: compare the fingerprint with the CA's owner",
		}
	case !c.Equal(leaf):
		return explanation{class: ClassUntrustedRoot, missing: describeIssuer(c)}
	}
	if why := j.kin(leaf); why != "" {
		return explanation{
			class: ClassMissingIntermediate, missing: describeIssuer(leaf),
			note: "the server sends only its own certificate, and " + why + ": the server should send the intermediate too",
		}
	}
	return explanation{
		class: ClassMissingIssuer, missing: describeIssuer(leaf),
		note: "the server sends only its own certificate: if the issuer is a root, trust it; if it is an intermediate, the server must send it",
	}
}

// kin says on what ground the leaf's issuer is taken for an intermediate of a trusted root, empty if on none. It is a
// ground for suspicion and no proof: only the missing certificate itself would be one.
func (j *judge) kin(leaf *x509.Certificate) string {
	if j.roots == nil {
		return ""
	}
	for _, r := range j.roots.certs {
		if isRoot(r) && r.IsCA && related(leaf, r) {
			return "the trusted " + Subject(r) + " belongs to the same organization as its issuer"
		}
	}
	if len(leaf.IssuingCertificateURL) > 0 {
		return "it names the address where its issuer is published"
	}
	return ""
}

func related(leaf, root *x509.Certificate) bool {
	for _, o := range leaf.Issuer.Organization {
		for _, p := range root.Subject.Organization {
			if o != "" && strings.EqualFold(o, p) {
				return true
			}
		}
	}
	return false
}

// withLeafNote tells that somebody trusted an older certificate of the server in place of its CA.
func (j *judge) withLeafNote(e explanation) explanation {
	leaf := j.chain[0]
	if j.roots == nil || isRoot(leaf) {
		return e
	}
	for _, r := range j.roots.subject[string(leaf.RawSubject)] {
		if len(leaf.RawSubject) > 2 && !r.Equal(leaf) && !r.IsCA {
			e.note = join(e.note, "trusted is "+Subject(r)+", an earlier certificate of the server itself: trust the CA instead")
			break
		}
	}
	return e
}

func selfIssued(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, c.RawIssuer) }

// isRoot tells whether c signed itself. CheckSignatureFrom would refuse a server certificate that did, being no CA.
func isRoot(c *x509.Certificate) bool {
	if !selfIssued(c) {
		return false
	}
	err := c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature)
	if err == nil {
		return true
	}
	_, weak := errors.AsType[x509.InsecureAlgorithmError](err) // nobody checks a root's own signature: an old SHA-1 root is one
	return weak && (len(c.AuthorityKeyId) == 0 || bytes.Equal(c.AuthorityKeyId, c.SubjectKeyId))
}

func keyKind(c *x509.Certificate) string {
	if bytes.Contains(c.RawSubjectPublicKeyInfo, []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a}) {
		return "id-RSASSA-PSS"
	}
	return c.PublicKeyAlgorithm.String()
}
