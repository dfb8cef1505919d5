package nodecert

import (
	"crypto/x509"
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
	photon  = "/etc/ssl/certs/tkg-corp.pem"
	anchor  = "/etc/pki/ca-trust/source/anchors/tkg-corp.crt"
	bundled = "/etc/pki/tls/certs/ca-bundle.crt"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	ca, other := registrytest.NewRoot(t, "Corp Root CA"), registrytest.NewRoot(t, "Corp Root CA")
	pem := ca.PEM()
	right, wrong := certs.Fingerprint(ca.Cert), certs.Fingerprint(other.Cert)
	glued := strings.Replace(string(registrytest.PEM(ca.Cert, other.Cert)), "-----\n-----BEGIN", "----------BEGIN", 1)
	goFile := func(path string, data []byte) nodelook.File {
		return nodelook.File{Path: path, Data: data, Changed: before, Go: true}
	}
	once := tkg.Encode(pem, 1)
	cases := map[string]struct {
		reason string
		stored []string
		files  []nodelook.File
		path   string
		state  string
		found  []string
		newer  bool
	}{
		"Present":      {reason: "there and right", stored: []string{once}, files: []nodelook.File{goFile(photon, pem)}, path: photon, state: present, found: []string{right}},
		"Missing":      {reason: "never rendered, or an old node", stored: []string{once}, files: []nodelook.File{goFile(bundled, other.PEM())}, path: photon, state: missing},
		"OtherKey":     {reason: "same name, other key", stored: []string{once}, files: []nodelook.File{goFile(photon, other.PEM())}, path: photon, state: otherCert, found: []string{wrong}},
		"OverEncoded":  {reason: "one layer too many in the object is text on the node, whatever is declared", stored: []string{tkg.Encode(pem, 2)}, files: []nodelook.File{goFile(photon, []byte(once))}, path: photon, state: overEncoded, found: []string{right}},
		"Garbage":      {reason: "one layer too few is garbage", stored: []string{string(pem)}, files: []nodelook.File{goFile(photon, []byte{0x30, 0x82, 0xff})}, path: photon, state: notPEM},
		"BOM":          {reason: "Go drops it without a word", stored: []string{once}, files: []nodelook.File{goFile(photon, append([]byte("\xef\xbb\xbf"), pem...))}, path: photon, state: ignoredByGo, found: []string{right}},
		"Glued":        {reason: "two glued blocks are both lost", stored: []string{once}, files: []nodelook.File{goFile(photon, []byte(glued))}, path: photon, state: ignoredByGo, found: []string{right, wrong}},
		"AnchorOnly":   {reason: "Go does not look among the anchors", stored: []string{once}, files: []nodelook.File{{Path: anchor, Data: pem, Changed: before}}, path: anchor, state: ignoredByGo, found: []string{right}},
		"AnchorBundle": {reason: "update-ca-trust put it into the bundle", stored: []string{once}, files: []nodelook.File{goFile(bundled, pem), {Path: anchor, Data: pem, Changed: before}}, path: anchor, state: present, found: []string{right}},
		"GoFileFirst":  {reason: "of two files the one that Go reads counts", stored: []string{once}, files: []nodelook.File{{Path: anchor, Data: other.PEM(), Changed: before}, goFile(photon, pem)}, path: photon, state: present, found: []string{right}},
		"TwoDeclared":  {reason: "which of two lists wins is not known: either is right", stored: []string{tkg.Encode(other.PEM(), 1), once}, files: []nodelook.File{goFile(photon, pem)}, path: photon, state: present, found: []string{right}},
		"Newer":        {reason: "containerd does not know it", stored: []string{once}, files: []nodelook.File{{Path: photon, Data: pem, Changed: started.Add(time.Second), Go: true}}, path: photon, state: present, found: []string{right}, newer: true},
		"Undecodable":  {reason: "nothing is right when nobody knows what is meant", stored: []string{"%%%"}, files: []nodelook.File{goFile(photon, pem)}, path: photon, state: otherCert, found: []string{right}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var entries []tkg.TrustEntry
			for _, s := range c.stored {
				entries = append(entries, tkg.TrustEntry{Name: "corp", Data: s})
			}
			look := nodelook.Look{Files: c.files}
			look.Containerd.Started = started
			declared := declarations(entries[:1], entries[1:])
			if len(declared) != 1 {
				t.Fatalf("%s: want one declaration, got %d", c.reason, len(declared))
			}
			if c.found == nil {
				c.found = []string{}
			}
			want := file{Name: "corp", Path: c.path, State: c.state, Wanted: declared[0].wanted(), Found: c.found, NewerThanContainerd: c.newer}
			if diff := cmp.Diff(want, judge(look, look.Roots(), declared[0])); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", c.reason, diff)
			}
		})
	}
}

