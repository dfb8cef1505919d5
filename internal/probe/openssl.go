package probe

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tkgfix/tkgfix/internal/certs"
)

const (
	// opensslTime bounds openssl, which has no time limit of its own.
	opensslTime = 8 * time.Second
	// maxOutput bounds what is read of it.
	maxOutput = 1 << 20
)

var (
	returnCode = regexp.MustCompile(`(?m)^\s*Verify return code: (\d+) \(([^)\n]{0,200})\)`)
	verifyLine = regexp.MustCompile(`verify error:num=(\d+):([^\n]{0,200})`)
	cipherLine = regexp.MustCompile(`(?m)^(?:New|Reused), [^,\n]+, Cipher is (\S+)`)
	errorLine  = regexp.MustCompile(`(?m)^(?:[0-9A-F]{8,}:)?error:[^\n]{0,300}`)
)

// Said is what openssl s_client, without -verify_hostname, printed about the target, and how it ended.
type Said struct {
	Text string
	// Exit is its exit code; that of timeout(1), 124, if it did not end.
	Exit int
}

// keyTooWeak is openssl's X509_V_ERR_EE_KEY_TOO_SMALL.
const keyTooWeak = 66

// maxSaid bounds the certificates of a chain that openssl showed. All are judged: one that is cut would be judged wrongly.
const maxSaid = 1024

// timedOut is the exit code of timeout(1) for a command that it had to end.
const timedOut = 124

// openssl compares what openssl s_client says of the target with the verdict: the answer that came with the request, or that of this
// machine's, asked as a person at a shell would. Where there was no answer to wait for, that is not run.
func (p *prober) openssl(ctx context.Context, s sight, c Conclusion) OpenSSL {
	out := OpenSSL{VerifyCode: -1, Agrees: true}
	said := p.req.Said
	if p.req.OpenSSL == "" && said == nil {
		return out
	}
	out.Available = true
	if said == nil {
		if c.ID == "connect-timeout" || c.ID == "handshake-timeout" || c.ID == "dns" {
			out.Text = "not run: there is nothing to verify"
			return out
		}
		text, code, err := p.client(ctx, s)
		if err != nil {
			out.Text = "openssl gave no answer: " + certs.Clean(err.Error())
			return out
		}
		said = &Said{Text: text, Exit: code}
	}
	ok := said.read(&out)
	out.Agrees = ok == c.Accepted
	if !out.Agrees {
		out.Why = p.why(ok, out, s, c)
	}
	return out
}

