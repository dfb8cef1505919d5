package nodelook

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gliderlabs/ssh"
	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/handshake/registrytest"
	"github.com/tkgfix/tkgfix/internal/node"
	"github.com/tkgfix/tkgfix/internal/node/nodetest"
	"github.com/tkgfix/tkgfix/internal/probe"
	"github.com/tkgfix/tkgfix/internal/tkg"
)

// commands is a folder of commands that print what is given.
func commands(t *testing.T, print map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range print {
		script := "#!/bin/sh\ncat <<'END'\n" + text + "\nEND\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// withPath is a node whose commands are in a folder first.
func withPath(dir string) ssh.Handler {
	return func(s ssh.Session) { nodetest.Shell(s, append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))) }
}

// ask probes reg.lab from a node.
func ask(t *testing.T, o nodetest.Options, root string, change func(*probe.Request)) (probe.Report, error) {
	t.Helper()
	req := probe.Request{Host: registrytest.Host, Port: "443", Now: time.Now}
	if change != nil {
		change(&req)
	}
	_, report, err := probeFrom(t.Context(), nodetest.Start(t, o).Dial(t), req, root)
	return report, err
}

// at is a node that knows the way to one address alone.
func at(address string) nodetest.Options {
	return nodetest.Options{Resolve: func(string) string { return address }}
}

