package nodelook

import (
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEnvironment(t *testing.T) {
	t.Parallel()
	const process = "HTTPS_PROXY=http://user:hunter2@proxy.lab:3128\x00NO_PROXY=.svc,reg.lab\x00SSL_CERT_DIR=/opt/certs\x00TOKEN=hunter2\x00HTTP_PROXY=\x00"
	cases := map[string]struct {
		reason  string
		process string
		unit    string
		want    []string
		proxies map[string]string
	}{
		"Process": {
			reason: "what the process has counts, not what the unit would have", process: process, unit: "HTTPS_PROXY=http://of.the.unit",
			want: []string{
				"containerd pulls through the proxy http://REDACTED@proxy.lab:3128 unless NO_PROXY says otherwise",
				"containerd's NO_PROXY is .svc,reg.lab", "containerd's roots are elsewhere: SSL_CERT_DIR=/opt/certs",
			},
			proxies: map[string]string{"https://other.lab/v2/": "http://user:hunter2@proxy.lab:3128", "https://reg.lab/": "", "https://a.svc": "", "http://other.lab": ""},
		},
		"Unit": {
			reason: "the process could not be read", unit: `"HTTPS_PROXY=user:hunter2@proxy.lab:3128" NO_PROXY=.svc`,
			want:    []string{"containerd pulls through the proxy REDACTED@proxy.lab:3128 unless NO_PROXY says otherwise", "containerd's NO_PROXY is .svc"},
			proxies: map[string]string{"https://reg.lab": "http://user:hunter2@proxy.lab:3128"},
		},
		"LowerCase": {
			reason: "Go reads both, the upper case first", unit: "https_proxy=http://low no_proxy=10.0.0.0/8", process: "",
			want:    []string{"containerd pulls through the proxy http://low unless NO_PROXY says otherwise", "containerd's NO_PROXY is 10.0.0.0/8"},
			proxies: map[string]string{"https://reg.lab": "http://low", "https://10.1.2.3:5000": ""},
		},
		"OnlyHTTP": {reason: "a proxy for plain HTTP is none for https", unit: "HTTP_PROXY=http://p", proxies: map[string]string{"https://reg.lab": "", "http://reg.lab": "http://p"}},
		"Nothing":  {reason: "no proxy at all"},
		"Debug":    {reason: "GODEBUG overrules the defaults", process: "GODEBUG=tlsrsakex=1\x00", want: []string{"containerd runs with GODEBUG=tlsrsakex=1"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := readEnvironment([]byte(c.process), c.unit)
			if diff := cmp.Diff(c.want, env.notes()); diff != "" {
				t.Errorf("%s: notes: -want, +got:\n%s", c.reason, diff)
			}
			proxy := Look{environ: env}.Proxy()
			if (proxy != nil) != (c.proxies != nil) {
				t.Fatalf("%s: a proxy: %v", c.reason, proxy != nil)
			}
			for target, want := range c.proxies {
				u, err := url.Parse(target)
				if err != nil {
					t.Fatal(err)
				}
				got := ""
				if by, err := proxy(u); err != nil {
					t.Errorf("%s: %s: %v", c.reason, target, err)
				} else if by != nil {
					got = by.String()
				}
				if got != want {
					t.Errorf("%s: %s: want the proxy %q, got %q", c.reason, target, want, got)
				}
			}
			if env["TOKEN"] != "" {
				t.Error("what does not change a pull was kept")
			}
		})
	}
}

func TestUnitWords(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		in     string
		want   []string
	}{
		"Plain":   {reason: "two words", in: "A=1 B=2", want: []string{"A=1", "B=2"}},
		"Quoted":  {reason: "systemd from 240 on quotes a word with a space", in: `A=1 "NO_PROXY=a, b" C=3`, want: []string{"A=1", "NO_PROXY=a, b", "C=3"}},
		"Escaped": {reason: "in quotes a backslash keeps the next", in: `"A=\"q\" \\ \$x"`, want: []string{`A="q" \ $x`}},
		"Posix":   {reason: "and some versions write it as bash does", in: `A=$'x y\n' B=2`, want: []string{"A=x y\n", "B=2"}},
		"Hex":     {reason: "systemd before 240", in: `NO_PROXY=a,\x20b C=3`, want: []string{"NO_PROXY=a, b", "C=3"}},
		"Empty":   {reason: "nothing", in: "", want: nil},
		"Torn":    {reason: "an end within quotes is the end", in: `"A=1`, want: []string{"A=1"}},
		"Slash":   {reason: "nothing follows the last backslash", in: `A=\`, want: []string{`A=\`}},
		"BadHex":  {reason: "no number", in: `A=\xzz`, want: []string{"A=xzz"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, unitWords(c.in)); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", c.reason, diff)
			}
		})
	}
}
