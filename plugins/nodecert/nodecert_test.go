package nodecert

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/handshake/registrytest"
	"github.com/tkgfix/tkgfix/internal/nodelook"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/plugintest"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	plugintest.Conformance(t, New(sdk.Env{}), plugintest.Cases{})
}

var (
	started = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	before  = started.Add(-time.Minute)
)

const (
	photon   = "/etc/ssl/certs/tkg-corp.pem"
	anchored = "/etc/pki/ca-trust/source/anchors/tkg-corp.crt"
	bundled  = "/etc/pki/tls/certs/ca-bundle.crt"
	local    = "/usr/local/share/ca-certificates/tkg-corp.crt"
	joined   = "/etc/ssl/certs/ca-certificates.crt"
)

func goFile(path string, data []byte) nodelook.File {
	return nodelook.File{Path: path, Data: data, Changed: before, Placed: before, Go: true}
}

func other(path string, data []byte) nodelook.File {
	return nodelook.File{Path: path, Data: data, Changed: before, Placed: before}
}

// as are declared values of one name: the first is the cluster's own, the second TkgServiceConfiguration's.
func as(values ...string) []tkg.Declared {
	var out []tkg.Declared
	for i, v := range values {
		out = append(out, tkg.Declared{Name: "corp", Data: v, Layers: tkg.LayersService, Way: []tkg.Way{tkg.WayTKC, ""}[i]})
	}
	return out
}

// secretly is a value of a Secret that osConfiguration names.
func secretly(value string) tkg.Declared {
	return tkg.Declared{Where: "Secret team-a/s", Secret: "s", Name: "ca.crt", Data: value, Layers: tkg.LayersSecret, Way: tkg.WayOSConfiguration}
}

// python is what Python's b64decode, by which cloud-init writes files, makes of text: it skips what is no letter of base64, and the first
// padding is the end.
func python(text []byte) []byte {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	body, _, _ := bytes.Cut(text, []byte("="))
	body = bytes.Map(func(r rune) rune {
		if strings.ContainsRune(letters, r) {
			return r
		}
		return -1
	}, body)
	if len(body)%4 == 1 {
		body = body[:len(body)-1]
	}
	out, _ := base64.RawStdEncoding.DecodeString(string(body))
	return out
}

// known checks that a finding is one of Checks, with one of its remedies.
func known(t *testing.T, f finding) {
	t.Helper()
	if !slices.ContainsFunc(Checks(), func(c Check) bool { return c.ID == f.ID && slices.Contains(c.Remedies, f.Remedy) }) {
		t.Errorf("Checks lists no %s with the remedy %s", f.ID, f.Remedy)
	}
	if f.Subject == "" || f.Text == "" || !f.Bad && f.Remedy != None {
		t.Errorf("an incomplete finding: %+v", f)
	}
}

