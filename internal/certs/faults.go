package certs

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
)

// The classes that only Faults tells apart; Judge gives the coarser one.
const (
	// ClassDefaultCertificate is the certificate that a load balancer or ingress controller shows for names that it does not know.
	ClassDefaultCertificate Class = "default-certificate"
	// ClassAddressNotNamed is a certificate without the IP address that was dialled.
	ClassAddressNotNamed Class = "address-not-named"
	// ClassRenewedLeaf is a trusted earlier certificate of the server in the place of its CA.
	ClassRenewedLeaf Class = "renewed-leaf"
	// ClassCAExtension is a critical extension of a CA that Go does not know.
	ClassCAExtension Class = "ca-critical-extension"
	// ClassCAKeyUsage is a CA that may not sign for servers.
	ClassCAKeyUsage Class = "ca-key-usage"
	// ClassCANotYetValid is a CA before its begin, or a clock that is behind.
	ClassCANotYetValid Class = "ca-not-yet-valid"
	// ClassPolicies are certificate policies that contradict one another along the chain.
	ClassPolicies Class = "policies"
)

// Fault is one thing because of which Go refuses a chain.
type Fault struct {
	Class Class
	// Missing names the certificate that would mend it, by subject and key id; empty when none would.
	Missing string
	// Found is that certificate when it was at hand.
	Found *x509.Certificate
	// Note says more, for people.
	Note string
}

// maxSignatures bounds the signatures that are checked for one chain, so that a hostile one cannot hold us.
const maxSignatures = 400

// Faults returns everything because of which Go refuses a chain, in the order in which it must be mended, and nothing for a chain
// that Go accepts. It looks past Go's first error: each thing that Go checks is relaxed in turn. atHand are certificates among
// which a missing one is searched; they are not trusted.
func Faults(chain []*x509.Certificate, host string, roots *Roots, now time.Time, atHand ...*x509.Certificate) []Fault {
	if len(chain) == 0 || chain[0] == nil {
		return []Fault{{Class: ClassOther, Note: "the server sent no certificate"}}
	}
	j := &judge{chain: chain, host: hostOnly(host), roots: roots, now: now}
	_, err := j.verify()
	if err == nil {
		return nil
	}
	out := slices.Concat(j.leafFaults(), j.authorityFaults())
	for i := range out {
		out[i].Found = j.find(out[i], atHand)
	}
	if len(out) == 0 { // Go refuses for a reason that none of the looks above brings out
		e := j.explain(err)
		out = []Fault{{Class: e.class, Missing: e.missing, Note: join(e.note, cleanTo(err.Error(), 512))}}
	}
	slices.SortStableFunc(out, func(a, b Fault) int { return rank(a.Class) - rank(b.Class) })
	return out
}

// rank is the place of a class in the order of mending: the clock, whether it is the right server at all, the server's certificate,
// the chain, the CA, and trust last, since trust in a chain that is refused anyway helps nobody.
func rank(c Class) int {
	return slices.Index([]Class{
		"", ClassNotYetValid, ClassDefaultCertificate, ClassNameMismatch, ClassAddressNotNamed, ClassNoSAN, ClassExpired, ClassKeyUsage, ClassCriticalExtension,
		ClassBadSignature, ClassWeakSignature, ClassCANotYetValid, ClassExpiredIntermediate, ClassIntermediateNotACA, ClassUnsupportedKey, ClassCAExtension,
		ClassCAKeyUsage, ClassPathLength, ClassNameConstraint, ClassPolicies, ClassMissingIntermediate, ClassSelfSigned, ClassExpiredRoot, ClassNotACA,
		ClassSameNameOtherKey, ClassRenewedLeaf, ClassMissingIssuer, ClassUntrustedRoot, ClassOther,
	}, c)
}

// leafFaults are those of the server's own certificate.
func (j *judge) leafFaults() []Fault {
	leaf := j.chain[0]
	var out []Fault
	add := func(c Class, note string) { out = append(out, Fault{Class: c, Note: note}) }
	switch {
	case j.now.Before(leaf.NotBefore):
		add(ClassNotYetValid, fmt.Sprintf("%s is valid from %s and the clock says %s", Subject(leaf), day(leaf.NotBefore), day(j.now)))
	case j.now.After(leaf.NotAfter):
		add(ClassExpired, fmt.Sprintf("%s expired on %s", Subject(leaf), day(leaf.NotAfter)))
	}
	if leaf.VerifyHostname(j.host) != nil {
		out = append(out, j.nameFault(leaf))
	}
	if !servesAsServer(leaf) {
		add(ClassKeyUsage, Subject(leaf)+" is not for server authentication (extended key usage)")
	}
	if ids := leaf.UnhandledCriticalExtensions; len(ids) > 0 {
		add(ClassCriticalExtension, fmt.Sprintf("%s has the critical extension %s, which Go does not know", Subject(leaf), ids[0]))
	}
	return out
}

