package probe

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/tkgfix/tkgfix/internal/certs"
)

// Conclusion is the verdict on a connection.
type Conclusion struct {
	Verdict
	Accepted bool
	// Note says what was found, without the remedy.
	Note    string
	GoError string
	Also    []Further
	Missing *Missing
	// With is the answer with the candidate added; nil without one.
	With *Candidate
	// CompletedBy names the stored CAs with each of which the chain would be accepted.
	CompletedBy []string

	shaken bool // nothing but the chain is in the way
}

// Question is a chain with what it is judged by.
type Question struct {
	// Chain is what the server presented, its own certificate first.
	Chain []*x509.Certificate
	// Host is the name or address that the certificate must be for.
	Host      string
	Trust     Trust
	Candidate []*x509.Certificate
	// Stored are the CAs that are configured, whether or not they have reached the trust.
	Stored []Stored
	Now    time.Time
	// Loaded is what the running containerd has read of the trust, once, when it started; nil if that is the trust as it is.
	Loaded *certs.Roots
	// Build is the containerd's.
	Build Build
}

// Judge gives the verdict on a chain by Go's rules. It is pure.
func Judge(q Question) Conclusion { return judge(q, sight{}) }

// judge gives the verdict on what was seen of a host, by the rules of the Go of that containerd. It is pure.
func judge(q Question, s sight) Conclusion {
	var out Conclusion
	id, note := s.verdict()
	var coming []Further
	if o := s.older; o != nil {
		id, note = o.rule.verdict, sentence(o.note, o.rule.words(q.Build))
		if o.rule.spares(q.Build) {
			coming = []Further{{VerdictOf(id), note}}
			id, s.err, q.Chain = "", nil, o.chain
		}
	}
	var faults []Further
	if len(q.Chain) > 0 || id == "" {
		faults, out.Missing = q.faults()
	}
	out.GoError = s.goError()
	if _, err := certs.Accept(q.Chain, q.Host, q.Trust.Roots, q.Now); err != nil && len(q.Chain) > 0 {
		out.GoError = verifyError(err)
	}
	if id != "" {
		if r := ruleOf(id, nil); r != nil {
			note = sentence(note, r.words(q.Build))
		}
		first := Further{VerdictOf(id), note}
		switch id {
		case "client-certificate-required": // Go comes to that only with a chain that it accepts
			faults = append(faults, first)
		default:
			faults = append([]Further{first}, faults...)
		}
	}
	out.shaken = id == ""
	out.With = q.withCandidate(out.shaken, out.GoError)
	if out.shaken {
		out.CompletedBy = q.completedBy()
	}
	out.settle(q, faults, coming)
	if out.shaken {
		return q.asLoaded(out)
	}
	return out
}

// settle makes the first of the faults the verdict. coming are those that only a newer Go has.
func (c *Conclusion) settle(q Question, faults, coming []Further) {
	switch {
	case len(faults) > 0:
		c.Verdict, c.Note, c.Also = faults[0].Verdict, faults[0].Message, faults[1:]
		for _, f := range c.Also {
			c.Trust = c.Trust && f.Trust
		}
		c.Trust = c.Trust || c.With != nil && c.With.Accepted
	default:
		c.Accepted = true
		c.Verdict, c.Note = q.accepted()
		if len(coming) > 0 {
			c.Verdict = VerdictOf("trusted-by-older-go")
		}
	}
	c.Also = append(c.Also, coming...)
}

func verifyError(err error) string {
	return "tls: failed to verify certificate: " + certs.Clean(err.Error())
}

// asLoaded turns the verdict by the trust files into that of the running containerd, which has read them when it started.
func (q Question) asLoaded(c Conclusion) Conclusion {
	if q.Loaded == nil || len(q.Chain) == 0 {
		return c
	}
	_, err := certs.Accept(q.Chain, q.Host, q.Loaded, q.Now)
	switch {
	case c.Accepted && err != nil:
		c.Accepted, c.GoError = false, verifyError(err)
		c.Verdict, c.Note = VerdictOf("runtime-older"), sentence(c.Note, "but containerd has run since before that trust was written, and reads it once, before its first pull")
	case !c.Accepted && err == nil:
		c.Also = append([]Further{{c.Verdict, c.Note}}, c.Also...)
		c.Accepted, c.GoError = true, ""
		c.Verdict, c.Note = VerdictOf("runtime-removed"), "containerd still trusts what it read when it started, and the trust files no longer hold it: pulls fail from its next start on"
	}
	return c
}

