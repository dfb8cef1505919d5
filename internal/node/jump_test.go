package node_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/skeema/knownhosts"
	gossh "golang.org/x/crypto/ssh"

	"github.com/tkgfix/tkgfix/internal/node"
	"github.com/tkgfix/tkgfix/internal/node/sshdtest"
	"github.com/tkgfix/tkgfix/plugins"
)

func TestParseJump(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason, in string
		want       []node.Hop
		err        string
	}{
		"Empty":       {reason: "no hop", in: ""},
		"None":        {reason: "ssh's word for no hop", in: "none"},
		"Host":        {reason: "a name", in: "bastion", want: []node.Hop{{Host: "bastion", Port: 22}}},
		"All":         {reason: "all parts", in: "ann@bastion.corp:2222", want: []node.Hop{{User: "ann", Host: "bastion.corp", Port: 2222}}},
		"Domain":      {reason: "a user of a domain", in: "ann@corp@bastion", want: []node.Hop{{User: "ann@corp", Host: "bastion", Port: 22}}},
		"IPv4":        {reason: "an address", in: "10.0.0.1:22", want: []node.Hop{{Host: "10.0.0.1", Port: 22}}},
		"IPv6":        {reason: "an address in brackets", in: "ann@[fd00::1]:2222", want: []node.Hop{{User: "ann", Host: "fd00::1", Port: 2222}}},
		"IPv6NoPort":  {reason: "an address in brackets, without a port", in: "[fd00::1]", want: []node.Hop{{Host: "fd00::1", Port: 22}}},
		"Several":     {reason: "nearest first", in: "a, b@b:1,[::1]", want: []node.Hop{{Host: "a", Port: 22}, {User: "b", Host: "b", Port: 1}, {Host: "::1", Port: 22}}},
		"URI":         {reason: "a URI", in: "ssh://ann@bastion:2222", want: []node.Hop{{User: "ann", Host: "bastion", Port: 2222}}},
		"URIIPv6":     {reason: "a URI with an address", in: "ssh://[fd00::1]:2222/", want: []node.Hop{{Host: "fd00::1", Port: 2222}}},
		"Password":    {reason: "a password, which the error does not hold", in: "ssh://ann:hunter2@bastion", err: "host 1: a password cannot stand in it"},
		"Path":        {reason: "more than a host", in: "ssh://bastion/etc", err: "nothing may follow"},
		"NoHost":      {reason: "no host", in: "ann@", err: "not that of a host"},
		"NoUser":      {reason: "no user", in: "@bastion", err: "before the @"},
		"EmptyHop":    {reason: "a comma too many", in: "a,,b", err: "host 2: its name"},
		"BareIPv6":    {reason: "no brackets", in: "fd00::1", err: "in brackets"},
		"OpenBracket": {reason: "an open bracket", in: "[fd00::1", err: "bracket"},
		"AfterBrack":  {reason: "text after the bracket", in: "[fd00::1]22", err: "bracket"},
		"Port0":       {reason: "no port", in: "a:0", err: "port"},
		"PortLarge":   {reason: "no port", in: "a:65536", err: "port"},
		"PortEmpty":   {reason: "a colon too many", in: "a:", err: "port"},
		"Option":      {reason: "an option of ssh", in: "-oProxyCommand=id", err: "not that of a host"},
		"OptionUser":  {reason: "an option of ssh as user", in: "-l@a", err: "login name"},
		"Pattern":     {reason: "a pattern of known_hosts", in: "*", err: "not that of a host"},
		"Line":        {reason: "a second line of known_hosts", in: "a\nb", err: "not that of a host"},
		"Shell":       {reason: "what a shell would run", in: "a;id", err: "not that of a host"},
		"Many":        {reason: "too many", in: "a,a,a,a,a,a,a,a,a", err: "8 at most"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := node.ParseJump(c.in)
			if c.err != "" {
				says(t, c.reason, err, "connections.nodes.jump", c.err, "ssh -J")
				if err != nil && strings.Contains(err.Error()+plugins.HintOf(err), "hunter2") {
					t.Errorf("%s: the password is in %v", c.reason, err)
				}
				return
			}
			if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
				t.Errorf("%s: %v (-want, +got):\n%s", c.reason, err, diff)
			}
		})
	}
}