func (j *judge) nameFault(leaf *x509.Certificate) Fault {
	switch {
	case isDefault(leaf):
		return Fault{Class: ClassDefaultCertificate, Note: "the server shows the default certificate of its ingress or load balancer (" + Subject(leaf) + "): it does not know the name " + j.host}
	case len(leaf.DNSNames) == 0 && len(leaf.IPAddresses) == 0 && len(leaf.EmailAddresses) == 0 && len(leaf.URIs) == 0:
		return Fault{Class: ClassNoSAN, Note: Subject(leaf) + " has no subject alternative name, and Go reads no other"}
	case net.ParseIP(j.host) != nil:
		return Fault{Class: ClassAddressNotNamed, Note: "the certificate names " + sans(leaf) + " and not the address " + j.host}
	}
	return Fault{Class: ClassNameMismatch, Note: "the certificate is for " + sans(leaf) + " and not for " + clean(j.host)}
}

// isDefault knows the certificates that products show when no certificate fits the name.
func isDefault(leaf *x509.Certificate) bool {
	text := strings.ToLower(leaf.Subject.String() + " " + strings.Join(leaf.DNSNames, " "))
	for _, known := range []string{
		"kubernetes ingress controller fake certificate", "traefik default cert", "traefik.default", "ingress.local", "default-fake-certificate",
		"avi default", "system-default-cert", "localhost.localdomain", "snakeoil", "ingress-operator", "emtpy-host", "invalid2.invalid",
	} {
		if strings.Contains(text, known) {
			return true
		}
	}
	return false
}

func servesAsServer(c *x509.Certificate) bool {
	if len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 0 {
		return true
	}
	return slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
}

// authorityFaults are those of the way from the leaf to a trust anchor, whatever is wrong with the leaf itself.
func (j *judge) authorityFaults() []Fault {
	chains, err := j.relaxed(x509.ExtKeyUsageAny)
	if err == nil {
		return j.pathFaults(chains)
	}
	var out []Fault
	for _, c := range j.path() {
		if f := j.dateFault(c); f.Class != "" {
			out = append(out, f)
		}
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return append(out, invalidFault(invalid))
	}
	if _, ok := errors.AsType[x509.UnhandledCriticalExtension](err); ok {
		return append(out, Fault{Class: ClassCAExtension, Note: "a CA of the chain has a critical extension that Go does not know"})
	}
	e := j.walk()
	if e.class == "" {
		return append(out, Fault{Class: ClassOther, Note: cleanTo(err.Error(), 512)})
	}
	class := j.finer(e.class)
	if why := j.namedAlike(); class == ClassMissingIssuer && why != "" {
		class, e.note = ClassMissingIntermediate, "the server sends only its own certificate, and "+why+": the server should send the intermediate too"
	}
	return append(out, Fault{Class: class, Missing: e.missing, Note: e.note})
}

// namedAlike says on what ground in names alone the issuer of a lone leaf is taken for an intermediate, empty if on none. It is weaker
// than kin, and enough to choose between two remedies.
func (j *judge) namedAlike() string {
	issuer := j.chain[0].Issuer.CommonName
	if j.roots != nil {
		for _, r := range j.roots.certs {
			if r.IsCA && selfIssued(r) && sharedWord(issuer, r.Subject.CommonName) {
				return "the trusted " + Subject(r) + " is named like its issuer"
			}
		}
	}
	if middleName.MatchString(issuer) {
		return "its issuer's name says that it is an intermediate"
	}
	return ""
}

// middleName is how intermediates are named.
var middleName = regexp.MustCompile(`(?i)\b(issuing|intermediate|subordinate|sub[ -]?ca|policy ca)\b`)

// rootName is how roots are named.
var rootName = regexp.MustCompile(`(?i)\broot\b`)

// commonWords say nothing about whose CA it is.
const commonWords = " ca root rootca issuing intermediate subordinate sub policy authority certificate certificates certification cert server tls ssl class the inc ltd gmbh llc and of for trust trusted secure security global network networks services service public primary private internal company root-ca issuing-ca rsa ecc ecdsa sha256 sha384 unknown new old other another test my "

