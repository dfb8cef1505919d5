package certs_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/certs"
)

// answering starts a TCP server that treats each connection by serve, and returns its address.
func answering(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = l.Close(); <-done })
	go func() { // ends when the listener is closed
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serve(conn)
		}
	}()
	return l.Addr().String()
}

func tlsServer(t *testing.T, config *tls.Config) string {
	t.Helper()
	return answering(t, func(conn net.Conn) {
		s := tls.Server(conn, config)
		_ = s.SetDeadline(time.Now().Add(10 * time.Second))
		_ = s.Handshake()
		_ = s.Close()
	})
}

// hello reads the ClientHello whole: a socket that is closed with unread bytes resets the connection.
func hello(c net.Conn) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(c, head); err == nil {
		_, _ = io.CopyN(io.Discard, c, int64(head[3])<<8|int64(head[4]))
	}
}

func keyPair(ids ...*id) tls.Certificate {
	var out tls.Certificate
	for _, c := range ids {
		out.Certificate = append(out.Certificate, c.Raw)
	}
	out.PrivateKey = ids[0].key
	return out
}

func dial(ctx context.Context, address string, config *tls.Config) error {
	d := tls.Dialer{Config: config, NetDialer: &net.Dialer{Timeout: 5 * time.Second}}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1)) // TLS 1.3 brings a refused client certificate only here
	return err
}

// The servers really behave like that; the ids are those of tls-cases.md.
func TestClassifyDial(t *testing.T) {
	t.Parallel()
	p := newPKI(t)
	trusting := func() *tls.Config {
		return &tls.Config{ServerName: host, RootCAs: certs.NewRoots(nil).With(p.root.Certificate).Pool(), Time: now}
	}
	mismatched := keyPair(p.leaf, p.inter)
	mismatched.PrivateKey = newKey(t)
	cases := map[string]struct {
		reason  string
		address func(t *testing.T) string
		want    certs.Class
	}{
		"A02": {reason: "nobody listens", want: certs.ClassRefused, address: func(t *testing.T) string {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			return l.Addr().String()
		}},
		"A04": {reason: "the handshake is never answered", want: certs.ClassTimeout, address: func(t *testing.T) string {
			return answering(t, func(c net.Conn) { t.Cleanup(func() { _ = c.Close() }) }) // kept: a lost one is closed by the collector
		}},
		"A05": {reason: "closed after the ClientHello", want: certs.ClassClosed, address: func(t *testing.T) string {
			return answering(t, func(c net.Conn) { hello(c); _ = c.Close() })
		}},
		"A06": {reason: "reset after the ClientHello", want: certs.ClassReset, address: func(t *testing.T) string {
			return answering(t, func(c net.Conn) {
				_, _ = c.Read(make([]byte, 16))
				_ = c.(*net.TCPConn).SetLinger(0)
				_ = c.Close()
			})
		}},
		"A08": {reason: "plain HTTP on the port", want: certs.ClassPlainHTTP, address: func(t *testing.T) string {
			s := httptest.NewServer(http.NotFoundHandler())
			t.Cleanup(s.Close)
			return s.Listener.Addr().String()
		}},
		"A09": {reason: "SSH on the port", want: certs.ClassNotTLS, address: func(t *testing.T) string {
			return answering(t, func(c net.Conn) {
				_, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.9\r\n")
				hello(c)
				_ = c.Close()
			})
		}},
		"G01": {reason: "TLS 1.1 at most", want: certs.ClassAlert, address: func(t *testing.T) string {
			return tlsServer(t, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11, Certificates: []tls.Certificate{keyPair(p.leaf, p.inter)}})
		}},
		"G04": {reason: "a client certificate is demanded, TLS 1.3", want: certs.ClassAlert, address: func(t *testing.T) string {
			return tlsServer(t, &tls.Config{ClientAuth: tls.RequireAnyClientCert, Certificates: []tls.Certificate{keyPair(p.leaf, p.inter)}})
		}},
		"G05": {reason: "a client certificate is demanded, TLS 1.2", want: certs.ClassAlert, address: func(t *testing.T) string {
			return tlsServer(t, &tls.Config{ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12, Certificates: []tls.Certificate{keyPair(p.leaf, p.inter)}})
		}},
		"G06": {reason: "the server has no certificate", want: certs.ClassAlert, address: func(t *testing.T) string {
			return tlsServer(t, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("none") }})
		}},
		"F13": {reason: "a certificate cut off", want: certs.ClassUnparsable, address: func(t *testing.T) string {
			cut := keyPair(p.leaf)
			cut.Certificate[0] = cut.Certificate[0][:len(cut.Certificate[0])-7]
			cut.Leaf = p.leaf.Certificate
			return tlsServer(t, &tls.Config{Certificates: []tls.Certificate{cut}})
		}},
		"F15": {reason: "the key belongs to another certificate", want: certs.ClassKeyMismatch, address: func(t *testing.T) string {
			return tlsServer(t, &tls.Config{Certificates: []tls.Certificate{mismatched}})
		}},
		"B03": {reason: "a chain that is not trusted is for Judge", want: certs.ClassOther, address: func(t *testing.T) string {
			q := newPKI(t)
			return tlsServer(t, &tls.Config{Certificates: []tls.Certificate{keyPair(q.leaf, q.inter)}})
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limit := 10 * time.Second
			if tc.want == certs.ClassTimeout {
				limit = 300 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			err := dial(ctx, tc.address(t), trusting())
			if err == nil {
				t.Fatalf("%s: the dial succeeds", tc.reason)
			}
			if diff := cmp.Diff(tc.want, certs.ClassifyDial(fmt.Errorf("handshake: %w", err))); diff != "" {
				t.Errorf("%s: %v (-want, +got):\n%s", tc.reason, err, diff)
			}
		})
	}
}