func TestProbe(t *testing.T) {
	t.Parallel()
	root := registrytest.NewRoot(t, "Corp Root CA")
	renewed := registrytest.NewRoot(t, "Corp Root CA")
	stranger := registrytest.NewRoot(t, "Other CA")
	inter := root.Intermediate(t, "Corp Issuing CA")
	good := registrytest.Serve(t, inter.Leaf(t, nil), nil, inter.Cert)
	alone := registrytest.Serve(t, inter.Leaf(t, nil), nil)
	expired := registrytest.Serve(t, inter.Leaf(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), nil, inter.Cert)
	misnamed := registrytest.Serve(t, inter.Leaf(t, func(c *x509.Certificate) { c.DNSNames = []string{"other.lab"} }), nil, inter.Cert)
	oldTLS := registrytest.Serve(t, inter.Leaf(t, nil), func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, inter.Cert)
	many := make([]*x509.Certificate, 0, 100)
	for i := range 99 {
		many = append(many, registrytest.NewRoot(t, fmt.Sprintf("Stranger %d", i)).Cert)
	}
	hundred := registrytest.Serve(t, inter.Leaf(t, nil), nil, append(many, inter.Cert)...)

	type answer struct {
		Verdict         string
		Accepted, Cured bool
	}
	cases := map[string]struct {
		reason    string
		registry  string
		trust     []byte
		candidate *x509.Certificate
		want      answer
		missing   string
	}{
		"Trusted":           {reason: "K01", registry: good, trust: root.PEM(), want: answer{"trusted", true, false}},
		"MissingCA":         {reason: "B03: the candidate is the cure", registry: good, trust: stranger.PEM(), candidate: root.Cert, want: answer{"untrusted-root", false, true}},
		"WrongCandidate":    {reason: "another CA is not", registry: good, trust: stranger.PEM(), candidate: stranger.Cert, want: answer{"untrusted-root", false, false}},
		"OldKey":            {reason: "B06: the name is right and the key is not", registry: good, trust: renewed.PEM(), candidate: root.Cert, want: answer{"same-name-other-key", false, true}},
		"RootWithoutInter":  {reason: "B04: the root alone does not complete the chain; the missing certificate is named", registry: alone, trust: root.PEM(), candidate: root.Cert, want: answer{"missing-intermediate", false, false}, missing: "Corp Issuing CA"},
		"InterAsCandidate":  {reason: "K02: the intermediate is a good anchor for Go", registry: alone, trust: stranger.PEM(), candidate: inter.Cert, want: answer{"missing-intermediate", false, true}},
		"Expired":           {reason: "C01: no CA helps", registry: expired, trust: root.PEM(), candidate: root.Cert, want: answer{"expired", false, false}},
		"OtherName":         {reason: "D01: no CA helps", registry: misnamed, trust: root.PEM(), candidate: root.Cert, want: answer{"name-mismatch", false, false}},
		"OldTLS":            {reason: "G01: there is no chain to judge", registry: oldTLS, trust: root.PEM(), candidate: root.Cert, want: answer{"old-tls-version", false, false}},
		"Refused":           {reason: "A02: the node runs into it", registry: "127.0.0.1:1", trust: root.PEM(), candidate: root.Cert, want: answer{"refused", false, false}},
		"UnparsableTrusted": {reason: "I01: a file that Go drops is no trust", registry: good, trust: []byte(tkg.Encode(root.PEM(), 1)), want: answer{"trust-file-base64", false, false}},
		"Hundred":           {reason: "a chain of a hundred, in which the intermediate comes last", registry: hundred, trust: root.PEM(), want: answer{"trusted-unordered", true, false}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := ask(t, at(c.registry), tree(t, map[string]string{tkgPath: string(c.trust)}), func(r *probe.Request) {
				if c.candidate != nil {
					r.Candidate = []*x509.Certificate{c.candidate}
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, answer{got.ID, got.Accepted, got.WithCandidate != nil && got.WithCandidate.Accepted}); diff != "" {
				t.Errorf("%s: -want, +got:\n%s\n%s", c.reason, diff, got.Text())
			}
			if c.missing != "" && (got.Missing == nil || !strings.Contains(got.Missing.Name, c.missing)) {
				t.Errorf("%s: want %q to be missing, got %+v", c.reason, c.missing, got.Missing)
			}
			if got.From != "node/np1-a" || got.Target.Host != registrytest.Host || got.Target.Address != "" {
				t.Errorf("%s: from %s, %+v", c.reason, got.From, got.Target)
			}
			if strings.Contains(got.GoError, "np1-a") {
				t.Errorf("%s: containerd does not know the name of its node: %s", c.reason, got.GoError)
			}
		})
	}
}

// TestProbeNames: the node's names count, and its openssl's answer goes through the same comparison.
func TestProbeNames(t *testing.T) {
	t.Parallel()
	root := registrytest.NewRoot(t, "Corp Root CA")
	named := func(host string) string {
		return registrytest.Serve(t, root.Leaf(t, func(c *x509.Certificate) { c.DNSNames = []string{host} }), nil)
	}
	other := named("other.lab")
	dir := tree(t, map[string]string{tkgPath: string(root.PEM())})
	t.Run("Unknown", func(t *testing.T) {
		t.Parallel()
		got, err := ask(t, nodetest.Options{}, dir, func(r *probe.Request) { r.Host = "reg.invalid" })
		if err != nil || got.ID != "dns" {
			t.Errorf("want dns, got %s, %v", got.ID, err)
		}
	})
	for name, c := range map[string]struct {
		reason, verdict string
		change          func(*probe.Request)
	}{
		"Connect": {"what is dialled is the node's to reach", "trusted", func(r *probe.Request) { r.Connect = map[string]string{r.Host: named(registrytest.Host)} }},
		"ServerName": {"another name is asked for, by openssl too", "trusted", func(r *probe.Request) {
			r.ServerName, r.Connect = "other.lab", map[string]string{r.Host: other}
		}},
		"OtherName": {"openssl never compares names", "name-mismatch", func(r *probe.Request) { r.Connect = map[string]string{r.Host: other} }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked probe.Request
			got, err := ask(t, nodetest.Options{}, dir, func(r *probe.Request) { c.change(r); asked = *r })
			if err != nil {
				t.Fatal(err)
			}
			if got.ID != c.verdict || got.Target.Address != asked.Address() {
				t.Errorf("%s: %s at %s", c.reason, got.ID, got.Target.Address)
			}
			// This machine's openssl has none of the node's files in the test: it says 20 or 21, and why it differs is said.
			if o := got.OpenSSL; !o.Available || o.VerifyCode < 18 || o.Agrees == got.Accepted || (o.Why == "") != o.Agrees {
				t.Errorf("%s: openssl: %+v", c.reason, o)
			}
		})
	}
}

