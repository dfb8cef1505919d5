package probe_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/probe"
)

// built lets a scene be judged as a containerd of that go line would.
func built(m maker, goLine, debug string) maker {
	return changed(m, func(r *probe.Request) {
		r.Build = probe.Build{Name: "this node's containerd 1.7.27", Go: goLine, Debug: debug}
	})
}

func changed(m maker, change func(*probe.Request)) maker {
	return func(t *testing.T) scene {
		s := m(t)
		s.change = change
		return s
	}
}

// onlySuite is a server that has no other cipher suite.
func onlySuite(suite uint16) maker {
	return func(t *testing.T) scene {
		r := authority(t, "Corp Root CA", nil)
		config := &tls.Config{
			Certificates: []tls.Certificate{chainOf(serverWith(t, r, rsaKey(t, 2048)))}, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite},
		}
		return scene{addr: serve(t, config, nil), roots: pemOf(r)}
	}
}

// onePacket is a registry behind a middlebox that does with a greeting of more than one packet what it likes.
func onePacket(large func(net.Conn)) maker {
	return func(t *testing.T) scene {
		p := newPKI(t)
		inner := present(t, p.leaf, p.inter)
		box := listen(t, func(c net.Conn) {
			first := make([]byte, 16<<10)
			n, err := c.Read(first)
			if err != nil {
				return
			}
			if n > 1400 {
				large(c)
				return
			}
			to, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", inner)
			if err != nil {
				return
			}
			defer func() { _ = to.Close() }()
			_, _ = to.Write(first[:n])
			go func() { _, _ = io.Copy(to, c); _ = to.Close() }()
			_, _ = io.Copy(c, to)
		})
		return scene{addr: box, roots: pemOf(p.root)}
	}
}

func closes(net.Conn) {}

