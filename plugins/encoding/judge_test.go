package encoding

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

func newCA(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
}

func declaredOf(data string, layers int) tkg.Declared {
	return tkg.Declared{Where: "TSC", Path: "p", Name: "corp", Data: data, Layers: layers}
}

// declaredList are the entries of a list.
func declaredList(where, path string, entries []tkg.TrustEntry) []tkg.Declared {
	var out []tkg.Declared
	for i, e := range entries {
		out = append(out, tkg.Declared{Where: where, Path: fmt.Sprintf("%s[%d].data", path, i), Name: e.Name, Data: e.Data, Layers: tkg.LayersService})
	}
	return out
}

func TestJudgeEntry(t *testing.T) {
	t.Parallel()
	ca, key := newCA(t, "Corp Root CA")
	other, _ := newCA(t, "Other CA")
	block, _ := pem.Decode(ca)
	right := tkg.Encode(ca, 1)
	both := tkg.Encode(append(ca[:len(ca):len(ca)], other...), 1)
	cases := map[string]struct {
		reason    string
		data      string
		problem   string // part; empty for a good one
		corrected string // exactly; "" for none
		subjects  []string
	}{
		"right":        {reason: "once", data: right, subjects: []string{"CN=Corp Root CA"}},
		"two":          {reason: "a bundle is fine", data: both, subjects: []string{"CN=Corp Root CA", "CN=Other CA"}},
		"twice":        {reason: "as old pages tell", data: tkg.Encode(ca, 2), problem: "2 layers", corrected: right, subjects: []string{"CN=Corp Root CA"}},
		"not at all":   {reason: "plain PEM", data: string(ca), problem: "plain PEM", corrected: right, subjects: []string{"CN=Corp Root CA"}},
		"BOM":          {reason: "the layers are right and Go drops it", data: tkg.Encode(append([]byte("\ufeff"), ca...), 1), problem: "byte order mark", corrected: right, subjects: []string{"CN=Corp Root CA"}},
		"CRLF":         {reason: "Go takes it, so it is left alone", data: tkg.Encode([]byte(strings.ReplaceAll(string(ca), "\n", "\r\n")), 1), subjects: []string{"CN=Corp Root CA"}},
		"glued":        {reason: "both are lost and both come back", data: tkg.Encode(append([]byte(strings.TrimSpace(string(ca))), other...), 1), problem: "on one line", corrected: both, subjects: []string{"CN=Corp Root CA", "CN=Other CA"}},
		"DER":          {reason: "binary", data: tkg.Encode(block.Bytes, 1), problem: "DER", corrected: right, subjects: []string{"CN=Corp Root CA"}},
		"key":          {reason: "a leak, with nothing to store in its place", data: tkg.Encode(key, 1), problem: "leaked", subjects: []string{}},
		"key and cert": {reason: "the key is left out of what is to be stored", data: tkg.Encode(append(ca[:len(ca):len(ca)], key...), 1), problem: "leaked", corrected: right, subjects: []string{"CN=Corp Root CA"}},
		"key, twice":   {reason: "a leak under two layers too", data: tkg.Encode(key, 2), problem: "leaked", subjects: []string{}},
		"truncated":    {reason: "nothing can be had back", data: tkg.Encode(ca[:len(ca)/2], 1), problem: "cut off", subjects: []string{}},
		"path":         {reason: "not a certificate at all", data: "/etc/ca.pem!", problem: "neither PEM nor base64", subjects: []string{}},
		"empty":        {reason: "nothing", data: "", problem: "empty", subjects: []string{}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := judgeOne(declaredOf(tc.data, 1))
			if got.OK != (tc.problem == "") || !strings.Contains(got.Problem, tc.problem) || got.OK != (got.Problem == "") {
				t.Errorf("%s: ok %v, problem %q, want %q", tc.reason, got.OK, got.Problem, tc.problem)
			}
			if diff := cmp.Diff(tc.corrected, got.Corrected); diff != "" {
				t.Errorf("%s: corrected (-want, +got):\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.subjects, got.Subjects); diff != "" {
				t.Errorf("%s: subjects (-want, +got):\n%s", tc.reason, diff)
			}
			if got.Corrected != "" {
				if again := judgeOne(declaredOf(got.Corrected, 1)); !again.OK || again.Corrected != "" {
					t.Errorf("%s: the corrected value is not right: %s", tc.reason, again.Problem)
				}
			}
			secret := strings.Split(string(key), "\n")[1]
			if strings.Contains(got.Problem+got.Corrected, secret) || strings.Contains(string(tkg.Decode(got.Corrected, 1).PEM), "PRIVATE") {
				t.Errorf("%s: the private key is in the output", tc.reason)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	ca, key := newCA(t, "Corp Root CA")
	other, _ := newCA(t, "Other CA")
	entryOf := func(name string, content []byte, layers int) tkg.TrustEntry {
		return tkg.TrustEntry{Name: name, Data: tkg.Encode(content, layers)}
	}
	bundle := append(ca[:len(ca):len(ca)], other...)
	cases := map[string]struct {
		reason     string
		service    []tkg.TrustEntry
		cluster    []tkg.TrustEntry
		candidate  candidateFile
		ok         bool
		configured string
		problems   []string // one for each entry
		candidateP string
		summary    string
	}{
		"nothing": {reason: "an empty Supervisor is encoded rightly", ok: true, problems: []string{}, summary: "no CA is configured"},
		"configured": {
			reason: "the candidate is there", service: []tkg.TrustEntry{entryOf("other", other, 1), entryOf("corp", ca, 1)}, candidate: candidateFile{"ca.pem", ca},
			ok: true, configured: "TSC, entry corp", problems: []string{"", ""}, summary: "all 2 stored CAs are encoded rightly; the given CA is TSC, entry corp",
		},
		"not configured": {
			reason: "others are there", service: []tkg.TrustEntry{entryOf("other", other, 1)}, candidate: candidateFile{"ca.pem", ca},
			ok: true, problems: []string{""}, summary: "the one stored CA is encoded rightly; the given CA is not among them",
		},
		"half configured": {
			reason: "a candidate of two needs both", service: []tkg.TrustEntry{entryOf("corp", ca, 1)}, candidate: candidateFile{"ca.pem", bundle},
			ok: true, problems: []string{""}, summary: "not among them",
		},
		"in a bundle": {
			reason: "an entry may hold more", service: []tkg.TrustEntry{entryOf("both", bundle, 1)}, candidate: candidateFile{"ca.pem", ca},
			ok: true, configured: "TSC, entry both", problems: []string{""}, summary: "entry both",
		},
		"badly encoded": {
			reason: "what nodes cannot use is not configured", service: []tkg.TrustEntry{entryOf("corp", ca, 2)}, candidate: candidateFile{"ca.pem", ca},
			problems: []string{"2 layers"}, summary: "1 of 1 stored CAs cannot be used as they are; the given CA is not among them",
		},
		"cluster's own": {
			reason: "the cluster's trust counts too", cluster: []tkg.TrustEntry{entryOf("mine", ca, 1)}, candidate: candidateFile{"ca.pem", ca},
			ok: true, configured: "TKC, entry mine", problems: []string{""}, summary: "TKC, entry mine",
		},
		"one name twice": {
			reason: "nodes keep one file a name", service: []tkg.TrustEntry{entryOf("corp", ca, 1), entryOf("corp", other, 1)},
			problems: []string{"2 entries have this name", "2 entries have this name"}, summary: "2 of 2",
		},
		"one name in both": {
			reason: "two objects may use one name", service: []tkg.TrustEntry{entryOf("corp", ca, 1)}, cluster: []tkg.TrustEntry{entryOf("corp", ca, 1)},
			ok: true, problems: []string{"", ""}, summary: "all 2",
		},
		"bad name": {
			reason: "a name becomes a file name", service: []tkg.TrustEntry{entryOf("a/../b", ca, 1)},
			problems: []string{"its name may hold only"}, summary: "1 of 1",
		},
		"bad candidate": {
			reason: "a private key is refused", candidate: candidateFile{"ca.pem", key}, ok: true, problems: []string{},
			candidateP: "private key", summary: "the given CA file cannot be used",
		},
		"empty candidate": {
			reason: "an empty file is no CA", candidate: candidateFile{"ca.pem", nil}, ok: true, problems: []string{},
			candidateP: "no certificate", summary: "the given CA file cannot be used",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := judge(append(declaredList("TSC", "spec.a", tc.service), declaredList("TKC", "spec.b", tc.cluster)...), tc.candidate)
			if got.OK != tc.ok {
				t.Errorf("%s: ok is %v", tc.reason, got.OK)
			}
			if diff := cmp.Diff(tc.configured, got.Candidate.ConfiguredAs); diff != "" {
				t.Errorf("%s: configured as (-want, +got):\n%s", tc.reason, diff)
			}
			if len(got.Entries) != len(tc.problems) {
				t.Fatalf("%s: %d entries, want %d", tc.reason, len(got.Entries), len(tc.problems))
			}
			for i, want := range tc.problems {
				if e := got.Entries[i]; (e.Problem == "") != (want == "") || !strings.Contains(e.Problem, want) {
					t.Errorf("%s: entry %d: problem %q, want %q", tc.reason, i, e.Problem, want)
				}
			}
			if c := got.Candidate; c.Given != (tc.candidate.path != "") || c.OK != (c.Given && tc.candidateP == "") || !strings.Contains(c.Problem, tc.candidateP) {
				t.Errorf("%s: candidate %+v", tc.reason, c)
			}
			if s := summary(got); !strings.Contains(s, tc.summary) {
				t.Errorf("%s: summary %q, want %q in it", tc.reason, s, tc.summary)
			}
		})
	}
}

// A person finds an entry by its path, and a bad one among the warnings.
func TestRespond(t *testing.T) {
	t.Parallel()
	ca, _ := newCA(t, "Corp Root CA")
	entries := []tkg.TrustEntry{{Name: "good", Data: tkg.Encode(ca, 1)}, {Name: "bad", Data: tkg.Encode(ca, 2)}}
	out := judge(declaredList("TSC", "spec.trust.additionalTrustedCAs", entries), candidateFile{"ca.pem", ca})
	if diff := cmp.Diff("spec.trust.additionalTrustedCAs[1].data", out.Entries[1].Path); diff != "" {
		t.Errorf("path (-want, +got):\n%s", diff)
	}
	resp, err := respond(out, []string{"a warning"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a warning", `TSC, entry "bad": ` + out.Entries[1].Problem}, resp.Warnings); diff != "" {
		t.Errorf("warnings (-want, +got):\n%s", diff)
	}
	var verdicts []plugins.Verdict
	for _, e := range resp.Evidence {
		verdicts = append(verdicts, e.Verdict)
		if !strings.Contains(e.Text, certs.Fingerprint(mustParse(t, ca))) {
			t.Errorf("evidence of %s does not show the fingerprint: %s", e.Subject, e.Text)
		}
	}
	if diff := cmp.Diff([]plugins.Verdict{plugins.OK, plugins.Bad, plugins.OK}, verdicts); diff != "" {
		t.Errorf("evidence (-want, +got):\n%s", diff)
	}
}

func mustParse(t *testing.T, data []byte) *x509.Certificate {
	t.Helper()
	b, err := certs.ParseBundle(data)
	if err != nil {
		t.Fatal(err)
	}
	return b.Certs[0]
}
