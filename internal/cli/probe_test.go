package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/handshake/registrytest"
)

// TestProbeExitCodes probes a real listener by the command line.
func TestProbeExitCodes(t *testing.T) {
	root, other := registrytest.NewRoot(t, "Corp Root CA"), registrytest.NewRoot(t, "Other CA")
	addr := registrytest.Serve(t, root.Leaf(t, nil), nil)
	proxy := registrytest.Listen(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		_, _ = io.WriteString(c, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
	})
	file := func(name string, data []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, bad := file("root.pem", root.PEM()), file("other.pem", other.PEM())
	type answer struct {
		Code      int
		Verdict   string
		Accepted  bool
		Candidate string
	}
	cases := map[string]struct {
		reason string
		args   []string
		proxy  string
		want   answer
	}{
		"Accepted":  {"0", []string{"--roots", good}, "", answer{ExitDone, "trusted", true, ""}},
		"Folder":    {"a folder of roots", []string{"--roots", filepath.Dir(good)}, "", answer{ExitDone, "trusted", true, ""}},
		"Not":       {"1", []string{"--roots", bad}, "", answer{ExitFailed, "untrusted-root", false, ""}},
		"Candidate": {"with the candidate it would be", []string{"--roots", bad, "--ca", good}, "", answer{ExitFailed, "untrusted-root", false, "accepted"}},
		"Wrong":     {"another candidate", []string{"--roots", bad, "--ca", bad}, "", answer{ExitFailed, "untrusted-root", false, "not accepted"}},
		"Name":      {"another name", []string{"--roots", good, "--server-name", "other.lab"}, "", answer{ExitFailed, "name-mismatch", false, ""}},
		"Proxy":     {"from the environment", []string{"--roots", good}, "http://" + proxy, answer{ExitFailed, "proxy-refuses", false, ""}},
		"WrongUse":  {"2", []string{"--roots", good, "--connect", ""}, "", answer{Code: exitWrongUse}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Setenv("HTTPS_PROXY", c.proxy)
			t.Setenv("NO_PROXY", "")
			var out, said bytes.Buffer
			args := append([]string{"tkgfix", "probe", registrytest.Host, "--connect", addr, "-o", "json"}, c.args...)
			got := answer{Code: Main(t.Context(), IO{In: strings.NewReader(""), Out: &out, Err: &said}, args)}
			var r struct {
				Verdict       string `json:"verdict"`
				Accepted      bool   `json:"accepted"`
				WithCandidate *struct {
					Accepted bool `json:"accepted"`
				} `json:"withCandidate"`
			}
			if out.Len() > 0 {
				if err := json.Unmarshal(out.Bytes(), &r); err != nil {
					t.Fatal(err)
				}
			}
			got.Verdict, got.Accepted = r.Verdict, r.Accepted
			if r.WithCandidate != nil {
				got.Candidate = map[bool]string{true: "accepted", false: "not accepted"}[r.WithCandidate.Accepted]
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want, +got):\n%s\n%s%s", c.reason, diff, out.String(), said.String())
			}
		})
	}
}
