package trustconfig

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"github.com/tkgfix/tkgfix/internal/tkg"
)

// held is one entry of the list, with what it decodes to.
type held struct {
	name  string
	certs []*x509.Certificate
	// right says that the value is encoded once (tkg-facts.md §1.0) and that Go reads it.
	right bool
}

// act is what becomes of the list.
type act int

const (
	keep act = iota
	replace
	add
)

// choice is the one entry that will hold the candidate.
type choice struct {
	act   act
	index int // of the entry to keep or to replace
	name  string
	why   string
}

// choose picks the one entry that is to hold the candidate. An entry is replaced without having been named only when all that
// it holds is superseded by the candidate, so that no other CA is lost.
func choose(list []held, candidate []*x509.Certificate, name string) choice {
	if !alone(list, name) {
		name = "" // one more of the name would help nobody
	}
	for i, h := range list {
		if h.right && holdsAll(h.certs, candidate) && alone(list, h.name) {
			return choice{act: keep, index: i, name: h.name, why: "it holds the candidate already"}
		}
	}
	if name != "" {
		if i := slices.IndexFunc(list, func(h held) bool { return h.name == name }); i >= 0 {
			return choice{act: replace, index: i, name: name, why: "it is the entry that was named"}
		}
	}
	for i, h := range list {
		if !h.right && same(h.certs, candidate) {
			return choice{act: replace, index: i, name: or(name, ownName(list, h, candidate)), why: "it holds the candidate in an encoding that nodes cannot use"}
		}
	}
	for i, h := range list {
		if superseded(h.certs, candidate) && !same(h.certs, candidate) {
			return choice{act: replace, index: i, name: or(name, ownName(list, h, candidate)), why: "it holds another certificate of the same subject"}
		}
	}
	for i, h := range list {
		if same(h.certs, candidate) {
			return choice{act: replace, index: i, name: or(name, ownName(list, h, candidate)), why: "others have its name, and nodes keep one file a name"}
		}
	}
	return choice{act: add, index: len(list), name: or(name, freeName(list, candidate)), why: "no entry holds this CA"}
}

// alone reports whether at most one entry has this name. Of several the nodes keep one file, and which is not known.
func alone(list []held, name string) bool {
	n := 0
	for _, h := range list {
		if h.name == name {
			n++
		}
	}
	return n <= 1
}

// ownName is the name that an entry has after it was replaced: its own, or a free one if others share that.
func ownName(list []held, h held, candidate []*x509.Certificate) string {
	if alone(list, h.name) {
		return h.name
	}
	return freeName(list, candidate)
}

// holdsAll reports whether each certificate of part is in whole.
func holdsAll(whole, part []*x509.Certificate) bool {
	if len(part) == 0 {
		return false
	}
	for _, p := range part {
		if !slices.ContainsFunc(whole, p.Equal) {
			return false
		}
	}
	return true
}

// same reports whether two lists hold the same certificates.
func same(a, b []*x509.Certificate) bool { return holdsAll(a, b) && holdsAll(b, a) }

// superseded reports whether each certificate of old has a namesake in the candidate.
func superseded(old, candidate []*x509.Certificate) bool {
	if len(old) == 0 {
		return false
	}
	for _, o := range old {
		same := func(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, o.RawSubject) }
		if len(o.Subject.Names) == 0 || !slices.ContainsFunc(candidate, same) {
			return false
		}
	}
	return true
}

// maxSlug bounds the derived part of a name, which becomes a file name on each node.
const maxSlug = 48

// freeName derives a name that the list does not have from the candidate's root: slug of its CN and year of its notBefore.
func freeName(list []held, candidate []*x509.Certificate) string {
	c := root(candidate)
	base := slug(c.Subject.CommonName)
	if base == "" {
		base = slug(strings.Join(c.Subject.Organization, " "))
	}
	base = or(base, "ca")
	if year := fmt.Sprintf("-%d", c.NotBefore.UTC().Year()); !strings.HasSuffix(base, year) {
		base += year
	}
	name := base
	for n := 2; slices.ContainsFunc(list, func(h held) bool { return strings.EqualFold(h.name, name) }); n++ {
		name = fmt.Sprintf("%s-%d", base, n)
	}
	return name
}

// root returns the certificate that names the bundle: its self-issued one, else its first.
func root(certs []*x509.Certificate) *x509.Certificate {
	for _, c := range certs {
		if bytes.Equal(c.RawSubject, c.RawIssuer) {
			return c
		}
	}
	return certs[0]
}

// slug keeps lower-case letters and digits and joins what is between them with dashes.
func slug(s string) string {
	words := strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
	out := strings.Join(words, "-")
	if len(out) > maxSlug {
		out = strings.TrimRight(out[:maxSlug], "-")
	}
	return out
}

func or(s, otherwise string) string {
	if s != "" {
		return s
	}
	return otherwise
}

// entryFor returns the entry that the choice puts into the list.
func entryFor(c choice, normalized []byte) tkg.TrustEntry {
	return tkg.TrustEntry{Name: c.name, Data: tkg.Encode(normalized, 1)}
}
