package node_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skeema/knownhosts"
	gossh "golang.org/x/crypto/ssh"

	"github.com/tkgfix/tkgfix/internal/node"
	"github.com/tkgfix/tkgfix/internal/node/sshdtest"
)

func TestOpenSSHHostKeys(t *testing.T) {
	t.Parallel()
	first := sshdtest.Start(t, sshdtest.Options{})
	conf := first.Conf(t)
	creds := node.Credentials{Password: sshdtest.Password}
	dial := func(m node.Machine, mode, alias string) error {
		c, target := conf, first.Target()
		c.HostKeys = mode
		if alias != "" {
			target.HostKeyAlias = alias
		}
		conn, err := m.Dial(t.Context(), c, target, creds)
		if err == nil {
			_ = conn.Close()
		}
		return err
	}
	line := knownhosts.Line([]string{first.HostPort()}, first.HostKey)
	says(t, "nobody knows it", dial(node.Machine{}, "strict", ""), "not pinned")
	if err := dial(node.Machine{Home: home(t, nil, line)}, "strict", ""); err != nil {
		t.Errorf("the user's known_hosts vouches for it: %v", err)
	}
	if _, err := os.Stat(conf.KnownHosts); !os.IsNotExist(err) {
		t.Errorf("strict must not pin: %v", err)
	}
	if err := dial(node.Machine{KnownHosts: []string{put(t, filepath.Join(t.TempDir(), "all"), "what is this\n1024 35 1234 old\n"+line+"\n", 0o644)}}, "strict", ""); err != nil {
		t.Errorf("the system's known_hosts vouches for it, and a line that cannot be read is passed over: %v", err)
	}
	if err := dial(node.Machine{}, "accept-new", ""); err != nil {
		t.Fatal(err)
	}
	if err := dial(node.Machine{Home: home(t, nil, "@revoked * "+keyText(first.HostKey))}, "accept-new", ""); err == nil || !strings.Contains(err.Error(), "revoked by") {
		t.Errorf("pinned, and revoked by the user: want a refusal, got %v", err)
	}

	first.Stop()
	second := sshdtest.Start(t, sshdtest.Options{Port: first.Port})
	says(t, "another key on the same address", dial(node.Machine{}, "accept-new", ""), "node np1-a: its host key changed", first.Fingerprint(), second.Fingerprint(),
		"ssh-keygen -R "+first.Target().HostKeyAlias)
	says(t, "an address that the user knows by another key", dial(node.Machine{Home: home(t, nil, line)}, "accept-new", "another-machine"),
		"its host key changed", "used again", fmt.Sprintf("ssh-keygen -R '[127.0.0.1]:%d'", first.Port))
	if err := dial(node.Machine{}, "accept-new", "another-machine"); err != nil {
		t.Errorf("the same address is another Machine: %v", err)
	}
	if err := dial(node.Machine{Home: home(t, nil, line)}, "strict", "another-machine"); err != nil {
		t.Errorf("what is pinned for the Machine counts before what the user knows of the address: %v", err)
	}
}

func keyText(key gossh.PublicKey) string {
	return strings.TrimSpace(string(gossh.MarshalAuthorizedKey(key)))
}

func TestOpenSSHHostCertificate(t *testing.T) {
	t.Parallel()
	private, signer := sshdtest.NewKey(t)
	_, authority := sshdtest.NewKey(t)
	server := sshdtest.Start(t, sshdtest.Options{HostKey: private, Certify: func(key gossh.PublicKey) *gossh.Certificate {
		cert := &gossh.Certificate{Key: key, CertType: gossh.HostCert, ValidPrincipals: []string{"127.0.0.1"}, ValidBefore: gossh.CertTimeInfinity}
		if err := cert.SignCert(strings.NewReader(strings.Repeat("n", 64)), authority); err != nil {
			t.Fatal(err)
		}
		return cert
	}})
	conf := server.Conf(t)
	conf.HostKeys = "strict"
	dial := func(lines ...string) error {
		conn, err := node.Machine{Home: home(t, nil, lines...)}.Dial(t.Context(), conf, server.Target(), node.Credentials{PrivateKey: server.PrivateKey})
		if err == nil {
			_ = conn.Close()
		}
		return err
	}
	if err := dial("@cert-authority * " + keyText(authority.PublicKey())); err != nil {
		t.Errorf("a certificate by an authority that the user knows: %v", err)
	}
	says(t, "another authority", dial("@cert-authority * "+keyText(signer.PublicKey())), "no authorities")
	says(t, "a revoked authority", dial("@cert-authority * "+keyText(authority.PublicKey()), "@revoked * "+keyText(authority.PublicKey())), "revoked")
}
