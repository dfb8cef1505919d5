package ca_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/lab/ca"
)

func TestCorporate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
	pki, err := ca.NewCorporate(now)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := pki.Server(ca.Good, "registry.lab")
	if err != nil {
		t.Fatal(err)
	}
	sent := parse(t, pair.Cert)
	if diff := cmp.Diff(2, len(sent)); diff != "" {
		t.Fatalf("certificates that the registry sends (-want, +got):\n%s", diff)
	}
	if _, err := tls.X509KeyPair(pair.Cert, pair.Key); err != nil {
		t.Errorf("the key does not fit: %v", err)
	}
	cases := map[string]struct {
		reason string
		roots  [][]byte
		want   string
	}{
		"Root":         {"the root that signs it all", [][]byte{pki.Root.PEM()}, ""},
		"Intermediate": {"Go takes an intermediate for an anchor", [][]byte{pki.Intermediate.PEM()}, ""},
		"Nothing":      {"no root", nil, "x509: certificate signed by unknown authority"},
		"Unrelated": {
			"the CAs of other registries do not help",
			[][]byte{pki.CorpA.PEM(), pki.CorpB.PEM(), pki.OtherRoot.PEM(), pki.Public.PEM()},
			"x509: certificate signed by unknown authority",
		},
		"OldRoot": {
			"a root of the same subject with another key shows in Go's text",
			[][]byte{pki.OldRoot.PEM()},
			`x509: certificate signed by unknown authority (possibly because of "crypto/rsa: verification error" while trying to verify candidate authority certificate "` + ca.RootName + `")`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
			for _, data := range tc.roots {
				roots.AppendCertsFromPEM(data)
			}
			intermediates.AddCert(sent[1])
			_, err := sent[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, DNSName: "registry.lab", CurrentTime: now})
			got := ""
			if err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestFilesNameEachCA(t *testing.T) {
	t.Parallel()
	pki, err := ca.NewCorporate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for name, data := range pki.Files() {
		got[name] = parse(t, data)[0].Subject.CommonName
	}
	want := map[string]string{
		"root.pem": ca.RootName, "old-root.pem": ca.RootName, "intermediate.pem": "Laboratory Corp Issuing CA 1",
		"other-root.pem": "Other Root CA", "corp-a.pem": "Corp A Root CA", "corp-b.pem": "Corp B Root CA",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("subjects by file (-want, +got):\n%s", diff)
	}
}

func parse(t *testing.T, data []byte) []*x509.Certificate {
	t.Helper()
	var out []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		t.Fatal("no certificate")
	}
	return out
}
