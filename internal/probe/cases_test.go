package probe_test

import (
	"encoding/json"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/probe"
)

// known is a case of testdata/tls-cases.json.
type known struct {
	ID       string `json:"id"`
	Title    string `json:"title"`
	Remedy   string `json:"remedy"`
	Verdicts struct {
		Go      bool `json:"go"`
		OpenSSL bool `json:"openssl_plain"`
	} `json:"verdicts"`
}

func knownCases(t *testing.T) map[string]known {
	t.Helper()
	var list []known
	if err := json.Unmarshal(read(t, "testdata/tls-cases.json"), &list); err != nil {
		t.Fatal(err)
	}
	out := map[string]known{}
	for _, c := range list {
		out[c.ID] = c
	}
	return out
}

// answer is what a case must come to.
type answer struct {
	Verdict  string
	Remedy   probe.Remedy
	Accepted bool
	Trust    bool
}

// golden is derived from the remedies of tls-cases.json.
func golden() map[string]answer {
	return map[string]answer{
		"A01": {"dns", probe.Network, false, false},
		"A02": {"refused", probe.Network, false, false},
		"A03": {"connect-timeout", probe.Network, false, false},
		"A04": {"handshake-timeout", probe.Network, false, false},
		"A05": {"closed", probe.Network, false, false},
		"A06": {"reset", probe.Network, false, false},
		"A08": {"plain-http", probe.Network, false, false},
		"A09": {"not-tls", probe.Network, false, false},
		"K01": {"trusted", probe.None, true, false},
		"K02": {"trusted-by-intermediate", probe.None, true, false},
		"K03": {"trusted-by-leaf", probe.None, true, false},
		"K04": {"trusted-self-signed", probe.None, true, false},
		"B01": {"self-signed", probe.ServerCert, false, false},
		"B02": {"untrusted-root", probe.AddCA, false, true},
		"B03": {"untrusted-root", probe.AddCA, false, true},
		"B04": {"missing-intermediate", probe.Chain, false, true},
		"B05": {"missing-intermediate", probe.Chain, false, true},
		"B06": {"same-name-other-key", probe.ReplaceCA, false, true},
		"B08": {"not-a-ca", probe.ReplaceCA, false, true},
		"B09": {"intermediate-not-a-ca", probe.ReissueCA, false, false},
		"B11": {"path-length", probe.ReissueCA, false, false},
		"B12": {"name-constraint", probe.ReissueCA, false, false},
		"B14": {"critical-extension", probe.ServerCert, false, false},
		"B15": {"trusted-unordered", probe.None, true, false},
		"C01": {"expired", probe.ServerCert, false, false},
		"C02": {"not-yet-valid", probe.Clock, false, false},
		"C04": {"expired-root", probe.ReplaceCA, false, true},
		"D01": {"name-mismatch", probe.Name, false, false},
		"D02": {"no-san", probe.ServerCert, false, false},
		"D03": {"address-not-named", probe.Name, false, false},
		"D06": {"no-san", probe.ServerCert, false, false},
		"D07": {"default-certificate", probe.Name, false, false},
		"D08": {"name-refused", probe.Name, false, false},
		"E01": {"key-usage", probe.ServerCert, false, false},
		"F01": {"weak-signature", probe.ServerCert, false, false},
		"F02": {"weak-signature", probe.ServerCert, false, false},
		"F03": {"weak-key", probe.ServerCert, false, false},
		"F04": {"trusted-weak-key", probe.None, true, false},
		"F05": {"unsupported-server-key", probe.ServerCert, false, false},
		"F07": {"unsupported-key", probe.ReissueCA, false, false},
		"F09": {"negative-serial", probe.ServerCert, false, false},
		"F11": {"duplicate-extension", probe.ServerCert, false, false},
		"F13": {"malformed-certificate", probe.ServerCert, false, false},
		"F14": {"bad-signature", probe.ServerCert, false, false},
		"F15": {"key-mismatch", probe.ServerCert, false, false},
		"F17": {"invalid-policies", probe.ServerCert, false, false},
		"G01": {"old-tls-version", probe.ServerTLS, false, false},
		"G03": {"no-common-cipher", probe.ServerTLS, false, false},
		"G05": {"client-certificate-required", probe.ClientCert, false, false},
		"G06": {"no-server-certificate", probe.ServerTLS, false, false},
		"G07": {"trusted", probe.None, true, false},
		"H01": {"trusted-revoked", probe.None, true, false},
		"P01": {"proxy-intercepts", probe.AddCA, false, true},
		"P02": {"proxy-unreachable", probe.Proxy, false, false},
		"P03": {"proxy-authentication", probe.Proxy, false, false},
		"P04": {"proxy-refuses", probe.Proxy, false, false},
		"T01": {"untrusted-root", probe.AddCA, true, true},
		"N01": {"unauthorized", probe.Credential, true, false},
		"N02": {"not-found", probe.Reference, true, false},
		"N04": {"rate-limited", probe.Wait, true, false},
		"N05": {"registry-error", probe.Registry, true, false},
		"M01": {"not-found", probe.Reference, true, false},
		"I01": {"trust-file-base64", probe.Encoding, false, true},
		"I02": {"trust-file-der", probe.Encoding, false, true},
		"I04": {"trust-file-bom", probe.Encoding, false, true},
		"I05": {"trusted", probe.None, true, false},
		"I06": {"trust-file-escaped-newlines", probe.Encoding, false, true},
		"I07": {"trust-file-glued", probe.Encoding, false, true},
		"I08": {"trusted", probe.None, true, false},
		"I09": {"trust-file-trusted-certificate", probe.Encoding, false, true},
		"I11": {"trust-file-headers", probe.Encoding, false, true},
		"I12": {"trust-file-truncated", probe.Encoding, false, true},
		"I14": {"trust-file-private-key", probe.Encoding, false, true},
		"I16": {"renewed-leaf", probe.ReplaceCA, false, true},
		"I17": {"trusted", probe.None, true, false},
		"I19": {"trust-file-dashes", probe.Encoding, false, true},
	}
}

