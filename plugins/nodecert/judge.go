package nodecert

import (
	"crypto/x509"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/nodelook"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

// declaration is a name under which a CA is declared, with the certificates that the file may hold. There are two such sets when
// the cluster and TkgServiceConfiguration use one name: which of them wins is not established (tkg-facts.md §10).
type declaration struct {
	name string
	sets [][]*x509.Certificate
}

// declarations joins the two lists by name, the cluster's own first.
func declarations(own, service []tkg.TrustEntry) []declaration {
	var out []declaration
	for _, e := range append(slices.Clone(own), service...) {
		if !tkg.ValidTrustName(e.Name) {
			continue // check-encoding reports it; it could not be a file's name
		}
		i := slices.IndexFunc(out, func(d declaration) bool { return d.name == e.Name })
		if i < 0 {
			i = len(out)
			out = append(out, declaration{name: e.Name})
		}
		if set := stored(e.Data); len(set) > 0 {
			out[i].sets = append(out[i].sets, set)
		}
	}
	return out
}

// stored returns the certificates of a stored value, however often it is encoded: what is wrong with that shows on the node.
func stored(data string) []*x509.Certificate {
	bundle, err := certs.ParseBundle(tkg.Decode(data, 1).PEM)
	if err != nil {
		return bundle.Recoverable
	}
	return bundle.Certs
}

func (d declaration) wanted() []string {
	out := []string{}
	for _, set := range d.sets {
		out = append(out, fingerprints(set)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// fits reports whether found holds all of a declared set.
func (d declaration) fits(found []*x509.Certificate) bool {
	return slices.ContainsFunc(d.sets, func(set []*x509.Certificate) bool { return holds(found, set) })
}

func holds(found, set []*x509.Certificate) bool {
	for _, c := range set {
		if !slices.ContainsFunc(found, c.Equal) {
			return false
		}
	}
	return len(set) > 0
}

func fingerprints(list []*x509.Certificate) []string {
	out := []string{}
	for _, c := range list {
		out = append(out, certs.Fingerprint(c))
	}
	return out
}

// judge says what a worker holds of a declared CA. Where several files carry the name, the one that Go reads counts.
func judge(look nodelook.Look, roots *certs.Roots, d declaration) file {
	out := file{Name: d.name, Path: fmt.Sprintf(expectedPath, d.name), State: missing, Wanted: d.wanted(), Found: []string{}}
	best := -1
	for i, f := range look.Files {
		if name, ok := f.Name(); ok && name == d.name && (best < 0 || f.Go && !look.Files[best].Go) {
			best = i
		}
	}
	if best < 0 {
		return out
	}
	f := look.Files[best]
	out.Path, out.NewerThanContainerd = f.Path, look.NewerThanContainerd(f)
	found, state := content(f.Data)
	out.Found = fingerprints(found)
	switch {
	case state != present:
		out.State = state
	case !d.fits(found):
		out.State = otherCert
	case !d.trusted(roots):
		out.State = ignoredByGo
	default:
		out.State = present
	}
	return out
}

// trusted reports whether Go would take a whole declared set from the node's files: the file itself may be where Go does not
// look, with its content in the bundle.
func (d declaration) trusted(roots *certs.Roots) bool {
	return slices.ContainsFunc(d.sets, func(set []*x509.Certificate) bool {
		return !slices.ContainsFunc(set, func(c *x509.Certificate) bool { return !roots.Has(c) })
	})
}

// content returns the certificates of a file, and present if Go takes all of them, else why not.
func content(data []byte) ([]*x509.Certificate, string) {
	bundle, err := certs.ParseBundle(data)
	if err == nil {
		if len(bundle.Recoverable) > 0 {
			return append(bundle.Certs, bundle.Recoverable...), ignoredByGo
		}
		return bundle.Certs, present
	}
	if d := tkg.Decode(string(data), 0); d.PEM != nil && d.Layers > 0 {
		inner, err := certs.ParseBundle(d.PEM)
		if err != nil {
			return inner.Recoverable, overEncoded
		}
		return inner.Certs, overEncoded
	}
	if len(bundle.Recoverable) > 0 {
		return bundle.Recoverable, ignoredByGo
	}
	return nil, notPEM
}

// carrier returns the file from which Go takes the candidate: of several the oldest, since containerd knows it if it knows any.
func carrier(look nodelook.Look, candidate []*x509.Certificate) (file, bool) {
	best := -1
	for i, f := range look.Files {
		if !f.Go || best >= 0 && !f.Changed.Before(look.Files[best].Changed) {
			continue
		}
		if bundle, err := certs.ParseBundle(f.Data); err == nil && holds(bundle.Certs, candidate) {
			best = i
		}
	}
	if best < 0 {
		return file{}, false
	}
	f := look.Files[best]
	name, ok := f.Name()
	if !ok {
		name = path.Base(f.Path)
	}
	wanted := fingerprints(candidate)
	return file{Name: name, Path: f.Path, State: present, Wanted: wanted, Found: wanted, NewerThanContainerd: look.NewerThanContainerd(f)}, true
}

func resultOf(n tkg.Node, look nodelook.Look, wanted []declaration, candidate []*x509.Certificate) result {
	r := result{
		Name: n.Name, Address: n.Address, Created: stamp(n.Created), Clock: stamp(look.Time), ClockSkewSeconds: int(look.Skew / time.Second),
		ContainerdStarted: stamp(look.Containerd.Started), Files: []file{},
	}
	roots := look.Roots()
	for _, d := range wanted {
		r.Files = append(r.Files, judge(look, roots, d))
	}
	if len(candidate) == 0 {
		return r
	}
	r.Candidate = !slices.ContainsFunc(candidate, func(c *x509.Certificate) bool { return !roots.Has(c) })
	f, ok := carrier(look, candidate)
	shown := func(other file) bool {
		return other.Path == f.Path || other.State == present && other.NewerThanContainerd == f.NewerThanContainerd && !slices.ContainsFunc(f.Found,
			func(fingerprint string) bool { return !slices.Contains(other.Found, fingerprint) })
	}
	if ok && !slices.ContainsFunc(r.Files, shown) {
		r.Files = append(r.Files, f)
	}
	return r
}

// conclude makes the output and the evidence of what was found on the workers.
func conclude(nodes []tkg.Node, looks []nodelook.Look, wanted []declaration, candidate []*x509.Certificate) (output, []plugins.Evidence) {
	out := output{Nodes: []result{}, OK: true, CandidateOnAll: len(candidate) > 0 && len(nodes) > 0}
	var evidence []plugins.Evidence
	for i, look := range looks {
		r := resultOf(nodes[i], look, wanted, candidate)
		out.Nodes = append(out.Nodes, r)
		out.CandidateOnAll = out.CandidateOnAll && r.Candidate
		out.OK = out.OK && !slices.ContainsFunc(r.Files, func(f file) bool { return f.State != present })
		evidence = append(evidence, evidenceOf(r, look, len(candidate) > 0)...)
	}
	return out, evidence
}

func evidenceOf(r result, look nodelook.Look, hasCandidate bool) []plugins.Evidence {
	subject := "node " + r.Name
	var out []plugins.Evidence
	for _, f := range r.Files {
		text := fmt.Sprintf("%s: %s", f.Path, f.State)
		if f.State == otherCert {
			text += fmt.Sprintf("\nholds %s, declared is %s", strings.Join(f.Found, ", "), strings.Join(f.Wanted, ", "))
		}
		e := plugins.Evidence{Subject: subject, Check: "node-trust-file", Verdict: plugins.OK, Text: text}
		if f.State != present {
			e.Verdict = plugins.Bad
		}
		if f.NewerThanContainerd {
			e.Verdict = plugins.Bad
			e.Text += "\nwritten after containerd was started (" + r.ContainerdStarted + "), which does not know it"
		}
		out = append(out, e)
	}
	if hasCandidate {
		e := plugins.Evidence{Subject: subject, Check: "node-candidate", Verdict: plugins.OK, Text: "the candidate CA is among what Go reads"}
		if !r.Candidate {
			e.Verdict, e.Text = plugins.Bad, "the candidate CA is not among what Go reads"
		}
		out = append(out, e)
	}
	facts := []string{look.OS, look.Containerd.Version}
	if r.ClockSkewSeconds != 0 {
		facts = append(facts, fmt.Sprintf("its clock is ahead by %d s", r.ClockSkewSeconds))
	}
	facts = append(facts, look.Notes...)
	facts = slices.DeleteFunc(facts, func(s string) bool { return s == "" })
	if len(facts) == 0 {
		facts = []string{"no facts beside its files"}
	}
	return append(out, plugins.Evidence{Subject: subject, Check: "node-facts", Verdict: plugins.Info, Text: strings.Join(facts, "\n")})
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func summary(out output, declared int, hasCandidate bool) string {
	bad := 0
	for _, n := range out.Nodes {
		if slices.ContainsFunc(n.Files, func(f file) bool { return f.State != present }) {
			bad++
		}
	}
	text := fmt.Sprintf("%d workers hold all %d declared CAs", len(out.Nodes), declared)
	switch {
	case declared == 0:
		text = fmt.Sprintf("no CA is declared for %d workers", len(out.Nodes))
	case bad > 0:
		text = fmt.Sprintf("%d of %d workers do not hold all %d declared CAs as they should", bad, len(out.Nodes), declared)
	}
	if !hasCandidate {
		return text
	}
	has := 0
	for _, n := range out.Nodes {
		if n.Candidate {
			has++
		}
	}
	return fmt.Sprintf("%s; %d of %d have the candidate CA", text, has, len(out.Nodes))
}
