package probe_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/probe"
	"github.com/tkgfix/tkgfix/plugins"
)

// splice joins a connection with another.
func splice(c net.Conn, addr string) {
	to, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", addr)
	if err != nil {
		return
	}
	defer func() { _ = to.Close() }()
	go func() { _, _ = io.Copy(to, c); _ = to.Close() }()
	_, _ = io.Copy(c, to)
}

// endless writes until it cannot.
func endless(w io.Writer, text string) {
	block := []byte(strings.Repeat(text, 4096/len(text)))
	for {
		if _, err := w.Write(block); err != nil {
			return
		}
	}
}

// TestHostile probes what does not want to be probed: each ends in time, with a verdict.
func TestHostile(t *testing.T) {
	t.Parallel()
	registry := func(h http.HandlerFunc) maker {
		return func(t *testing.T) scene {
			p := newPKI(t)
			return scene{addr: serve(t, &tls.Config{Certificates: []tls.Certificate{chainOf(p.leaf, p.inter)}}, h), roots: pemOf(p.root), image: "team/app:1.0"}
		}
	}
	cases := map[string]struct {
		reason string
		make   maker
		want   string
	}{
		"Trickle": {"a handshake that never ends", raw(func(c net.Conn) {
			_, _ = c.Write([]byte{22, 3, 3, 0x40, 0})
			endless(slow{c}, "x")
		}), "handshake-timeout"},
		"EndlessHandshake": {"records without end", raw(func(c net.Conn) { endless(c, "\x16\x03\x03\x00\x04\x04\x00\x00\x00") }), "tls-alert"},
		"Garbage":          {"bytes without end", raw(func(c net.Conn) { endless(c, "\xff\x00") }), "not-tls"},
		"EndlessHTTP":      {"an answer in plain HTTP without end", raw(func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"); endless(c, "A: b\r\n") }), "plain-http"},
		"EndlessManifest":  {"a manifest without end", registry(func(w http.ResponseWriter, _ *http.Request) { endless(w, "{") }), "registry-error"},
		"EndlessHeader": {"a head without end", registry(func(w http.ResponseWriter, _ *http.Request) {
			for i := range 4096 {
				w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("a", 1024))
			}
		}), "registry-error"},
		"SlowManifest": {"an answer that never comes", registry(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), "registry-error"},
		"EndlessProxy": {"a proxy that answers without end", func(t *testing.T) scene {
			p := newPKI(t)
			return scene{addr: present(t, p.leaf), roots: pemOf(p.root), proxy: "http://" + listen(t, func(c net.Conn) {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n")
				endless(c, "A: b\r\n")
			})}
		}, "proxy-unreachable"},
		"HundredCertificates": {"a chain of a hundred, in which the intermediate comes last", func(t *testing.T) scene {
			p := newPKI(t)
			var many []*id
			for i := range 98 {
				many = append(many, authority(t, fmt.Sprintf("Stranger %d", i), nil))
			}
			return scene{addr: present(t, p.leaf, append(many, p.inter)...), roots: pemOf(p.root)}
		}, "trusted-unordered"},
		"HundredOfOneName": {"a chain of a hundred of the issuer's name", func(t *testing.T) scene {
			p := newPKI(t)
			var many []*id
			for range 99 {
				many = append(many, authority(t, "Corp Issuing CA", authority(t, "Corp Issuing CA", nil)))
			}
			return scene{addr: present(t, p.leaf, many...), roots: pemOf(p.root)}
		}, "missing-intermediate"},
		"HostileName": {"a name that would act on a terminal", func(t *testing.T) scene {
			r := authority(t, "Evil\x1b[2J\nCA", nil)
			return scene{addr: present(t, server(t, r), r), roots: pemOf(authority(t, "Other Root", nil))}
		}, "untrusted-root"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := c.make(t)
			s.timeout = 4 * time.Second
			began := time.Now()
			got := run(t, s)
			if got.ID != c.want {
				t.Errorf("%s: want %s, got:\n%s", c.reason, c.want, got.Text())
			}
			if took := time.Since(began); took > 12*time.Second {
				t.Errorf("%s: took %s", c.reason, took)
			}
			if text := got.Text() + got.Message; len(text) > 64<<10 || strings.ContainsAny(text, "\x1b\x00") {
				t.Errorf("%s: the text is not fit to print", c.reason)
			}
			if len(got.Chain) > 32 {
				t.Errorf("%s: %d certificates are shown", c.reason, len(got.Chain))
			}
		})
	}
}