func buildCases() map[string]more {
	known := makers()
	untrusted := func(t *testing.T) scene {
		s := known["F09"](t)
		s.roots = pemOf(authority(t, "Other Root", nil))
		return s
	}
	negative := answer{"negative-serial", probe.ServerCert, false, false}
	older := answer{"trusted-by-older-go", probe.None, true, false}
	large := answer{"hello-too-large", probe.Network, false, false}
	cipher := answer{"no-common-cipher", probe.ServerTLS, false, false}
	return map[string]more{
		"SerialUnknownGo": {reason: "F09 where containerd's Go is not known", make: known["F09"], want: negative, said: "fails from Go 1.23 on", differs: "refuses to parse"},
		"SerialOldGo": {reason: "F09 on containerd 1.7.27", make: built(known["F09"], "1.21", ""), want: older, also: []string{"negative-serial"},
			said: "fails from Go 1.23 on; this node's containerd 1.7.27 is built with the rules of Go 1.21 and accepts it"},
		"SerialOldGoImage": {reason: "tkgfix does not read such a certificate for more", make: func(t *testing.T) scene {
			s := built(known["F09"], "1.21", "")(t)
			s.image = "team/app:1.0"
			return s
		}, want: older, also: []string{"negative-serial"}, said: "it is not asked for the image"},
		"SerialNewGo":    {reason: "F09 on containerd 1.7.35", make: built(known["F09"], "1.25", ""), want: negative, said: "is built with the rules of Go 1.25"},
		"SerialByDebug":  {reason: "GODEBUG overrules the go line", make: built(known["F09"], "1.25", "madvdontneed=1,x509negativeserial=1"), want: older, also: []string{"negative-serial"}, said: "is told by GODEBUG"},
		"SerialByDebug0": {reason: "in both directions", make: built(known["F09"], "1.21", "x509negativeserial=0"), want: negative},
		"SerialUntrusted": {reason: "an older Go has another fault, and the newer one's comes after it", make: built(untrusted, "1.21", ""),
			want: answer{"untrusted-root", probe.AddCA, false, true}, also: []string{"negative-serial"}},
		"TinyKeyOldGo": {reason: "F03 before 1.24", make: built(known["F03"], "1.23", ""), want: older, also: []string{"weak-key"}, differs: "security level"},
		"TinyKeyNewGo": {reason: "F03 from 1.24 on", make: built(known["F03"], "1.24", ""), want: answer{"weak-key", probe.ServerCert, false, false}, said: "fails from Go 1.24 on"},
		"PoliciesOldGo": {reason: "F17 has no setting: the compiler counts", make: built(known["F17"], "1.21", ""), want: answer{"invalid-policies", probe.ServerCert, false, false},
			said: "whether this node's containerd 1.7.27 was compiled with an older one is not known"},
		"SHA1": {reason: "F01 says since when", make: known["F01"], want: answer{"weak-signature", probe.ServerCert, false, false}, said: "fails from Go 1.18 on"},
		"RSAExchangeOldGo": {reason: "RSA key exchange before 1.22", make: built(onlySuite(tls.TLS_RSA_WITH_AES_128_GCM_SHA256), "1.21", ""), want: older, also: []string{"no-common-cipher"},
			said: "TLS_RSA_WITH_AES_128_GCM_SHA256"},
		"RSAExchangeNewGo": {reason: "and from it on", make: built(onlySuite(tls.TLS_RSA_WITH_AES_128_GCM_SHA256), "1.22", ""), want: cipher, said: "fails from Go 1.22 on"},
		"TripleDESOldGo":   {reason: "3DES before 1.23", make: built(onlySuite(tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA), "1.22", ""), want: older, also: []string{"no-common-cipher"}},
		"TripleDESNewGo":   {reason: "and from it on", make: built(onlySuite(tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA), "1.23", ""), want: cipher, said: "fails from Go 1.23 on"},
		"DHEOldGo":         {reason: "G03: no Go ever had it", make: built(known["G03"], "1.19", ""), want: cipher},
		"LargeHelloClosed": {reason: "a middlebox hangs up", make: onePacket(closes), want: large, said: "fails from Go 1.23 on", differs: "fits into one packet"},
		"LargeHelloReset":  {reason: "or resets", make: onePacket(func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }), want: large},
		"LargeHelloOldGo":  {reason: "which older ones never see", make: built(onePacket(closes), "1.21", ""), want: older, also: []string{"hello-too-large"}},
		"DeadOldGo":        {reason: "A05: a closed connection is one to each Go", make: built(known["A05"], "1.21", ""), want: answer{"closed", probe.Network, false, false}},
	}
}

// loaded is a registry whose CA is in the files, and another in what containerd has loaded.
func loaded(files, memory bool, more ...*id) maker {
	return func(t *testing.T) scene {
		p, other := newPKI(t), authority(t, "Other Root", nil)
		pick := func(right bool) *id { return map[bool]*id{true: p.root, false: other}[right] }
		return scene{addr: present(t, p.leaf, p.inter), roots: pemOf(pick(files)), ca: pemOf(p.root), change: func(r *probe.Request) {
			r.Loaded = certs.NewRoots(map[string][]byte{"/etc/ssl/certs/tkg-corp.pem": pemOf(pick(memory))})
		}}
	}
}

func loadedCases() map[string]more {
	return map[string]more{
		"LoadedToo": {reason: "files and process agree", make: loaded(true, true), want: answer{"trusted", probe.None, true, false}},
		"Older": {reason: "S01: the file is newer than the process", make: loaded(true, false), want: answer{"runtime-older", probe.Restart, false, false},
			said: "will not help beyond the restart", differs: "read them when it started"},
		"Removed": {reason: "S03: the file is gone, and the process has it still", make: loaded(false, true), want: answer{"runtime-removed", probe.AddCA, true, true},
			also: []string{"untrusted-root"}, said: "from its next start on", differs: "still has what it read"},
		"RemovedWithImage": {reason: "the pull goes by what is loaded", make: changed(wholeRegistry(nil), func(r *probe.Request) {
			r.Loaded, r.Trust = r.Trust.Roots, probe.TrustOf(nil)
		}), want: answer{"runtime-removed", probe.AddCA, true, true}, also: []string{"untrusted-root"}, said: "the image is there"},
		"NeitherLoaded": {reason: "a CA that neither has", make: loaded(false, false), want: answer{"untrusted-root", probe.AddCA, false, true}},
	}
}

