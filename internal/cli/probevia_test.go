package cli

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	gossh "golang.org/x/crypto/ssh"

	"github.com/tkgfix/tkgfix/internal/handshake/registrytest"
	"github.com/tkgfix/tkgfix/internal/node/sshdtest"
)

// TestProbeVia probes by the command line from a real sshd, which is reached through another.
func TestProbeVia(t *testing.T) {
	root, other := registrytest.NewRoot(t, "Corp Root CA"), registrytest.NewRoot(t, "Other Root CA")
	serve := func(by *registrytest.Authority) string {
		_, port, err := net.SplitHostPort(registrytest.Serve(t, by.Leaf(t, func(c *x509.Certificate) { c.DNSNames = []string{"reg.node.test"} }), nil))
		if err != nil {
			t.Fatal(err)
		}
		return port
	}
	good, bad := serve(root), serve(other)

	node, bastion := sshdtest.Start(t, sshdtest.Options{}), sshdtest.Start(t, sshdtest.Options{User: "ops"})
	node.WriteFile(t, "/etc/ssl/certs/tkg-corp.pem", root.PEM(), 0o644)
	node.WriteFile(t, "/etc/hosts", []byte("127.0.0.1 reg.node.test\n"), 0o644) // the node alone knows the name
	login, err := gossh.ParsePrivateKey(node.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	bastion.WriteFile(t, "/etc/ssh/authorized_keys", gossh.MarshalAuthorizedKey(login.PublicKey()), 0o644)
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("SSH_AUTH_SOCK", "")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1") // this machine's is not the node's
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, otherPEM := file("key", node.PrivateKey), file("other.pem", other.PEM())

	type answer struct {
		Code            int
		From, Verdict   string
		Accepted, Cured bool
	}
	cases := []struct {
		name, reason string
		args         []string
		want         answer
	}{
		{"Accepted", "by the node's names and trust", []string{"reg.node.test:" + good}, answer{ExitDone, "node/127.0.0.1", "trusted", true, false}},
		{"Not", "the node has no such CA", []string{"reg.node.test:" + bad}, answer{ExitFailed, "node/127.0.0.1", "untrusted-root", false, false}},
		{"Candidate", "and would accept it with one", []string{"reg.node.test:" + bad, "--ca", otherPEM}, answer{ExitFailed, "node/127.0.0.1", "untrusted-root", false, true}},
		{"Roots", "others in the place of the node's", []string{"reg.node.test:" + good, "--roots", otherPEM}, answer{ExitFailed, "node/127.0.0.1", "untrusted-root", false, false}},
		{"Name", "another name", []string{"reg.node.test:" + good, "--server-name", "reg.other.test"}, answer{ExitFailed, "node/127.0.0.1", "name-mismatch", false, false}},
		{"Connect", "a name that not even the node knows", []string{"reg.nowhere.test:" + good, "--server-name", "reg.node.test", "--connect", "127.0.0.1:" + good}, answer{ExitDone, "node/127.0.0.1", "trusted", true, false}},
		{"WrongJump", "a jump host that is not there", []string{"reg.node.test:" + good, "--jump", "ops@127.0.0.1:1"}, answer{Code: ExitFailed}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var out, said bytes.Buffer
			args := append([]string{
				"tkgfix", "probe", "--via", sshdtest.User + "@127.0.0.1:" + strconv.Itoa(node.Port), "--jump", "ops@" + bastion.HostPort(),
				"--ssh-key", key, "--known-hosts", filepath.Join(dir, "known_hosts"), "-o", "json",
			}, c.args...)
			got := answer{Code: Main(t.Context(), IO{In: strings.NewReader(""), Out: &out, Err: &said}, args)}
			var r struct {
				From, Verdict string
				Accepted      bool
				WithCandidate struct{ Accepted bool }
			}
			if out.Len() > 0 {
				if err := json.Unmarshal(out.Bytes(), &r); err != nil {
					t.Fatal(err)
				}
			}
			got.From, got.Verdict, got.Accepted, got.Cured = r.From, r.Verdict, r.Accepted, r.WithCandidate.Accepted
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want, +got):\n%s\n%s%s", c.reason, diff, out.String(), said.String())
			}
			if (said.Len() > 0) != (out.Len() == 0) {
				t.Errorf("%s: the report is a result, and an error is none:\n%s\n%s", c.reason, out.String(), said.String())
			}
		})
	}
	pinned, err := os.ReadFile(filepath.Join(dir, "known_hosts"))
	if want := "127.0.0.1-" + strconv.Itoa(node.Port) + " "; err != nil || !strings.Contains("\n"+string(pinned), "\n"+want) {
		t.Errorf("the node's key is not pinned under %q: %v\n%s", want, err, pinned)
	}
}