func keyPEM(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func TestJudge(t *testing.T) {
	t.Parallel()
	ca, stranger := registrytest.NewRoot(t, "Corp Root CA"), registrytest.NewRoot(t, "Corp Root CA")
	text := ca.PEM()
	renewed := ca.Renewed(t)
	right, wrong := certs.Fingerprint(ca.Cert), certs.Fingerprint(stranger.Cert)
	glued := strings.Replace(string(registrytest.PEM(ca.Cert, stranger.Cert)), "-----\n-----BEGIN", "----------BEGIN", 1)
	once := tkg.Encode(text, 1)
	cases := map[string]struct {
		reason   string
		stored   []string
		look     nodelook.Look
		path     string
		state    string
		found    []string
		newer    bool
		findings []ID
		remedy   Remedy
		bad      bool
		text     string
	}{
		"Present":      {reason: "there and right", stored: []string{once}, look: nodelook.Look{Files: []nodelook.File{goFile(photon, text)}}, path: photon, state: present, found: []string{right}},
		"Renewed":      {reason: "the same CA with a new end is no fault", stored: []string{once}, look: nodelook.Look{Files: []nodelook.File{goFile(photon, renewed.PEM())}}, path: photon, state: present, found: []string{certs.Fingerprint(renewed.Cert)}, text: "it holds another certificate of the same key and subject as declared: that is the same CA, renewed"},
		"CRLF":         {reason: "I05: other bytes, and Go takes them", stored: []string{once}, look: nodelook.Look{Files: []nodelook.File{goFile(photon, bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")))}}, path: photon, state: present, found: []string{right}},
		"Missing":      {reason: "never rendered", stored: []string{once}, look: nodelook.Look{Files: []nodelook.File{goFile(bundled, stranger.PEM())}}, path: photon, state: missing, findings: []ID{FileMissing}, remedy: RollNode, bad: true},
		"MissingRHEL":  {reason: "expected where this family keeps it", stored: []string{once}, look: nodelook.Look{Family: nodelook.RHEL}, path: "/etc/pki/ca-trust/source/anchors/tkg-corp.pem", state: missing, findings: []ID{FileMissing}, remedy: RollNode, bad: true},
		"Elsewhere":    {reason: "no file of the name, and Go trusts it all the same", stored: []string{once}, look: nodelook.Look{Files: []nodelook.File{goFile(bundled, text)}}, path: bundled, state: present, found: []string{right}, text: "there is no file of this name, and Go takes the CA from this one"},
		"OtherKey":     {reason: "same name, other key", stored: []string{once}, look: nodelook.Look{Files: []nodelook.File{goFile(photon, stranger.PEM())}}, path: photon, state: otherCert, found: []string{wrong}, findings: []ID{FileOther}, remedy: RollNode, bad: true},
		"HalfOfTwo":    {reason: "of two declared certificates one is there", stored: []string{tkg.Encode(registrytest.PEM(ca.Cert, stranger.Cert), 1)}, look: nodelook.Look{Files: []nodelook.File{goFile(photon, text)}}, path: photon, state: otherCert, found: []string{right}, findings: []ID{FileOther}, remedy: RollNode, bad: true},
		"OverEncoded":  {reason: "one layer too many in the object is text on the node", stored: []string{tkg.Encode(text, 2)}, look: nodelook.Look{Files: []nodelook.File{goFile(photon, []byte(once))}}, path: photon, state: overEncoded, found: []string{right}, findings: []ID{FileOverEncoded}, remedy: FixEncoding, bad: true},
		"OverOfRight":  {reason: "the value is right now and the node is not: it must be made anew", stored: []string{once}, look: nodelook.Look{Files: []nodelook.File{goFile(photon, []byte(once))}}, path: photon, state: overEncoded, found: []string{right}, findings: []ID{FileOverEncoded}, remedy: RollNode, bad: true},
		"UnderEncoded": {reason: "one layer too few: Python decodes plain PEM to bytes", stored: []string{string(text)}, look: nodelook.Look{Files: []nodelook.File{goFile(photon, python(text))}}, path: photon, state: underEncoded, found: []string{right}, findings: []ID{FileUnderEncoded}, remedy: FixEncoding, bad: true},
		"UnderText":    {reason: "text before BEGIN shifts the letters: bytes all the same", stored: []string{"x" + string(text)}, look: nodelook.Look{Files: []nodelook.File{goFile(photon, python(append([]byte("x"), text...)))}}, path: photon, state: underEncoded, findings: []ID{FileUnderEncoded}, remedy: FixEncoding, bad: true},
		"UnderMissing": {reason: "or the decoder refuses, and there is no file", stored: []string{string(text)}, path: photon, state: missing, findings: []ID{FileUnderEncoded}, remedy: FixEncoding, bad: true},
		"Binary":       {reason: "bytes of which nobody declared anything", stored: []string{once}, look: nodelook.Look{Files: []nodelook.File{goFile(photon, []byte{0x7f, 'E', 'L', 'F', 0, 1})}}, path: photon, state: notPEM, findings: []ID{FileDropped}, remedy: RollNode, bad: true},
		"DER":          {reason: "I02: the certificate itself, and Go drops it", stored: []string{once}, look: nodelook.Look{Files: []nodelook.File{goFile(photon, ca.Cert.Raw)}}, path: photon, state: ignoredByGo, found: []string{right}, findings: []ID{FileDropped}, remedy: RollNode, bad: true},
		"Empty":        {reason: "nothing at all", stored: []string{once}, look: nodelook.Look{Files: []nodelook.File{goFile(photon, nil)}}, path: photon, state: notPEM, findings: []ID{FileDropped}, remedy: RollNode, bad: true},
		"BOM":          {reason: "the file equals the configuration, and Go drops it", stored: []string{tkg.Encode(append([]byte("\xef\xbb\xbf"), text...), 1)}, look: nodelook.Look{Files: []nodelook.File{goFile(photon, append([]byte("\xef\xbb\xbf"), text...))}}, path: photon, state: ignoredByGo, found: []string{right}, findings: []ID{FileDropped}, remedy: FixEncoding, bad: true},
		"Glued":        {reason: "two glued blocks are both lost", stored: []string{tkg.Encode([]byte(glued), 1)}, look: nodelook.Look{Files: []nodelook.File{goFile(photon, []byte(glued))}}, path: photon, state: ignoredByGo, found: []string{right, wrong}, findings: []ID{FileGlued}, remedy: FixEncoding, bad: true},
		"GluedExtra":   {reason: "all that is declared is taken, and something beside it is lost", stored: []string{once}, look: nodelook.Look{Files: []nodelook.File{goFile(photon, append(bytes.Clone(text), []byte("\xef\xbb\xbf "+string(stranger.PEM()))...))}}, path: photon, state: present, found: []string{right, wrong}, findings: []ID{FileDropped}, remedy: None},
		"PrivateKey":   {reason: "I14: a key in place of a certificate", stored: []string{tkg.Encode(keyPEM(t), 1)}, look: nodelook.Look{Files: []nodelook.File{goFile(photon, keyPEM(t))}}, path: photon, state: notPEM, findings: []ID{FileDropped}, remedy: FixEncoding, bad: true},
		"AnchorOnly":   {reason: "Go does not look among the anchors", stored: []string{once}, look: nodelook.Look{Family: nodelook.RHEL, Files: []nodelook.File{other(anchored, text), goFile(bundled, stranger.PEM())}}, path: anchored, state: ignoredByGo, found: []string{right}, findings: []ID{BundleStale}, remedy: RollNode, bad: true},
		"AnchorOther":  {reason: "nor does it on a system that nobody knows", stored: []string{once}, look: nodelook.Look{Family: nodelook.OtherFamily, Files: []nodelook.File{other(anchored, text)}}, path: anchored, state: ignoredByGo, found: []string{right}, findings: []ID{BundleStale}, remedy: RollNode, bad: true},
		"AnchorBundle": {reason: "update-ca-trust put it into the bundle, and nothing lies in /etc/ssl/certs", stored: []string{once}, look: nodelook.Look{Family: nodelook.RHEL, Files: []nodelook.File{goFile(bundled, text), other(anchored, text)}}, path: anchored, state: present, found: []string{right}},
		"LocalOnly":    {reason: "nobody ran update-ca-certificates", stored: []string{once}, look: nodelook.Look{Family: nodelook.Ubuntu, Files: []nodelook.File{goFile(joined, stranger.PEM()), other(local, text)}}, path: local, state: ignoredByGo, found: []string{right}, findings: []ID{BundleStale}, remedy: RollNode, bad: true},
		"Ubuntu": {reason: "the link in /etc/ssl/certs is what Go reads", stored: []string{once}, look: nodelook.Look{Family: nodelook.Ubuntu, Files: []nodelook.File{goFile(joined, text), goFile(photon, text), other(local, text)},
			Links: map[string]string{photon: local}}, path: photon, state: present, found: []string{right}, findings: []ID{FileSymlink}, remedy: None},
		"PhotonBundle": {reason: "Go reads the file, openssl does not", stored: []string{once}, look: nodelook.Look{Family: nodelook.Photon, Files: []nodelook.File{goFile(bundled, stranger.PEM()), goFile(photon, text)}}, path: photon, state: present, found: []string{right}, findings: []ID{BundleStale}, remedy: None},
		"LinkInFolder": {reason: "Go passes over the link and reads the file", stored: []string{once}, look: nodelook.Look{Files: []nodelook.File{goFile("/etc/ssl/certs/corp.pem", text), other(photon, text)}, Links: map[string]string{photon: "corp.pem"}}, path: photon, state: present, found: []string{right}, findings: []ID{FileSymlink}, remedy: None},
		"Dangling":     {reason: "a link that leads nowhere is no file", stored: []string{once}, look: nodelook.Look{Links: map[string]string{photon: "/nowhere"}}, path: photon, state: missing, findings: []ID{FileMissing}, remedy: RollNode, bad: true},
		"Unreadable":   {reason: "what cannot be read is not missing", stored: []string{once}, look: nodelook.Look{Unreadable: []string{photon}}, path: photon, state: unreadable, findings: []ID{FileUnreadable}, remedy: None},
		"TooLarge":     {reason: "what was not read is not missing", stored: []string{once}, look: nodelook.Look{Large: []nodelook.LargeFile{{Path: photon, Go: true}}}, path: photon, state: tooLarge, findings: []ID{FileTooLarge}, remedy: RollNode, bad: true},
		"GoFileFirst":  {reason: "of two files the one that Go reads counts", stored: []string{once}, look: nodelook.Look{Files: []nodelook.File{other(anchored, stranger.PEM()), goFile(photon, text)}}, path: photon, state: present, found: []string{right}},
		"TwoDeclared":  {reason: "which of two lists wins is not known: either is right", stored: []string{tkg.Encode(stranger.PEM(), 1), once}, look: nodelook.Look{Files: []nodelook.File{goFile(photon, text)}}, path: photon, state: present, found: []string{right}},
		"Newer":        {reason: "containerd does not know it", stored: []string{once}, look: nodelook.Look{Files: []nodelook.File{{Path: photon, Data: text, Changed: started.Add(time.Second), Go: true}}}, path: photon, state: present, found: []string{right}, newer: true},
		"Undecodable":  {reason: "nothing is right when nobody knows what is meant", stored: []string{"%%%"}, look: nodelook.Look{Files: []nodelook.File{goFile(photon, text)}}, path: photon, state: otherCert, found: []string{right}, findings: []ID{FileOther}, remedy: FixEncoding, bad: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.look.Containerd.Started = started
			declared := declarations(as(c.stored...)...)
			if len(declared) != 1 {
				t.Fatalf("%s: want one declaration, got %d", c.reason, len(declared))
			}
			if c.found == nil {
				c.found = []string{}
			}
			want := file{Name: "corp", Path: c.path, State: c.state, Text: c.text, Wanted: declared[0].wanted(), Found: c.found, NewerThanContainerd: c.newer}
			got, findings := newView(c.look).judge(declared[0], before)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", c.reason, diff)
			}
			var ids []ID
			for _, f := range findings {
				known(t, f)
				ids = append(ids, f.ID)
				if f.Remedy != c.remedy || f.Bad != c.bad {
					t.Errorf("%s: want the remedy %s, bad %v, got %+v", c.reason, c.remedy, c.bad, f)
				}
			}
			if diff := cmp.Diff(c.findings, ids); diff != "" {
				t.Errorf("%s: findings: -want, +got:\n%s", c.reason, diff)
			}
		})
	}
}

func TestStale(t *testing.T) {
	t.Parallel()
	ca, old := registrytest.NewRoot(t, "Corp Root CA"), registrytest.NewRoot(t, "Corp Root CA")
	right := tkg.Encode(ca.PEM(), 1)
	cases := map[string]struct {
		reason  string
		changed time.Time
		stored  string
		files   []nodelook.File
		want    ID
		remedy  Remedy
	}{
		"Missing":   {reason: "the node is older than the configuration", changed: started, stored: right, want: FileStale, remedy: RollNode},
		"Other":     {reason: "and has what was configured then", changed: started, stored: right, files: []nodelook.File{goFile(photon, old.PEM())}, want: FileStale, remedy: RollNode},
		"WasDouble": {reason: "the encoding was mended since", changed: started, stored: right, files: []nodelook.File{goFile(photon, []byte(right))}, want: FileStale, remedy: RollNode},
		"Younger":   {reason: "the node was made from this configuration", changed: before.Add(-time.Hour), stored: right, files: []nodelook.File{goFile(photon, old.PEM())}, want: FileOther, remedy: RollNode},
		"Same":      {reason: "made in the same second is not older", changed: before, stored: right, want: FileMissing, remedy: RollNode},
		"Unknown":   {reason: "without a time nobody can say so", stored: right, want: FileMissing, remedy: RollNode},
		"Wrong":     {reason: "a new node would get the same wrong value: rolling does not help", changed: started, stored: tkg.Encode(ca.PEM(), 2), files: []nodelook.File{goFile(photon, []byte(right))}, want: FileOverEncoded, remedy: FixEncoding},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sources := as(c.stored)
			sources[0].Change.Until = c.changed
			_, got := newView(nodelook.Look{Files: c.files}).judge(declarations(sources...)[0], before)
			if len(got) != 1 || got[0].ID != c.want || got[0].Remedy != c.remedy || !got[0].Bad {
				t.Errorf("%s: want %s with %s, got %+v", c.reason, c.want, c.remedy, got)
			}
		})
	}
}

func TestListsThatMayReplaceEachOther(t *testing.T) {
	t.Parallel()
	value := tkg.Encode(registrytest.NewRoot(t, "Corp Root CA").PEM(), 1)
	list := func(way tkg.Way) func(names ...string) []tkg.Declared {
		return func(names ...string) (out []tkg.Declared) {
			for _, name := range names {
				out = append(out, tkg.Declared{Name: name, Data: value, Layers: tkg.LayersService, Way: way})
			}
			return out
		}
	}
	own, service := list(tkg.WayTKC), list("")
	cases := map[string]struct {
		reason       string
		own, service []tkg.Declared
		want         bool
	}{
		"ServiceAlone": {reason: "the cluster says nothing", own: own(), service: service("corp")},
		"ClusterAlone": {reason: "its own list counts", own: own("corp"), service: service()},
		"Both":         {reason: "it stands in both", own: own("corp"), service: service("corp")},
		"Shadowed":     {reason: "the cluster has a list in which it does not stand", own: own("other"), service: service("corp"), want: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, d := range declarations(slices.Concat(c.own, c.service)...) {
				_, found := newView(nodelook.Look{}).judge(d, before)
				if says := strings.Contains(found[0].Text, "documented nowhere"); d.name == "corp" && says != c.want {
					t.Errorf("%s: want it said %v, got %q", c.reason, c.want, found[0].Text)
				}
			}
		})
	}
}

func TestNamesThatAreNoFileNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"../../etc/shadow", "a\nb", "", "a b", strings.Repeat("x", 300)} {
		if got := declarations(tkg.Declared{Name: name, Data: "x", Layers: 1}); got != nil {
			t.Errorf("%q could not be a file's name, got %+v", name, got)
		}
	}
}

func TestDuplicates(t *testing.T) {
	t.Parallel()
	ca, stranger := registrytest.NewRoot(t, "Corp Root CA"), registrytest.NewRoot(t, "Corp Root CA")
	right, wrong := tkg.Encode(ca.PEM(), 1), tkg.Encode(stranger.PEM(), 1)
	twice := append(as(right), as(wrong)...)
	cases := map[string]struct {
		reason  string
		sources []tkg.Declared
		want    []Remedy
	}{
		"One":       {reason: "a name for itself", sources: as(right)},
		"SameCA":    {reason: "both lists say the same", sources: as(right, right), want: []Remedy{None}},
		"OtherKey":  {reason: "both lists become one file", sources: as(right, wrong), want: []Remedy{Rename}},
		"InOneList": {reason: "so do two entries of one list", sources: twice, want: []Remedy{Rename}},
		"Unread":    {reason: "what cannot be read is not the same", sources: as(right, "%%%"), want: []Remedy{Rename}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []Remedy
			for _, f := range duplicates(declarations(c.sources...)) {
				got = append(got, f.Remedy)
				if f.ID != DuplicateNames || f.Bad != (f.Remedy == Rename) {
					t.Errorf("%s: got %+v", c.reason, f)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", c.reason, diff)
			}
		})
	}
}

