package nodelook

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gliderlabs/ssh"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tkgfix/tkgfix/internal/handshake/registrytest"
	"github.com/tkgfix/tkgfix/internal/node/nodetest"
)

// session runs what a node is told with a shell, and finds programs in bin first.
func session(shell []string, bin string) ssh.Handler {
	return func(s ssh.Session) {
		cmd := exec.CommandContext(s.Context(), shell[0], append(shell[1:len(shell):len(shell)], "-s")...)
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		cmd.Stdin, cmd.Stdout, cmd.Stderr = s, s, s.Stderr()
		_ = cmd.Run()
		_ = s.Exit(cmd.ProcessState.ExitCode())
	}
}

// programs makes a folder with scripts of the names.
func programs(t *testing.T, content map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range content {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// daemon starts a process with an environment, which stands for containerd, and returns its id.
func daemon(t *testing.T, env ...string) int {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sleep", "1000")
	cmd.Env = env
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd.Process.Pid
}

func takeAs(t *testing.T, root string, run ssh.Handler) Look {
	t.Helper()
	conn := nodetest.Start(t, nodetest.Options{Session: run}).Dial(t)
	look, err := Take(t.Context(), conn, LookRequest{Now: time.Now, root: root})
	if err != nil {
		t.Fatal(err)
	}
	return look
}

// TestShells runs the look with each shell that nodes have, the last one with busybox's tools as well.
func TestShells(t *testing.T) {
	t.Parallel()
	ca := string(registrytest.NewRoot(t, "Corp Root CA").PEM())
	root := tree(t, map[string]string{
		"/etc/os-release": "ID=photon\n", bundlePath: ca, tkgPath: ca,
		"/etc/ssl/certs/with space.pem":                   "x\x00y\n",
		"/etc/ssl/certs/tkg-link.pem":                     "->tkg-corp.pem",
		"/usr/local/share/ca-certificates/tkg-corp.crt":   ca,
		"/etc/containerd/config.toml":                     "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = \"/etc/containerd/certs.d:/opt/certs.d\"\n",
		"/etc/containerd/certs.d/reg.lab:5000/hosts.toml": "server = \"https://m.lab\"\n",
		"/opt/certs.d/other.lab/ca.crt":                   ca,
	})
	if err := os.WriteFile(filepath.Join(root, "/etc/ssl/certs/huge.pem"), bytes.Repeat([]byte("x"), 2<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	busybox := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "busybox", "--install", "-s", busybox).CombinedOutput(); err != nil {
		t.Fatalf("busybox, which hack/deps.sh installs: %v: %s", err, out)
	}
	want := takeAs(t, root, session([]string{"sh"}, "/usr/bin"))
	if len(want.Files) != 5 || len(want.Large) != 1 || len(want.Hosts) != 2 || want.Hosts[0].Unused || want.Hosts[1].Unused {
		t.Fatalf("got %d files, %d large, hosts %+v", len(want.Files), len(want.Large), want.Hosts)
	}
	for name, shell := range map[string][]string{"dash": {"dash"}, "bash": {"bash", "--posix"}, "busybox": {"busybox", "sh"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := takeAs(t, root, session(shell, busybox))
			got.Time, got.Skew, got.environ = want.Time, want.Skew, want.environ
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(Look{})); diff != "" {
				t.Errorf("-want of sh, +got:\n%s", diff)
			}
		})
	}
}

// TestRuntimeFacts looks at a node with a containerd of its own.
func TestRuntimeFacts(t *testing.T) {
	t.Parallel()
	ca, elsewhere := registrytest.NewRoot(t, "Corp Root CA"), registrytest.NewRoot(t, "Elsewhere CA")
	root := tree(t, map[string]string{
		tkgPath:                           string(ca.PEM()),
		"/opt/certs/a.pem":                string(elsewhere.PEM()),
		"/opt/more certs/b.pem":           "x",
		"/srv/bundle.pem":                 string(elsewhere.PEM()),
		"/etc/ssl/certs/ignored.pem":      "Go does not look here",
		"/etc/pki/tls/certs/tkg-none.pem": "nor here",
	})
	const version = `[ "$1" = --version ] && echo "containerd github.com/containerd/containerd v1.7.27 05044ec0a9a75232cad458027ca83437aae3f4da"`
	cases := map[string]struct {
		reason string
		unit   string
		want   []string
		notes  int
	}{
		"Process": {
			reason: "what the process was started with", want: []string{"/srv/bundle.pem", "/opt/certs/a.pem", "/opt/more certs/b.pem"}, notes: 5,
			unit: fmt.Sprintf("ExecMainStartTimestamp=Fri 2026-05-01 12:00:00 UTC\nMainPID=%d\nEnvironment=SSL_CERT_DIR=/not/this",
				daemon(t, "SSL_CERT_FILE=/srv/bundle.pem", "SSL_CERT_DIR=/opt/certs/:/opt/more certs", "HTTPS_PROXY=http://u:hunter2@p.lab:3128", "NO_PROXY=.svc", "GODEBUG=tlsrsakex=1")),
		},
		"Unit": {
			reason: "it does not run", want: []string{"/opt/certs/a.pem"}, notes: 2,
			unit: "ExecMainStartTimestamp=\nMainPID=0\nEnvironment=\"HTTPS_PROXY=http://p.lab:3128\" SSL_CERT_DIR=/opt/certs",
		},
		"Nothing": {
			reason: "the usual places", want: []string{"/etc/ssl/certs/ignored.pem", tkgPath, "/etc/pki/tls/certs/tkg-none.pem"},
			unit: "ExecMainStartTimestamp=Fri 2026-05-01 12:00:00 UTC\nMainPID=\nEnvironment=",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bin := programs(t, map[string]string{"containerd": version, "systemctl": "cat <<'END'\n" + c.unit + "\nEND"})
			look := takeAs(t, root, session([]string{"sh"}, bin))
			var got []string
			for _, f := range look.Files {
				if f.Go {
					got = append(got, f.Path)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s: what Go reads: -want, +got:\n%s", c.reason, diff)
			}
			if look.Containerd.Release != "1.7.27" || look.Containerd.Go != "1.21" || look.Containerd.Started.IsZero() != (name == "Unit") {
				t.Errorf("%s: containerd: got %+v", c.reason, look.Containerd)
			}
			if notes := strings.Join(look.Notes, "\n"); len(look.Notes) != c.notes || strings.Contains(notes, "hunter2") {
				t.Errorf("%s: want %d notes, got %q", c.reason, c.notes, notes)
			}
			if proxy, _, err := look.HTTPSProxy(); err != nil || (proxy != nil) != (name != "Nothing") || proxy != nil && strings.Contains(proxy.String(), "hunter2") {
				t.Errorf("%s: proxy: got %v, %v", c.reason, proxy, err)
			}
			if i := len(look.Files) - 1; name != "Nothing" && (look.Files[i].Go || look.Files[i].Path != "/etc/pki/tls/certs/tkg-none.pem") {
				t.Errorf("%s: what TKG left where Go does not look is shown as well: got %s", c.reason, look.Files[i].Path)
			}
		})
	}
}

// TestHostile plants on a node what would bring a careless look down.
func TestHostile(t *testing.T) {
	t.Parallel()
	ca := string(registrytest.NewRoot(t, "Corp Root CA").PEM())
	root := tree(t, map[string]string{
		tkgPath:                                         ca,
		"/etc/ssl/certs/tkg-x.pem":                      "\x7fELF\x00\x01\xff\xfe",
		"/etc/ssl/certs/tkg-a\nend\n.pem":               "a name with line ends",
		"/etc/ssl/certs/tkg-\x1b[2J.pem":                "a name that clears the screen",
		"/etc/ssl/certs/tkg-..%2f..%2fetc%2fshadow":     "a name that looks as if it climbed",
		"/etc/ssl/certs/-rf":                            "a name that is an option",
		"/etc/ssl/certs/$(touch pwned)`touch pwned`":    "a name that is a command",
		"/etc/ssl/certs/tkg-gone.pem":                   "->/nowhere\n/at all",
		"/etc/containerd/certs.d/a b/hosts.toml":        "server = \"https://m.lab\"\n",
		"/etc/containerd/certs.d/reg.lab/client.pem":    "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n",
		"/etc/containerd/certs.d/reg.lab/hosts.toml":    "[host.\"https://m.lab\"]\n  client = \"client.pem\"\n  [host.\"https://m.lab\".header]\n    x-token = \"hunter2\"\n",
		"/usr/local/share/ca-certificates/x/tkg-in.crt": ca,
	})
	huge, err := os.Create(filepath.Join(root, "/etc/ssl/certs/tkg-huge.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if err := huge.Truncate(100 << 20); err != nil {
		t.Fatal(err)
	}
	if err := huge.Close(); err != nil {
		t.Fatal(err)
	}
	sent := &count{}
	run := session([]string{"sh"}, t.TempDir())
	look := takeAs(t, root, func(s ssh.Session) { run(&metered{Session: s, sent: sent}) })
	if sent.n > 1<<20 {
		t.Errorf("the node sent %d bytes: what is too large must stay there", sent.n)
	}
	want := []string{
		"/etc/ssl/certs/$(touch pwned)`touch pwned`", "/etc/ssl/certs/-rf", "/etc/ssl/certs/tkg-..%2f..%2fetc%2fshadow", `"/etc/ssl/certs/tkg-\x1b[2J.pem"`,
		`"/etc/ssl/certs/tkg-a\nend\n.pem"`, tkgPath, "/etc/ssl/certs/tkg-x.pem", "/usr/local/share/ca-certificates/x/tkg-in.crt",
	}
	var got []string
	for _, f := range look.Files {
		got = append(got, f.Path)
	}
	less := func(a, b string) bool { return a < b }
	if diff := cmp.Diff(want, got, cmpopts.SortSlices(less)); diff != "" {
		t.Errorf("files: -want, +got:\n%s", diff)
	}
	if diff := cmp.Diff([]LargeFile{{Path: "/etc/ssl/certs/tkg-huge.pem", Go: true}}, look.Large); diff != "" {
		t.Errorf("large files: -want, +got:\n%s", diff)
	}
	if notes := strings.Join(look.Notes, "\n"); !strings.Contains(notes, "/etc/ssl/certs/tkg-huge.pem is too large") {
		t.Errorf("want a note on what was not read, got %q", notes)
	}
	if diff := cmp.Diff(map[string]string{"/etc/ssl/certs/tkg-gone.pem": `"/nowhere\n/at all"`}, look.Links); diff != "" {
		t.Errorf("links: -want, +got:\n%s", diff)
	}
	for _, f := range look.runtime {
		if strings.Contains(f.Path, "client.pem") {
			t.Error("a private key left the node")
		}
	}
	for _, text := range texts(look) {
		if !plain(text) || strings.Contains(text, "hunter2") {
			t.Errorf("must not be shown: %q", text)
		}
	}
	if look.Roots().Len() != 1 {
		t.Errorf("want one root in all that, got %d", look.Roots().Len())
	}
}

// metered counts what a session writes.
type metered struct {
	ssh.Session
	sent *count
}

type count struct{ n int64 }

func (m *metered) Write(p []byte) (int, error) {
	m.sent.n += int64(len(p))
	return m.Session.Write(p)
}

// TestLyingNodes have a node say what no script of ours would.
func TestLyingNodes(t *testing.T) {
	t.Parallel()
	say := func(text string) ssh.Handler {
		return func(s ssh.Session) {
			_, _ = io.Copy(io.Discard, s) // what it is told
			_, _ = io.WriteString(s, text)
			_ = s.Exit(0)
		}
	}
	many := tree(t, map[string]string{tkgPath: "x"})
	for i := range 2100 {
		if err := os.WriteFile(filepath.Join(many, fmt.Sprintf("/etc/ssl/certs/%04d.pem", i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cases := map[string]struct {
		reason string
		root   string
		run    ssh.Handler
		want   string
	}{
		"Endless": {reason: "no end of output", run: func(s ssh.Session) {
			for block := []byte(strings.Repeat("os :QUFB\n", 4096)); ; {
				if _, err := s.Write(block); err != nil {
					return
				}
			}
		}, want: "output is longer than 8 MiB"},
		"NoLines":  {reason: "one line without an end", run: func(s ssh.Session) { _, _ = io.Copy(s, zeros{}) }, want: "output is longer than 8 MiB"},
		"Sizes":    {reason: "sizes that do not add up", run: say(spoken(b64("3 1780000000 1780000000\n2 1780000001 1780000009\n"), b64("4 1 1\n4 1 1\n"))), want: "changed while they were read"},
		"HugeSize": {reason: "a size that would be allocated", run: say(spoken(b64("3 1780000000 1780000000\n2 1780000001 1780000009\n"), b64("9223372036854775807 1 1\n2 1 1\n"))), want: "changed while they were read"},
		"Climb":    {reason: "a path that climbs", run: say(spoken(b64("/etc/ssl/certs/a.pem\x00/etc/ssl/certs/tkg-b.pem\x00"), b64("/etc/ssl/certs/a.pem\x00/etc/ssl/certs/../../shadow\x00"))), want: "a path that the script does not print"},
		"Banner":   {reason: "a profile that talks", run: say("Welcome to \x1b[1mPhoton\n" + spoken()), want: "a line that the script does not print"},
		"Silence":  {reason: "nothing", run: say(""), want: "has no end"},
		"Fails": {reason: "a shell that is none", run: func(s ssh.Session) {
			_, _ = io.WriteString(s.Stderr(), "This account is \x1b[2Jlocked\n")
			_ = s.Exit(1)
		}, want: `exit code 1: "This account is \x1b[2Jlocked"`},
		"Many": {reason: "thousands of files", root: many, run: session([]string{"sh"}, t.TempDir()), want: "more than 2000 files"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := nodetest.Start(t, nodetest.Options{Session: c.run}).Dial(t)
			_, err := Take(t.Context(), conn, LookRequest{Now: time.Now, root: c.root})
			if err == nil || !strings.Contains(err.Error(), c.want) || !plain(err.Error()) || !strings.Contains(err.Error(), "np1-a") {
				t.Errorf("%s: want an error on node np1-a with %q, got %v", c.reason, c.want, err)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'A'
	}
	return len(p), nil
}

// TestRoom has trust files that are small each, and too many bytes together.
func TestRoom(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{"/usr/local/share/ca-certificates/tkg-corp.crt": "still read"})
	if err := os.MkdirAll(filepath.Join(root, "/etc/ssl/certs"), 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if err := os.WriteFile(filepath.Join(root, fmt.Sprintf("/etc/ssl/certs/%d.pem", i)), bytes.Repeat([]byte{'x'}, 1<<20), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	look := takeAs(t, root, session([]string{"sh"}, t.TempDir()))
	if len(look.Large) != 6 || len(look.Files) != 5 || look.Files[4].Path != "/usr/local/share/ca-certificates/tkg-corp.crt" {
		t.Errorf("want 4 of 10 and the one elsewhere, got %d files and %d left out", len(look.Files), len(look.Large))
	}
}
