package probe

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

// seen is what a worker with these roots sees.
func seen(chain []*x509.Certificate, roots *certs.Roots, candidate ...*x509.Certificate) nodelook.Proof {
	now := time.Now()
	p := nodelook.Proof{Chain: chain, Own: certs.Judge(chain, registrytest.Host, roots, now)}
	if len(candidate) > 0 {
		p.With = certs.Judge(chain, registrytest.Host, roots.With(candidate...), now)
	}
	p.Look.Time = now
	return p
}

func TestConclude(t *testing.T) {
	t.Parallel()
	root, other := registrytest.NewRoot(t, "Corp Root CA"), registrytest.NewRoot(t, "Other CA")
	inter := root.Intermediate(t, "Corp Issuing CA")
	leaf := inter.Leaf(t, nil).Cert
	full, alone := []*x509.Certificate{leaf, inter.Cert}, []*x509.Certificate{leaf}
	none := certs.NewRoots(nil)
	trusting := none.With(root.Cert)
	dead := nodelook.Proof{Own: certs.Verdict{Class: certs.ClassRefused, Error: "dial tcp: connect: connection refused"}}
	dead.With = dead.Own
	nodes := []tkg.Node{{Name: "a", Address: "10.0.0.1"}, {Name: "b", Address: "10.0.0.2"}, {Name: "c", Address: "10.0.0.3"}}
	type answer struct {
		Trusted, Works bool
		Class, Missing string
	}
	cases := map[string]struct {
		reason  string
		ca      string
		proofs  []nodelook.Proof
		want    answer
		summary string
	}{
		"AllTrust":       {reason: "nothing to mend", proofs: []nodelook.Proof{seen(full, trusting), seen(full, trusting)}, want: answer{Trusted: true, Class: "ok"}, summary: "all 2 workers trust reg.lab"},
		"Cure":           {reason: "the candidate is the cure on each", ca: "/ca.pem", proofs: []nodelook.Proof{seen(full, none, root.Cert), seen(full, none, root.Cert)}, want: answer{Works: true, Class: "untrusted-root"}, summary: "all would with the candidate CA"},
		"MixedFleet":     {reason: "one worker is new already", ca: "/ca.pem", proofs: []nodelook.Proof{seen(full, trusting, root.Cert), seen(full, none, root.Cert)}, want: answer{Works: true, Class: "untrusted-root"}, summary: "1 of 2 workers do not accept"},
		"WrongCandidate": {reason: "another CA", ca: "/ca.pem", proofs: []nodelook.Proof{seen(full, none, other.Cert)}, want: answer{Class: "untrusted-root", Missing: "Corp Root CA"}, summary: "the candidate CA helps 0 of them"},
		"Intermediate":   {reason: "the missing certificate is named", ca: "/ca.pem", proofs: []nodelook.Proof{seen(alone, none, root.Cert)}, want: answer{Class: "missing-issuer", Missing: "Corp Issuing CA"}, summary: "helps 0"},
		"OneUnreachable": {reason: "most workers count", ca: "/ca.pem", proofs: []nodelook.Proof{dead, seen(full, none, root.Cert), seen(full, none, root.Cert)}, want: answer{Class: "untrusted-root"}, summary: "helps 2 of them"},
		"NoCandidate":    {reason: "without a candidate nothing is proved", proofs: []nodelook.Proof{seen(full, none)}, want: answer{Class: "untrusted-root", Missing: "Corp Root CA"}, summary: "1 of 1 workers do not accept reg.lab: untrusted-root"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, evidence := conclude(question{input: input{Registry: registrytest.Host, CA: c.ca}, Now: time.Now()}, nodes[:len(c.proofs)], c.proofs)
			missing := out.Missing
			if c.want.Missing != "" && strings.Contains(missing, c.want.Missing) {
				missing = c.want.Missing
			}
			if diff := cmp.Diff(c.want, answer{out.Trusted, out.CandidateWorks, out.Class, missing}); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", c.reason, diff)
			}
			if got := summary(out, c.ca != ""); !strings.Contains(got, c.summary) {
				t.Errorf("%s: want %q in the summary, got %q", c.reason, c.summary, got)
			}
			for _, e := range evidence {
				if e.Subject == "" || e.Check == "" || e.Text == "" || e.Verdict == "" || len(e.Data) > 64<<10 {
					t.Errorf("%s: incomplete evidence %+v", c.reason, e)
				}
			}
		})
	}
}