// slow writes a byte at a time.
type slow struct{ net.Conn }

func (s slow) Write(p []byte) (int, error) {
	timer := time.NewTimer(50 * time.Millisecond)
	<-timer.C
	_, err := s.Conn.Write(p[:1])
	return len(p), err
}

// TestHugeFiles: a file that no CA is made of is an error at once, and one of a folder is left out.
func TestHugeFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	huge := filepath.Join(dir, "huge.pem")
	if err := os.WriteFile(huge, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, 100<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := probe.LoadTrust(huge); err == nil || plugins.HintOf(err) == "" {
		t.Errorf("roots of 100 MB: %v", err)
	}
	if _, err := probe.LoadCandidate(huge); err == nil || plugins.HintOf(err) == "" {
		t.Errorf("a CA of 100 MB: %v", err)
	}
	if _, err := probe.LoadTrust("/dev/zero"); err == nil {
		t.Error("a device was read")
	}
	if err := os.WriteFile(filepath.Join(dir, "root.pem"), pemOf(authority(t, "Corp Root CA", nil)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/zero", filepath.Join(dir, "zero.pem")); err != nil {
		t.Fatal(err)
	}
	got, err := probe.LoadTrust(dir)
	if err != nil || got.Roots.Len() != 1 || len(got.Rejected) != 2 {
		t.Errorf("a folder with a huge file and a device: %d certificates, rejected %+v, %v", got.Roots.Len(), got.Rejected, err)
	}
}

// TestCancelled: an end from outside is an error and no verdict.
func TestCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	addr := listen(t, func(c net.Conn) { cancel(); _, _ = io.Copy(io.Discard, c) })
	_, err := probe.Run(ctx, probe.Request{Host: name, Port: "443", Connect: map[string]string{name: addr}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("want an end, got %v", err)
	}
}

func TestWrongImage(t *testing.T) {
	t.Parallel()
	for _, image := range []string{"UPPER/case", "a:b:c", "../x", "a@sha256:12"} {
		if _, err := probe.Run(t.Context(), probe.Request{Host: name, Port: "443", Image: image}); !errors.Is(err, probe.ErrNoImage) {
			t.Errorf("%q: %v", image, err)
		}
	}
}

// FuzzJudge: no certificate, however made, ends the judge.
func FuzzJudge(f *testing.F) {
	p := newPKI(f)
	f.Add(p.leaf.Raw, p.inter.Raw, pemOf(p.root))
	f.Add(p.root.Raw, p.root.Raw, pemOf(p.leaf))
	f.Add(p.leaf.Raw, []byte{0x30}, []byte("-----BEGIN CERTIFICATE-----\nMII"))
	f.Fuzz(func(t *testing.T, leaf, other, roots []byte) {
		var chain []*x509.Certificate
		for _, der := range [][]byte{leaf, other} {
			if c, err := x509.ParseCertificate(der); err == nil {
				chain = append(chain, c)
			}
		}
		q := probe.Question{Chain: chain, Host: name, Trust: probe.TrustOf(map[string][]byte{"roots.pem": roots}), Now: time.Unix(1<<31, 0)}
		c := probe.Judge(q)
		if c.ID == "" || c.Remedy == "" || c.Accepted != (c.GoError == "") && len(chain) > 0 {
			t.Errorf("an incomplete conclusion: %+v", c)
		}
		if len(chain) == 0 {
			return
		}
		if _, err := certs.Accept(chain, name, q.Trust.Roots, q.Now); (err == nil) != c.Accepted {
			t.Errorf("Go says %v, the judge %v (%s)", err, c.Accepted, c.ID)
		}
	})
}
