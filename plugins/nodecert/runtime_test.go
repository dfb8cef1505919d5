package nodecert

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/handshake/registrytest"
	"github.com/tkgfix/tkgfix/internal/nodelook"
	"github.com/tkgfix/tkgfix/internal/tkg"
)

func TestRuntimeFindings(t *testing.T) {
	t.Parallel()
	ca, stranger := registrytest.NewRoot(t, "Corp Root CA"), registrytest.NewRoot(t, "Other CA")
	wanted := declarations(as(tkg.Encode(ca.PEM(), 1))...)
	after := started.Add(time.Minute)
	at := func(f nodelook.File, changed, placed time.Time) nodelook.File {
		f.Changed, f.Placed = changed, placed
		return f
	}
	type brief struct {
		ID      ID
		Subject string
		Remedy  Remedy
		Bad     bool
	}
	folders := func(at time.Time) map[string]time.Time { return map[string]time.Time{"/etc/ssl/certs": at} }
	cases := map[string]struct {
		reason string
		look   nodelook.Look
		want   []brief
		text   string
	}{
		"Nothing":      {reason: "all is well", look: nodelook.Look{Files: []nodelook.File{goFile(photon, ca.PEM())}, Folders: folders(before)}},
		"Older":        {reason: "S01: the file came after containerd", look: nodelook.Look{Files: []nodelook.File{at(goFile(photon, ca.PEM()), after, after)}}, want: []brief{{RuntimeOlder, photon, RestartRuntime, true}}},
		"OlderElse":    {reason: "a newer file of another CA does not matter", look: nodelook.Look{Files: []nodelook.File{goFile(photon, ca.PEM()), at(goFile("/etc/ssl/certs/x.pem", stranger.PEM()), after, after)}}},
		"OlderKnown":   {reason: "containerd has the CA from an older file", look: nodelook.Look{Files: []nodelook.File{goFile(bundled, ca.PEM()), at(goFile(photon, ca.PEM()), after, after)}}},
		"OlderUnread":  {reason: "a file that Go does not read is not what containerd lacks", look: nodelook.Look{Files: []nodelook.File{goFile(bundled, ca.PEM()), at(other(anchored, ca.PEM()), after, after)}}},
		"Moved":        {reason: "an old file that was put there later: it may be, and it may have been chmod", look: nodelook.Look{Files: []nodelook.File{at(goFile(photon, ca.PEM()), before, after)}}, want: []brief{{RuntimeOlder, photon, None, false}}},
		"Removed":      {reason: "S03: the CA was taken away and containerd still has it", look: nodelook.Look{Folders: folders(after)}, want: []brief{{RuntimeRemoved, "/etc/ssl/certs", RollNode, true}}},
		"RemovedElse":  {reason: "something else was taken away", look: nodelook.Look{Files: []nodelook.File{goFile(photon, ca.PEM())}, Folders: folders(after)}, want: []brief{{RuntimeRemoved, "/etc/ssl/certs", None, false}}},
		"AddedNotGone": {reason: "a newer file explains the folder", look: nodelook.Look{Files: []nodelook.File{at(goFile(photon, ca.PEM()), after, after)}, Folders: folders(after)}, want: []brief{{RuntimeOlder, photon, RestartRuntime, true}}},
		"MovedNotGone": {reason: "so does one that was moved there", look: nodelook.Look{Files: []nodelook.File{goFile(bundled, ca.PEM()), at(goFile("/etc/ssl/certs/x.pem", stranger.PEM()), before, after)}, Folders: folders(after)}},
		"Skew":         {reason: "a minute", look: nodelook.Look{Files: []nodelook.File{goFile(photon, ca.PEM())}, Skew: time.Minute}, want: []brief{{ClockSkew, "clock", FixClock, true}}, text: "1m0s ahead of"},
		"SmallSkew":    {reason: "less is the connection's", look: nodelook.Look{Files: []nodelook.File{goFile(photon, ca.PEM())}, Skew: -59 * time.Second}},
		"Alarm":        {reason: "a key in any file is an alarm", look: nodelook.Look{Files: []nodelook.File{goFile(photon, ca.PEM()), goFile("/etc/ssl/certs/server.pem", keyPEM(t))}}, want: []brief{{FilePrivateKey, "/etc/ssl/certs/server.pem", RotateKey, true}}},
		"GluedBundle": {reason: "Photon joins with cat: the file is right and the bundle is not", want: []brief{{FileGlued, bundled, None, false}}, text: "Corp Root CA",
			look: nodelook.Look{Family: nodelook.Photon, Files: []nodelook.File{goFile(bundled, append([]byte(strings.TrimSpace(string(stranger.PEM()))), ca.PEM()...)), goFile(photon, ca.PEM())}}},
		"Config":        {reason: "CRI does not start", look: nodelook.Look{Files: []nodelook.File{goFile(photon, ca.PEM())}, Config: nodelook.RegistryConfig{Found: true, ConfigPath: []string{"/etc/containerd/certs.d"}, TLS: true}}, want: []brief{{RuntimeConfig, "/etc/containerd/config.toml", FixMirror, true}}},
		"ConfigMirrors": {reason: "nor with mirrors", look: nodelook.Look{Files: []nodelook.File{goFile(photon, ca.PEM())}, Config: nodelook.RegistryConfig{Found: true, ConfigPath: []string{"/x"}, Mirrors: true}}, want: []brief{{RuntimeConfig, "/etc/containerd/config.toml", FixMirror, true}}},
		"ConfigOld":     {reason: "alone it is the old style", look: nodelook.Look{Files: []nodelook.File{goFile(photon, ca.PEM())}, Config: nodelook.RegistryConfig{Found: true, TLS: true, Mirrors: true}}},
		"Mirror": {reason: "another host is asked", want: []brief{{HostsOverride, "/etc/containerd/certs.d/reg.lab/hosts.toml", None, false}}, text: "for reg.lab containerd asks https://m.lab without verifying it, then the registry itself",
			look: nodelook.Look{Files: []nodelook.File{goFile(photon, ca.PEM())}, Hosts: []nodelook.HostsFile{{Path: "/etc/containerd/certs.d/reg.lab/hosts.toml", Registry: "reg.lab", Hosts: []nodelook.Host{{URL: "https://m.lab", SkipVerify: true}, {}}}}}},
		"MirrorUnused": {reason: "nothing leads there", want: []brief{{HostsOverride, "/etc/containerd/certs.d/reg.lab/hosts.toml", None, false}}, text: "does not count",
			look: nodelook.Look{Files: []nodelook.File{goFile(photon, ca.PEM())}, Hosts: []nodelook.HostsFile{{Path: "/etc/containerd/certs.d/reg.lab/hosts.toml", Registry: "reg.lab", Unused: true}}}},
		"MirrorBroken": {reason: "containerd passes over a file that it cannot read", want: []brief{{HostsOverride, "/etc/containerd/certs.d/reg.lab/hosts.toml", FixMirror, true}}, text: "line 2",
			look: nodelook.Look{Files: []nodelook.File{goFile(photon, ca.PEM())}, Hosts: []nodelook.HostsFile{{Path: "/etc/containerd/certs.d/reg.lab/hosts.toml", Registry: "reg.lab", Fault: "line 2, column 1 is not what containerd takes"}}}},
		"MirrorNoCA": {reason: "containerd stops at a CA file that is not there", want: []brief{{HostsOverride, "/etc/containerd/certs.d/reg.lab/hosts.toml", FixMirror, true}}, text: "which is not there",
			look: nodelook.Look{Files: []nodelook.File{goFile(photon, ca.PEM())}, Hosts: []nodelook.HostsFile{{Path: "/etc/containerd/certs.d/reg.lab/hosts.toml", Registry: "reg.lab", Hosts: []nodelook.Host{{CA: []string{"/etc/containerd/certs.d/reg.lab/ca.crt"}}}}}}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.look.Containerd.Started = started
			found := newView(c.look).runtimeFindings(wanted, nil)
			var got []brief
			text := ""
			for _, f := range found {
				known(t, f)
				got = append(got, brief{f.ID, f.Subject, f.Remedy, f.Bad})
				text += f.Text
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", c.reason, diff)
			}
			if !strings.Contains(text, c.text) {
				t.Errorf("%s: want %q in %q", c.reason, c.text, text)
			}
		})
	}
	t.Run("StartUnknown", func(t *testing.T) {
		t.Parallel()
		look := nodelook.Look{Files: []nodelook.File{at(goFile(photon, ca.PEM()), after, after)}, Folders: folders(after)}
		if got := newView(look).runtimeFindings(wanted, nil); got != nil {
			t.Errorf("nothing is older than a start that is not known, got %+v", got)
		}
	})
}

