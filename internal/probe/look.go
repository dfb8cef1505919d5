package probe

import (
	"context"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/handshake"
)

// sight is what a connection to a host showed.
type sight struct {
	host, port, serverName string
	// address is that of the TCP connection, empty if there was none.
	address string
	proxy   *url.URL
	shown   handshake.Result
	// err is that of the dial or the handshake; stage says of which.
	err   error
	stage string
	// status is what the proxy answered to CONNECT.
	status int
	// wide and nameless are what the server answers to a client that takes anything, with and without a name.
	wide, nameless *scouted
	// older is what a Go from before a rule gets to see; nil if it would fare no better.
	older *older
}

// look dials a host and shakes hands, and asks further if the server ended the handshake. It blocks for some 30 seconds at most.
func (r route) look(ctx context.Context, host, port, serverName string, direct bool) sight {
	s := sight{host: host, port: port, serverName: serverName}
	if !direct {
		s.proxy, _ = r.via(host, port)
	}
	conn, err := r.open(ctx, host, port, direct)
	if err != nil {
		s.fail(err)
		return s
	}
	s.address = r.shownAddress(s, conn)
	s.shown, s.err = shake(ctx, conn, serverName, stageTime, handshake.Offer{})
	if s.err == nil {
		return s
	}
	s.stage = stageHandshake
	if worthScouting(s) {
		s.wide = r.scout(ctx, s, serverName, direct)
		if s.wide != nil && len(s.wide.certs) == 0 && s.wide.version == 0 {
			s.nameless = r.scout(ctx, s, "", direct)
		}
	}
	s.older = r.lookOlder(ctx, s, direct)
	return s
}

// fail notes why there is no connection.
func (s *sight) fail(err error) {
	s.err, s.stage = err, stageConnect
	if staged, ok := errors.AsType[*stageError](err); ok {
		s.stage, s.status = staged.stage, staged.status
	}
}

// shake shakes hands and closes the connection.
func shake(ctx context.Context, conn net.Conn, serverName string, within time.Duration, offer handshake.Offer) (handshake.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	defer func() { _ = conn.Close() }()
	return handshake.Over(ctx, conn, serverName, offer)
}

// shownAddress is the address that was dialled, empty if somebody else knows it: a proxy, or a node that dialled for us.
func (r route) shownAddress(s sight, conn net.Conn) string {
	if s.proxy != nil {
		return ""
	}
	at, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err == nil && !at.Addr().IsUnspecified() {
		return at.String()
	}
	if given, err := netip.ParseAddrPort(r.address(s.host, s.port)); err == nil {
		return given.String()
	}
	return ""
}

// worthScouting says whether Go's own error leaves open why.
func worthScouting(s sight) bool {
	text := s.err.Error()
	return len(s.shown.Chain) == 0 && (strings.Contains(text, "tls: ") || errors.Is(s.err, io.EOF)) && !isRecord(s.err)
}

func isRecord(err error) bool {
	_, ok := errors.AsType[tls.RecordHeaderError](err)
	return ok
}

func (r route) scout(ctx context.Context, s sight, serverName string, direct bool) *scouted {
	ctx, cancel := context.WithTimeout(ctx, stageTime/2)
	defer cancel()
	conn, err := r.open(ctx, s.host, s.port, direct)
	if err != nil {
		return nil
	}
	defer func() { _ = conn.Close() }()
	out, err := scout(ctx, conn, serverName)
	if err != nil && out.version == 0 && len(out.certs) == 0 {
		return nil
	}
	return &out
}

// verdict names what went wrong before there was a chain to judge, or with a chain that itself may be good; empty for nothing.
func (s sight) verdict() (id, note string) {
	switch {
	case s.err == nil:
		return "", ""
	case s.stage == stageProxy:
		return s.proxyVerdict()
	case s.stage == stageConnect:
		return connectVerdict(s.err)
	}
	return s.handshakeVerdict()
}

func (s sight) proxyVerdict() (id, note string) {
	at := "the proxy " + shownProxy(s.proxy)
	switch s.status {
	case 0:
		return "proxy-unreachable", at + " gives no connection: " + redacted(s.err.Error(), s.proxy)
	case 407:
		return "proxy-authentication", at + " wants credentials (407)"
	}
	return "proxy-refuses", at + " refuses to connect to " + net.JoinHostPort(s.host, s.port) + ": " + s.err.Error()
}

// redacted takes a proxy's credentials out of a text.
func redacted(text string, u *url.URL) string {
	if u == nil || u.User == nil {
		return certs.Clean(text)
	}
	if password, ok := u.User.Password(); ok && password != "" {
		text = strings.ReplaceAll(text, password, "xxxxx")
	}
	return certs.Clean(text)
}

func connectVerdict(err error) (id, note string) {
	switch certs.ClassifyDial(err) {
	case certs.ClassDNS:
		return "dns", "the name does not resolve"
	case certs.ClassRefused:
		return "refused", "the TCP connection is refused"
	case certs.ClassTimeout:
		return "connect-timeout", "no answer to the TCP connection"
	case certs.ClassReset:
		return "reset", "the TCP connection is reset"
	}
	return "unreachable", "there is no way to the host"
}

