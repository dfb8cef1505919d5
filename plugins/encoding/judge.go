package encoding

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/tkg"
)

// wantLayers is how often TkgServiceConfiguration and TanzuKubernetesCluster want base64 (tkg-facts.md §1.0).
const wantLayers = 1

// list is the trust of one object.
type list struct {
	// where is the object's kind and name, path the field that holds the list.
	where, path string
	entries     []tkg.TrustEntry
}

// judge decodes every entry and compares them with the candidate. It is pure.
func judge(lists []list, candidate candidateFile) output {
	out := output{OK: true, Entries: []entry{}, Candidate: judgeCandidate(candidate)}
	for _, l := range lists {
		names := map[string]int{}
		for _, e := range l.entries {
			names[e.Name]++
		}
		for i, e := range l.entries {
			judged := judgeEntry(e)
			judged.Where, judged.Path = l.where, fmt.Sprintf("%s[%d].data", l.path, i)
			judged.reject(nameProblem(e.Name, names[e.Name]))
			out.OK = out.OK && judged.OK
			out.Entries = append(out.Entries, judged)
		}
	}
	out.Candidate.ConfiguredAs = configuredAs(out.Entries, out.Candidate.Fingerprints)
	return out
}

func judgeEntry(stored tkg.TrustEntry) entry {
	decoded := tkg.Decode(stored.Data, wantLayers)
	e := entry{
		Name: stored.Name, Layers: decoded.Layers, WantLayers: wantLayers, OK: true,
		Subjects: []string{}, Fingerprints: []string{},
	}
	e.reject(decoded.Problem)
	content := decoded.PEM
	if content == nil {
		content = []byte(stored.Data) // ParseBundle looks under base64 for DER as well
	}
	bundle, err := certs.ParseBundle(content)
	if decoded.PEM != nil && err != nil {
		e.reject(err.Error())
	}
	for _, f := range bundle.Findings {
		if f.Fatal && (decoded.PEM != nil || f.Kind == certs.KindPrivateKey) {
			e.reject(f.Text)
		}
	}
	if hasKey(bundle) {
		e.reject("take the key for leaked and replace it: everybody who may read this object can read it")
	}
	found := append(slices.Clone(bundle.Certs), bundle.Recoverable...)
	e.Subjects, e.Fingerprints = describe(found)
	if !e.OK && len(found) > 0 {
		e.Corrected = tkg.Encode(certs.Normalize(found), wantLayers)
	}
	return e
}

// reject adds a problem, once; none is none.
func (e *entry) reject(problem string) {
	if problem == "" {
		return
	}
	e.OK = false
	switch {
	case e.Problem == "":
		e.Problem = problem
	case !strings.Contains(e.Problem, problem):
		e.Problem += "; " + problem
	}
}

func nameProblem(name string, count int) string {
	switch {
	case !tkg.ValidTrustName(name):
		return "its name may hold only letters, digits, dash, underscore and dot, and is part of a file name on the nodes"
	case count > 1:
		return fmt.Sprintf("%d entries have this name, and the nodes keep one file a name", count)
	}
	return ""
}

func judgeCandidate(file candidateFile) candidateOutput {
	out := candidateOutput{Given: file.path != "", Subjects: []string{}, Fingerprints: []string{}}
	if !out.Given {
		return out
	}
	found, err := certs.ParseCandidate(file.data)
	if err != nil {
		out.Problem = err.Error()
		return out
	}
	out.OK = true
	out.Subjects, out.Fingerprints = describe(found)
	return out
}

// configuredAs names the entry that holds every certificate of the candidate and that nodes can use, the first of them.
func configuredAs(entries []entry, wanted []string) string {
	if len(wanted) == 0 {
		return ""
	}
	for _, e := range entries {
		missing := func(f string) bool { return !slices.Contains(e.Fingerprints, f) }
		if e.OK && !slices.ContainsFunc(wanted, missing) {
			return e.Where + ", entry " + e.Name
		}
	}
	return ""
}

func describe(found []*x509.Certificate) (subjects, fingerprints []string) {
	subjects, fingerprints = []string{}, []string{}
	for _, c := range found {
		subjects = append(subjects, certs.Subject(c))
		fingerprints = append(fingerprints, certs.Fingerprint(c))
	}
	return subjects, fingerprints
}

func hasKey(b certs.Bundle) bool {
	return slices.ContainsFunc(b.Findings, func(f certs.Finding) bool { return f.Kind == certs.KindPrivateKey })
}

func summary(out output) string {
	bad := 0
	for _, e := range out.Entries {
		if !e.OK {
			bad++
		}
	}
	text := "no CA is configured"
	switch {
	case bad > 0:
		text = fmt.Sprintf("%d of %d stored CAs cannot be used as they are", bad, len(out.Entries))
	case len(out.Entries) == 1:
		text = "the one stored CA is encoded rightly"
	case len(out.Entries) > 1:
		text = fmt.Sprintf("all %d stored CAs are encoded rightly", len(out.Entries))
	}
	switch c := out.Candidate; {
	case !c.Given:
		return text
	case !c.OK:
		return text + "; the given CA file cannot be used"
	default:
		return text + "; the given CA is " + cmp.Or(c.ConfiguredAs, "not among them")
	}
}