// withCandidate judges again with the candidate added. shaken says that nothing but the chain may be in the way.
func (q Question) withCandidate(shaken bool, goError string) *Candidate {
	if len(q.Candidate) == 0 {
		return nil
	}
	if !shaken || len(q.Chain) == 0 {
		return &Candidate{GoError: goError}
	}
	if _, err := certs.Accept(q.Chain, q.Host, q.Trust.Roots.With(q.Candidate...), q.Now); err != nil {
		return &Candidate{GoError: verifyError(err)}
	}
	return &Candidate{Accepted: true}
}

// Stored is a CA that is configured somewhere, with a name for people.
type Stored struct {
	Name  string
	Certs []*x509.Certificate
}

// completedBy names the stored CAs that make a chain acceptable which is not accepted without.
func (q Question) completedBy() []string {
	if len(q.Stored) == 0 || len(q.Chain) == 0 {
		return nil
	}
	if _, err := certs.Accept(q.Chain, q.Host, q.Trust.Roots, q.Now); err == nil {
		return nil
	}
	var out []string
	for _, s := range q.Stored {
		if _, err := certs.Accept(q.Chain, q.Host, q.Trust.Roots.With(s.Certs...), q.Now); err == nil {
			out = append(out, s.Name)
		}
	}
	return out
}

// faults are those of the chain, in the order in which they must be mended.
func (q Question) faults() ([]Further, *Missing) {
	atHand := slices.Concat(q.Candidate, q.Trust.recoverable())
	for _, s := range q.Stored {
		atHand = append(atHand, s.Certs...)
	}
	found := certs.Faults(q.Chain, q.Host, q.Trust.Roots, q.Now, atHand...)
	var out []Further
	var missing *Missing
	for _, f := range found {
		v := VerdictOf(string(f.Class))
		note := f.Note
		if f.Missing != "" {
			missing = q.missing(f)
			note = sentence(note, "missing is "+f.Missing)
			if missing.Found != "" {
				note = sentence(note, "it is at hand in "+missing.Found)
			}
		}
		if v.Trust {
			v, note = q.trustVerdict(v, f, note)
		}
		if r := ruleOf(v.ID, q.Chain); r != nil {
			note = sentence(note, r.words(q.Build))
		}
		out = append(out, Further{v, note})
	}
	return out, missing
}

// trustVerdict looks whether a file of the trust that Go cannot read is behind a missing certificate, and whether the candidate
// tells more of it.
func (q Question) trustVerdict(v Verdict, f certs.Fault, note string) (Verdict, string) {
	accepts := func(more ...*x509.Certificate) bool {
		return !slices.ContainsFunc(certs.Faults(q.Chain, q.Host, q.Trust.Roots.With(more...), q.Now), func(f certs.Fault) bool {
			return VerdictOf(string(f.Class)).Trust
		})
	}
	if id, path := q.Trust.culprit(accepts, q.end()); id != "" {
		return VerdictOf(id), fmt.Sprintf("Go drops %s, which is in the trust: %s", certs.Clean(path), q.Trust.reason(path))
	}
	if f.Class == certs.ClassMissingIssuer && len(q.Candidate) > 0 {
		for _, g := range certs.Faults(q.Chain, q.Host, q.Trust.Roots.With(q.Candidate...), q.Now) {
			if g.Class == certs.ClassMissingIntermediate {
				return VerdictOf(string(g.Class)), sentence(g.Note, "missing is "+g.Missing)
			}
		}
	}
	return v, note
}

// reason is why a file of the trust was rejected.
func (t Trust) reason(path string) string {
	for _, r := range t.Rejected {
		if r.File == certs.Clean(path) {
			return r.Reason
		}
	}
	return ""
}

// end is the last certificate on the way up that the server sends.
func (q Question) end() *x509.Certificate {
	at := q.Chain[0]
	for range q.Chain {
		i := slices.IndexFunc(q.Chain, func(c *x509.Certificate) bool {
			return bytes.Equal(c.RawSubject, at.RawIssuer) && !c.Equal(at) && !bytes.Equal(at.RawIssuer, at.RawSubject)
		})
		if i < 0 {
			break
		}
		at = q.Chain[i]
	}
	return at
}