func TestConclude(t *testing.T) {
	t.Parallel()
	ca, stranger := registrytest.NewRoot(t, "Corp Root CA"), registrytest.NewRoot(t, "Other CA")
	look := func(files ...nodelook.File) answer {
		l := nodelook.Look{Time: started, Files: files, Skew: -90 * time.Second, OS: "VMware Photon OS/Linux", Family: nodelook.Photon}
		l.Containerd = nodelook.Containerd{Started: started, Release: "1.7.27", Go: "1.21"}
		return answer{look: l}
	}
	declared := goFile(photon, ca.PEM())
	inBundle := goFile(bundled, ca.PEM())
	byHand := nodelook.File{Path: "/etc/ssl/certs/corp.pem", Data: stranger.PEM(), Changed: started.Add(time.Hour), Go: true}
	nodes := []tkg.Node{{Name: "a", Pool: "np1", Address: "10.0.0.1", Created: before, Joined: true}, {Name: "b", Pool: "np2", Address: "10.0.0.2", Created: before, Joined: true}}
	q := question{wanted: declarations(as(tkg.Encode(ca.PEM(), 1))...), candidate: anchors([]*x509.Certificate{stranger.Cert})}

	out, evidence := q.conclude(nodes, []answer{look(inBundle, declared), look(inBundle, declared, byHand)})
	if !out.OK || out.CandidateOnAll {
		t.Errorf("want all declared and the candidate on one only, got ok %v, candidateOnAll %v", out.OK, out.CandidateOnAll)
	}
	fp := []string{certs.Fingerprint(stranger.Cert)}
	want := file{Name: "corp.pem", Path: byHand.Path, State: present, Wanted: fp, Found: fp, NewerThanContainerd: true}
	if diff := cmp.Diff(want, out.Nodes[1].Files[1]); diff != "" {
		t.Errorf("the candidate under another name: -want, +got:\n%s", diff)
	}
	wantNode := result{
		Name: "a", Pool: "np1", Address: "10.0.0.1", Created: "2026-05-01T11:59:00Z", OS: "VMware Photon OS/Linux", Family: "photon", Containerd: "1.7.27", Go: "1.21",
		Clock: "2026-05-01T12:00:00Z", ClockSkewSeconds: -90, ContainerdStarted: "2026-05-01T12:00:00Z", Files: out.Nodes[0].Files,
		Findings: []finding{{ClockSkew, "clock", "the node's clock is 1m30s behind this machine's: it judges the dates of certificates by it", FixClock, true}},
	}
	if diff := cmp.Diff(wantNode, out.Nodes[0]); diff != "" || len(out.Nodes[0].Files) != 1 {
		t.Errorf("node a: -want, +got:\n%s", diff)
	}
	var bad []string
	for _, e := range evidence {
		if e.Verdict == plugins.Bad {
			bad = append(bad, e.Subject+" "+e.Check)
		}
	}
	if diff := cmp.Diff([]string{"node a clock-skew", "node a node-candidate", "node b runtime-older", "node b clock-skew"}, bad); diff != "" {
		t.Errorf("bad evidence: -want, +got:\n%s", diff)
	}
	if got := summary(out, 1, true); got != "2 workers hold all 1 declared CAs; 1 of 2 have the candidate CA" {
		t.Errorf("summary: got %q", got)
	}

	q.candidate = anchors([]*x509.Certificate{ca.Cert})
	if out, _ = q.conclude(nodes[:1], []answer{look(inBundle, declared)}); len(out.Nodes[0].Files) != 1 || !out.CandidateOnAll {
		t.Errorf("the declared file holds the candidate: want no second row for the bundle, got %+v", out.Nodes[0].Files)
	}
	if out, _ = q.conclude(nodes, []answer{look(declared), look()}); out.OK || out.CandidateOnAll {
		t.Errorf("one node lacks it: want not ok, got %+v", out)
	}
	out, _ = question{candidate: anchors([]*x509.Certificate{stranger.Cert})}.conclude(nodes[:1], []answer{look(byHand)})
	if !out.OK || !out.CandidateOnAll {
		t.Errorf("nothing declared and the candidate there: got ok %v, candidateOnAll %v", out.OK, out.CandidateOnAll)
	}
}