func FuzzParseJump(f *testing.F) {
	for _, s := range []string{"", "none", "ann@bastion:22,[fd00::1%eth0]:2222", "ssh://a@b:1,c", "a@b@c", "[::", "ssh://%00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		hops, err := node.ParseJump(s)
		if err != nil {
			return
		}
		var words []string
		for _, h := range hops {
			if h.Port < 1 || h.Port > 65535 || strings.ContainsAny(h.Host+h.User, " \t\r\n,*?!'\"[]|") || strings.HasPrefix(h.Host, "-") || strings.HasPrefix(h.User, "-") {
				t.Errorf("%q: a hop that no file may hold: %+v", s, h)
			}
			word := h.Address()
			if h.User != "" {
				word = h.User + "@" + word
			}
			words = append(words, word)
		}
		again, err := node.ParseJump(strings.Join(words, ","))
		if diff := cmp.Diff(hops, again); err != nil || diff != "" {
			t.Errorf("%q: written and read again: %v\n%s", s, err, diff)
		}
	})
}

// hops are two jump hosts and a node, each with a user and a key of its own, and the user's folder here.
type hops struct {
	near, far, node *sshdtest.Server
	home            string
}

func startHops(t *testing.T) hops {
	t.Helper()
	h := hops{
		near: sshdtest.Start(t, sshdtest.Options{User: "ops"}),
		far:  sshdtest.Start(t, sshdtest.Options{User: "far", Address: "127.0.0.2"}),
		node: sshdtest.Start(t, sshdtest.Options{}),
	}
	h.home = home(t, h.near.PrivateKey)
	put(t, filepath.Join(h.home, ".ssh", "id_ecdsa"), string(h.far.PrivateKey), 0o600)
	return h
}

func (h hops) creds() node.Credentials {
	return node.Credentials{PrivateKey: h.node.PrivateKey, Password: sshdtest.Password}
}

func TestOpenSSHJump(t *testing.T) {
	t.Parallel()
	h := startHops(t)
	for name, c := range map[string]struct {
		reason, jump string
		from         string
	}{
		"One":  {"the user's own name and key open the jump host", h.near.HostPort(), "127.0.0.1"},
		"URI":  {"as a URI", "ssh://ops@" + h.near.HostPort(), "127.0.0.1"},
		"Two":  {"each hop has a user and a key of its own", "ops@" + h.near.HostPort() + ",far@" + h.far.HostPort(), "127.0.0.1"},
		"Back": {"the other way round", "far@" + h.far.HostPort() + ",ops@" + h.near.HostPort(), "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conf := h.node.Conf(t)
			conf.Jump = c.jump
			conn, err := node.Machine{User: "ops", Home: h.home}.Dial(t.Context(), conf, h.node.Target(), h.creds())
			if err != nil {
				t.Fatalf("%s: %v; %s", c.reason, err, plugins.HintOf(err))
			}
			out, err := conn.Run(t.Context(), "id -un\n")
			if err != nil || string(out) != "vmware-system-user\n" {
				t.Errorf("%s: want the node, got %q, %v", c.reason, out, err)
			}
			if conn.HostKey() != h.node.Fingerprint() {
				t.Errorf("%s: want the node's host key, got %s", c.reason, conn.HostKey())
			}
			if err := conn.Close(); err != nil {
				t.Errorf("%s: Close: %v", c.reason, err)
			}
			pinned, err := os.ReadFile(conf.KnownHosts)
			if err != nil {
				t.Fatal(err)
			}
			want := 2 + strings.Count(c.jump, ",")
			if got := strings.Count(string(pinned), "\n"); got != want || !strings.Contains(string(pinned), knownhosts.Normalize(h.near.HostPort())+" ") {
				t.Errorf("%s: want each host pinned by its name, %d lines, got:\n%s", c.reason, want, pinned)
			}
		})
	}
}