func TestProbeClock(t *testing.T) {
	t.Parallel()
	root := registrytest.NewRoot(t, "Corp Root CA")
	registry := registrytest.Serve(t, root.Leaf(t, nil), nil)
	behind := time.Now().Add(-72 * time.Hour)
	o := at(registry)
	o.Session = withPath(commands(t, map[string]string{"date": fmt.Sprint(behind.Unix())}))
	got, err := ask(t, o, tree(t, map[string]string{tkgPath: string(root.PEM())}), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != "not-yet-valid" || got.Remedy != probe.Clock || !strings.Contains(strings.Join(got.Notes, "\n"), "clock is off by -7") {
		t.Errorf("dates are judged by the node's clock: %s, %q", got.ID, got.Notes)
	}
}

// unit is what systemctl shows of containerd.
func unit(started time.Time, environment string) map[string]string {
	return map[string]string{
		"systemctl":  "ExecMainStartTimestamp=" + started.UTC().Format("Mon 2006-01-02 15:04:05 MST") + "\nMainPID=0\nEnvironment=" + environment,
		"containerd": "containerd github.com/containerd/containerd v1.7.27 05044ec0a9a75232cad458027ca83437aae3f4da",
	}
}

func TestProbeProxy(t *testing.T) {
	t.Parallel()
	root := registrytest.NewRoot(t, "Corp Root CA")
	registry := registrytest.Serve(t, root.Leaf(t, nil), nil)
	proxy := registrytest.Listen(t, func(c net.Conn) {
		br := bufio.NewReader(c)
		req, err := http.ReadRequest(br)
		if err != nil || req.Method != http.MethodConnect {
			return
		}
		if req.Host == "blocked.lab:443" {
			_, _ = io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
			return
		}
		to, err := new(net.Dialer).DialContext(context.Background(), "tcp", registry)
		if err != nil {
			return
		}
		defer func() { _ = to.Close() }()
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(to, br); _ = to.Close() }()
		_, _ = io.Copy(c, to)
	})
	dir := tree(t, map[string]string{tkgPath: string(root.PEM())})
	path := commands(t, unit(time.Now(), "HTTPS_PROXY=http://user:hunter2@"+proxy+" NO_PROXY=direct.lab"))
	for name, c := range map[string]struct{ reason, host, verdict, proxy string }{
		"Through": {"by the node's proxy", registrytest.Host, "trusted", "http://" + proxy},
		"Blocked": {"which may refuse", "blocked.lab", "proxy-refuses", "http://" + proxy},
		"NoProxy": {"or be passed by", "direct.lab", "refused", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := nodetest.Options{Session: withPath(path), Resolve: func(hostport string) string {
				if hostport == proxy {
					return proxy
				}
				return "127.0.0.1:1"
			}}
			got, err := ask(t, o, dir, func(r *probe.Request) { r.Host = c.host })
			if err != nil {
				t.Fatal(err)
			}
			if got.ID != c.verdict || got.Proxy != c.proxy {
				t.Errorf("%s: want %s by %q, got %s by %q", c.reason, c.verdict, c.proxy, got.ID, got.Proxy)
			}
			if text := got.Text() + fmt.Sprint(got); strings.Contains(text, "hunter2") {
				t.Errorf("%s: the password is shown: %s", c.reason, text)
			}
		})
	}
}

