package diagnosis

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/tkgfix/tkgfix/examples/workflows"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/internal/probe"
	"github.com/tkgfix/tkgfix/plugins"
)

// Diagnosis is what was found out about one cluster; docs/diagnose.md has it in words. It holds no secret: the steps redact what they
// tell.
type Diagnosis struct {
	// Cluster is namespace/name.
	Cluster string `json:"cluster"`
	// Kind is TanzuKubernetesCluster, or Cluster for one that none owns; empty if it is not known.
	Kind string `json:"kind,omitempty"`
	// Cause is the one cause in kebab-case, healthy if nothing is wrong, and empty if it could not be found out.
	Cause  string `json:"cause"`
	Remedy string `json:"remedy"`
	// FixableByTrust says whether a CA that is added or replaced makes the handshake pass on each node where it fails; nil if it fails
	// on none that was asked.
	FixableByTrust *bool  `json:"fixableByTrust,omitempty"`
	Summary        string `json:"summary"`
	// Next is the next thing to do; empty if there is nothing.
	Next string `json:"next"`
	// See names the section of docs/checks.md that explains the verdict; empty if there is none.
	See string `json:"see,omitempty"`
	// Blocked says why tkgfix cannot mend the cause itself; empty if it can, or if nothing is wrong.
	Blocked  string             `json:"blocked"`
	RuledOut []RuledOut         `json:"ruledOut"`
	Evidence []plugins.Evidence `json:"evidence"`
	Warnings []string           `json:"warnings"`
	// Looks are the steps, in their order.
	Looks []Look `json:"looks"`
	// Error says what could not be looked at; empty if all that had to be was.
	Error string `json:"error"`
}

// RuledOut is another remedy and why it is not the one.
type RuledOut struct {
	Remedy string `json:"remedy"`
	Reason string `json:"reason"`
}

// Look is what came of one step.
type Look struct {
	Step string `json:"step"`
	// Status is done, failed, or skipped: then there was no need of it.
	Status  plan.Status `json:"status"`
	Summary string      `json:"summary,omitempty"`
	// Error and Hint say why it failed, and what to do about that.
	Error string `json:"error,omitempty"`
	Hint  string `json:"hint,omitempty"`
}

// Healthy is the cause of a cluster of which nothing is wrong.
const Healthy = "healthy"

// Fault tells whether something was found that makes pulls fail, or will.
func (d Diagnosis) Fault() bool { return d.Cause != "" && d.Cause != Healthy }

// Failed returns the diagnosis of a cluster that could not be looked at at all.
func Failed(cluster string, err error) Diagnosis {
	d := blank(cluster)
	d.Error, d.Next = err.Error(), plugins.HintOf(err)
	return d
}

func blank(cluster string) Diagnosis {
	return Diagnosis{
		Cluster: cluster, Summary: "The cause could not be found out.",
		RuledOut: []RuledOut{}, Evidence: []plugins.Evidence{}, Warnings: []string{}, Looks: []Look{},
	}
}

// The parts of the steps' outputs that are read here.
type (
	detected struct {
		Affected bool   `json:"affected"`
		Registry string `json:"registry"`
	}
	probed struct {
		Nodes []struct {
			OK             bool   `json:"ok"`
			Verdict        string `json:"verdict"`
			FixableByTrust bool   `json:"fixableByTrust"`
		} `json:"nodes"`
	}
	diagnosed struct {
		Cause    string     `json:"cause"`
		Remedy   string     `json:"remedy"`
		Summary  string     `json:"summary"`
		RuledOut []RuledOut `json:"ruledOut"`
	}
)

// The ids of the workflow's steps that are read here.
const (
	stepDetect   = "detect"
	stepProbe    = "probe"
	stepDiagnose = "diagnose"
)

// neverUp is the cause of a cluster of which no control plane has ever been up, and recreate the remedy if its declared trust is why.
const (
	neverUp  = "never-up"
	recreate = "recreate"
)

// conclude makes one diagnosis of the planned steps.
func conclude(req Request, p *plan.Plan) Diagnosis {
	d := blank(req.Cluster)
	for i := range p.Steps {
		s := &p.Steps[i]
		l, taken := lookOf(s)
		d.Looks = append(d.Looks, l)
		if taken == nil {
			continue
		}
		for _, w := range taken.Warnings {
			if !slices.Contains(d.Warnings, w) {
				d.Warnings = append(d.Warnings, w)
			}
		}
		if s.ID != stepDiagnose { // its evidence is the summary once more
			d.Evidence = append(d.Evidence, taken.Evidence...)
		}
	}
	detect := outputs[detected](p, stepDetect)
	if step, ok := p.Step(plan.InstanceID(stepDiagnose, 0)); ok && step.Status == plan.Done {
		d.judged(outputs[diagnosed](p, stepDiagnose), step.Blocks)
	}
	d.Error = d.unseen()
	d.handshakes(outputs[probed](p, stepProbe))
	if l := d.look(stepProbe); detect.Affected && l.Status != plan.Done {
		d.Summary += " By the pods' own messages: " + d.look(stepDetect).Summary + "."
	}
	d.Next = d.next(req, detect)
	return d
}

