package nodecert

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/tkgfix/tkgfix/internal/nodelook"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

// question is what is asked of each worker.
type question struct {
	wanted    []declaration
	candidate []anchor
	// others are what TkgServiceConfiguration declares where it is not known to reach the cluster.
	others []declaration
	// now is the time of this machine.
	now time.Time
}

// answer is what one worker said, or why it said nothing.
type answer struct {
	look nodelook.Look
	err  error
}

// conclude makes the output and the evidence of what the workers said.
func (q question) conclude(nodes []tkg.Node, answers []answer) (output, []plugins.Evidence) {
	out := output{Nodes: []result{}, OK: true, CandidateOnAll: len(q.candidate) > 0 && len(nodes) > 0}
	var evidence []plugins.Evidence
	for _, f := range duplicates(q.wanted) {
		evidence = append(evidence, f.evidence("the declared CAs"))
	}
	for i, a := range answers {
		r := q.result(nodes[i], a)
		out.Nodes = append(out.Nodes, r)
		if !nodes[i].ControlPlane { // those are looked at only when they never joined
			out.CandidateOnAll = out.CandidateOnAll && r.Candidate
			out.OK = out.OK && r.ok()
		}
		evidence = append(evidence, r.evidence(a, len(q.candidate) > 0)...)
		if a.err == nil && len(q.others) > 0 {
			text := newView(a.look).observed(q.others)
			evidence = append(evidence, plugins.Evidence{Subject: "node " + r.Name, Check: "node-service-trust", Verdict: plugins.Info, Text: text})
		}
	}
	return out, evidence
}

// ok reports that a worker was asked and holds what is declared.
func (r result) ok() bool {
	return r.Error == "" && !slices.ContainsFunc(r.Files, func(f file) bool { return f.State != present })
}

func (q question) result(n tkg.Node, a answer) result {
	r := result{Name: n.Name, Pool: n.Pool, Address: n.Address, Created: stamp(n.Created), Files: []file{}, Findings: q.unjoined(n)}
	if a.err != nil {
		r.Error = a.err.Error()
		return r
	}
	look := newView(a.look)
	r.OS, r.Family, r.Containerd, r.Go = look.OS, look.Family, look.Containerd.Release, look.Containerd.Go
	r.Clock, r.ClockSkewSeconds, r.ContainerdStarted = stamp(look.Time), int(look.Skew/time.Second), stamp(look.Containerd.Started)
	for _, d := range q.wanted {
		f, found := look.judge(d, n.Created)
		r.Files, r.Findings = append(r.Files, f), append(r.Findings, found...)
	}
	r.Findings = append(r.Findings, duplicates(q.wanted)...)
	r.Findings = append(r.Findings, look.runtimeFindings(q.wanted, q.candidate)...)
	r.Candidate = look.taken.holds(q.candidate)
	if f, ok := look.candidateFile(q.candidate); ok && !slices.ContainsFunc(r.Files, f.shownBy) {
		r.Files = append(r.Files, f)
	}
	return r
}

// slow is after how long a machine that has not joined is taken for one that does not: a whole cluster is up in four to nine minutes
// (tkg-facts.md §4).
const slow = 10 * time.Minute

// unjoined tells of a machine that is no node of the cluster.
func (q question) unjoined(n tkg.Node) []finding {
	if n.Joined {
		return []finding{}
	}
	f := finding{ID: NotJoined, Subject: "its Machine", Remedy: None, Text: "the machine has not joined the cluster: its Machine has no nodeRef"}
	if n.ControlPlane {
		f.Text = "this machine of the control plane has not joined the cluster: its Machine has no nodeRef"
	}
	bad := slices.IndexFunc(q.wanted, func(d declaration) bool { return !d.clean() })
	switch age := q.now.Sub(n.Created); {
	case bad >= 0:
		f.Remedy, f.Bad = FixEncoding, true
		f.Text += fmt.Sprintf("; a declared CA, %s, cannot be used as it is stored, with which nodes may not come up: %s", q.wanted[bad].name, q.wanted[bad].problem())
	case n.Created.IsZero() || age >= slow:
		f.Text, f.Bad = f.Text+"; it was made on "+cmp.Or(stamp(n.Created), "an unknown day")+", and a roll waits for it", true
	default:
		f.Text += fmt.Sprintf(", %s after it was made; that may yet come", age.Truncate(time.Second))
	}
	return []finding{f}
}

// observed tells which CAs of TkgServiceConfiguration Go takes on a node where the sources differ on whether they reach it.
func (v view) observed(others []declaration) string {
	var has, lacks []string
	for _, d := range others {
		if d.fits(v.taken) {
			has = append(has, d.name)
		} else {
			lacks = append(lacks, d.name)
		}
	}
	switch {
	case len(lacks) == 0:
		return "it trusts all that TkgServiceConfiguration declares: " + few(has)
	case len(has) == 0:
		return "it trusts nothing of what TkgServiceConfiguration declares: " + few(lacks)
	}
	return "of what TkgServiceConfiguration declares it trusts " + few(has) + ", and not " + few(lacks)
}