func TestOneSilentNode(t *testing.T) {
	t.Parallel()
	ca := registrytest.NewRoot(t, "Corp Root CA")
	q := question{wanted: declarations(as(tkg.Encode(ca.PEM(), 1))...), candidate: anchors([]*x509.Certificate{ca.Cert})}
	nodes := []tkg.Node{{Name: "a", Joined: true}, {Name: "b", Pool: "np2", Address: "10.0.0.2", Joined: true}}
	out, evidence := q.conclude(nodes, []answer{{look: nodelook.Look{Files: []nodelook.File{goFile(photon, ca.PEM())}}}, {err: errors.New("node b: no route")}})
	if out.OK || out.CandidateOnAll {
		t.Errorf("what is not known of one is not known of all: %+v", out)
	}
	want := result{Name: "b", Pool: "np2", Address: "10.0.0.2", Error: "node b: no route", Files: []file{}, Findings: []finding{}}
	if diff := cmp.Diff(want, out.Nodes[1]); diff != "" {
		t.Errorf("the silent one: -want, +got:\n%s", diff)
	}
	if len(out.Nodes[0].Files) != 1 || out.Nodes[0].Files[0].State != present {
		t.Errorf("the other: got %+v", out.Nodes[0])
	}
	if !slices.ContainsFunc(evidence, func(e plugins.Evidence) bool { return e.Check == "node-asked" && e.Verdict == plugins.Bad }) {
		t.Error("want evidence of the silence")
	}
	if got := summary(out, 1, true); got != "1 workers hold all 1 declared CAs; 1 of 1 have the candidate CA; 1 more could not be asked" {
		t.Errorf("summary: got %q", got)
	}
}