// sharedWord tells whether two names share a word that names an owner.
func sharedWord(a, b string) bool {
	if len(a) > 256 || len(b) > 256 {
		return false
	}
	split := func(s string) []string {
		return strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return !unicode.IsLetter(r) })
	}
	other := split(b)
	return slices.ContainsFunc(split(a), func(w string) bool {
		return len(w) > 2 && !strings.Contains(commonWords, " "+w+" ") && slices.Contains(other, w)
	})
}

// finer tells a pinned certificate of the server itself from a CA that is not there.
func (j *judge) finer(c Class) Class {
	leaf := j.chain[0]
	switch {
	case c == ClassMissingIssuer && rootName.MatchString(leaf.Issuer.CommonName):
		return ClassUntrustedRoot
	case j.roots == nil:
		return c
	case isRoot(leaf) && !leaf.IsCA && c == ClassSameNameOtherKey:
		return ClassSelfSigned
	case isRoot(leaf) || c != ClassUntrustedRoot && c != ClassMissingIntermediate && c != ClassMissingIssuer:
		return c
	}
	for _, r := range j.roots.certs {
		if !r.IsCA && !r.Equal(leaf) && !selfIssued(r) && sameServer(r, leaf) {
			return ClassRenewedLeaf
		}
	}
	return c
}

// sameServer tells whether two certificates are of one server: the same subject, or the same names by the same issuer.
func sameServer(a, b *x509.Certificate) bool {
	if len(b.RawSubject) > 2 && sameName(a.RawSubject, b.RawSubject) {
		return true
	}
	return len(a.DNSNames) > 0 && sameName(a.RawIssuer, b.RawIssuer) && slices.Equal(a.DNSNames, b.DNSNames)
}

func invalidFault(err x509.CertificateInvalidError) Fault {
	who := Subject(err.Cert)
	switch err.Reason {
	case x509.NotAuthorizedToSign:
		return Fault{Class: ClassIntermediateNotACA, Note: who + " is not a CA certificate"}
	case x509.TooManyIntermediates:
		return Fault{Class: ClassPathLength, Note: who + " does not allow that many CAs below it (path length)"}
	case x509.CANotAuthorizedForThisName:
		return Fault{Class: ClassNameConstraint, Note: cleanTo(err.Detail, 512)}
	case x509.NoValidChains:
		return Fault{Class: ClassPolicies, Note: cleanTo(err.Error(), 512)}
	}
	return Fault{Class: ClassOther, Note: cleanTo(err.Error(), 512)}
}

// pathFaults are those of the CAs of a chain that is trusted but for dates and purposes. Of several ways the one with the fewest
// faults counts.
func (j *judge) pathFaults(chains [][]*x509.Certificate) []Fault {
	var best []Fault
	for i, chain := range chains {
		var out []Fault
		for _, c := range chain[1:] {
			if f := j.dateFault(c); f.Class != "" {
				out = append(out, f)
			}
		}
		if i == 0 || len(out) < len(best) {
			best = out
		}
	}
	if _, err := j.relaxed(x509.ExtKeyUsageServerAuth); err != nil && servesAsServer(j.chain[0]) {
		best = append(best, Fault{Class: ClassCAKeyUsage, Note: "a CA of the chain may not sign for servers (extended key usage)"})
	}
	return best
}

// dateFault is that of a CA; the class is empty when its dates are right.
func (j *judge) dateFault(c *x509.Certificate) Fault {
	switch {
	case j.now.Before(c.NotBefore):
		return Fault{Class: ClassCANotYetValid, Note: fmt.Sprintf("the CA %s is valid from %s and the clock says %s", Subject(c), day(c.NotBefore), day(j.now))}
	case !j.now.After(c.NotAfter):
		return Fault{}
	case j.roots.Has(c):
		return Fault{Class: ClassExpiredRoot, Missing: "the renewed " + describe(c), Note: fmt.Sprintf("the trusted %s expired on %s", Subject(c), day(c.NotAfter))}
	}
	return Fault{Class: ClassExpiredIntermediate, Note: fmt.Sprintf("the CA %s, which the server sends, expired on %s", Subject(c), day(c.NotAfter))}
}