func (s sight) handshakeVerdict() (id, note string) {
	switch certs.ClassifyDial(s.err) {
	case certs.ClassTimeout:
		return "handshake-timeout", "the TCP connection is accepted and the TLS handshake never answered"
	case certs.ClassPlainHTTP:
		return "plain-http", "the port answers in plain HTTP"
	case certs.ClassNotTLS:
		return "not-tls", "what answers on the port does not speak TLS"
	case certs.ClassReset:
		return "reset", "the connection is reset in the TLS handshake"
	case certs.ClassClosed:
		if s.nameless != nil && len(s.nameless.certs) > 0 {
			return "name-refused", "the server hangs up when it is asked for this name and answers without a name"
		}
		return "closed", "the connection is closed in the TLS handshake"
	case certs.ClassUnparsable:
		return s.parseVerdict()
	case certs.ClassWeakKey:
		return "weak-key", "the key of the server's certificate is too small: " + tail(s.err)
	case certs.ClassKeyMismatch:
		return "key-mismatch", "the server's private key does not belong to its certificate"
	}
	return s.alertVerdict()
}

// parseVerdict is for a certificate that Go refuses to read.
func (s sight) parseVerdict() (id, note string) {
	if s.wide != nil {
		for i, der := range s.wide.certs {
			if _, err := x509.ParseCertificate(der); err != nil && i > 0 {
				return "unparsable-intermediate", "Go refuses to read an intermediate that the server sends: " + tail(s.err)
			} else if err != nil {
				break
			}
		}
	}
	text := s.err.Error()
	for _, row := range []struct{ part, id, note string }{
		{"negative serial", "negative-serial", "the certificate has a negative serial number"},
		{"duplicate extension", "duplicate-extension", "the certificate has an extension twice: "},
		{"certificate policies", "invalid-policies", "the certificate has a policy twice: "},
		{"unsupported elliptic curve", "unsupported-server-key", "the certificate's key is on a curve that Go does not know: "},
		{"malformed certificate", "malformed-certificate", "the certificate is no whole certificate: "},
		{"trailing data", "malformed-certificate", "the certificate is followed by other bytes: "},
		{"malformed", "malformed-certificate", "the certificate is damaged: "},
		{"asn1: ", "malformed-certificate", "the certificate is damaged: "},
	} {
		if strings.Contains(text, row.part) {
			if strings.HasSuffix(row.note, ": ") {
				row.note += tail(s.err)
			}
			return row.id, row.note
		}
	}
	return "unparsable-certificate", "Go refuses to read the certificate: " + tail(s.err)
}

// alertVerdict is for a handshake that one of the two sides ended.
func (s sight) alertVerdict() (id, note string) {
	text := s.err.Error()
	has := func(part string) bool { return strings.Contains(text, part) }
	switch {
	case has("exceeds maximum"):
		return "chain-too-large", "the server sends more certificates than Go reads: " + tail(s.err)
	case has("unsupported type of public key"), has("unsupported certificate"):
		return "unsupported-server-key", "the certificate's key is of a kind that Go does not know"
	case s.shown.WantsClientCert, has("certificate required"):
		return "client-certificate-required", "the server demands a client certificate"
	case has("unrecognized name"):
		return "name-refused", "the server does not know the name " + certs.Clean(s.serverName)
	case has("unsupported protocol version"):
		return "old-tls-version", "the server speaks only " + s.oldVersion()
	}
	return s.scoutVerdict(has("protocol version not supported"))
}

// scoutVerdict reads what the server says to a client that takes anything. version says that it complained about Go's versions.
func (s sight) scoutVerdict(version bool) (id, note string) {
	w := s.wide
	switch {
	case w != nil && w.version != 0 && w.version < tls.VersionTLS12, version:
		return "old-tls-version", "the server speaks only " + s.oldVersion()
	case w != nil && len(w.certs) > 0:
		c, err := x509.ParseCertificate(w.certs[0])
		if err != nil && !strings.Contains(s.err.Error(), "failed to parse") {
			return sight{err: err, wide: w}.parseVerdict()
		}
		if err == nil {
			if key, ok := c.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() < minRSA {
				return "weak-key", fmt.Sprintf("the RSA key of the server's certificate has only %d bits", key.N.BitLen())
			}
		}
		if kind, usable := keyKind(w.certs[0]); !usable {
			return "unsupported-server-key", "the server's certificate has a key that Go cannot use (" + kind + ")"
		}
		return "no-common-cipher", "the server has no cipher suite in common with Go; it would take " + tls.CipherSuiteName(w.cipher)
	case s.nameless != nil && len(s.nameless.certs) > 0:
		return "name-refused", "the server answers without a name and not to the name " + certs.Clean(s.serverName)
	case w != nil && (w.alert == 40 || w.alert == 80):
		return "no-server-certificate", "the server ends the handshake with every client: it has no certificate that it can use (" + tail(s.err) + ")"
	}
	return "tls-alert", "the handshake was ended: " + tail(s.err)
}

func (s sight) oldVersion() string {
	if s.wide != nil && s.wide.version != 0 {
		return tls.VersionName(s.wide.version)
	}
	return "TLS versions before 1.2"
}

// goError is the error as containerd words it.
func (s sight) goError() string {
	switch id, _ := s.verdict(); {
	case s.err == nil:
		return ""
	case id == "plain-http":
		return "http: server gave HTTP response to HTTPS client"
	case id == "handshake-timeout":
		return "net/http: TLS handshake timeout"
	case s.stage == stageConnect && errors.Is(s.err, context.DeadlineExceeded) && !strings.Contains(s.err.Error(), "i/o timeout"):
		return "dial tcp: i/o timeout"
	}
	return redacted(s.err.Error(), s.proxy)
}

// tail is the last part of an error, bounded.
func tail(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, "x509: "); i >= 0 {
		text = text[i:]
	}
	return certs.Clean(text)
}

// minRSA is the smallest RSA key that Go takes, in bits.
const minRSA = 1024

// expiresSoon is how long before its end a certificate is worth a word.
const expiresSoon = 30 * 24 * time.Hour