// few lists names, five at most.
func few(names []string) string {
	if len(names) > 5 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:5], ", "), len(names)-5)
	}
	return strings.Join(names, ", ")
}

// candidateFile returns the file from which Go takes the candidate.
func (v view) candidateFile(candidate []anchor) (file, bool) {
	f := v.carrier(declaration{values: []value{{wanted: candidate}}})
	if f == nil {
		return file{}, false
	}
	name, ok := f.Name()
	if !ok {
		name = path.Base(f.Path)
	}
	wanted := fingerprints(candidate)
	return file{Name: name, Path: f.Path, State: present, Wanted: wanted, Found: wanted, NewerThanContainerd: v.NewerThanContainerd(f.File)}, true
}

// shownBy reports that another row tells the same.
func (f file) shownBy(other file) bool {
	lacks := func(fingerprint string) bool { return !slices.Contains(other.Found, fingerprint) }
	return other.Path == f.Path || other.State == present && other.NewerThanContainerd == f.NewerThanContainerd && !slices.ContainsFunc(f.Found, lacks)
}

func (r result) evidence(a answer, hasCandidate bool) []plugins.Evidence {
	subject := "node " + r.Name
	if r.Error != "" {
		out := []plugins.Evidence{{Subject: subject, Check: "node-asked", Verdict: plugins.Bad, Text: r.Error}}
		for _, f := range r.Findings {
			out = append(out, f.evidence(subject))
		}
		return out
	}
	var out []plugins.Evidence
	for _, f := range r.Files {
		e := plugins.Evidence{Subject: subject, Check: "node-trust-file", Verdict: plugins.OK, Text: strings.TrimSuffix(cmp.Or(f.Path, f.Name)+": "+f.State+"\n"+f.Text, "\n")}
		if f.State != present {
			e.Verdict = plugins.Bad
		}
		out = append(out, e)
	}
	for _, f := range r.Findings {
		if f.ID != DuplicateNames { // said once, of the declared CAs
			out = append(out, f.evidence(subject))
		}
	}
	if hasCandidate {
		e := plugins.Evidence{Subject: subject, Check: "node-candidate", Verdict: plugins.OK, Text: "the candidate CA is among what Go reads"}
		if !r.Candidate {
			e.Verdict, e.Text = plugins.Bad, "the candidate CA is not among what Go reads"
		}
		out = append(out, e)
	}
	return append(out, plugins.Evidence{Subject: subject, Check: "node-facts", Verdict: plugins.Info, Text: r.facts(a.look)})
}

// evidence links a finding to its section.
func (f finding) evidence(subject string) plugins.Evidence {
	e := plugins.Evidence{Subject: subject, Check: string(f.ID), Verdict: plugins.Info, Text: f.Subject + ": " + f.Text}
	if f.Bad {
		e.Verdict = plugins.Bad
	}
	if f.Remedy != None {
		e.Text += "\nremedy: " + string(f.Remedy) + " (docs/checks.md#" + string(f.ID) + ")"
	}
	return e
}

// facts are what a node is, and what may make its pulls differ from a plain handshake.
func (r result) facts(look nodelook.Look) string {
	facts := []string{look.OS, look.Containerd.Version}
	if r.Pool != "" {
		facts = append(facts, "pool "+r.Pool)
	}
	if r.Go != "" {
		facts = append(facts, "containerd has the defaults of Go "+r.Go)
	}
	if r.ClockSkewSeconds != 0 {
		facts = append(facts, fmt.Sprintf("its clock is ahead by %d s", r.ClockSkewSeconds))
	}
	facts = slices.DeleteFunc(append(facts, look.Notes...), func(s string) bool { return s == "" })
	if len(facts) == 0 {
		return "no facts beside its files"
	}
	return strings.Join(facts, "\n")
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func summary(out output, declared int, hasCandidate bool) string {
	bad, silent, has, unjoined := 0, 0, 0, 0
	for _, n := range out.Nodes {
		if slices.ContainsFunc(n.Findings, func(f finding) bool { return f.ID == NotJoined }) {
			unjoined++
		}
		switch {
		case n.Error != "":
			silent++
		case !n.ok():
			bad++
		}
		if n.Candidate {
			has++
		}
	}
	asked, machines := len(out.Nodes)-silent, "workers"
	if unjoined > 0 {
		machines = "machines"
	}
	text := fmt.Sprintf("%d %s hold all %d declared CAs", asked, machines, declared)
	switch {
	case declared == 0:
		text = fmt.Sprintf("no CA is declared for %d %s", asked, machines)
	case bad > 0:
		text = fmt.Sprintf("%d of %d %s do not hold all %d declared CAs as they should", bad, asked, machines, declared)
	}
	if hasCandidate {
		text += fmt.Sprintf("; %d of %d have the candidate CA", has, asked)
	}
	if silent > 0 {
		text += fmt.Sprintf("; %d more could not be asked", silent)
	}
	if unjoined > 0 {
		text += fmt.Sprintf("; %d of all have not joined the cluster", unjoined)
	}
	return text
}
