package tkg

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"github.com/tkgfix/tkgfix/internal/certs"
)

// Held is one entry of a list of trusted CAs, with what it decodes to.
type Held struct {
	// Name is the entry's name: that of a node's file, or the key of a Secret.
	Name  string
	Certs []*x509.Certificate
	// Right says that the value is encoded as its place wants it (tkg-facts.md §1.0) and that Go reads all of it.
	Right bool
	// Absent says that the entry names a key of a Secret which is not there.
	Absent bool
	// PrivateKey says that there is a private key in the value, so that it must not be shown.
	PrivateKey bool
}

// Hold decodes a stored value that wants layers of base64, as kubectl shows it.
func Hold(name, data string, layers int) Held {
	d := Decode(data, layers)
	bundle, err := certs.ParseBundle(d.PEM)
	h := Held{Name: name, Certs: append(bundle.Certs, bundle.Recoverable...), Right: err == nil && d.Problem == "" && d.Layers == layers}
	for _, f := range bundle.Findings {
		h.Right = h.Right && !f.Fatal
		h.PrivateKey = h.PrivateKey || f.Kind == certs.KindPrivateKey
	}
	return h
}

// HoldsAll reports whether the entry gives a node each of these certificates, if it is encoded rightly.
func (h Held) HoldsAll(list []*x509.Certificate) bool { return holdsAll(h.Certs, list) }

// Act is what becomes of a list of trusted CAs.
type Act int

// The acts.
const (
	// Keep leaves the list as it is: it holds the candidate.
	Keep Act = iota
	// Replace puts the candidate into the place of an entry.
	Replace
	// Add puts the candidate behind the others.
	Add
)

// String returns the act as a verb.
func (a Act) String() string { return [...]string{"keep", "replace", "add"}[a] }

// Choice is the one entry that will hold the candidate.
type Choice struct {
	Act Act
	// Index is that of the entry to keep or to replace; of one to add, the length of the list.
	Index int
	// Name is the name of the entry afterwards, Why the reason in words.
	Name, Why string
}

// Naming says which name an entry may get.
type Naming struct {
	// Name is the name that is wanted; found or derived if empty.
	Name string
	// Fresh asks for a name that no entry has had, also for one that is replaced: by its new key alone a Cluster sees that a Secret's
	// content has changed (tkg-facts.md §2).
	Fresh bool
	// Taken are names that no entry may get, beside those of the list.
	Taken []string
}

// Choose picks the one entry that is to hold the candidate. An entry is replaced without having been named only when all that
// it holds is superseded by the candidate, or nothing is there that it names, so that no other CA is lost.
func Choose(list []Held, candidate []*x509.Certificate, naming Naming) Choice {
	name := naming.Name
	if !onlyOne(list, name) {
		name = "" // one more of the name would help nobody
	}
	for i, h := range list {
		if h.Right && holdsAll(h.Certs, candidate) && onlyOne(list, h.Name) {
			return Choice{Act: Keep, Index: i, Name: h.Name, Why: "it holds the candidate already"}
		}
	}
	named := -1
	if name != "" {
		named = slices.IndexFunc(list, func(h Held) bool { return h.Name == name })
	}
	if named >= 0 && naming.Fresh {
		name = "" // it is the entry, and needs another
	}
	after := func(h Held) string {
		if name == "" && !naming.Fresh && onlyOne(list, h.Name) {
			return h.Name
		}
		return or(name, FreeName(list, candidate, naming.Taken...))
	}
	if named >= 0 {
		return Choice{Act: Replace, Index: named, Name: after(list[named]), Why: "it is the entry that was named"}
	}
	for _, rule := range []struct {
		fits func(Held) bool
		why  string
	}{
		{func(h Held) bool { return !h.Right && same(h.Certs, candidate) }, "it holds the candidate in an encoding that nodes cannot use"},
		{func(h Held) bool { return superseded(h.Certs, candidate) && !same(h.Certs, candidate) }, "it holds another certificate of the same subject"},
		{func(h Held) bool { return same(h.Certs, candidate) }, "others have its name, and nodes keep one file a name"},
		{func(h Held) bool { return h.Absent }, "the key that it names is not there"},
	} {
		if i := slices.IndexFunc(list, rule.fits); i >= 0 {
			return Choice{Act: Replace, Index: i, Name: after(list[i]), Why: rule.why}
		}
	}
	return Choice{Act: Add, Index: len(list), Name: or(name, FreeName(list, candidate, naming.Taken...)), Why: "no entry holds this CA"}
}

// onlyOne reports whether at most one entry has this name. Of several the nodes keep one file, and which is not known.
func onlyOne(list []Held, name string) bool {
	n := 0
	for _, h := range list {
		if h.Name == name {
			n++
		}
	}
	return n <= 1
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

// FreeName derives a name that neither the list nor taken has from the candidate's root: the slug of its CN and the year of its notBefore.
func FreeName(list []Held, candidate []*x509.Certificate, taken ...string) string {
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
	has := func(name string) bool {
		return slices.ContainsFunc(list, func(h Held) bool { return strings.EqualFold(h.Name, name) }) ||
			slices.ContainsFunc(taken, func(s string) bool { return strings.EqualFold(s, name) })
	}
	for n := 2; has(name); n++ {
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