// mirrorScene is a registry, and a mirror before it; each has a CA of its own, of which neither is in the roots.
type mirrorScene struct {
	registry, mirror           *id
	registryStatus, mirrorDoes int
	edit                       func(*probe.Hosts)
	image                      string
	trusted                    bool
}

const mirrorName = "mirror.corp.test"

func (m mirrorScene) make(t *testing.T) scene {
	own, other := authority(t, "Corp Root CA", nil), authority(t, "Mirror Root CA", nil)
	answering := func(leaf *id, status int) string {
		return serve(t, &tls.Config{Certificates: []tls.Certificate{chainOf(leaf)}}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if ns := r.URL.Query().Get("ns"); r.TLS.ServerName == mirrorName && ns == "" {
				w.WriteHeader(http.StatusTeapot)
				return
			}
			w.WriteHeader(status)
			if status == http.StatusOK {
				_, _ = io.WriteString(w, `{"manifests":[]}`)
			}
		}))
	}
	home := answering(server(t, own), m.registryStatus)
	mirror := answering(server(t, other, named(mirrorName)), m.mirrorDoes)
	_, port, _ := net.SplitHostPort(mirror)
	_, homePort, _ := net.SplitHostPort(home)
	hosts := probe.Hosts{File: "/etc/containerd/certs.d/registry.corp.test/hosts.toml", List: []probe.Mirror{
		{URL: &url.URL{Scheme: "https", Host: net.JoinHostPort(mirrorName, port), Path: "/v2"}, CA: []*x509.Certificate{other.Certificate}},
		{URL: &url.URL{Scheme: "https", Host: net.JoinHostPort(name, homePort), Path: "/v2"}},
	}}
	if m.edit != nil {
		m.edit(&hosts)
	}
	roots := pemOf(authority(t, "Other Root", nil))
	if m.trusted {
		roots = pemOf(own)
	}
	return scene{addr: home, roots: roots, connect: map[string]string{mirrorName: mirror}, image: m.image, change: func(r *probe.Request) { r.Hosts = hosts }}
}