// client runs openssl s_client and returns what it prints and its exit code.
func (p *prober) client(ctx context.Context, s sight) (text string, code int, err error) {
	ctx, cancel := context.WithTimeout(ctx, opensslTime)
	defer cancel()
	args := []string{"s_client", "-connect", p.route.address(s.host, s.port), "-showcerts"}
	if _, err := netip.ParseAddr(s.serverName); err == nil {
		args = append(args, "-noservername")
	} else {
		args = append(args, "-servername", s.serverName)
	}
	var buf limitedBuffer
	cmd := exec.CommandContext(ctx, p.req.OpenSSL, append(args, p.trustArgs(s)...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	for _, name := range []string{"SSL_CERT_FILE", "SSL_CERT_DIR", "OPENSSL_CONF"} {
		if v := os.Getenv(name); v != "" {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader("Q\n"), &buf, &buf
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	if ctx.Err() != nil {
		return "", 0, errors.New("it did not end in time")
	}
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		return buf.b.String(), failed.ExitCode(), nil
	}
	return buf.b.String(), 0, err
}

// trustArgs gives openssl the same trust, and the revocation lists in it when they are about the certificate.
func (p *prober) trustArgs(s sight) []string {
	t := p.req.Trust
	switch {
	case t.Dir != "":
		return []string{"-CApath", t.Dir, "-no-CAfile"}
	case t.File == "":
		return nil
	}
	args := []string{"-CAfile", t.File, "-no-CApath"}
	if how, err := certs.Accept(s.shown.Chain, s.serverName, t.Roots, p.req.Now()); err == nil {
		if _, known := t.revoked(s.shown.Chain[0], how.Issuer); known {
			args = append(args, "-crl_check")
		}
	}
	return args
}

// Chain returns the certificates that s_client showed, with -showcerts, the server's own first. What Go cannot read ends it.
func (said Said) Chain() []*x509.Certificate {
	var out []*x509.Certificate
	for rest := []byte(said.Text); len(out) < maxSaid; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return out
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil {
			return out
		}
		out = append(out, c)
	}
	return out
}

// read takes code and text out of what s_client prints, and says whether it had a handshake and a chain that it accepts: it prints
// "Verify return code: 0 (ok)" also where there was no handshake at all, and exits with 0 after a chain that it does not accept.
func (said Said) read(out *OpenSSL) bool {
	text, exit := said.Text, said.Exit
	cipher := cipherLine.FindStringSubmatch(text)
	shaken := cipher != nil && cipher[1] != "(NONE)"
	codes := returnCode.FindAllStringSubmatch(text, -1)
	verify := verifyLine.FindAllStringSubmatch(text, -1)
	seen := strings.Contains(text, "BEGIN CERTIFICATE")
	switch {
	case len(verify) > 0 && (len(codes) == 0 || codes[0][1] == "0"):
		last := verify[len(verify)-1]
		out.VerifyCode, _ = strconv.Atoi(last[1])
		out.Text = certs.Clean(last[2])
	case len(codes) > 0 && seen:
		out.VerifyCode, _ = strconv.Atoi(codes[0][1])
		out.Text = certs.Clean(codes[0][2])
	}
	failure := certs.Clean(errorLine.FindString(text))
	switch {
	case exit == timedOut:
		out.VerifyCode, out.Text = -1, "no answer in time"
		return false
	case !seen || !shaken:
		if out.VerifyCode <= 0 {
			out.VerifyCode = -1
			out.Text = sentence("no handshake", failure)
		}
		return false
	case exit != 0 && out.VerifyCode == 0:
		out.Text = sentence("the handshake failed after the chain was accepted", failure)
		return false
	}
	return out.VerifyCode == 0
}

// why says why openssl and containerd come to different ends.
func (p *prober) why(ok bool, o OpenSSL, s sight, c Conclusion) string {
	switch {
	case p.req.Said != nil && p.req.Trust.File+p.req.Trust.Dir != "":
		return "openssl has the trust of the node, and Go was given another"
	case !p.home():
		return "openssl asked the registry itself, and containerd asks " + certs.Clean(hostPort(p.host, p.port)) + " first, by its hosts.toml"
	case c.ID == "runtime-older":
		return "openssl reads the trust files now, and containerd read them when it started"
	case c.ID == "runtime-removed":
		return "openssl reads the trust files now, and containerd still has what it read when it started"
	case c.ID == "hosts-unreadable":
		return "openssl asked the registry, and containerd does not get to that while it cannot read its hosts.toml"
	case s.proxy != nil && !ok:
		return "openssl dials the registry itself, and containerd goes by the proxy " + shownProxy(s.proxy)
	}
	if ok {
		return whyOpenSSLOnly(s, c)
	}
	said := "openssl says " + strconv.Itoa(o.VerifyCode) + " (" + o.Text + "): "
	switch {
	case c.ID == "trusted-unverified":
		return said + "it verifies, and hosts.toml tells containerd not to"
	case len(p.mirror.CA) > 0 && o.VerifyCode >= 18 && o.VerifyCode <= 21:
		return said + "it knows nothing of the ca in hosts.toml"
	case c.ID == "trusted-revoked":
		return said + "it was given the revocation list, and Go never looks at one"
	case c.ID == "trusted-weak-key", c.ID == "trusted-by-older-go" && o.VerifyCode == keyTooWeak:
		return said + "its security level refuses the small key, and Go takes it: RSA from 1024 bits on, and before 1.24 below that"
	case c.ID == "trusted-by-intermediate":
		return said + "it wants the root, unless it is given -partial_chain; to Go each trusted certificate is an end"
	case c.ID == "trusted-by-leaf":
		return said + "it wants the issuer of the trusted server certificate, unless it is given -partial_chain; to Go each trusted certificate is an end"
	case p.req.Trust.Dir != "" && o.VerifyCode >= 18 && o.VerifyCode <= 21:
		return said + "it reads only files with a subject hash for a name (openssl rehash), and Go reads each file of the folder"
	case p.req.Trust.File == "" && p.req.Trust.Dir == "" && o.VerifyCode >= 18 && o.VerifyCode <= 21:
		return said + "it reads other files than Go: its own bundle, and only files with a subject hash for a name"
	case o.VerifyCode == -1:
		return said + "it has no way to a handshake with this server, and Go has"
	}
	return said + "its rules are stricter here than Go's, and containerd goes by Go's"
}

// whyOpenSSLOnly says why openssl accepts what containerd does not.
func whyOpenSSLOnly(s sight, c Conclusion) string {
	if s.proxy != nil {
		return "openssl dials the registry itself, and containerd goes by the proxy " + shownProxy(s.proxy)
	}
	const ok = "openssl accepts it: "
	switch c.ID {
	case string(certs.ClassNameMismatch), string(certs.ClassAddressNotNamed), string(certs.ClassDefaultCertificate):
		return ok + "s_client does not compare the name unless it is given -verify_hostname or -verify_ip, and Go always does"
	case string(certs.ClassNoSAN):
		return ok + "s_client does not compare the name by itself, and with -verify_hostname takes the common name, which Go never reads"
	case string(certs.ClassUnsupportedKey), "unsupported-server-key":
		return ok + "openssl knows this kind of key, and Go does not"
	case "negative-serial", "duplicate-extension", "invalid-policies", "malformed-certificate", "unparsable-certificate", "unparsable-intermediate":
		return ok + "openssl reads such a certificate, and Go refuses to parse it"
	case "hello-too-large":
		return ok + "its greeting fits into one packet, and Go's does not"
	case "no-common-cipher", "old-tls-version":
		return ok + "openssl still has the ciphers or versions that the server wants (such as DHE), and Go has not"
	case "weak-key", string(certs.ClassWeakSignature):
		return ok + "its security level lets the weak key or signature pass, and Go does not"
	case "client-certificate-required":
		return ok + "the server complains only after openssl's handshake is over"
	case string(certs.ClassUntrustedRoot), string(certs.ClassMissingIssuer), string(certs.ClassMissingIntermediate):
		return ok + "it has other trusted certificates than Go was given"
	}
	if id, found := strings.CutPrefix(c.ID, trustFile); found {
		return ok + "openssl reads a trust file of this shape (" + id + "), and Go drops it"
	}
	return ok + "its rules are looser here than Go's, and containerd goes by Go's"
}

// limitedBuffer keeps the begin of a text.
type limitedBuffer struct{ b bytes.Buffer }

func (l *limitedBuffer) Write(p []byte) (int, error) {
	if left := maxOutput - l.b.Len(); left > 0 {
		l.b.Write(p[:min(len(p), left)])
	}
	return len(p), nil
}

// FindOpenSSL returns the path of this machine's openssl, empty if there is none.
func FindOpenSSL() string {
	path, err := exec.LookPath("openssl")
	if err != nil {
		return ""
	}
	return path
}
