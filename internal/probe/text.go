package probe

import (
	"fmt"
	"strings"
)

// Text returns a report for people.
func (r Report) Text() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-10s %s\n", name, fmt.Sprintf(format, args...))
	}
	accepted := "no"
	if r.Accepted {
		accepted = "yes"
	}
	where := fmt.Sprintf("%s, port %d", r.Target.Host, r.Target.Port)
	if r.Target.Address != "" {
		where += ", at " + r.Target.Address
	}
	line("target", "%s", where)
	if r.Proxy != "" {
		line("proxy", "%s", r.Proxy)
	}
	if r.From != "local" {
		line("from", "%s", r.From)
	}
	line("accepted", "%s", accepted)
	line("verdict", "%s", r.ID)
	line("remedy", "%s", r.Remedy)
	line("trust", "%s", trustWords(r))
	if r.GoError != "" {
		line("error", "%s", r.GoError)
	}
	line("roots", "%d certificates of %d files", r.Roots.Certificates, r.Roots.Files)
	for _, f := range r.Roots.Rejected {
		line("", "not read: %s: %s", f.File, f.Reason)
	}
	for i, c := range r.Chain {
		line(fmt.Sprintf("chain %d", i), "%s, by %s, until %s", c.Subject, c.Issuer, c.NotAfter.Format("2006-01-02"))
	}
	for _, h := range r.Hops {
		line("hop", "%s %s: %s", h.Role, h.Host, hopWords(h))
	}
	if r.OpenSSL.Available {
		line("openssl", "%d (%s)", r.OpenSSL.VerifyCode, r.OpenSSL.Text)
		if !r.OpenSSL.Agrees {
			line("", "differs: %s", r.OpenSSL.Why)
		}
	}
	if r.WithCandidate != nil {
		answer := "accepted"
		if !r.WithCandidate.Accepted {
			answer = r.WithCandidate.GoError
		}
		line("with --ca", "%s", answer)
	}
	for _, n := range r.Notes {
		line("note", "%s", n)
	}
	fmt.Fprintf(&b, "\n%s\n", strings.ReplaceAll(r.Message, "; ", ";\n  "))
	return b.String()
}

func trustWords(r Report) string {
	switch {
	case r.Accepted && r.Remedy == None:
		return "nothing to mend"
	case r.Verdict.Trust:
		return "a change to what the nodes trust mends it"
	}
	if r.Remedy == Restart {
		return "a restart of containerd mends it"
	}
	return "no change to what the nodes trust mends it, nor does recreating the cluster"
}

func hopWords(h Hop) string {
	switch {
	case !h.Accepted:
		return "not accepted: " + h.Verdict
	case h.GoError != "":
		return h.GoError
	case h.Status == 0:
		return "accepted: " + h.Verdict
	}
	return fmt.Sprint(h.Status)
}
