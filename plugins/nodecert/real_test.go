package nodecert

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	gossh "golang.org/x/crypto/ssh"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tkgfix/tkgfix/internal/handshake/registrytest"
	"github.com/tkgfix/tkgfix/internal/node"
	"github.com/tkgfix/tkgfix/internal/node/sshdtest"
	"github.com/tkgfix/tkgfix/internal/nodelook"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// planted is what a real node of a family has: files by path, of which those that begin with -> are links.
type planted struct {
	release string
	started time.Time
	version string
	files   map[string]string
}

// plant makes a real sshd a node of the family. Its own programs come first for sudo, which is how the look becomes root.
func plant(t *testing.T, s *sshdtest.Server, login gossh.PublicKey, p planted) {
	t.Helper()
	const bin = "/etc/node-bin"
	for _, path := range []string{"/etc/ssl/certs", "/etc/pki", "/etc/containerd", "/etc/os-release"} {
		s.Remove(t, path)
	}
	s.WriteFile(t, "/etc/os-release", []byte(p.release), 0o644)
	s.WriteFile(t, "/etc/ssh/authorized_keys", gossh.MarshalAuthorizedKey(login), 0o644)
	s.WriteFile(t, "/etc/sudoers.d/node-bin", []byte("Defaults secure_path=\""+bin+":/usr/sbin:/usr/bin:/sbin:/bin\"\n"), 0o440)
	s.WriteFile(t, bin+"/containerd", []byte("#!/bin/sh\necho containerd github.com/containerd/containerd "+p.version+" abc\n"), 0o755)
	s.WriteFile(t, bin+"/systemctl", []byte("#!/bin/sh\necho 'ExecMainStartTimestamp="+p.started.UTC().Format("Mon 2006-01-02 15:04:05 MST")+"'\n"), 0o755)
	for path, text := range p.files {
		if target, ok := strings.CutPrefix(text, "->"); ok {
			s.Symlink(t, target, path)
		} else {
			s.WriteFile(t, path, []byte(text), 0o600) // root's alone
		}
	}
}

// TestRealNodes looks at a fleet of real OpenSSH servers, one of each family, of which one more cannot be reached.
func TestRealNodes(t *testing.T) {
	t.Parallel()
	ca, public := registrytest.NewRoot(t, "Corp Root CA"), registrytest.NewRoot(t, "Public CA")
	text, others := string(ca.PEM()), string(public.PEM())
	earlier, later := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	fleet := []planted{
		{
			release: "ID=photon\nPRETTY_NAME=\"VMware Photon OS/Linux\"\n", started: earlier, version: "v1.7.27",
			files: map[string]string{photon: text, bundled: others + text},
		},
		{
			release: "ID=ubuntu\nID_LIKE=debian\nPRETTY_NAME=\"Ubuntu 22.04.5 LTS\"\n", started: later, version: "v2.0.5",
			files: map[string]string{
				local: text, "/etc/ssl/certs/placeholder.pem": others, joined: others + text,
				"/etc/containerd/config.toml":                     "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\n  config_path = '/etc/containerd/certs.d'\n",
				"/etc/containerd/certs.d/reg.lab:5000/hosts.toml": "[host.\"https://mirror.lab\"]\n  ca = \"ca.crt\"\n",
			},
		},
		{
			release: "ID=\"rhel\"\nPRETTY_NAME=\"Red Hat Enterprise Linux 9.4 (Plow)\"\n", started: later, version: "v1.6.36",
			files: map[string]string{anchored: text, "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem": others},
		},
	}
	first := sshdtest.Start(t, sshdtest.Options{})
	signer, err := gossh.ParsePrivateKey(first.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	workers := nodelook.Workers{Conf: first.Conf(t), Credentials: node.Credentials{PrivateKey: first.PrivateKey}}
	for i, p := range fleet {
		server := first
		if i > 0 {
			server = sshdtest.Start(t, sshdtest.Options{Address: fmt.Sprintf("127.0.0.%d", i+1), Port: first.Port})
		}
		plant(t, server, signer.PublicKey(), p)
		if i == 1 {
			server.Symlink(t, local, photon)
		}
		if i == 2 {
			server.WriteFile(t, "/etc/pki/tls/certs/placeholder", nil, 0o644)
			server.Symlink(t, "../../ca-trust/extracted/pem/tls-ca-bundle.pem", bundled)
			server.Symlink(t, "../pki/tls/certs", "/etc/ssl/certs")
		}
		workers.Nodes = append(workers.Nodes, tkg.Node{Name: fmt.Sprintf("n%d", i), Pool: "np1", Address: server.Address, MachineUID: types.UID(fmt.Sprintf("uid-%d", i)), Joined: true})
	}
	workers.Nodes = append(workers.Nodes, tkg.Node{Name: "gone", Pool: "np2", Address: "127.0.0.77", MachineUID: "uid-gone", Joined: true})

	answers, err := step{env: sdk.Env{}.Complete()}.ask(t.Context(), workers)
	if err != nil {
		t.Fatal(err)
	}
	out, _ := question{wanted: declarations(as(tkg.Encode(ca.PEM(), 1))...)}.conclude(workers.Nodes, answers)
	type brief struct {
		Family, Containerd, Go, State, Path string
		Findings                            map[ID]bool
		Silent                              bool
	}
	var got []brief
	for _, n := range out.Nodes {
		b := brief{Family: n.Family, Containerd: n.Containerd, Go: n.Go, Findings: map[ID]bool{}, Silent: n.Error != ""}
		for _, f := range n.Files {
			b.State, b.Path = f.State, f.Path
		}
		for _, f := range n.Findings {
			b.Findings[f.ID] = f.Bad
		}
		got = append(got, b)
	}
	want := []brief{
		{Family: nodelook.Photon, Containerd: "1.7.27", Go: "1.21", State: present, Path: photon, Findings: map[ID]bool{RuntimeOlder: true}},
		{Family: nodelook.Ubuntu, Containerd: "2.0.5", Go: "1.23", State: present, Path: photon, Findings: map[ID]bool{FileSymlink: false, HostsOverride: true}},
		{Family: nodelook.RHEL, Containerd: "1.6.36", Go: "1.19", State: ignoredByGo, Path: anchored, Findings: map[ID]bool{BundleStale: true}},
		{Findings: map[ID]bool{}, Silent: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
	if out.OK {
		t.Error("one is not as it should be and one was not asked: want not ok")
	}
}

// TestNobodyAnswers asks a fleet of which no one is there.
func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	server := sshdtest.Start(t, sshdtest.Options{})
	server.Stop()
	workers := nodelook.Workers{Conf: server.Conf(t), Credentials: node.Credentials{PrivateKey: server.PrivateKey}}
	for i := range 20 {
		workers.Nodes = append(workers.Nodes, tkg.Node{Name: fmt.Sprintf("n%02d", i), Address: server.Address, MachineUID: "uid"})
	}
	_, err := step{env: sdk.Env{}.Complete()}.ask(t.Context(), workers)
	if err == nil || !strings.HasPrefix(err.Error(), "20 of 20 workers could not be asked: ") {
		t.Errorf("want an error for all of them, got %v", err)
	}
}
