package recreate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/probe"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/internal/remedy"
	"github.com/tkgfix/tkgfix/plugins/plugintest"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	plugintest.Conformance(t, New(sdk.Env{}), plugintest.Cases{})
}

func makeCA(t *testing.T, name string) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2044, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTrustHolds(t *testing.T) {
	t.Parallel()
	root, oldRoot, other := makeCA(t, "root"), makeCA(t, "root"), makeCA(t, "other")
	entry := func(layers int, list ...*x509.Certificate) tkg.TrustEntry {
		return tkg.TrustEntry{Name: "n", Data: tkg.Encode(certs.Normalize(list), layers)}
	}
	cases := map[string]struct {
		reason string
		trust  []tkg.TrustEntry
		want   bool
	}{
		"there":         {reason: "encoded once, beside another", trust: []tkg.TrustEntry{entry(1, other), entry(1, root, other)}, want: true},
		"in two":        {reason: "the candidate's certificates may be in several entries", trust: []tkg.TrustEntry{entry(1, root), entry(1, other)}, want: true},
		"one of two":    {reason: "one of two is not enough", trust: []tkg.TrustEntry{entry(1, root)}},
		"twice encoded": {reason: "nodes would get text that is no certificate", trust: []tkg.TrustEntry{entry(2, root, other)}},
		"not encoded":   {reason: "nodes would get garbage", trust: []tkg.TrustEntry{entry(0, root, other)}},
		"old key":       {reason: "the same subject with another key is not the candidate", trust: []tkg.TrustEntry{entry(1, oldRoot, other)}},
		"empty":         {reason: "an empty list holds nothing"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			candidate := []*x509.Certificate{root, other}
			if diff := cmp.Diff(tc.want, trustHolds(tc.trust, candidate)); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.want, len(trustBlocks(tc.trust, candidate)) == 0); diff != "" {
				t.Errorf("%s: blocks: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestProofBlocks(t *testing.T) {
	t.Parallel()
	answer := func(accepted, cured bool, id, text, missing string) probe.Report {
		r := probe.Report{Accepted: accepted, Verdict: probe.VerdictOf(id), GoError: text, WithCandidate: &probe.Candidate{Accepted: cured}}
		if !cured {
			r.WithCandidate.GoError = text
		}
		if missing != "" {
			r.Missing = &probe.Missing{Name: missing}
		}
		return r
	}
	good, bad := answer(true, true, "trusted", "", ""), answer(false, true, "untrusted-root", "x509: unknown authority", "")
	wrong := answer(false, false, "missing-issuer", "x509: unknown authority", "CN=Lab Issuing CA (issuer of CN=registry)")
	reset := answer(false, false, "reset", "connection reset", "")
	stale := answer(false, true, "runtime-older", "x509: unknown authority", "")
	see := func(r probe.Report, names ...string) []remedy.Sight {
		var out []remedy.Sight
		for _, n := range names {
			out = append(out, sightOf(tkg.Node{Name: n}, r))
		}
		return out
	}
	cases := map[string]struct {
		reason string
		sights []remedy.Sight
		want   []plugins.Block
	}{
		"proved": {reason: "every worker would trust it", sights: see(bad, "a", "b")},
		"refuted": {
			reason: "workers that say the same share a block, which names what is missing", sights: see(wrong, "a", "b"),
			want: []plugins.Block{{
				Reason: "as seen from a, b, the candidate CA does not make the certificate of r:443 valid: x509: unknown authority",
				Hint:   "give a CA file with CN=Lab Issuing CA (issuer of CN=registry)",
			}},
		},
		"one worker": {
			reason: "one worker that sees something else is enough to stop", sights: append(see(bad, "a"), see(reset, "b")...),
			want: []plugins.Block{{
				Reason: "as seen from b, the candidate CA does not make the certificate of r:443 valid: connection reset",
				Hint:   "look for a firewall or IPS that resets the connection; no certificate is at fault; see docs/checks.md#reset",
			}},
		},
		"stale": {
			reason: "what a restart mends is no ground for a new cluster", sights: append(see(bad, "a"), see(stale, "b")...),
			want: []plugins.Block{{
				Reason: "as seen from b, the trust is right already, and containerd has not read it (runtime-older): new nodes would bring nothing but the restart",
				Hint:   "restart containerd on the node (systemctl restart containerd): it reads the trust once, before its first pull",
			}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, proofBlocks("r:443", tc.sights)); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
	if remedy.AllTrust(nil) {
		t.Error("a cluster without workers proves nothing")
	}
	if !remedy.AllTrust(see(good, "a", "b")) || remedy.AllTrust(append(see(good, "a"), see(bad, "b")...)) {
		t.Error("nothing is to do exactly if each worker trusts the registry")
	}
	if w := mixedWarning(append(see(good, "a"), see(bad, "b")...)); len(w) != 1 || !strings.HasPrefix(w[0], "1 of 2 workers") {
		t.Errorf("a roll that is under way is not told: %v", w)
	}
}