// What an SSH server says of a dial that it made for us, and what comes as text only.
func TestClassifyDialByText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]certs.Class{
		"ssh: rejected: connect failed (Connection refused)":                         certs.ClassRefused,
		"ssh: rejected: connect failed (Name or service not known)":                  certs.ClassDNS,
		"ssh: rejected: connect failed (Temporary failure in name resolution)":       certs.ClassDNS,
		"ssh: rejected: connect failed (No route to host)":                           certs.ClassUnreachable,
		"ssh: rejected: connect failed (Connection timed out)":                       certs.ClassTimeout,
		"ssh: rejected: administratively prohibited (open failed)":                   certs.ClassForwarding,
		"http: server gave HTTP response to HTTPS client":                            certs.ClassPlainHTTP,
		"remote error: tls: unrecognized name":                                       certs.ClassAlert,
		"tls: failed to parse certificate from server: x509: negative serial number": certs.ClassUnparsable,
		"tls: invalid signature by the server certificate: crypto/rsa: 512-bit keys are insecure (see https://go.dev/pkg/crypto/rsa#hdr-Minimum_key_size)": certs.ClassWeakKey,
		"tls: invalid signature by the server certificate: ECDSA verification failure":                                                                     certs.ClassKeyMismatch,
		"boom": certs.ClassOther,
	} {
		if diff := cmp.Diff(want, certs.ClassifyDial(errors.New(text))); diff != "" {
			t.Errorf("%s (-want, +got):\n%s", text, diff)
		}
	}
	if got := certs.ClassifyDial(nil); got != certs.ClassOK {
		t.Errorf("no error is %s", got)
	}
	if got := certs.ClassifyDial(&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "registry.invalid", IsNotFound: true}}); got != certs.ClassDNS {
		t.Errorf("an unknown name is %s", got)
	}
}

// Judge must say of a chain that came over the wire what crypto/tls says of it.
func TestJudgeAgreesWithAHandshake(t *testing.T) {
	t.Parallel()
	p, other := newPKI(t), newPKI(t)
	for name, tc := range map[string]struct {
		reason string
		serve  *tls.Config
		want   certs.Class
	}{
		"K01": {reason: "trusted", serve: &tls.Config{Certificates: []tls.Certificate{keyPair(p.leaf, p.inter)}}, want: certs.ClassOK},
		"B04": {reason: "without the intermediate", serve: &tls.Config{Certificates: []tls.Certificate{keyPair(p.leaf)}}, want: certs.ClassMissingIntermediate},
		"B06": {reason: "same name, other key", serve: &tls.Config{Certificates: []tls.Certificate{keyPair(other.leaf, other.inter)}}, want: certs.ClassSameNameOtherKey},
		"C01": {reason: "expired", serve: &tls.Config{Certificates: []tls.Certificate{keyPair(server(t, p.inter, past()), p.inter)}}, want: certs.ClassExpired},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			roots := certs.NewRoots(map[string][]byte{"root": certs.Normalize(list(p.root))})
			var verdict certs.Verdict
			err := dial(t.Context(), tlsServer(t, tc.serve), &tls.Config{
				ServerName: host, Time: now, InsecureSkipVerify: true, // to see the chain; verified below, by both
				VerifyConnection: func(s tls.ConnectionState) error {
					verdict = certs.Judge(s.PeerCertificates, host, roots, now())
					return errors.New("seen")
				},
			})
			if err == nil || verdict.Class != tc.want {
				t.Fatalf("%s: class %q, want %q (%v)", tc.reason, verdict.Class, tc.want, err)
			}
			err = dial(t.Context(), tlsServer(t, tc.serve), &tls.Config{ServerName: host, Time: now, RootCAs: roots.Pool()})
			refused, isVerification := errors.AsType[*tls.CertificateVerificationError](err)
			if isVerification == verdict.OK {
				t.Fatalf("%s: crypto/tls says %v, Judge says %v", tc.reason, err, verdict.OK)
			}
			if isVerification && refused.Err.Error() != verdict.Error {
				t.Errorf("%s: crypto/tls says\n%s\nJudge says\n%s", tc.reason, refused.Err, verdict.Error)
			}
		})
	}
}