// TestProbeStale: what the running containerd has read counts.
func TestProbeStale(t *testing.T) {
	t.Parallel()
	root, other, public := registrytest.NewRoot(t, "Corp Root CA"), registrytest.NewRoot(t, "Other CA"), registrytest.NewRoot(t, "Public CA")
	registry := registrytest.Serve(t, root.Leaf(t, nil), nil)
	started := time.Now().Add(-time.Hour)
	const anchor = "/etc/pki/ca-trust/source/anchors/tkg-corp.pem"
	bundle := string(public.PEM()) + string(other.PEM())
	cases := map[string]struct {
		reason   string
		files    map[string]string
		old      []string // the paths that are older than containerd
		verdict  string
		accepted bool
	}{
		"Newer":     {"S01", map[string]string{tkgPath: string(root.PEM())}, nil, "runtime-older", false},
		"Older":     {"restarted since", map[string]string{tkgPath: string(root.PEM())}, []string{tkgPath}, "trusted", true},
		"OtherNew":  {"another file is newer", map[string]string{tkgPath: string(root.PEM()), "/etc/ssl/certs/tkg-b.pem": string(other.PEM())}, []string{tkgPath}, "trusted", true},
		"NewBundle": {"a bundle that was made anew held its certificates before", map[string]string{"/etc/pki/tls/certs/ca-bundle.crt": bundle + string(root.PEM())}, nil, "trusted", true},
		"NewAnchor": {"but for those of anchors that are new", map[string]string{"/etc/pki/tls/certs/ca-bundle.crt": bundle + string(root.PEM()), anchor: string(root.PEM())}, nil, "runtime-older", false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := tree(t, c.files)
			for _, p := range c.old {
				if err := os.Chtimes(filepath.Join(dir, p), started.Add(-time.Hour), started.Add(-time.Hour)); err != nil {
					t.Fatal(err)
				}
			}
			o := at(registry)
			o.Session = withPath(commands(t, unit(started, "")))
			got, err := ask(t, o, dir, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got.ID != c.verdict || got.Accepted != c.accepted {
				t.Errorf("%s: want %s, got:\n%s", c.reason, c.verdict, got.Text())
			}
		})
	}
}

// TestProbeRemoved: what was taken out of a folder is not known any more, and that is said.
func TestProbeRemoved(t *testing.T) {
	t.Parallel()
	root, other := registrytest.NewRoot(t, "Corp Root CA"), registrytest.NewRoot(t, "Other Root CA")
	dir := tree(t, map[string]string{tkgPath: string(root.PEM()), "/etc/pki/tls/certs/other.pem": string(other.PEM())})
	if err := os.Remove(filepath.Join(dir, tkgPath)); err != nil {
		t.Fatal(err)
	}
	for name, started := range map[string]time.Time{"Before": time.Now().Add(-time.Hour), "After": time.Now().Add(time.Hour)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := at(registrytest.Serve(t, root.Leaf(t, nil), nil))
			o.Session = withPath(commands(t, unit(started, "")))
			got, err := ask(t, o, dir, nil)
			if err != nil {
				t.Fatal(err)
			}
			said := strings.Contains(strings.Join(got.Notes, "\n"), "files were taken out of /etc/ssl/certs after containerd was started")
			if got.Accepted || said != (name == "Before") {
				t.Errorf("started %s: %v, notes %q", started, got.Accepted, got.Notes)
			}
		})
	}
}

// TestProbeBuild: what turns on containerd's Go is judged by that of the node.
func TestProbeBuild(t *testing.T) {
	t.Parallel()
	root := registrytest.NewRoot(t, "Corp Root CA")
	box := registrytest.Listen(t, func(c net.Conn) { // a middlebox that takes no greeting of more than one packet
		hello := make([]byte, 16<<10)
		n, err := c.Read(hello)
		if err != nil || n > 1400 {
			return
		}
		to, err := new(net.Dialer).DialContext(context.Background(), "tcp", registrytest.Serve(t, root.Leaf(t, nil), nil))
		if err != nil {
			return
		}
		defer func() { _ = to.Close() }()
		_, _ = to.Write(hello[:n])
		go func() { _, _ = io.Copy(to, c); _ = to.Close() }()
		_, _ = io.Copy(c, to)
	})
	dir := tree(t, map[string]string{tkgPath: string(root.PEM())})
	unknown, old := at(box), at(box)
	unknown.Session = withPath(commands(t, map[string]string{"containerd": "containerd of a vendor"}))
	old.Session = withPath(commands(t, unit(time.Now().Add(time.Hour), "")))
	for name, c := range map[string]struct {
		node          nodetest.Options
		verdict, said string
	}{
		"Unknown": {unknown, "hello-too-large", "fails from Go 1.23 on"},
		"Old":     {old, "trusted-by-older-go", "this node's containerd 1.7.27 is built with the rules of Go 1.21 and accepts it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := ask(t, c.node, dir, nil)
			if err != nil || got.ID != c.verdict || !strings.Contains(got.Message, c.said) {
				t.Errorf("want %s and %q, got %v:\n%s", c.verdict, c.said, err, got.Text())
			}
		})
	}
}

