package ca_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"strings"
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
		"expired-root.pem": ca.RootName, "partner-root.pem": "Partner Root CA", "proxy-root.pem": "Corp Proxy CA",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("subjects by file (-want, +got):\n%s", diff)
	}
}

// TestServer makes a real handshake with each kind of certificate, by a client that trusts the registry's root.
func TestServer(t *testing.T) {
	t.Parallel()
	pki, err := ca.NewCorporate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cases := map[ca.ServerKind]struct{ reason, want string }{
		ca.Good:       {"nothing is wrong", ""},
		ca.Expired:    {"it ran out", "certificate has expired or is not yet valid"},
		ca.OtherName:  {"another name", "certificate is valid for harbor.corp.lab, not registry.lab"},
		ca.NoSAN:      {"no name but in the subject", "certificate relies on legacy Common Name field"},
		ca.Bare:       {"no intermediate is sent", "certificate signed by unknown authority"},
		ca.SelfSigned: {"issued by itself", "certificate signed by unknown authority"},
		ca.Default:    {"an ingress controller's", "certificate is valid for ingress.local, not registry.lab"},
		ca.SHA1:       {"signed with SHA-1", "insecure algorithm SHA1-RSA"},
		ca.OtherKey:   {"another key", "invalid signature by the server certificate"},
		ca.ClientOnly: {"for clients", "certificate specifies an incompatible key usage"},
		ca.Foreign:    {"another CA", "certificate signed by unknown authority"},
		"none":        {"there is no such kind", "no kind of server certificate"},
	}
	for kind, tc := range cases {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			got := ""
			pair, err := pki.Server(kind, "registry.lab")
			if err == nil {
				err = handshake(t, pair, pki.Root.PEM())
			}
			if err != nil {
				got = err.Error()
			}
			if !strings.Contains(got, tc.want) || (got == "") != (tc.want == "") {
				t.Errorf("%s: want %q, got %q", tc.reason, tc.want, got)
			}
		})
	}
}

// handshake connects to a server of the pair.
func handshake(t *testing.T, pair ca.Pair, root []byte) error {
	t.Helper()
	certificate, err := pair.TLS()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.Copy(io.Discard, conn)
	}()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(root)
	conn, err := tls.Dial("tcp", listener.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "registry.lab", MinVersion: tls.VersionTLS12})
	if err != nil {
		return err
	}
	return conn.Close()
}

func TestPairTLSRefuses(t *testing.T) {
	t.Parallel()
	for name, pair := range map[string]ca.Pair{"Nothing": {}, "NoKey": {Cert: []byte("x")}, "BadKey": {Key: []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")}} {
		if _, err := pair.TLS(); err == nil {
			t.Errorf("%s: taken", name)
		}
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