// TestOpenSSHJumpIsOfferedNothingOfTheNode lets a jump host refuse all, and reads in its log what it was offered.
func TestOpenSSHJumpIsOfferedNothingOfTheNode(t *testing.T) {
	t.Parallel()
	h := startHops(t)
	mine, signer := sshdtest.NewKey(t)
	conf := h.node.Conf(t)
	conf.Jump = "ops@" + h.near.HostPort()
	_, err := node.Machine{User: "me", Home: home(t, mine)}.Dial(t.Context(), conf, h.node.Target(), h.creds())
	says(t, "a key that the jump host does not take", err, "jump host 127.0.0.1", "refuses the login of ops", "identityFile")
	secret, err := gossh.ParsePrivateKey(h.node.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	h.near.Stop() // its log is complete
	log := h.near.Log()
	if !strings.Contains(log, gossh.FingerprintSHA256(signer.PublicKey())) {
		t.Errorf("want the user's key offered, got:\n%s", log)
	}
	if strings.Contains(log, gossh.FingerprintSHA256(secret.PublicKey())) || strings.Contains(log, "password") || strings.Contains(log, "keyboard-interactive") {
		t.Errorf("the jump host was offered what is the node's:\n%s", log)
	}
	if h.node.Log() == "" || strings.Contains(h.node.Log(), "Connection from") {
		t.Errorf("the node was reached past the jump host:\n%s", h.node.Log())
	}
}

func TestOpenSSHJumpRefused(t *testing.T) {
	t.Parallel()
	h := startHops(t)
	closed := sshdtest.Start(t, sshdtest.Options{User: "ops", NoForwarding: true})
	_, other := sshdtest.NewKey(t)
	nearLine := knownhosts.Line([]string{h.near.HostPort()}, h.near.HostKey)
	dial := func(edit func(*plugins.Nodes, *node.Machine)) error {
		conf := h.node.Conf(t)
		conf.Jump = "ops@" + h.near.HostPort()
		m := node.Machine{User: "ops", Home: h.home}
		edit(&conf, &m)
		conn, err := m.Dial(t.Context(), conf, h.node.Target(), h.creds())
		if err == nil {
			_ = conn.Close()
		}
		return err
	}
	known := func(line string) func(*plugins.Nodes, *node.Machine) {
		return func(conf *plugins.Nodes, m *node.Machine) {
			m.KnownHosts = []string{put(t, filepath.Join(t.TempDir(), "known_hosts"), line+"\n", 0o644)}
		}
	}
	if err := dial(known(nearLine)); err != nil {
		t.Errorf("a jump host that the system's known_hosts vouches for: %v", err)
	}
	says(t, "a jump host with another key than the user knows", dial(known(knownhosts.Line([]string{h.near.HostPort()}, other.PublicKey()))),
		"jump host 127.0.0.1: its host key changed", h.near.Fingerprint(), fmt.Sprintf("ssh-keygen -R '[127.0.0.1]:%d'", h.near.Port))
	says(t, "a jump host with a revoked key", dial(known("@revoked * "+keyText(h.near.HostKey))), "jump host 127.0.0.1", "revoked by")
	says(t, "a node with a revoked key, behind a jump host", dial(known("@revoked * "+keyText(h.node.HostKey))), "node np1-a", "revoked by")
	says(t, "a jump host that nobody knows", dial(func(c *plugins.Nodes, _ *node.Machine) { c.HostKeys = "strict" }),
		"jump host 127.0.0.1", "not pinned", knownhosts.Line([]string{h.near.HostPort()}, h.near.HostKey))
	says(t, "a jump host without forwarding", dial(func(c *plugins.Nodes, _ *node.Machine) {
		c.Jump = "ops@" + closed.HostPort()
		c.IdentityFile = put(t, filepath.Join(t.TempDir(), "id"), string(closed.PrivateKey), 0o600)
	}), "np1-a", "the jump host before it: the SSH server forbids TCP forwarding", "AllowTcpForwarding")
	err := dial(func(c *plugins.Nodes, _ *node.Machine) { c.Jump += ",far@" + closedPort(t) })
	says(t, "a second jump host that does not listen", err, "jump host 127.0.0.1", "connection refused", "-p")
	if plugins.KindOf(err) != plugins.KindTransient {
		t.Errorf("a jump host that is down may come back: got %s", plugins.KindOf(err))
	}
	says(t, "nothing opens a jump host", dial(func(_ *plugins.Nodes, m *node.Machine) { m.Home = "" }), "no SSH key for the jump hosts", "--ssh-key", "--ssh-agent")
}

// TestOpenSSHJumpPinned lets a jump host come back with another key than was pinned at first sight.
func TestOpenSSHJumpPinned(t *testing.T) {
	t.Parallel()
	h := startHops(t)
	conf := h.node.Conf(t)
	conf.Jump = "ops@" + h.near.HostPort()
	m := node.Machine{Home: h.home}
	conn, err := m.Dial(t.Context(), conf, h.node.Target(), h.creds())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	h.near.Stop()
	again := sshdtest.Start(t, sshdtest.Options{User: "ops", Port: h.near.Port})
	_, err = m.Dial(t.Context(), conf, h.node.Target(), h.creds())
	says(t, "pinned at first sight", err, "jump host 127.0.0.1: its host key changed", again.Fingerprint(), conf.KnownHosts)
}