// TestNoKeyIsShown plants private keys in each form and looks for them in everything that leaves the step.
func TestNoKeyIsShown(t *testing.T) {
	t.Parallel()
	ca := registrytest.NewRoot(t, "Corp Root CA")
	key := keyPEM(t)
	block, _ := pem.Decode(key)
	body := base64.StdEncoding.EncodeToString(block.Bytes)
	forms := map[string][]byte{
		"PEM": key, "Beside": append(ca.PEM(), key...), "DER": block.Bytes, "Base64": []byte(tkg.Encode(key, 1)), "Twice": []byte(tkg.Encode(key, 2)),
		"Decoded": python(key),
	}
	for name, data := range forms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := question{wanted: declarations(as(tkg.Encode(data, 1))...)}
			out, evidence := q.conclude([]tkg.Node{{Name: "a"}}, []answer{{look: nodelook.Look{Files: []nodelook.File{goFile(photon, data)}}}})
			if !slices.ContainsFunc(out.Nodes[0].Findings, func(f finding) bool { return f.ID == FilePrivateKey && f.Bad && f.Remedy == RotateKey }) {
				t.Errorf("want an alarm, got %+v", out.Nodes[0].Findings)
			}
			raw, err := json.Marshal([]any{out, evidence})
			if err != nil {
				t.Fatal(err)
			}
			for at := 0; at+16 <= len(body); at++ {
				if bytes.Contains(raw, []byte(body[at:at+16])) {
					t.Fatalf("a piece of the key is shown: %s", raw)
				}
			}
		})
	}
}