// TestVerdicts: the step and the command give the same verdicts.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	root, old := registrytest.NewRoot(t, "Corp Root CA"), registrytest.NewRoot(t, "Corp Root CA")
	leaf := root.Leaf(t, nil).Cert
	other := root.Leaf(t, func(c *x509.Certificate) { c.DNSNames = []string{"other.lab"} }).Cert
	none := certs.NewRoots(nil)
	file := func(data []byte) func(*nodelook.Proof) {
		return func(p *nodelook.Proof) {
			p.Look.Files = []nodelook.File{{Path: "/etc/ssl/certs/tkg-a.pem", Data: data, Go: true}}
		}
	}
	type answer struct {
		Verdict, Remedy string
		Trust           bool
		Also            []string
	}
	cases := map[string]struct {
		reason string
		proof  nodelook.Proof
		change func(*nodelook.Proof)
		want   answer
	}{
		"Trusted": {reason: "its own roots", proof: seen([]*x509.Certificate{leaf}, none.With(root.Cert)), change: file(root.PEM()), want: answer{"trusted", "none", false, []string{}}},
		"OldCA":   {reason: "B06", proof: seen([]*x509.Certificate{leaf}, none.With(old.Cert)), change: file(old.PEM()), want: answer{"same-name-other-key", "replace-ca", true, []string{}}},
		"BOM":     {reason: "I04 on a node", proof: seen([]*x509.Certificate{leaf}, none), change: file(append([]byte("\xef\xbb\xbf"), root.PEM()...)), want: answer{"trust-file-bom", "fix-encoding", true, []string{}}},
		"Two":     {reason: "name and trust", proof: seen([]*x509.Certificate{other}, none.With(old.Cert)), change: file(old.PEM()), want: answer{"name-mismatch", "fix-name", false, []string{"same-name-other-key"}}},
		"Refused": {reason: "no chain", proof: nodelook.Proof{Own: certs.Verdict{Class: certs.ClassRefused, Error: "dial tcp: connection refused"}}, want: answer{"refused", "fix-network", false, []string{}}},
		"Alert": {
			reason: "no chain", proof: nodelook.Proof{Own: certs.Verdict{Class: certs.ClassAlert, Error: "remote error: tls: unrecognized name"}},
			want: answer{"name-refused", "fix-name", false, []string{}},
		},
		"OtherKey": {
			reason: "a chain and a broken handshake", proof: nodelook.Proof{
				Chain: []*x509.Certificate{leaf},
				Own:   certs.Verdict{Class: certs.ClassKeyMismatch, Error: "tls: invalid signature by the server certificate: ECDSA verification failure"},
			}, change: file(root.PEM()), want: answer{"key-mismatch", "fix-server-certificate", false, []string{}},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.change != nil {
				c.change(&c.proof)
			}
			out, _ := conclude(question{input: input{Registry: registrytest.Host}, Now: time.Now()}, []tkg.Node{{Name: "a"}}, []nodelook.Proof{c.proof})
			n := out.Nodes[0]
			if diff := cmp.Diff(c.want, answer{n.Verdict, n.Remedy, n.FixableByTrust, n.Also}); diff != "" {
				t.Errorf("%s: -want, +got:\n%s\n%s", c.reason, diff, n.Note)
			}
		})
	}
}

func TestDisagreement(t *testing.T) {
	t.Parallel()
	chain := []*x509.Certificate{registrytest.NewRoot(t, "x").Cert}
	cases := map[string]struct {
		reason string
		own    bool
		ssl    nodelook.OpenSSL
		want   string
	}{
		"BothGood":   {reason: "they agree", own: true, ssl: nodelook.OpenSSL{Available: true}},
		"BothBad":    {reason: "they agree", ssl: nodelook.OpenSSL{Available: true, Code: 19}},
		"FalseCalm":  {reason: "D01: no host name is checked", ssl: nodelook.OpenSSL{Available: true}, want: "says ok"},
		"FalseAlarm": {reason: "K02", own: true, ssl: nodelook.OpenSSL{Available: true, Code: 2, Text: "unable to get issuer certificate"}, want: "says 2"},
		"Absent":     {reason: "no openssl, no word"},
		"NoShake":    {reason: "it had no handshake", own: true, ssl: nodelook.OpenSSL{Available: true, Code: -1}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := nodelook.Proof{Chain: chain, Own: certs.Verdict{OK: c.own}, Look: nodelook.Look{OpenSSL: c.ssl}}
			if got := disagreement(p); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
				t.Errorf("%s: want %q, got %q", c.reason, c.want, got)
			}
		})
	}
}

func TestEvidenceVerdicts(t *testing.T) {
	t.Parallel()
	root := registrytest.NewRoot(t, "Corp Root CA")
	p := seen([]*x509.Certificate{root.Leaf(t, nil).Cert}, certs.NewRoots(nil), root.Cert)
	p.Look.OpenSSL = nodelook.OpenSSL{Available: true, Code: 21, Text: "unable to verify the first certificate"}
	_, evidence := conclude(question{input: input{Registry: registrytest.Host, CA: "/ca.pem"}, Now: time.Now()}, []tkg.Node{{Name: "a"}}, []nodelook.Proof{p})
	got := map[string]plugins.Verdict{}
	for _, e := range evidence {
		got[e.Check] = e.Verdict
	}
	want := map[string]plugins.Verdict{"handshake": plugins.Bad, "handshake-with-candidate": plugins.OK, "openssl": plugins.Info}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}
