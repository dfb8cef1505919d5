package nodecert

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/handshake/registrytest"
	"github.com/tkgfix/tkgfix/internal/nodelook"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

// What a file is called that comes of osConfiguration is not established: it is found by what is in it, and never looked for by a name.
func TestNameless(t *testing.T) {
	t.Parallel()
	ca, stranger := registrytest.NewRoot(t, "Corp Root CA"), registrytest.NewRoot(t, "Corp Root CA")
	text := ca.PEM()
	right := certs.Fingerprint(ca.Cert)
	const odd = "/etc/ssl/certs/tkg-s-0.pem"
	cases := map[string]struct {
		reason   string
		layers   int // of the stored value
		look     nodelook.Look
		path     string
		state    string
		found    []string
		text     string
		findings []ID
		remedy   Remedy
		subject  string // of the finding
	}{
		"any name":       {reason: "the certificate counts", layers: 2, look: nodelook.Look{Files: []nodelook.File{goFile(odd, text)}}, path: odd, state: present, found: []string{right}},
		"any other file": {reason: "Go takes it from there", layers: 2, look: nodelook.Look{Files: []nodelook.File{goFile(bundled, text)}}, path: bundled, state: present, found: []string{right}, text: "none of TKG's files holds it, and Go takes the CA from this one"},
		"missing": {
			reason: "no path is guessed, though there is a file of the key's name with another CA", layers: 2, look: nodelook.Look{Files: []nodelook.File{goFile("/etc/ssl/certs/tkg-ca.crt.pem", stranger.PEM())}},
			state: missing, findings: []ID{FileMissing}, remedy: RollNode, subject: "s/ca.crt",
		},
		"over":   {reason: "the layer too many shows on the node", layers: 3, look: nodelook.Look{Files: []nodelook.File{goFile(odd, []byte(tkg.Encode(text, 1)))}}, path: odd, state: overEncoded, found: []string{right}, findings: []ID{FileOverEncoded}, remedy: FixEncoding, subject: odd},
		"under":  {reason: "Python decodes plain PEM to bytes", layers: 1, look: nodelook.Look{Files: []nodelook.File{goFile(odd, python(text))}}, path: odd, state: underEncoded, found: []string{right}, findings: []ID{FileUnderEncoded}, remedy: FixEncoding, subject: odd},
		"wedge":  {reason: "or the node does not come up with a file at all", layers: 1, state: missing, findings: []ID{FileUnderEncoded}, remedy: FixEncoding, subject: "s/ca.crt"},
		"anchor": {reason: "Go does not look there", layers: 2, look: nodelook.Look{Family: nodelook.RHEL, Files: []nodelook.File{other(anchored, text)}}, path: anchored, state: ignoredByGo, found: []string{right}, findings: []ID{BundleStale}, remedy: RollNode, subject: anchored},
		"both":   {reason: "of two files that hold it the one that Go reads counts", layers: 2, look: nodelook.Look{Files: []nodelook.File{other(anchored, text), goFile(odd, text)}}, path: odd, state: present, found: []string{right}},
		"unread": {reason: "it may be the one that may not be read", layers: 2, look: nodelook.Look{Unreadable: []string{"/etc/ssl/certs/x.pem", odd}}, path: odd, state: unreadable, findings: []ID{FileUnreadable}, remedy: None, subject: odd},
		"unread, and taken": {
			reason: "what Go takes from elsewhere is known", layers: 2, look: nodelook.Look{Unreadable: []string{odd}, Files: []nodelook.File{goFile(bundled, text)}}, path: bundled, state: present, found: []string{right},
			text: "none of TKG's files holds it, and Go takes the CA from this one",
		},
		"large": {reason: "no CA is as large", layers: 2, look: nodelook.Look{Large: []nodelook.LargeFile{{Path: odd, Go: true}}}, path: odd, state: tooLarge, findings: []ID{FileTooLarge}, remedy: RollNode, subject: odd},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			declared := declarations(secretly(tkg.Encode(text, c.layers)))
			if c.found == nil {
				c.found = []string{}
			}
			want := file{Name: "s/ca.crt", Path: c.path, State: c.state, Text: c.text, Wanted: []string{right}, Found: c.found}
			got, findings := newView(c.look).judge(declared[0], before)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", c.reason, diff)
			}
			var ids []ID
			for _, f := range findings {
				known(t, f)
				ids = append(ids, f.ID)
				if f.Remedy != c.remedy || f.Subject != c.subject {
					t.Errorf("%s: want %s of %s, got %+v", c.reason, c.remedy, c.subject, f)
				}
			}
			if diff := cmp.Diff(c.findings, ids); diff != "" {
				t.Errorf("%s: findings: -want, +got:\n%s", c.reason, diff)
			}
		})
	}
}

