package probe

import (
	"cmp"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/handshake"
	"github.com/tkgfix/tkgfix/internal/nodelook"
	"github.com/tkgfix/tkgfix/internal/probe"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

const (
	// maxData bounds the details of a piece of evidence.
	maxData = 60 << 10
	// maxLinks bounds the certificates of a chain that are shown. All are judged.
	maxLinks = 32
)

// question is the input with what was read of it.
type question struct {
	input
	Candidate []*x509.Certificate
	Now       time.Time
}

// conclude makes the output and the evidence of what the workers saw.
func conclude(in question, nodes []tkg.Node, proofs []nodelook.Proof) (output, []plugins.Evidence) {
	out := output{Registry: in.Registry, Trusted: len(nodes) > 0, CandidateWorks: in.CA != "" && len(nodes) > 0, Nodes: []result{}}
	var evidence []plugins.Evidence
	for i, p := range proofs {
		r := resultOf(in, nodes[i], p, in.CA != "")
		out.Trusted = out.Trusted && r.OK
		out.CandidateWorks = out.CandidateWorks && r.CandidateOK
		out.Nodes = append(out.Nodes, r)
		evidence = append(evidence, evidenceOf(in.input, r, p)...)
	}
	out.Class, out.Missing = commonest(out.Nodes)
	return out, evidence
}

// judge gives the verdict of docs/checks.md, by the node's own trust and clock, as tkgfix probe does.
func judge(in question, p nodelook.Proof) probe.Conclusion {
	host, _, _ := handshake.HostPort(in.Registry) // parse has looked at it
	files := map[string][]byte{}
	for _, f := range p.Look.Files {
		if f.Go {
			files[f.Path] = f.Data
		}
	}
	q := probe.Question{Chain: p.Chain, Host: host, Trust: probe.TrustOf(files), Candidate: in.Candidate, Now: in.Now.Add(p.Look.Skew)}
	if p.Own.Class != certs.ClassOK && (len(p.Chain) == 0 || certs.ClassifyDial(errors.New(p.Own.Error)) == p.Own.Class && p.Own.Class != certs.ClassOther) {
		return probe.JudgeDial(p.Own.Class, p.Own.Error, q)
	}
	return probe.Judge(q)
}

func resultOf(in question, n tkg.Node, p nodelook.Proof, hasCandidate bool) result {
	r := result{
		Name: n.Name, Address: n.Address, OK: p.Own.OK, Class: string(p.Own.Class), Error: p.Own.Error, Missing: p.Own.Missing,
		Chain: []link{}, OpenSSL: openssl{Available: p.Look.OpenSSL.Available, Code: p.Look.OpenSSL.Code, Text: p.Look.OpenSSL.Text},
	}
	for _, c := range p.Chain[:min(len(p.Chain), maxLinks)] {
		r.Chain = append(r.Chain, linkOf(certs.Info(c)))
	}
	c := judge(in, p)
	r.Verdict, r.Remedy, r.FixableByTrust, r.Also = c.ID, string(c.Remedy), c.Trust, []string{}
	for _, f := range c.Also {
		r.Also = append(r.Also, f.ID)
	}
	notes := []string{p.Own.Note}
	if !c.Accepted {
		notes = append(notes, c.Text(in.Registry))
	}
	if hasCandidate {
		r.CandidateOK, r.CandidateError, r.Missing = p.With.OK, p.With.Error, p.With.Missing
		if !p.With.OK && p.With.Note != p.Own.Note {
			notes = append(notes, p.With.Note)
		}
	}
	r.Note = join(append(append(notes, p.Notes...), disagreement(p)))
	return r
}

// disagreement says where openssl and Go differ, since people trust openssl.
func disagreement(p nodelook.Proof) string {
	o := p.Look.OpenSSL
	switch {
	case !o.Available || o.Code < 0 || len(p.Chain) == 0 || (o.Code == 0) == p.Own.OK:
		return ""
	case o.Code == 0:
		return "openssl says ok and containerd will not: openssl checks neither the host name nor all that Go does"
	}
	return fmt.Sprintf("openssl says %d (%s) and containerd will pull: Go also accepts a trusted certificate that is no root", o.Code, o.Text)
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

// commonest returns the class of most workers that do not trust the registry, and what they miss: the first in the order of the
// names if several are as frequent. It is ok when all trust it.
func commonest(nodes []result) (class, missing string) {
	count := map[string]int{}
	for _, n := range nodes {
		if !n.OK {
			count[n.Class]++
		}
	}
	class = string(certs.ClassOK)
	for _, n := range nodes {
		if !n.OK && count[n.Class] > count[class] {
			class = n.Class
		}
	}
	for _, n := range nodes {
		if !n.OK && n.Class == class {
			missing = cmp.Or(missing, n.Missing)
		}
	}
	return class, missing
}

func evidenceOf(in input, r result, p nodelook.Proof) []plugins.Evidence {
	subject := "node " + r.Name
	own := plugins.Evidence{
		Subject: subject, Check: "handshake", Verdict: verdict(r.OK), Text: in.Registry + " with the node's own roots: " + said(r.OK, r.Error), Data: details(r, p),
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
func details(r result, p nodelook.Proof) json.RawMessage {
	data, err := json.Marshal(struct {
		Class string `json:"class"`
		PEM   string `json:"pem"`
		Time  string `json:"nodeTime"`
	}{r.Class, string(certs.Normalize(p.Chain)), p.Look.Time.Format("2006-01-02T15:04:05Z07:00")})
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
		return fmt.Sprintf("%d of %d workers do not accept %s: %s", bad, len(out.Nodes), out.Registry, out.Class)
	case out.CandidateWorks:
		return fmt.Sprintf("%d of %d workers do not accept %s (%s); all would with the candidate CA", bad, len(out.Nodes), out.Registry, out.Class)
	}
	return fmt.Sprintf("%d of %d workers do not accept %s (%s); the candidate CA helps %d of them", bad, len(out.Nodes), out.Registry, out.Class, cured)
}
