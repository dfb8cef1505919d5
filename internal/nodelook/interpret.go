package nodelook

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tkgfix/tkgfix/internal/probe"
)

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

// readOpenSSL takes the exit code, which the script prints behind it, off what openssl s_client printed.
func readOpenSSL(text string) *probe.Said {
	out := &probe.Said{Text: text}
	if i := strings.LastIndex(text, exitMark); i >= 0 {
		out.Text = text[:i]
		out.Exit, _ = strconv.Atoi(strings.TrimSpace(text[i+len(exitMark):])) // none if it was cut off
	}
	return out
}

// exitMark is what the script prints before the exit code.
const exitMark = "\ntkgfix: exit "