func hostsCases() map[string]more {
	const image = "team/app:1.0"
	edit := func(f func(*probe.Mirror)) func(*probe.Hosts) { return func(h *probe.Hosts) { f(&h.List[0]) } }
	noCA := func(m *probe.Mirror) { m.CA = nil }
	return map[string]more{
		"MirrorFirst": {reason: "the mirror with its own ca is accepted, whatever the registry is", make: mirrorScene{mirrorDoes: 200}.make,
			want: answer{"trusted", probe.None, true, false}, also: []string{"untrusted-root"}, said: "in this order: mirror.corp.test:"},
		"MirrorHasTheImage": {reason: "the registry is not asked", make: mirrorScene{mirrorDoes: 200, image: image}.make,
			want: answer{"trusted", probe.None, true, false}, said: "the image is there"},
		"MirrorAnswers404": {reason: "M01 whole: 404 there, and the fallback has no CA", make: mirrorScene{mirrorDoes: 404, image: image}.make,
			want: answer{"not-found", probe.Reference, true, false}, also: []string{"untrusted-root"}},
		"FallbackHasTheImage": {reason: "containerd goes on", make: mirrorScene{mirrorDoes: 404, registryStatus: 200, trusted: true, image: image}.make,
			want: answer{"trusted", probe.None, true, false}, also: []string{"not-found"}, said: "the image is there"},
		"NoHostTrusted": {reason: "the first host's fault is the verdict", make: mirrorScene{edit: edit(noCA)}.make,
			want: answer{"untrusted-root", probe.AddCA, false, true}, also: []string{"untrusted-root"}},
		"MirrorUntrustedFallback": {reason: "containerd goes on to the registry", make: mirrorScene{edit: edit(noCA), trusted: true}.make,
			want: answer{"trusted", probe.None, true, false}, also: []string{"untrusted-root"}},
		"SkipVerify": {reason: "any certificate is taken", make: mirrorScene{trusted: true, edit: edit(func(m *probe.Mirror) { m.CA, m.SkipVerify = nil, true })}.make,
			want: answer{"trusted-unverified", probe.None, true, false}, also: []string{"untrusted-root"}},
		"SkipVerifyImage": {reason: "and it is not asked for an image unverified", make: mirrorScene{mirrorDoes: 200, image: image, edit: edit(func(m *probe.Mirror) { m.CA, m.SkipVerify = nil, true })}.make,
			want: answer{"trusted-unverified", probe.None, true, false}, also: []string{"untrusted-root"}, said: "it is not asked for the image"},
		"PlainHTTP": {reason: "a mirror without TLS", make: mirrorScene{edit: edit(func(m *probe.Mirror) { m.URL.Scheme = "http" })}.make,
			want: answer{"trusted-unverified", probe.None, true, false}, also: []string{"untrusted-root"}},
		"Fault": {reason: "containerd cannot read it", make: mirrorScene{edit: func(h *probe.Hosts) { h.Fault = "toml: expected newline" }}.make,
			want: answer{"hosts-unreadable", probe.Mirrors, false, false}, said: "toml: expected newline"},
		"OwnServer": {reason: "the registry alone, with a ca of its own", make: func(t *testing.T) scene {
			p := newPKI(t)
			s := scene{addr: present(t, p.leaf, p.inter), roots: pemOf(authority(t, "Other Root", nil))}
			s.change = func(r *probe.Request) {
				at := &url.URL{Scheme: "https", Host: net.JoinHostPort(r.Host, r.Port), Path: "/v2"}
				r.Hosts = probe.Hosts{File: "/etc/containerd/certs.d/_default/hosts.toml", List: []probe.Mirror{{URL: at, CA: []*x509.Certificate{p.root.Certificate}}}}
			}
			return s
		}, want: answer{"trusted", probe.None, true, false}, differs: "knows nothing of the ca in hosts.toml"},
		"ClientCertificate": {reason: "what only containerd has is taken for right", make: func(t *testing.T) scene {
			s := makers()["G05"](t)
			s.change = func(r *probe.Request) {
				at := &url.URL{Scheme: "https", Host: net.JoinHostPort(r.Host, r.Port), Path: "/v2"}
				r.Hosts = probe.Hosts{List: []probe.Mirror{{URL: at, Client: true}}}
			}
			return s
		}, want: answer{"trusted", probe.None, true, false}, said: "only containerd has"},
	}
}

// TestMirrorShowsWhatThePodShows: the pod's error is the fallback's where the mirror answers 404.
func TestMirrorShowsWhatThePodShows(t *testing.T) {
	t.Parallel()
	got := run(t, mirrorScene{mirrorDoes: 404, image: "team/app:1.0"}.make(t))
	if want := "tls: failed to verify certificate: x509: certificate signed by unknown authority"; got.GoError != want {
		t.Errorf("want %q, got %q", want, got.GoError)
	}
	var roles []string
	for _, h := range got.Hops {
		roles = append(roles, h.Role)
	}
	if diff := cmp.Diff([]string{"mirror", "manifest", "registry"}, roles); diff != "" {
		t.Errorf("hops (-want, +got):\n%s", diff)
	}
	if hop := got.Hops[2]; hop.Accepted || hop.Verdict != "untrusted-root" || len(hop.Chain) == 0 {
		t.Errorf("the fallback is judged by itself: %+v", hop)
	}
}