// path are the CAs that the server sent and that lead up from the leaf, by names and signatures.
func (j *judge) path() []*x509.Certificate {
	at, seen, left := j.chain[0], map[string]bool{}, maxSignatures
	var out []*x509.Certificate
	for range j.chain {
		seen[string(at.Raw)] = true
		sent := j.sentIssuers(at, seen)
		if left -= len(sent); left < 0 {
			return out
		}
		next := signedByAny(at, sent)
		if next == nil {
			return out
		}
		out = append(out, next)
		at = next
	}
	return out
}

// relaxed verifies as Go does, but for the dates of all certificates, the host name, and what only the leaf carries.
func (j *judge) relaxed(usage x509.ExtKeyUsage) ([][]*x509.Certificate, error) {
	loose := func(c *x509.Certificate) *x509.Certificate {
		copied := *c
		copied.NotBefore, copied.NotAfter = time.Unix(0, 0), time.Unix(1<<37, 0)
		return &copied
	}
	back := map[string]*x509.Certificate{}
	pool := func(list []*x509.Certificate) *x509.CertPool {
		out := x509.NewCertPool()
		for _, c := range list {
			back[string(c.Raw)] = c
			out.AddCert(loose(c))
		}
		return out
	}
	leaf := loose(j.chain[0])
	leaf.UnhandledCriticalExtensions = nil
	back[string(leaf.Raw)] = j.chain[0]
	var trusted []*x509.Certificate
	if j.roots != nil {
		trusted = j.roots.certs
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots: pool(trusted), Intermediates: pool(j.chain[1:]), CurrentTime: j.now, KeyUsages: []x509.ExtKeyUsage{usage},
	})
	for _, chain := range chains {
		for i := range chain {
			chain[i] = back[string(chain[i].Raw)]
		}
	}
	return chains, err
}

// find returns the certificate at hand that issued the one at which the way to a trust anchor ends.
func (j *judge) find(f Fault, atHand []*x509.Certificate) *x509.Certificate {
	switch f.Class {
	case ClassUntrustedRoot, ClassMissingIntermediate, ClassMissingIssuer, ClassSameNameOtherKey, ClassRenewedLeaf, ClassNotACA:
	default:
		return nil
	}
	end := j.chain[0]
	if path := j.path(); len(path) > 0 {
		end = path[len(path)-1]
	}
	for _, c := range atHand[:min(len(atHand), maxSignatures)] {
		if c.Equal(end) && c.IsCA || sameName(c.RawSubject, end.RawIssuer) && end.CheckSignatureFrom(c) == nil {
			return c
		}
	}
	return nil
}

// Accepted describes how Go came to accept a chain.
type Accepted struct {
	// Anchor is the trusted certificate at which the chain ends.
	Anchor *x509.Certificate
	// Leaf says that the server's own certificate is the trusted one; SelfSigned that it also signed itself.
	Leaf, SelfSigned bool
	// Intermediate says that the anchor is no root.
	Intermediate bool
	// Issuer signed the leaf; nil when the leaf is the anchor.
	Issuer *x509.Certificate
}

// Accept verifies as Go does and describes the best way to a trust anchor: one that ends in a root, if there is one. The error is
// Go's.
func Accept(chain []*x509.Certificate, host string, roots *Roots, now time.Time) (Accepted, error) {
	if len(chain) == 0 || chain[0] == nil {
		return Accepted{}, errors.New("x509: the server sent no certificate")
	}
	j := &judge{chain: chain, host: hostOnly(host), roots: roots, now: now}
	chains, err := j.verify()
	if err != nil {
		return Accepted{}, err
	}
	way := chains[0]
	for _, c := range chains {
		if isRoot(c[len(c)-1]) {
			way = c
			break
		}
	}
	out := Accepted{Anchor: way[len(way)-1]}
	if len(way) == 1 {
		out.Leaf, out.SelfSigned = true, isRoot(way[0])
		return out, nil
	}
	out.Issuer, out.Intermediate = way[1], !selfIssued(out.Anchor)
	return out, nil
}

// Unordered tells whether a server sends its chain in another order than each certificate before its issuer.
func Unordered(chain []*x509.Certificate) bool {
	for i := 1; i < len(chain); i++ {
		if !sameName(chain[i-1].RawIssuer, chain[i].RawSubject) {
			return true
		}
	}
	return false
}

// KeyID returns a key id as text: hex in pairs; empty for none.
func KeyID(id []byte) string { return keyID(id) }

// Clean bounds text out of a certificate or an answer and takes out what a terminal would act on.
func Clean(s string) string { return cleanTo(s, 2048) }