// unseen says what could not be looked at. Of a cluster that has never been up there are no pods to look at, which is no gap then.
func (d *Diagnosis) unseen() string {
	var failed []string
	for _, l := range d.Looks {
		if l.Status == plan.Failed && (d.Cause != neverUp || l.Step != stepDetect) {
			failed = append(failed, l.Step+": "+l.Error)
		}
	}
	return strings.Join(failed, "; ")
}

// lookOf tells a step as a look, and returns its take; nil if there was none.
func lookOf(s *plan.Step) (Look, *plan.Step) {
	l := Look{Step: s.ID, Status: plan.Skipped}
	if len(s.Instances) == 0 {
		if s.Status == plan.Failed {
			l.Status, l.Error, l.Hint = plan.Failed, s.Why, s.Hint
		}
		return l, nil
	}
	taken := &s.Instances[0]
	switch taken.Status {
	case plan.Done:
		l.Status, l.Summary = plan.Done, taken.Summary
	default: // a condition that is waited for elsewhere is not waited for here
		l.Status, l.Error, l.Hint = plan.Failed, taken.Why, taken.Hint
	}
	return l, taken
}

// outputs returns what the one take of a step told; the zero value if there is none.
func outputs[T any](p *plan.Plan, id string) T {
	var out, none T
	s, ok := p.Step(plan.InstanceID(id, 0))
	if !ok || s.Status != plan.Done || json.Unmarshal(s.Outputs, &out) != nil {
		return none
	}
	return out
}

// look returns what came of a step.
func (d *Diagnosis) look(id string) Look {
	for _, l := range d.Looks {
		if l.Step == id {
			return l
		}
	}
	return Look{Step: id, Status: plan.Skipped}
}

// judged takes over what the step diagnose joined.
func (d *Diagnosis) judged(j diagnosed, blocks []plugins.Block) {
	d.Cause, d.Remedy, d.Summary = j.Cause, j.Remedy, j.Summary
	d.RuledOut = append(d.RuledOut, j.RuledOut...)
	if len(blocks) > 0 {
		d.Blocked, d.Next = blocks[0].Reason, blocks[0].Hint
	}
}

// handshakes says whether trust can mend what the nodes saw, and where the verdict is explained.
func (d *Diagnosis) handshakes(p probed) {
	verdict := ""
	for _, n := range p.Nodes {
		if n.OK {
			continue
		}
		fixable := n.FixableByTrust && (d.FixableByTrust == nil || *d.FixableByTrust)
		d.FixableByTrust = &fixable
		verdict = cmp.Or(verdict, n.Verdict)
	}
	for _, id := range []string{d.Cause, verdict} {
		if slices.ContainsFunc(probe.Verdicts(), func(v probe.Verdict) bool { return v.ID == id }) {
			d.See = "docs/checks.md#" + id
			return
		}
	}
}

// next says what to do: first to let tkgfix see what it could not, then what the cause asks for.
func (d *Diagnosis) next(req Request, seen detected) string {
	if d.Cause == neverUp {
		return d.nextNeverUp(req)
	}
	for _, id := range []string{stepDetect, stepProbe} {
		if l := d.look(id); l.Status == plan.Failed && l.Hint != "" {
			return l.Hint
		}
	}
	switch {
	case seen.Affected && seen.Registry == "" && req.Registry == "":
		return fmt.Sprintf("no pod says which registry it dials; name it: tkgfix diagnose %s --registry HOST[:PORT]", req.Cluster)
	case req.CA == "" && d.FixableByTrust != nil && *d.FixableByTrust && d.Blocked != "":
		return fmt.Sprintf("get the CA's certificate from whoever runs the registry, compare its fingerprint by another way, then: tkgfix diagnose %s --ca FILE", req.Cluster)
	case d.Blocked == "" && d.Fault() && !slices.Contains([]string{"", "nothing", "none"}, d.Remedy):
		return fmt.Sprintf("tkgfix init %[1]s, then: tkgfix plan %[1]s --input cluster=%[2]s --input ca=%[3]s",
			workflows.RegistryTrustFile, req.Cluster, cmp.Or(req.CA, "FILE"))
	}
	return d.Next
}

// nextNeverUp says what to do about a cluster without an API: registry-trust.yaml looks for pods, and no pod names the registry.
func (d *Diagnosis) nextNeverUp(req Request) string {
	if d.Remedy != recreate || d.Blocked != "" && req.CA != "" {
		return d.Next
	}
	return fmt.Sprintf("tkgfix init %[1]s, then: tkgfix plan %[1]s --input cluster=%[2]s --input registry=%[3]s --input ca=%[4]s",
		workflows.RecreateFile, req.Cluster, cmp.Or(req.Registry, "HOST[:PORT]"), cmp.Or(req.CA, "FILE"))
}
