package probe

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/nodelook"
	"github.com/tkgfix/tkgfix/internal/probe"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

const (
	// maxData bounds the details of a piece of evidence.
	maxData = 60 << 10
	// trusted is the verdict where nothing is wrong.
	trusted = "trusted"
)

// seen is what one worker saw.
type seen struct {
	node   tkg.Node
	look   nodelook.Look
	report probe.Report
}

// conclude makes the output and the evidence of what the workers saw.
func conclude(in input, workers []seen) (output, []plugins.Evidence) {
	out := output{Registry: in.Registry, Trusted: len(workers) > 0, CandidateWorks: in.CA != "" && len(workers) > 0, Nodes: []result{}}
	var evidence []plugins.Evidence
	for _, s := range workers {
		r := resultOf(s)
		out.Trusted = out.Trusted && r.OK
		out.CandidateWorks = out.CandidateWorks && r.CandidateOK
		out.Nodes = append(out.Nodes, r)
		evidence = append(evidence, evidenceOf(in, r, s)...)
	}
	out.Verdict, out.Missing = commonest(out.Nodes)
	return out, evidence
}

func resultOf(s seen) result {
	r := s.report
	out := result{
		Name: s.node.Name, Address: s.node.Address, From: r.From, Proxy: r.Proxy, OK: r.Accepted, Error: r.GoError,
		Verdict: r.ID, Remedy: string(r.Remedy), FixableByTrust: r.Verdict.Trust, Also: []string{}, Missing: r.MissingName(), Chain: []link{}, CompletedBy: append([]string{}, r.CompletedBy...),
		OpenSSL: openssl{Available: r.OpenSSL.Available, Code: r.OpenSSL.VerifyCode, Text: r.OpenSSL.Text},
	}
	for _, f := range r.Also {
		out.Also = append(out.Also, f.ID)
	}
	for _, c := range r.Chain {
		out.Chain = append(out.Chain, link{
			Subject: c.Subject, Issuer: c.Issuer, Fingerprint: c.SHA256, NotAfter: c.NotAfter.UTC().Format(time.RFC3339), IsCA: c.IsCA,
		})
	}
	notes := []string{r.Message}
	if r.Accepted && r.Remedy == probe.None && len(r.Also) == 0 {
		notes = nil // there is nothing to say
	}
	if r.WithCandidate != nil {
		out.CandidateOK, out.CandidateError = r.WithCandidate.Accepted, r.WithCandidate.GoError
	}
	out.Note = join(append(append(notes, r.Notes...), r.OpenSSL.Why))
	return out
}

func join(notes []string) string {
	var out []string
	for _, n := range notes {
		if n != "" {
			out = append(out, n)
		}
	}
	return strings.Join(out, "; ")
}

// commonest returns the verdict of most workers that do not accept the registry, and what they miss: the first in the order of the
// names if several are as frequent. It is trusted when all accept it.
func commonest(nodes []result) (id, missing string) {
	count := map[string]int{}
	for _, n := range nodes {
		if !n.OK {
			count[n.Verdict]++
		}
	}
	id = trusted
	for _, n := range nodes {
		if !n.OK && count[n.Verdict] > count[id] {
			id = n.Verdict
		}
	}
	for _, n := range nodes {
		if !n.OK && n.Verdict == id {
			missing = cmp.Or(missing, n.Missing)
		}
	}
	return id, missing
}

func evidenceOf(in input, r result, s seen) []plugins.Evidence {
	subject := "node " + r.Name
	own := plugins.Evidence{
		Subject: subject, Check: "handshake", Verdict: verdict(r.OK), Text: in.Registry + " with the node's own roots: " + said(r.OK, r.Error), Data: details(s),
	}
	if r.Note != "" {
		own.Text += "\n" + r.Note
	}
	out := []plugins.Evidence{own}
	if in.CA != "" {
		text := in.Registry + " with the candidate CA added: " + said(r.CandidateOK, r.CandidateError)
		if !r.CandidateOK && r.Missing != "" {
			text += "\nmissing: " + r.Missing
		}
		out = append(out, plugins.Evidence{Subject: subject, Check: "handshake-with-candidate", Verdict: verdict(r.CandidateOK), Text: text})
	}
	if r.OpenSSL.Available {
		out = append(out, plugins.Evidence{
			Subject: subject, Check: "openssl", Verdict: plugins.Info,
			Text: fmt.Sprintf("openssl s_client to %s: verify return code %d (%s)", in.Registry, r.OpenSSL.Code, r.OpenSSL.Text),
		})
	}
	return out
}

// details hold what was presented, byte for byte, so that the verdict can be made again from the run alone.
func details(s seen) json.RawMessage {
	data, err := json.Marshal(struct {
		Verdict string      `json:"verdict"`
		PEM     string      `json:"pem"`
		Time    string      `json:"nodeTime"`
		Hops    []probe.Hop `json:"hops,omitempty"`
	}{s.report.ID, string(certs.Normalize(s.report.Presented)), s.look.Time.Format(time.RFC3339), s.report.Hops})
	if err != nil || len(data) > maxData {
		return nil
	}
	return data
}

func verdict(ok bool) plugins.Verdict {
	if ok {
		return plugins.OK
	}
	return plugins.Bad
}

func said(ok bool, text string) string {
	if ok {
		return "valid"
	}
	return text
}

func summary(out output, hasCandidate bool) string {
	bad, cured := 0, 0
	for _, n := range out.Nodes {
		if n.OK {
			continue
		}
		bad++
		if n.CandidateOK {
			cured++
		}
	}
	switch {
	case bad == 0:
		return fmt.Sprintf("all %d workers trust %s", len(out.Nodes), out.Registry)
	case !hasCandidate:
		return fmt.Sprintf("%d of %d workers do not accept %s: %s", bad, len(out.Nodes), out.Registry, out.Verdict)
	case out.CandidateWorks:
		return fmt.Sprintf("%d of %d workers do not accept %s (%s); all would with the candidate CA", bad, len(out.Nodes), out.Registry, out.Verdict)
	}
	return fmt.Sprintf("%d of %d workers do not accept %s (%s); the candidate CA helps %d of them", bad, len(out.Nodes), out.Registry, out.Verdict, cured)
}
