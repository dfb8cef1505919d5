package probe

import (
	"crypto/x509"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/handshake/registrytest"
	"github.com/tkgfix/tkgfix/internal/nodelook"
	"github.com/tkgfix/tkgfix/internal/probe"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/plugintest"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	plugintest.Conformance(t, New(sdk.Env{}), plugintest.Cases{})
}

// sees is what a worker sees that is shown a chain.
func sees(t *testing.T, chain []*x509.Certificate, trust []byte, candidate ...*x509.Certificate) seen {
	t.Helper()
	return asks(t, probe.Request{
		Shown: chain, Candidate: candidate, Trust: probe.TrustOf(map[string][]byte{"/etc/ssl/certs/tkg-a.pem": trust}),
		Said: &probe.Said{Text: "-----BEGIN CERTIFICATE-----\nNew, TLSv1.3, Cipher is TLS_AES_128_GCM_SHA256\nVerify return code: 21 (unable to verify the first certificate)\n"},
	})
}

// asks is what a worker says to a request.
func asks(t *testing.T, req probe.Request) seen {
	t.Helper()
	req.Host, req.Port, req.From, req.Now = registrytest.Host, "443", "node/a", time.Now
	report, err := probe.Run(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return seen{node: tkg.Node{Name: "a", Address: "10.0.0.1"}, look: nodelook.Look{Time: time.Now()}, report: report}
}

// dead is a worker on which nothing answers.
func dead(t *testing.T, candidate ...*x509.Certificate) seen {
	t.Helper()
	return asks(t, probe.Request{Connect: map[string]string{registrytest.Host: "127.0.0.1:1"}, Candidate: candidate})
}

func TestConclude(t *testing.T) {
	t.Parallel()
	root, other := registrytest.NewRoot(t, "Corp Root CA"), registrytest.NewRoot(t, "Other CA")
	inter := root.Intermediate(t, "Corp Issuing CA")
	leaf := inter.Leaf(t, nil).Cert
	full, alone := []*x509.Certificate{leaf, inter.Cert}, []*x509.Certificate{leaf}
	type answer struct {
		Trusted, Works   bool
		Verdict, Missing string
	}
	bad := func() seen { return sees(t, full, other.PEM(), root.Cert) }
	cases := map[string]struct {
		reason  string
		ca      string
		seen    []seen
		want    answer
		summary string
	}{
		"AllTrust":       {reason: "nothing to mend", seen: []seen{sees(t, full, root.PEM()), sees(t, full, root.PEM())}, want: answer{Trusted: true, Verdict: "trusted"}, summary: "all 2 workers trust reg.lab"},
		"Cure":           {reason: "the candidate is the cure on each", ca: "/ca.pem", seen: []seen{bad(), bad()}, want: answer{Works: true, Verdict: "untrusted-root", Missing: "Corp Root CA"}, summary: "all would with the candidate CA"},
		"MixedFleet":     {reason: "one worker is new already", ca: "/ca.pem", seen: []seen{sees(t, full, root.PEM(), root.Cert), bad()}, want: answer{Works: true, Verdict: "untrusted-root", Missing: "Corp Root CA"}, summary: "1 of 2 workers do not accept"},
		"WrongCandidate": {reason: "another CA", ca: "/ca.pem", seen: []seen{sees(t, full, other.PEM(), other.Cert)}, want: answer{Verdict: "untrusted-root", Missing: "Corp Root CA"}, summary: "the candidate CA helps 0 of them"},
		"Intermediate":   {reason: "the missing certificate is named", ca: "/ca.pem", seen: []seen{sees(t, alone, other.PEM(), root.Cert)}, want: answer{Verdict: "missing-intermediate", Missing: "Corp Issuing CA"}, summary: "helps 0"},
		"OneUnreachable": {reason: "most workers count", ca: "/ca.pem", seen: []seen{dead(t, root.Cert), bad(), bad()}, want: answer{Verdict: "untrusted-root", Missing: "Corp Root CA"}, summary: "helps 2 of them"},
		"NoCandidate":    {reason: "without a candidate nothing is proved", seen: []seen{sees(t, full, other.PEM())}, want: answer{Verdict: "untrusted-root", Missing: "Corp Root CA"}, summary: "1 of 1 workers do not accept reg.lab: untrusted-root"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, evidence := conclude(input{Registry: registrytest.Host, CA: c.ca}, c.seen)
			missing := out.Missing
			if c.want.Missing != "" && strings.Contains(missing, c.want.Missing) {
				missing = c.want.Missing
			}
			if diff := cmp.Diff(c.want, answer{out.Trusted, out.CandidateWorks, out.Verdict, missing}); diff != "" {
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

// TestVerdicts: the step gives the verdicts of the command.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	root, old := registrytest.NewRoot(t, "Corp Root CA"), registrytest.NewRoot(t, "Corp Root CA")
	leaf := []*x509.Certificate{root.Leaf(t, nil).Cert}
	other := []*x509.Certificate{root.Leaf(t, func(c *x509.Certificate) { c.DNSNames = []string{"other.lab"} }).Cert}
	bom := append([]byte("\xef\xbb\xbf"), root.PEM()...)
	type answer struct {
		Verdict, Remedy string
		Trust           bool
		Also            []string
	}
	cases := map[string]struct {
		reason string
		seen   seen
		want   answer
	}{
		"Trusted": {"its own roots", sees(t, leaf, root.PEM()), answer{"trusted", "none", false, []string{}}},
		"OldCA":   {"B06", sees(t, leaf, old.PEM()), answer{"same-name-other-key", "replace-ca", true, []string{}}},
		"BOM":     {"I04 on a node", sees(t, leaf, bom), answer{"trust-file-bom", "fix-encoding", true, []string{}}},
		"Two":     {"name and trust", sees(t, other, old.PEM()), answer{"name-mismatch", "fix-name", false, []string{"same-name-other-key"}}},
		"Refused": {"no chain", dead(t), answer{"refused", "fix-network", false, []string{}}},
		"Stale": {"S01: the daemon is older than the file", asks(t, probe.Request{
			Shown: leaf, Trust: probe.TrustOf(map[string][]byte{"a": root.PEM()}), Loaded: certs.NewRoots(nil),
		}), answer{"runtime-older", "restart-runtime", false, []string{}}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, _ := conclude(input{Registry: registrytest.Host}, []seen{c.seen})
			n := out.Nodes[0]
			if diff := cmp.Diff(c.want, answer{n.Verdict, n.Remedy, n.FixableByTrust, n.Also}); diff != "" {
				t.Errorf("%s: -want, +got:\n%s\n%s", c.reason, diff, n.Note)
			}
			if n.From != "node/a" {
				t.Errorf("%s: from %q", c.reason, n.From)
			}
		})
	}
}

func TestEvidence(t *testing.T) {
	t.Parallel()
	root := registrytest.NewRoot(t, "Corp Root CA")
	leaf := root.Leaf(t, nil).Cert
	_, evidence := conclude(input{Registry: registrytest.Host, CA: "/ca.pem"}, []seen{sees(t, []*x509.Certificate{leaf}, nil, root.Cert)})
	got := map[string]plugins.Verdict{}
	for _, e := range evidence {
		got[e.Check] = e.Verdict
	}
	want := map[string]plugins.Verdict{"handshake": plugins.Bad, "handshake-with-candidate": plugins.OK, "openssl": plugins.Info}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
	var kept struct{ PEM string }
	if err := json.Unmarshal(evidence[0].Data, &kept); err != nil || kept.PEM != string(registrytest.PEM(leaf)) {
		t.Errorf("the chain is not kept byte for byte: %v\n%s", err, kept.PEM)
	}
}

// TestDisagreement: where openssl and Go differ, the note says why.
func TestDisagreement(t *testing.T) {
	t.Parallel()
	root := registrytest.NewRoot(t, "Corp Root CA")
	s := sees(t, []*x509.Certificate{root.Leaf(t, nil).Cert}, root.PEM())
	out, _ := conclude(input{Registry: registrytest.Host}, []seen{s})
	if n := out.Nodes[0]; n.OpenSSL.Code != 21 || !strings.Contains(n.Note, "openssl says 21") {
		t.Errorf("openssl %+v, note %q", n.OpenSSL, n.Note)
	}
}