// run probes a scene.
func run(t *testing.T, s scene) probe.Report {
	t.Helper()
	host, port := s.host, "443"
	if host == "" {
		host = name
	}
	if s.addr != "" {
		_, port, _ = net.SplitHostPort(s.addr)
	}
	connect := map[string]string{}
	if s.addr != "" {
		connect[host] = s.addr
	}
	for at, to := range s.connect {
		connect[at] = to
	}
	req := probe.Request{
		Host: host, Port: port, Connect: connect, Image: s.image, Now: time.Now, Timeout: s.timeout, OpenSSL: probe.FindOpenSSL(),
		Trust: trust(t, s),
	}
	if len(s.ca) > 0 {
		found, err := certs.ParseCandidate(s.ca)
		if err != nil {
			t.Fatal(err)
		}
		req.Candidate = found
	}
	if s.proxy != "" {
		u, err := url.Parse(s.proxy)
		if err != nil {
			t.Fatal(err)
		}
		req.Proxy = func(*url.URL) (*url.URL, error) { return u, nil }
	}
	if s.change != nil {
		s.change(&req)
	}
	got, err := probe.Run(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func trust(t *testing.T, s scene) probe.Trust {
	t.Helper()
	path := write(t, "roots.pem", s.roots)
	if s.dir != nil {
		path = t.TempDir()
		for file, data := range s.dir {
			if err := os.WriteFile(filepath.Join(path, file), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	out, err := probe.LoadTrust(path)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestCases makes each of the known cases on loopback and dials it.
func TestCases(t *testing.T) {
	t.Parallel()
	cases, makers, want := knownCases(t), makers(), golden()
	if len(cases) != 76 || len(makers) != len(cases) || len(want) != len(cases) {
		t.Fatalf("%d cases, %d that are made, %d answers", len(cases), len(makers), len(want))
	}
	for id, c := range cases {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			if makers[id] == nil || want[id].Verdict == "" {
				t.Fatalf("%s is not made or has no answer", c.Title)
			}
			s := makers[id](t)
			got := run(t, s)
			if diff := cmp.Diff(want[id], answer{got.ID, got.Remedy, got.Accepted, got.Verdict.Trust}); diff != "" {
				t.Errorf("%s (-want, +got):\n%s%s", c.Title, diff, got.Text())
			}
			wellFormed(t, got)
			if c.Verdicts.Go != got.Accepted {
				t.Errorf("%s: Go says %v in the table and %v here: %s", c.Title, c.Verdicts.Go, got.Accepted, got.GoError)
			}
			if len(s.ca) > 0 && (got.WithCandidate == nil || !got.WithCandidate.Accepted) {
				t.Errorf("%s: the candidate must mend it: %+v", c.Title, got.WithCandidate)
			}
			if !got.OpenSSL.Available || (c.Verdicts.Go == c.Verdicts.OpenSSL) != got.OpenSSL.Agrees {
				t.Errorf("%s: openssl agrees: %v in the table: %+v", c.Title, c.Verdicts.Go == c.Verdicts.OpenSSL, got.OpenSSL)
			}
		})
	}
}

// wellFormed checks what holds of every report.
func wellFormed(t *testing.T, r probe.Report) {
	t.Helper()
	if !strings.Contains(r.Message, "docs/checks.md#"+r.ID) {
		t.Errorf("the message does not lead to its section: %s", r.Message)
	}
	if r.OpenSSL.Agrees == (r.OpenSSL.Why != "") {
		t.Errorf("why they differ must be said exactly when they do: %+v", r.OpenSSL)
	}
	if !r.Accepted && r.GoError == "" {
		t.Error("it is not accepted, and there is no error")
	}
	if !r.Accepted && !r.Verdict.Trust && !strings.Contains(r.Message, "recreating the cluster will not help") {
		t.Errorf("it does not say that to recreate does not help: %s", r.Message)
	}
	if strings.Contains(r.Message+r.Text(), "PRIVATE KEY") {
		t.Error("a key is in the report")
	}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"target", "from", "accepted", "verdict", "remedy", "fixableByTrust", "message", "goError", "also", "chain", "roots", "openssl"} {
		if fields[f] == nil {
			t.Errorf("the report has no %s", f)
		}
	}
}