func (q Question) missing(f certs.Fault) *Missing {
	out := &Missing{Name: f.Missing}
	if f.Found == nil {
		return out
	}
	out.PEM = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Found.Raw}))
	out.Found = "the candidate"
	for _, b := range q.Trust.broken {
		if slices.ContainsFunc(b.bundle.Recoverable, f.Found.Equal) {
			out.Found = certs.Clean(b.path) + ", which Go cannot read"
		}
	}
	for _, s := range q.Stored {
		if slices.ContainsFunc(s.Certs, f.Found.Equal) {
			out.Found = certs.Clean(s.Name)
		}
	}
	if slices.ContainsFunc(q.Candidate, f.Found.Equal) {
		out.Found = "the candidate"
	}
	return out
}

// accepted tells the ways apart in which a chain is accepted.
func (q Question) accepted() (Verdict, string) {
	how, err := certs.Accept(q.Chain, q.Host, q.Trust.Roots, q.Now)
	if err != nil {
		return VerdictOf("other"), certs.Clean(err.Error())
	}
	leaf := q.Chain[0]
	key, _ := leaf.PublicKey.(*rsa.PublicKey)
	revoked, _ := q.Trust.revoked(leaf, how.Issuer)
	id, note := "trusted", "Go accepts what the server presents; trust ends at "+certs.Subject(how.Anchor)
	switch {
	case revoked:
		id, note = "trusted-revoked", "Go accepts the certificate although it is revoked, for it never looks"
	case key != nil && key.N.BitLen() < 2048:
		id, note = "trusted-weak-key", fmt.Sprintf("Go accepts the certificate although its RSA key has only %d bits", key.N.BitLen())
	case how.Leaf && how.SelfSigned:
		id, note = "trusted-self-signed", "the server's certificate signed itself and is trusted as such"
	case how.Leaf:
		id, note = "trusted-by-leaf", "the server's own certificate is trusted and not its CA"
	case how.Intermediate:
		id, note = "trusted-by-intermediate", "trust ends at the intermediate "+certs.Subject(how.Anchor)
	case certs.Unordered(q.Chain):
		id, note = "trusted-unordered", "the server sends its chain out of order, or with certificates that do not belong to it"
	}
	if left := leaf.NotAfter.Sub(q.Now); left < expiresSoon {
		note = sentence(note, "the server's certificate expires on "+leaf.NotAfter.UTC().Format("2006-01-02"))
	}
	return VerdictOf(id), note
}

// message puts a conclusion into words: what, what mends it, what does not, where to read on.
func (c Conclusion) message(where string) string {
	parts := []string{where + ": " + c.Note, "remedy: " + c.Do}
	switch {
	case c.Accepted && c.Remedy == None:
	case c.Remedy == Restart:
		parts = append(parts, "adding a CA will not help; recreating the cluster will not help beyond the restart")
	case !c.Trust:
		parts = append(parts, "adding a CA or recreating the cluster will not help")
	case c.Remedy == Encoding:
		parts = append(parts, "recreating the cluster will not help before that")
	case c.Remedy == Chain:
		parts = append(parts, "recreating the cluster will not help by itself")
	}
	if c.With != nil && !c.Accepted {
		if c.With.Accepted {
			parts = append(parts, "the candidate makes it pass")
		} else {
			parts = append(parts, "the candidate does not make it pass")
		}
	}
	for _, f := range c.Also {
		parts = append(parts, "also "+f.ID+": "+f.Message)
	}
	return strings.Join(parts, "; ") + "; see docs/checks.md#" + c.ID
}

// unread shows certificates that Go could not read.
func unread(list [][]byte) []Cert {
	out := []Cert{}
	for _, der := range list[:min(len(list), maxShown)] {
		if c, err := x509.ParseCertificate(der); err == nil {
			out = append(out, certOf(c))
			continue
		}
		sum := sha256.Sum256(der)
		out = append(out, Cert{Subject: "(Go cannot read this certificate)", SHA256: hex.EncodeToString(sum[:]), DNSNames: []string{}, IPAddresses: []string{}})
	}
	return out
}

func sentence(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "; ")
}

func hostPort(host, port string) string { return net.JoinHostPort(host, port) }