// TestVersion makes CAs that turn on the Go of containerd.
func TestVersion(t *testing.T) {
	t.Parallel()
	small := openssl(t, "-newkey", "rsa:512", "-subj", "/CN=Small CA")
	negative := openssl(t, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-set_serial", "-5", "-subj", "/CN=Negative CA")
	cases := map[string]struct {
		reason string
		pem    []byte
		goes   string
		state  string
		bad    bool
		text   string
	}{
		"NegativeOld":     {reason: "Go 1.21 takes it", pem: negative, goes: "1.21", state: present, text: "fails from Go 1.23 on"},
		"NegativeNew":     {reason: "Go 1.23 does not", pem: negative, goes: "1.23", state: ignoredByGo, bad: true, text: "fails from Go 1.23 on"},
		"NegativeUnknown": {reason: "nobody knows", pem: negative, goes: "", state: ignoredByGo, text: "it is not known"},
		"SmallOld":        {reason: "Go 1.23 takes RSA of 512 bits", pem: small, goes: "1.23", state: present, text: "fails from Go 1.24 on"},
		"SmallNew":        {reason: "Go 1.24 does not", pem: small, goes: "1.24", state: present, bad: true, text: "512 bits"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			look := nodelook.Look{Files: []nodelook.File{goFile(photon, c.pem)}, Containerd: nodelook.Containerd{Go: c.goes, Release: "1.7.27"}}
			wanted := declarations(as(tkg.Encode(c.pem, 1))...)
			view := newView(look)
			f, _ := view.judge(wanted[0], before)
			if f.State != c.state {
				t.Errorf("%s: want %s, got %+v", c.reason, c.state, f)
			}
			found := view.version(wanted)
			if len(found) != 1 || found[0].Bad != c.bad || !strings.Contains(found[0].Text, c.text) {
				t.Errorf("%s: want bad %v and %q, got %+v", c.reason, c.bad, c.text, found)
			}
		})
	}
	if found := newView(nodelook.Look{}).version(declarations(as(tkg.Encode(registrytest.NewRoot(t, "Usual CA").PEM(), 1))...)); found != nil {
		t.Errorf("a usual CA turns on no version, got %+v", found)
	}
}

// openssl makes a root of a kind that Go does not make.
func openssl(t *testing.T, args ...string) []byte {
	t.Helper()
	var complaints bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "openssl", append([]string{"req", "-x509", "-noenc", "-days", "90", "-keyout", filepath.Join(t.TempDir(), "key")}, args...)...)
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("openssl, which hack/deps.sh installs: %v: %s", err, complaints.String())
	}
	return out
}