func TestConclude(t *testing.T) {
	t.Parallel()
	ca, other := registrytest.NewRoot(t, "Corp Root CA"), registrytest.NewRoot(t, "Other CA")
	look := func(files ...nodelook.File) nodelook.Look {
		l := nodelook.Look{Time: started, Files: files, Skew: -90 * time.Second}
		l.Containerd.Started = started
		return l
	}
	declared := nodelook.File{Path: photon, Data: ca.PEM(), Changed: before, Go: true}
	byHand := nodelook.File{Path: "/etc/ssl/certs/corp.pem", Data: other.PEM(), Changed: started.Add(time.Hour), Go: true}
	nodes := []tkg.Node{{Name: "a", Address: "10.0.0.1", Created: before}, {Name: "b", Address: "10.0.0.2", Created: before}}
	entries := []tkg.TrustEntry{{Name: "corp", Data: tkg.Encode(ca.PEM(), 1)}}

	out, evidence := conclude(nodes, []nodelook.Look{look(declared), look(declared, byHand)}, declarations(entries, nil), []*x509.Certificate{other.Cert})
	if !out.OK || out.CandidateOnAll {
		t.Errorf("want all declared and the candidate on one only, got ok %v, candidateOnAll %v", out.OK, out.CandidateOnAll)
	}
	fp := []string{certs.Fingerprint(other.Cert)}
	want := file{Name: "corp.pem", Path: byHand.Path, State: present, Wanted: fp, Found: fp, NewerThanContainerd: true}
	if diff := cmp.Diff(want, out.Nodes[1].Files[1]); diff != "" {
		t.Errorf("the candidate under another name: -want, +got:\n%s", diff)
	}
	wantNode := result{
		Name: "a", Address: "10.0.0.1", Created: "2026-05-01T11:59:00Z", Clock: "2026-05-01T12:00:00Z", ClockSkewSeconds: -90,
		ContainerdStarted: "2026-05-01T12:00:00Z", Files: out.Nodes[0].Files,
	}
	if diff := cmp.Diff(wantNode, out.Nodes[0]); diff != "" || len(out.Nodes[0].Files) != 1 {
		t.Errorf("node a: -want, +got:\n%s", diff)
	}
	bad := 0
	for _, e := range evidence {
		if e.Verdict == plugins.Bad {
			bad++
		}
	}
	if bad != 2 {
		t.Errorf("want two bad pieces of evidence (no candidate on a, newer file on b), got %d: %+v", bad, evidence)
	}
	if got := summary(out, 1, true); got != "2 workers hold all 1 declared CAs; 1 of 2 have the candidate CA" {
		t.Errorf("summary: got %q", got)
	}

	bundle := nodelook.File{Path: bundled, Data: ca.PEM(), Changed: before.Add(-time.Hour), Go: true}
	out, _ = conclude(nodes[:1], []nodelook.Look{look(bundle, declared)}, declarations(entries, nil), []*x509.Certificate{ca.Cert})
	if len(out.Nodes[0].Files) != 1 {
		t.Errorf("the declared file holds the candidate: want no second row for the bundle, got %+v", out.Nodes[0].Files)
	}
	out, _ = conclude(nodes, []nodelook.Look{look(declared), look()}, declarations(entries, nil), nil)
	if out.OK || out.CandidateOnAll {
		t.Errorf("one node lacks it: want not ok, got %+v", out)
	}
	out, _ = conclude(nodes[:1], []nodelook.Look{look(byHand)}, nil, []*x509.Certificate{other.Cert})
	if !out.OK || !out.CandidateOnAll {
		t.Errorf("nothing declared and the candidate there: got ok %v, candidateOnAll %v", out.OK, out.CandidateOnAll)
	}
}
