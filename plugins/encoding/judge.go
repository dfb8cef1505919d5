package encoding

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/pull"
	"github.com/tkgfix/tkgfix/internal/tkg"
)

// maxPEM bounds what is shown of an entry's certificates: an entry may hold a whole system bundle.
const maxPEM = 64 << 10

// judge decodes every value and compares them with the candidate. It is pure.
func judge(declared []tkg.Declared, candidate candidateFile) output {
	out := output{OK: true, Entries: []entry{}, Candidate: judgeCandidate(candidate)}
	names := map[[2]string]int{}
	for _, d := range declared {
		names[[2]string{d.Where, d.Name}]++
	}
	for _, d := range declared {
		judged := judgeOne(d)
		if !tkg.ValidTrustName(d.Name) && d.Layers != tkg.LayersInline {
			judged.find(formBadName, "", true)
		}
		if count := names[[2]string{d.Where, d.Name}]; count > 1 && d.Layers == tkg.LayersService {
			judged.find(formDuplicateName, fmt.Sprintf("%d entries have this name, and the nodes keep one file a name", count), true)
		}
		out.OK = out.OK && judged.OK
		out.Entries = append(out.Entries, judged)
	}
	out.Candidate.ConfiguredAs = configuredAs(out.Entries, out.Candidate.Fingerprints)
	return out
}

func judgeOne(d tkg.Declared) entry {
	e := entry{
		Where: shown(d.Where), Path: shown(d.Path), Name: shown(d.Name), WantLayers: d.Layers, OK: true,
		Findings: []finding{}, Subjects: []string{}, Fingerprints: []string{},
	}
	if d.Absent != "" {
		e.find(string(d.Absent), "", d.Absent != tkg.AbsentUnread)
		return e
	}
	decoded := tkg.Decode(d.Data, d.Layers)
	e.Layers = decoded.Layers
	layersOf(&e, d, decoded)
	var found []*x509.Certificate
	var whole bool
	switch {
	case decoded.PEM != nil:
		found, whole = e.text(decoded.PEM)
	case decoded.DER != nil:
		found, whole = e.binary(decoded.DER)
	}
	e.Subjects, e.Fingerprints = describe(found)
	if text := certs.Normalize(found); len(text) <= maxPEM {
		e.PEM = string(text)
	}
	if !e.OK && whole {
		e.Corrected = corrected(found, d.Layers)
	}
	return e
}

// layersOf notes what is wrong with the layers, and what is unusual about their base64.
func layersOf(e *entry, d tkg.Declared, decoded tkg.Decoded) {
	for _, form := range decoded.Forms {
		switch form {
		case tkg.FormDER: // said by the content
		case tkg.FormWrapped:
			e.find(string(form), "", false)
		case tkg.FormPlain, tkg.FormTooManyLayers, tkg.FormTooFewLayers:
			text := tkg.LayerProblem(decoded.Layers, d.Layers)
			if d.Way == tkg.WayTKC && decoded.Layers == 2 { // tkg-facts.md §1.0
				text += " (old copies of the vendor's page ask for two in v1alpha3; the API's own types and the vendor's installer have one)"
			}
			e.find(string(form), text, true)
		default:
			e.find(string(form), cmp.Or(form.Problem(), decoded.Problem), true)
		}
	}
}

// text judges what was meant as PEM. It returns the certificates that can be had of it, and whether those are all that it was meant to
// hold.
func (e *entry) text(content []byte) (found []*x509.Certificate, whole bool) {
	found, clean, err := e.bundle(content)
	contained, ok := pkcs7In(content)
	if ok {
		e.find(formPKCS7, "", true)
		found = append(found, contained...)
	}
	if err != nil && clean && !ok {
		e.find(string(tkg.FormNoCertificate), err.Error(), true)
	}
	if clean && err == nil && !bytes.HasSuffix(content, []byte("\n")) {
		e.find(formNoNewline, "", false)
	}
	e.authorities(found)
	return found, len(found) > 0 && readable(content, len(contained) > 0)
}

// binary judges what is not text.
func (e *entry) binary(der []byte) (found []*x509.Certificate, whole bool) {
	contained, ok := pkcs7Certs(der)
	switch {
	case ok:
		e.find(formPKCS7, "", true)
		found = contained
	case isPKCS12(der):
		e.find(formPKCS12, "", true)
	case isPrivateKey(der):
		e.find(formPrivateKey, "", true)
	default:
		if found, _, _ = e.bundle(der); len(found) == 0 {
			e.find(string(tkg.FormNoCertificate), "binary that is no certificate which Go can read", true)
		}
	}
	e.authorities(found)
	return found, len(found) > 0
}

// bundle notes what certs finds, and tells whether none of it is fatal.
func (e *entry) bundle(content []byte) (found []*x509.Certificate, clean bool, err error) {
	bundle, err := certs.ParseBundle(content)
	clean = true
	for _, f := range bundle.Findings {
		e.find(string(f.Kind), f.Text, f.Fatal)
		clean = clean && !f.Fatal
	}
	return append(slices.Clone(bundle.Certs), bundle.Recoverable...), clean, err
}

func (e *entry) authorities(found []*x509.Certificate) {
	if slices.ContainsFunc(found, func(c *x509.Certificate) bool { return !c.IsCA }) {
		e.find(formNotACA, "", false)
	}
}

// readable tells whether each block that is meant as a certificate can be read. Where one cannot, a corrected value would lose it.
func readable(content []byte, contained bool) bool {
	text := string(content)
	at := strings.Index(text, "BEGIN")
	for at >= 0 {
		rest := text[at+len("BEGIN"):]
		next := strings.Index(rest, "BEGIN")
		piece := rest
		if next >= 0 {
			piece, next = rest[:next], at+len("BEGIN")+next
		}
		if label, _, _ := strings.Cut(piece, "-"); strings.Contains(label, "CERTIFICATE") {
			b, err := certs.ParseBundle([]byte("-----BEGIN" + piece))
			if err != nil && len(b.Recoverable) == 0 && !contained {
				return false
			}
		}
		at = next
	}
	return true
}

// corrected returns the value to store in its place, empty if it cannot be proven to be right: a strict reader must get from it PEM of
// which Go takes exactly these certificates.
func corrected(found []*x509.Certificate, layers int) string {
	value := tkg.Encode(certs.Normalize(found), layers)
	pemText := []byte(value)
	for range layers {
		next, err := base64.StdEncoding.Strict().DecodeString(string(pemText))
		if err != nil {
			return ""
		}
		pemText = next
	}
	again, err := certs.ParseBundle(pemText)
	if err != nil || !x509.NewCertPool().AppendCertsFromPEM(pemText) || !slices.EqualFunc(again.Certs, found, (*x509.Certificate).Equal) {
		return ""
	}
	return value
}

// shown bounds a name that another gave, and keeps it on its line.
func shown(name string) string { return pull.Printable(name, 300) }

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