// TestSaid: the answer of an openssl elsewhere goes through the same comparison.
func TestSaid(t *testing.T) {
	t.Parallel()
	shown := func(code string, more string) string {
		return "CONNECTED(00000003)\n" + more + "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\nNew, TLSv1.3, Cipher is TLS_AES_128_GCM_SHA256\nVerify return code: " + code + "\n"
	}
	cases := map[string]struct {
		reason string
		said   probe.Said
		want   probe.OpenSSL
	}{
		"Agrees": {"0", probe.Said{Text: shown("0 (ok)", "")}, probe.OpenSSL{Available: true, Text: "ok", Agrees: true}},
		"Differs": {"21", probe.Said{Text: shown("21 (unable to verify the first certificate)", "")}, probe.OpenSSL{Available: true, VerifyCode: 21,
			Text: "unable to verify the first certificate", Why: "openssl says 21 (unable to verify the first certificate): it reads other files than Go: its own bundle, and only files with a subject hash for a name"}},
		"NoHandshake": {"0 without a handshake", probe.Said{Text: "New, (NONE), Cipher is (NONE)\nVerify return code: 0 (ok)\n"}, probe.OpenSSL{Available: true, VerifyCode: -1,
			Text: "no handshake", Why: "openssl says -1 (no handshake): it has no way to a handshake with this server, and Go has"}},
		"NoTime": {"timeout(1) ended it", probe.Said{Text: shown("0 (ok)", ""), Exit: 124}, probe.OpenSSL{Available: true, VerifyCode: -1,
			Text: "no answer in time", Why: "openssl says -1 (no answer in time): it has no way to a handshake with this server, and Go has"}},
		"Late": {"the chain is accepted and the handshake is not", probe.Said{Text: shown("0 (ok)", "error:0A00045C:SSL routines::tlsv13 alert certificate required\n"), Exit: 1},
			probe.OpenSSL{Available: true, Text: "the handshake failed after the chain was accepted; error:0A00045C:SSL routines::tlsv13 alert certificate required",
				Why: "openssl says 0 (the handshake failed after the chain was accepted; error:0A00045C:SSL routines::tlsv13 alert certificate required): its rules are stricter here than Go's, and containerd goes by Go's"}},
	}
	p := newPKI(t)
	s := scene{addr: present(t, p.leaf, p.inter), roots: pemOf(p.root)}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mine := s
			mine.change = func(r *probe.Request) {
				r.OpenSSL, r.Said = "", &c.said
				r.Trust.File = "" // those of a node
			}
			if diff := cmp.Diff(c.want, run(t, mine).OpenSSL); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", c.reason, diff)
			}
		})
	}
}

// TestSaidOfOtherTrust: roots that were brought are not the node's openssl's.
func TestSaidOfOtherTrust(t *testing.T) {
	t.Parallel()
	p := newPKI(t)
	got := run(t, scene{addr: present(t, p.leaf, p.inter), roots: pemOf(p.root), change: func(r *probe.Request) { r.Said = &probe.Said{} }})
	if got.OpenSSL.Agrees || !strings.Contains(got.OpenSSL.Why, "has the trust of the node") {
		t.Errorf("%+v", got.OpenSSL)
	}
}

// TestShown: a chain that somebody else got is judged without a dial.
func TestShown(t *testing.T) {
	t.Parallel()
	p := newPKI(t)
	ask := func(roots *id) probe.Report {
		return run(t, scene{addr: "127.0.0.1:1", roots: pemOf(roots), ca: pemOf(p.root), change: func(r *probe.Request) {
			r.Shown = []*x509.Certificate{p.leaf.Certificate, p.inter.Certificate}
			r.Said = &probe.Said{}
		}})
	}
	got := map[string]bool{"root": ask(p.root).Accepted, "other": ask(authority(t, "Other Root", nil)).Accepted}
	if diff := cmp.Diff(map[string]bool{"root": true, "other": false}, got); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}