func TestProbeHosts(t *testing.T) {
	t.Parallel()
	root, other := registrytest.NewRoot(t, "Mirror Root CA"), registrytest.NewRoot(t, "Other Root CA")
	mirror := registrytest.Serve(t, root.Leaf(t, func(c *x509.Certificate) { c.DNSNames = []string{"mirror.lab"} }), nil)
	home := registrytest.Serve(t, other.Leaf(t, nil), nil)
	const folder = "/etc/containerd/certs.d/reg.lab/"
	file := func(ca string) string {
		return "server = \"https://reg.lab\"\n[host.\"https://mirror.lab\"]\n  capabilities = [\"pull\", \"resolve\"]\n  ca = \"" + ca + "\"\n"
	}
	cases := map[string]struct {
		reason  string
		files   map[string]string
		verdict string
		hops    []string
	}{
		"Beside":    {"the ca lies beside it", map[string]string{folder + "hosts.toml": file("mirror.crt"), folder + "mirror.crt": string(root.PEM())}, "trusted", []string{"mirror trusted", "registry untrusted-root"}},
		"Elsewhere": {"or elsewhere", map[string]string{folder + "hosts.toml": file("/etc/containerd/mirror.crt"), "/etc/containerd/mirror.crt": string(root.PEM())}, "trusted", []string{"mirror trusted", "registry untrusted-root"}},
		"OtherCA":   {"another ca is none", map[string]string{folder + "hosts.toml": file("mirror.crt"), folder + "mirror.crt": string(other.PEM())}, "untrusted-root", []string{"mirror untrusted-root", "registry untrusted-root"}},
		"System":    {"ca is added to the system's roots", map[string]string{folder + "hosts.toml": file("mirror.crt"), folder + "mirror.crt": string(other.PEM()), tkgPath: string(root.PEM())}, "trusted", []string{"mirror trusted", "registry untrusted-root"}},
		"Gone":      {"containerd is strict", map[string]string{folder + "hosts.toml": file("/opt/gone.crt")}, "hosts-unreadable", nil},
		"NoPEM":     {"in that, too", map[string]string{folder + "hosts.toml": file("mirror.crt"), folder + "mirror.crt": "no certificate"}, "hosts-unreadable", nil},
		"NoTOML":    {"a file that is none is passed over", map[string]string{folder + "hosts.toml": "[host", tkgPath: string(other.PEM())}, "trusted", nil},
		"Absent":    {"nothing changes", map[string]string{tkgPath: string(other.PEM())}, "trusted", nil},
		"Docker":    {"Docker's layout, without a hosts.toml", map[string]string{folder + "ca.crt": string(other.PEM())}, "trusted", []string{"registry trusted"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := nodetest.Options{Resolve: func(hostport string) string {
				if hostport == "mirror.lab:443" {
					return mirror
				}
				return home
			}}
			got, err := ask(t, o, tree(t, c.files), nil)
			if err != nil {
				t.Fatal(err)
			}
			var hops []string
			for _, h := range got.Hops {
				hops = append(hops, h.Role+" "+h.Verdict)
			}
			if got.ID != c.verdict {
				t.Errorf("%s: want %s, got:\n%s", c.reason, c.verdict, got.Text())
			}
			if diff := cmp.Diff(c.hops, hops); diff != "" {
				t.Errorf("%s: hops (-want, +got):\n%s", c.reason, diff)
			}
		})
	}
}

// TestProbeRoots: roots that are brought take the place of the node's files, old and new.
func TestProbeRoots(t *testing.T) {
	t.Parallel()
	root, other := registrytest.NewRoot(t, "Corp Root CA"), registrytest.NewRoot(t, "Other CA")
	o := at(registrytest.Serve(t, root.Leaf(t, nil), nil))
	o.Session = withPath(commands(t, unit(time.Now().Add(-time.Hour), "")))
	got, err := ask(t, o, tree(t, map[string]string{tkgPath: string(other.PEM())}), func(r *probe.Request) {
		r.Trust = probe.TrustOf(map[string][]byte{"root.pem": root.PEM()})
	})
	if err != nil || got.ID != "trusted" {
		t.Errorf("want trusted, got %v:\n%s", err, got.Text())
	}
}

