package nodecert

import (
	"fmt"
	"slices"
	"time"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/tkg"
)

// declaration is a name under which a CA is declared, with the values that it has. There are two when the cluster and
// TkgServiceConfiguration use one name: which of them wins is not established (tkg-facts.md §10).
type declaration struct {
	name   string
	values []value
	// shadowed reports that it stands in TkgServiceConfiguration alone while the cluster has a list of its own.
	shadowed bool
	// nameless reports that what its file on a node is called is not established (tkg-facts.md §10): it is looked for by its certificates.
	nameless bool
}

// value is one declared value.
type value struct {
	source string
	// changed is the last time at which it can have been changed, zero if that is not known.
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

// toCompare returns what nodes can be compared with, the cluster's own first, with what may not reach them at all apart, and warnings about
// the rest.
func toCompare(list []tkg.Declared) (out, others []tkg.Declared, warnings []string) {
	for _, d := range list {
		switch {
		case d.Conflicting:
			others = append(others, d)
		case d.Absent == tkg.AbsentUnread:
			warnings = append(warnings, d.Where+" may not be read with this login: the nodes cannot be compared with its key "+d.Name)
		case d.Absent != "":
			warnings = append(warnings, fmt.Sprintf("%s, key %s, is named by %s, and is not there: nodes that need it do not come up", d.Where, d.Name, d.NamedBy))
		default:
			out = append(out, d)
		}
	}
	slices.SortStableFunc(out, func(a, b tkg.Declared) int { return order(a) - order(b) })
	return out, others, warnings
}

func order(d tkg.Declared) int {
	if d.Service() {
		return 1
	}
	return 0
}

// declarations joins what becomes one file: by its name or, where that says nothing of the file, by where it lies.
func declarations(list ...tkg.Declared) []declaration {
	var out []declaration
	at := map[string]int{}
	hasOwn := slices.ContainsFunc(list, func(d tkg.Declared) bool { return !d.Service() })
	for _, d := range list {
		nameless := d.Way == tkg.WayOSConfiguration
		if !nameless && !tkg.ValidTrustName(d.Name) {
			continue // check-encoding reports it; it could not be a file's name
		}
		name, key := d.Name, "name "+d.Name
		if nameless {
			name, key = placeOf(d), "place "+placeOf(d)
		}
		i, known := at[key]
		if !known {
			i = len(out)
			at[key] = i
			out = append(out, declaration{name: name, nameless: nameless, shadowed: d.Service() && hasOwn})
		}
		if known && nameless {
			continue // named twice
		}
		out[i].values = append(out[i].values, readValue(d))
	}
	return out
}

// placeOf names a CA by where it lies.
func placeOf(d tkg.Declared) string {
	if d.Secret != "" {
		return d.Secret + "/" + d.Name
	}
	return d.Path
}

// sourceOf is what people call the object that holds a value.
func sourceOf(d tkg.Declared) string {
	switch {
	case d.Service():
		return tkg.ServiceKind
	case d.Secret != "":
		return "the Secret " + d.Secret
	}
	return "the cluster's own trust"
}

// readValue reads a stored value, however often it is encoded: what is wrong with that shows on the node.
func readValue(d tkg.Declared) value {
	v := value{source: sourceOf(d), changed: d.Change.Until, decoded: tkg.Decode(d.Data, d.Layers)}
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