// A node that is older than the Secret's key has what was there before: nothing rolls it.
func TestStaleKey(t *testing.T) {
	t.Parallel()
	ca, old := registrytest.NewRoot(t, "Corp Root CA"), registrytest.NewRoot(t, "Corp Root CA")
	d := secretly(tkg.Encode(ca.PEM(), 2))
	d.Way, d.Name, d.Change.Until = tkg.WayTrust, "corp", started
	for name, c := range map[string]struct {
		reason  string
		created time.Time
		want    ID
	}{
		"older":   {reason: "made before", created: before, want: FileStale},
		"younger": {reason: "made since", created: started.Add(time.Second), want: FileOther},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, got := newView(nodelook.Look{Files: []nodelook.File{goFile(photon, old.PEM())}}).judge(declarations(d)[0], c.created)
			if len(got) != 1 || got[0].ID != c.want || got[0].Remedy != RollNode || c.want == FileStale && !strings.Contains(got[0].Text, "the Secret s was changed") {
				t.Errorf("%s: got %+v", c.reason, got)
			}
		})
	}
}

// In a mixed fleet the value may be wrong and a node older than it: both are told.
func TestOlderThanWrong(t *testing.T) {
	t.Parallel()
	d := secretly(tkg.Encode(registrytest.NewRoot(t, "Corp Root CA").PEM(), 1))
	d.Change.Until = started
	for name, c := range map[string]struct {
		reason  string
		created time.Time
		older   bool
	}{
		"older":   {reason: "it never read that value", created: before, older: true},
		"younger": {reason: "it did", created: started.Add(time.Second)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, got := newView(nodelook.Look{}).judge(declarations(d)[0], c.created)
			if len(got) != 1 || got[0].ID != FileUnderEncoded || got[0].Remedy != FixEncoding || strings.Contains(got[0].Text, "before that was changed on") != c.older {
				t.Errorf("%s: got %+v", c.reason, got)
			}
		})
	}
}

func TestToCompare(t *testing.T) {
	t.Parallel()
	at := func(d tkg.Declared, absent tkg.Absent) tkg.Declared { d.Absent = absent; return d }
	both := as("a", "b")
	foreign := both[1]
	foreign.Conflicting = true
	cases := map[string]struct {
		reason  string
		list    []tkg.Declared
		want    []string
		others  int
		warning string
	}{
		"order":      {reason: "the cluster's own comes first, as it is told first", list: []tkg.Declared{both[1], both[0]}, want: []string{"a", "b"}},
		"conflict":   {reason: "whether nodes get it is not known: they are not held to it", list: []tkg.Declared{foreign}, others: 1},
		"unread":     {reason: "an editor may still be told of the rest", list: []tkg.Declared{at(secretly("x"), tkg.AbsentUnread), both[0]}, want: []string{"a"}, warning: "may not be read"},
		"no Secret":  {reason: "nothing to compare with", list: []tkg.Declared{at(secretly(""), tkg.AbsentSecret)}, warning: "is not there: nodes that need it do not come up"},
		"no key":     {reason: "nothing to compare with", list: []tkg.Declared{at(secretly(""), tkg.AbsentKey)}, warning: "is not there"},
		"everything": {reason: "nothing is declared"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list, others, warnings := toCompare(c.list)
			var got []string
			for _, d := range list {
				got = append(got, d.Data)
			}
			if c.others != len(others) {
				t.Errorf("%s: %d others, want %d", c.reason, len(others), c.others)
			}
			if diff := cmp.Diff(c.want, got); diff != "" || !strings.Contains(strings.Join(warnings, "\n"), c.warning) || c.warning == "" && warnings != nil {
				t.Errorf("%s: -want, +got:\n%s\nwarnings %q, want %q", c.reason, diff, warnings, c.warning)
			}
		})
	}
	twice := declarations(secretly("x"), secretly("x"), tkg.Declared{Path: "spec.x[0].caCert.content", Way: tkg.WayOSConfiguration, Data: "y"})
	if len(twice) != 2 || len(twice[0].values) != 1 || twice[1].name != "spec.x[0].caCert.content" {
		t.Errorf("a key that is named twice is one, and what stands in the Cluster is named by its field: %+v", twice)
	}
}