func TestProbeWithoutForwarding(t *testing.T) {
	t.Parallel()
	root := registrytest.NewRoot(t, "Corp Root CA")
	registry := registrytest.Serve(t, root.Leaf(t, func(c *x509.Certificate) { c.DNSNames = []string{"localhost"} }), nil)
	_, port, _ := net.SplitHostPort(registry)
	bare := t.TempDir() // nothing in it can dial
	sh, err := exec.LookPath("sh")
	if err == nil {
		err = os.Symlink(sh, filepath.Join(bare, "sh"))
	}
	if err != nil {
		t.Fatal(err)
	}
	alone := func(s ssh.Session) { nodetest.Shell(s, []string{"PATH=" + bare}) }
	const noted = "forbids TCP forwarding"
	for name, c := range map[string]struct {
		reason  string
		session ssh.Handler
		noted   bool
	}{
		"Carried": {"a program of the node carries the bytes", nil, false},
		"Shown":   {"nothing does: the chain is the one that the node's openssl was shown", alone, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := ask(t, nodetest.Options{NoForwarding: true, Session: c.session}, t.TempDir(), func(r *probe.Request) {
				r.Host, r.Port, r.Candidate = "localhost", port, []*x509.Certificate{root.Cert}
			})
			if err != nil {
				t.Fatalf("%s: this needs openssl, which hack/deps.sh installs: %v", c.reason, err)
			}
			if got.Accepted || !got.CandidateAccepted() || len(got.Chain) != 1 || got.OpenSSL.VerifyCode <= 0 || !got.OpenSSL.Agrees {
				t.Errorf("%s: want Go's verdicts, got:\n%s", c.reason, got.Text())
			}
			if strings.Contains(strings.Join(got.Notes, "\n"), noted) != c.noted {
				t.Errorf("%s: notes: %q", c.reason, got.Notes)
			}
		})
	}
	_, err = ask(t, nodetest.Options{NoForwarding: true, Session: alone}, t.TempDir(), func(r *probe.Request) { r.Host, r.Port = "localhost", "1" })
	if !errors.Is(err, node.ErrForwarding) {
		t.Errorf("without a chain nobody was asked: %v", err)
	}
}

// TestProbeEnds: what does not end is ended.
func TestProbeEnds(t *testing.T) {
	t.Parallel()
	hang := registrytest.Listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	trickle := registrytest.Listen(t, func(c net.Conn) {
		_, _ = c.Write([]byte{22, 3, 3, 0x40, 0})
		for {
			if _, err := c.Write([]byte{0}); err != nil {
				return
			}
		}
	})
	for name, c := range map[string]struct{ reason, address, verdict string }{
		"Silent":  {"a handshake that is never answered", hang, "handshake-timeout"},
		"Endless": {"a message without end", trickle, "tls-alert"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			got, err := ask(t, at(c.address), t.TempDir(), func(r *probe.Request) {
				r.Timeout, r.Connect = 2*time.Second, map[string]string{r.Host: "127.0.0.1:1"}
			})
			if err != nil || got.ID != c.verdict {
				t.Errorf("%s: want %s, got %s, %v", c.reason, c.verdict, got.ID, err)
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("%s: took %s", c.reason, took)
			}
		})
	}
}

// TestProbeLost: a node that goes away is no fault of the registry's.
func TestProbeLost(t *testing.T) {
	t.Parallel()
	server := make(chan ssh.Session, 1)
	o := nodetest.Options{Session: func(s ssh.Session) {
		_, _ = io.Copy(io.Discard, s)
		_, _ = fmt.Fprintf(s, "date %d\nuid 0\nend\n", time.Now().Unix())
		server <- s
	}}
	o.Resolve = func(string) string {
		s := <-server
		ctx := s.Context().(ssh.Context)
		if conn, ok := ctx.Value(ssh.ContextKeyConn).(io.Closer); ok {
			_ = conn.Close()
		}
		return "127.0.0.1:1"
	}
	if got, err := ask(t, o, "", nil); !errors.Is(err, node.ErrLost) {
		t.Errorf("want the node to be lost, got %v:\n%s", err, got.Text())
	}
}
