package nodelook

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// OpenSSL is what the node's own openssl s_client answered. It is for people and never a verdict: it exits with 0 when it
// fails, checks no host name and has other rules than Go (tkg-facts.md §6.2).
type OpenSSL struct {
	// Available reports that the node has an openssl that answered.
	Available bool
	// Code is the number of its last "Verify return code" line, -1 when there was no handshake.
	Code int
	// Text is what stands beside the number, or the first error.
	Text string

	chain []byte // the certificates that it shows
}

// interpret makes the facts of the parts.
func (a *answer) interpret() {
	a.look.OS, a.look.Family = osName(a.parts["os"]), family(a.parts["os"])
	unit := properties(a.parts["unit"])
	a.look.environ = readEnvironment(a.parts["environ"], unit["Environment"])
	a.look.Containerd.readVersion(firstLine(a.parts["version"]))
	a.look.Containerd.Started = startTime(unit["ExecMainStartTimestamp"])
	a.look.Containerd.Debug = printable(a.look.environ["GODEBUG"])
	a.look.Notes = a.look.environ.notes()
	if len(a.look.Unreadable) > 0 {
		a.look.Notes = append(a.look.Notes, "the login may not read "+strings.Join(a.look.Unreadable[:min(3, len(a.look.Unreadable))], ", ")+
			": containerd may trust more than was seen")
	}
	if n := len(a.look.Large); n > 0 {
		a.look.Notes = append(a.look.Notes, fmt.Sprintf("%s is too large and was not read (%d in all): containerd may trust more than was seen", a.look.Large[0].Path, n))
	}
	if text, ok := a.parts["openssl"]; ok {
		a.look.OpenSSL = readOpenSSL(string(text))
	}
}

func osName(release []byte) string {
	for _, key := range []string{"PRETTY_NAME", "NAME", "ID"} {
		if v := properties(release)[key]; v != "" {
			return printable(strings.Trim(v, `"'`))
		}
	}
	return ""
}

// properties reads lines of the form KEY=VALUE.
func properties(data []byte) map[string]string {
	out := map[string]string{}
	for _, line := range lines(data) {
		if key, value, ok := strings.Cut(line, "="); ok {
			out[key] = strings.TrimSpace(value)
		}
	}
	return out
}

// startTime reads a timestamp of systemctl, printed in UTC; zero if there is none.
func startTime(s string) time.Time {
	for _, layout := range []string{"Mon 2006-01-02 15:04:05 MST", "2006-01-02 15:04:05 MST", time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}

func firstLine(data []byte) string {
	if all := lines(data); len(all) > 0 {
		return printable(all[0])
	}
	return ""
}

var userinfo = regexp.MustCompile(`[^/@\s,]*@`)

// withoutUserinfo takes away whatever stands before an @, with or without a scheme.
func withoutUserinfo(s string) string {
	return userinfo.ReplaceAllString(s, "REDACTED@")
}

// note says where a pull for a registry goes when it does not go to the registry itself with the system's roots, by one line.
func (f HostsFile) note() string {
	if f.Fault != "" {
		return fmt.Sprintf("containerd does not take %s: %s", f.Path, f.Fault)
	}
	var out []string
	for _, h := range f.Hosts {
		out = append(out, h.String())
	}
	return fmt.Sprintf("containerd goes by %s for this registry: %s", f.Path, strings.Join(out, ", then "))
}

// String says in words whom a host entry asks and what it trusts.
func (h Host) String() string {
	text := cmp.Or(h.URL, "the registry itself")
	if h.SkipVerify {
		text += " without verifying it"
	}
	if len(h.CA) > 0 {
		text += " with the CA in " + strings.Join(h.CA, ", ")
	}
	if len(h.Client) > 0 {
		text += " with a client certificate"
	}
	if len(h.Capabilities) > 0 {
		text += " for " + printable(strings.Join(h.Capabilities, ", "))
	}
	return text
}

var verifyCode = regexp.MustCompile(`Verify return code: (\d{1,5}) \(([^)\n]{0,200})\)`)

// readOpenSSL finds the last verdict in the output of openssl s_client. Without a certificate of the peer the code that it
// prints says nothing: it is 0 for a handshake that failed.
func readOpenSSL(text string) OpenSSL {
	out := OpenSSL{Available: true, Code: -1}
	blocks := pemBlock.FindAllString(text, maxChain)
	all := verifyCode.FindAllStringSubmatch(text, -1)
	if len(blocks) == 0 || len(all) == 0 {
		out.Text = cmp.Or(opensslError(text), "no handshake")
		return out
	}
	last := all[len(all)-1]
	out.Code, _ = strconv.Atoi(last[1])
	out.Text = printable(last[2])
	out.chain = []byte(strings.Join(blocks, "\n"))
	return out
}

const maxChain = 50

var pemBlock = regexp.MustCompile(`-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----`)

// opensslError returns the words of the first error line: number:error:code:library:function:reason.
func opensslError(text string) string {
	for line := range strings.Lines(text) {
		if _, rest, ok := strings.Cut(line, ":error:"); ok {
			return printable(strings.TrimSpace(rest))
		}
	}
	return ""
}