// A machine that is no node is told as such, whether it answers or not.
func TestUnjoined(t *testing.T) {
	t.Parallel()
	text := registrytest.NewRoot(t, "Corp Root CA").PEM()
	right, wrong := declarations(secretly(tkg.Encode(text, 2))), declarations(secretly(tkg.Encode(text, 1)))
	cases := map[string]struct {
		reason string
		node   tkg.Node
		wanted []declaration
		err    error
		want   Remedy
		bad    bool
		text   string
		ok     bool
	}{
		"young":        {reason: "it may still come up", node: tkg.Node{Name: "a", Created: started.Add(-time.Minute)}, wanted: right, want: None, text: "1m0s after it was made; that may yet come"},
		"old":          {reason: "a roll waits for it", node: tkg.Node{Name: "a", Created: started.Add(-time.Hour)}, wanted: right, want: None, bad: true, text: "a roll waits for it"},
		"no time":      {reason: "nobody says that it is young", node: tkg.Node{Name: "a"}, wanted: right, want: None, bad: true},
		"wedged":       {reason: "the stored value says why, however young it is", node: tkg.Node{Name: "a", Created: started}, wanted: wrong, want: FixEncoding, bad: true, text: "1 layer of base64, this place wants 2"},
		"silent":       {reason: "the reason stands beside the silence", node: tkg.Node{Name: "a", Created: started}, wanted: wrong, err: errors.New("no route"), want: FixEncoding, bad: true},
		"controlplane": {reason: "a roll begins there; what the workers hold is another matter", node: tkg.Node{Name: "a", ControlPlane: true}, wanted: right, want: None, bad: true, text: "of the control plane", ok: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, evidence := question{wanted: c.wanted, now: started}.conclude([]tkg.Node{c.node}, []answer{{err: c.err}})
			var got []finding
			for _, f := range out.Nodes[0].Findings {
				known(t, f)
				if f.ID == NotJoined {
					got = append(got, f)
				}
			}
			if len(got) != 1 || got[0].Remedy != c.want || got[0].Bad != c.bad || !strings.Contains(got[0].Text, c.text) || out.OK != c.ok {
				t.Errorf("%s: ok %v, %+v", c.reason, out.OK, out.Nodes[0])
			}
			told := false
			for _, e := range evidence {
				told = told || e.Check == string(NotJoined) && (e.Verdict == plugins.Bad) == c.bad
			}
			if text := summary(out, 1, false); !told || !strings.HasSuffix(text, "; 1 of all have not joined the cluster") {
				t.Errorf("%s: summary %q, evidence %+v", c.reason, text, evidence)
			}
		})
	}
	if out, _ := (question{now: started}).conclude([]tkg.Node{{Name: "a", Joined: true}}, []answer{{}}); out.Nodes[0].Findings == nil || len(out.Nodes[0].Findings) != 0 {
		t.Errorf("a node has joined: %+v", out.Nodes[0].Findings)
	}
}

// Where the sources differ on whether TkgServiceConfiguration reaches a cluster, what its nodes hold is shown.
func TestObserved(t *testing.T) {
	t.Parallel()
	a, b := registrytest.NewRoot(t, "A"), registrytest.NewRoot(t, "B")
	declared := func(names ...string) (out []declaration) {
		for _, name := range names {
			ca := map[string][]byte{"a": a.PEM(), "b": b.PEM()}[name[:1]]
			out = append(out, declarations(tkg.Declared{Name: name, Data: tkg.Encode(ca, 1), Layers: 1})...)
		}
		return out
	}
	cases := map[string]struct {
		reason string
		others []declaration
		want   string
	}{
		"none":  {reason: "nothing to tell"},
		"all":   {reason: "it reaches them", others: declared("a1", "a2"), want: "it trusts all that TkgServiceConfiguration declares: a1, a2"},
		"no":    {reason: "it does not", others: declared("b"), want: "it trusts nothing of what TkgServiceConfiguration declares: b"},
		"some":  {reason: "whatever made it so", others: declared("a", "b"), want: "of what TkgServiceConfiguration declares it trusts a, and not b"},
		"seven": {reason: "bounded", others: declared("b1", "b2", "b3", "b4", "b5", "b6", "b7"), want: "it trusts nothing of what TkgServiceConfiguration declares: b1, b2, b3, b4, b5 and 2 more"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := question{others: c.others, now: started}
			out, evidence := q.conclude([]tkg.Node{{Name: "n", Joined: true}}, []answer{{look: nodelook.Look{Files: []nodelook.File{goFile(bundled, a.PEM())}}}})
			facts := evidence[len(evidence)-1].Text
			if !out.OK || !strings.Contains(facts, c.want) || c.want == "" && strings.Contains(facts, "TkgServiceConfiguration") {
				t.Errorf("%s: ok %v, facts %q, want %q", c.reason, out.OK, facts, c.want)
			}
		})
	}
}

// Thousands of declared CAs are looked for on a node in no time that anybody notices.
func TestManyDeclared(t *testing.T) {
	t.Parallel()
	ca := registrytest.NewRoot(t, "Corp Root CA")
	value := tkg.Encode(ca.PEM(), 1)
	var list []tkg.Declared
	for i := range 1000 {
		list = append(list, tkg.Declared{Name: fmt.Sprintf("c%d", i), Data: value, Layers: 1, Way: tkg.WayTKC})
	}
	out, _ := question{wanted: declarations(list...), now: started}.conclude([]tkg.Node{{Name: "a", Joined: true}}, []answer{{look: nodelook.Look{Files: []nodelook.File{goFile(bundled, ca.PEM())}}}})
	if !out.OK || len(out.Nodes[0].Files) != 1000 {
		t.Errorf("ok %v, %d files", out.OK, len(out.Nodes[0].Files))
	}
}
