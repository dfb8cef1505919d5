package nodecert

import (
	"fmt"
	"slices"
	"time"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/tkg"
)

// source is a list of declared CAs.
type source struct {
	// name is what people call the list.
	name    string
	entries []tkg.TrustEntry
	// changed is when it was last changed, zero if that is not known.
	changed time.Time
}

// declaration is a name under which a CA is declared, with the values that it has. There are two when the cluster and
// TkgServiceConfiguration use one name: which of them wins is not established (tkg-facts.md §10).
type declaration struct {
	name   string
	values []value
	// shadowed reports that it stands in TkgServiceConfiguration alone while the cluster has a list of its own.
	shadowed bool
}

// value is one declared value.
type value struct {
	source  string
	changed time.Time
	decoded tkg.Decoded
	// wanted are the certificates in it, even those that Go drops because of their form.
	wanted []anchor
	// bundle is what is under the layers, as Go reads it.
	bundle certs.Bundle
}

// clean reports that the value is encoded as it should be, and that Go takes all of it.
func (v value) clean() bool {
	return v.decoded.Problem == "" && len(v.wanted) > 0 && !slices.ContainsFunc(v.bundle.Findings, func(f certs.Finding) bool { return f.Fatal })
}

// declarations joins the lists by name, the cluster's own first.
func declarations(sources ...source) []declaration {
	var out []declaration
	for n, s := range sources {
		for _, e := range s.entries {
			if !tkg.ValidTrustName(e.Name) {
				continue // check-encoding reports it; it could not be a file's name
			}
			i := slices.IndexFunc(out, func(d declaration) bool { return d.name == e.Name })
			if i < 0 {
				i = len(out)
				out = append(out, declaration{name: e.Name, shadowed: n > 0 && len(sources[0].entries) > 0})
			}
			out[i].values = append(out[i].values, readValue(s, e.Data))
		}
	}
	return out
}

// readValue reads a stored value, however often it is encoded: what is wrong with that shows on the node.
func readValue(s source, data string) value {
	v := value{source: s.name, changed: s.changed, decoded: tkg.Decode(data, tkg.LayersService)}
	content := v.decoded.PEM
	if content == nil {
		content = v.decoded.DER
	}
	v.bundle, _ = certs.ParseBundle(content) // the findings say what is wrong with it
	v.wanted = append(anchors(v.bundle.Certs), anchors(v.bundle.Recoverable)...)
	v.wanted = append(v.wanted, refused(content)...)
	return v
}

// wanted returns the fingerprints of all declared certificates.
func (d declaration) wanted() []string {
	out := []string{}
	for _, v := range d.values {
		out = append(out, fingerprints(v.wanted)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// fits reports whether a set holds all of one of the declared values.
func (d declaration) fits(in set) bool {
	return slices.ContainsFunc(d.values, func(v value) bool { return in.holds(v.wanted) })
}

// clean reports that all values are as they should be.
func (d declaration) clean() bool {
	return !slices.ContainsFunc(d.values, func(v value) bool { return !v.clean() })
}

// tooFew reports that a value has fewer layers than its place wants.
func (d declaration) tooFew() bool {
	return slices.ContainsFunc(d.values, func(v value) bool { return v.decoded.Has(tkg.FormPlain) || v.decoded.Has(tkg.FormTooFewLayers) })
}

// problem says what is wrong with the values.
func (d declaration) problem() string {
	for _, v := range d.values {
		if v.decoded.Problem != "" {
			return fmt.Sprintf("the value in %s is not as it should be: %s", v.source, v.decoded.Problem)
		}
		for _, f := range v.bundle.Findings {
			if f.Fatal {
				return fmt.Sprintf("the value in %s is not as it should be: %s", v.source, f.Text)
			}
		}
	}
	return ""
}

// newest returns the value that was changed last.
func (d declaration) newest() value {
	return slices.MaxFunc(d.values, func(a, b value) int { return a.changed.Compare(b.changed) })
}

// duplicates tells of names that are used more than once: all of them become one file (tkg-facts.md §6.4 row 14).
func duplicates(wanted []declaration) []finding {
	var out []finding
	for _, d := range wanted {
		if len(d.values) < 2 {
			continue
		}
		first := d.values[0]
		f := finding{ID: DuplicateNames, Subject: d.name, Remedy: None}
		f.Text = fmt.Sprintf("the name is used %d times (%s) for the same CA, all for one file", len(d.values), sources(d))
		same := func(v value) bool {
			return newSet(first.wanted).holds(v.wanted) && newSet(v.wanted).holds(first.wanted)
		}
		if slices.ContainsFunc(d.values, func(v value) bool { return !same(v) }) {
			f.Text = fmt.Sprintf("the name is used %d times (%s) for different CAs, and all become one file: nobody knows which is written last", len(d.values), sources(d))
			f.Remedy, f.Bad = Rename, true
		}
		out = append(out, f)
	}
	return out
}

func sources(d declaration) string {
	text := ""
	for i, v := range d.values {
		if i > 0 {
			text += ", "
		}
		text += v.source
	}
	return text
}
