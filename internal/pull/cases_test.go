package pull_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/pull"
)

// tlsCases reads what Go, three containerd and two generations of the kubelet really said in each of 76 faults: a trimmed copy of
// tls-cases.json, with values for the ports and times that stood for themselves there.
func tlsCases(t *testing.T) []tlsCase {
	t.Helper()
	data, err := os.ReadFile("testdata/tls-cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var out []tlsCase
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

type tlsCase struct {
	ID     string   `json:"id"`
	Family string   `json:"family"`
	Texts  []string `json:"texts"`
}

// classOfFamily is what the cases of a family are, but for those that exceptions names.
func classOfFamily() map[string]string {
	return map[string]string{
		"reachability": pull.Network, "protocol": pull.ServerCertificate, "control": pull.Unknown, "trust": pull.Trust, "time": pull.ServerCertificate,
		"name": pull.ServerCertificate, "usage": pull.ServerCertificate, "crypto": pull.ServerCertificate, "encoding": pull.ServerCertificate,
		"revocation": pull.Unknown, "proxy": pull.Proxy, "second-host": pull.Trust, "not-tls": "", "mirror": pull.Trust, "trust-file": pull.Trust,
	}
}

// exceptions are cases whose class is not that of their family, and texts that say less than the case is.
func exceptions() map[string]string {
	return map[string]string{
		"A01": pull.DNS, "A08": pull.PlainHTTP, "A09": pull.PlainHTTP,
		"B11": pull.ServerCertificate, "B12": pull.ServerCertificate, "B14": pull.ServerCertificate, // no CA mends these
		"B15": pull.Unknown, "G07": pull.Unknown, "F04": pull.Unknown, // Go accepts these: the pull ended behind TLS
		"F14": pull.Trust, // word for word B06; the chain tells them apart, which the probe sees
		"P01": pull.Trust, // word for word B03; the proxy's CA is missing
		"F07": pull.Trust, // Go 1.26 no longer says why: word for word B03
		"N01": pull.Auth, "N02": pull.Reference, "N04": pull.Rate, "N05": pull.RegistryError,
		// Texts of one case that say something else, each with the reason why that is right.
		"F04 context deadline exceeded":                       pull.Network, // the resolver library never got an answer
		"F07 algorithm unimplemented":                         pull.ServerCertificate,
		"F09 unable to fetch descriptor":                      pull.Unknown,   // Go before 1.23 takes the certificate
		"F17 unable to fetch descriptor":                      pull.Unknown,   // Go before 1.24 does
		"T01 401 Unauthorized":                                pull.Auth,      // the resolver library had no token server
		"M01 registry.corp.test:5443/team/app:1.0: not found": pull.Reference, // the true cause: the mirror answers 404
	}
}

func TestTLSCases(t *testing.T) {
	t.Parallel()
	cases := tlsCases(t)
	if len(cases) != 76 {
		t.Fatalf("%d cases, want 76", len(cases))
	}
	used := map[string]bool{}
	for _, c := range cases {
		family, known := classOfFamily()[c.Family]
		if !known {
			t.Errorf("%s: no class for the family %s", c.ID, c.Family)
		}
		for _, text := range c.Texts {
			want := family
			if class, ok := exceptions()[c.ID]; ok {
				want, used[c.ID] = class, true
			}
			for key, class := range exceptions() {
				if id, part, ok := strings.Cut(key, " "); ok && id == c.ID && strings.Contains(text, part) {
					want, used[key] = class, true
				}
			}
			got := pull.ParseMessage("registry.corp.test:5443/team/app:1.0", text)
			if diff := cmp.Diff(want, got.Class); diff != "" {
				t.Errorf("%s (%s): class (-want, +got):\n%s%s", c.ID, c.Family, diff, text)
			}
			wantHost := host(c.ID, text)
			if diff := cmp.Diff(wantHost, got.Registry); diff != "" {
				t.Errorf("%s: host that was dialled (-want, +got):\n%s%s", c.ID, diff, text)
			}
		}
	}
	for key := range exceptions() {
		if !used[key] {
			t.Errorf("the exception %q is about no text", key)
		}
	}
}

func host(id, text string) string {
	switch {
	case id == "A01":
		return "registry.invalid:5443"
	case id == "D03" && strings.Contains(text, "https://127.0.0.1"):
		return "127.0.0.1:5443"
	case id == "D07", id == "D08":
		return "registry2.corp.test:5443"
	case id == "T01" && strings.Contains(text, "auth.corp.test"):
		return "auth.corp.test:5444"
	}
	return "registry.corp.test:5443"
}
