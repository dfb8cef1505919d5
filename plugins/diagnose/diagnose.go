// Package diagnose is the step diagnose: it joins what the other steps saw into one cause and one remedy, and says why it is none
// of the others.
//
// It is pure: it connects to nothing and looks at no clock. Its rules (rules.go) find the cause, from what the pods say to what is stored
// (diagnosis.md §4.4, §8). Where only new machines mend it, the ladder (ladder.go) chooses the gentlest way to them whose proof holds. What
// tkgfix cannot mend blocks the plan with the next thing to do.
package diagnose

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/tkgfix/tkgfix/internal/pull"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// Name is the word for uses:.
const Name = "diagnose"

type step struct{}

var _ plugins.Step = step{}

// New returns the step. It needs nothing of env.
func New(sdk.Env) plugins.Step { return step{} }

// Describe says what the step is.
func (step) Describe() plugins.Description {
	return plugins.Description{
		Name:    Name,
		Version: "0.1.0",
		Summary: "Joins what was seen into one cause and one remedy, and says why it is none of the others.",
		Effect:  plugins.Read,
		Input:   json.RawMessage(inputSchema),
		Output:  json.RawMessage(outputSchema),
	}
}

type input struct {
	Detect   json.RawMessage `json:"detect"`
	Nodes    json.RawMessage `json:"nodes"`
	Probe    json.RawMessage `json:"probe"`
	Encoding json.RawMessage `json:"encoding"`
	Owner    json.RawMessage `json:"owner"`
	Tried    []string        `json:"tried"`
}

// Plan judges. It does not block.
func (step) Plan(_ context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	var none plugins.PlanResponse
	f, err := parse(req.Input)
	if err != nil {
		return none, err
	}
	a := judge(f)
	outputs, err := sdk.Output(outputOf(f, a))
	if err != nil {
		return none, err
	}
	resp := plugins.PlanResponse{
		Outputs: outputs, Summary: a.cause + ": " + a.summary, Evidence: []plugins.Evidence{evidenceOf(f, a)}, Warnings: warnings(f, a),
	}
	if a.stop != "" {
		resp.Blocks = []plugins.Block{{Reason: a.stop, Hint: a.next}}
	}
	return resp, nil
}

// Apply does nothing: the step only reads.
func (step) Apply(context.Context, plugins.ApplyRequest, plugins.Host) (plugins.ApplyResponse, error) {
	return plugins.ApplyResponse{}, errors.New(Name + " only reads and has nothing to apply")
}

func parse(raw json.RawMessage) (facts, error) {
	in, err := sdk.Input[input](raw)
	if err != nil {
		return facts{}, err
	}
	var (
		d detected
		n nodeTrust
		p probed
		e encoded
		o owned
	)
	for _, part := range []struct {
		name string
		raw  json.RawMessage
		into any
	}{{"detect", in.Detect, &d}, {"nodes", in.Nodes, &n}, {"probe", in.Probe, &p}, {"encoding", in.Encoding, &e}, {"owner", in.Owner, &o}} {
		if err := object(part.raw, part.into); err != nil {
			return facts{}, fmt.Errorf("input %q: %w", part.name, err)
		}
	}
	return join(d, n, p, e, o, in.Tried), nil
}

// object decodes a JSON object. None, and null, leave into as it is: that step was skipped.
func object(raw json.RawMessage, into any) error {
	text := bytes.TrimSpace(raw)
	if len(text) == 0 || string(text) == "null" {
		return nil
	}
	if text[0] != '{' {
		return errors.New("it must be an object")
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("it is not the output of that step: %w", err)
	}
	return nil
}

func outputOf(f facts, a answer) output {
	return output{
		Cause: a.cause, Remedy: a.remedy, Trust: a.need != "" && !a.noFile,
		Summary: a.summary, RuledOut: ruleOut(f, a),
	}
}

func evidenceOf(f facts, a answer) plugins.Evidence {
	e := plugins.Evidence{Subject: f.registry(), Check: "diagnosis", Verdict: plugins.OK, Text: a.summary}
	if a.remedy != nothing || a.stop != "" {
		e.Verdict = plugins.Bad
	}
	return e
}

// warnings are what a person must know before approving, and cannot see from the remedy.
func warnings(f facts, a answer) []string {
	var out []string
	if a.remedy == globalTrust && a.stop == "" {
		out = append(out, "TkgServiceConfiguration is global: what changes there, every TanzuKubernetesCluster gets with its next roll, and some may be rolled at once")
	}
	if o := f.owner; a.remedy == rollNodes && o.Managed.By != "" {
		out = append(out, "the cluster is managed: "+o.managedBy()+". New machines get what it declares")
	}
	if f.vSpherePodsToo() && a.remedy != notTKG {
		out = append(out, "vSphere Pods of the Supervisor fail as well: nothing that is done to the cluster helps them")
	}
	if f.packagesToo() && a.cause != pull.KappController {
		out = append(out, "packages of kapp-controller fail as well: it has its own trust, which "+kappTrust)
	}
	if nodes := f.skewed(); len(nodes) > 0 && a.cause != "node-clock" {
		out = append(out, "the clock is off on "+some(nodes))
	}
	for _, id := range []string{"duplicate-names", nodeFileKey, "runtime-config"} {
		if nodes, text := f.finding(id); len(nodes) > 0 {
			out = append(out, "on "+some(nodes)+": "+text)
		}
	}
	if a.cause == "back-off" || a.remedy == restart {
		out = append(out, notes(f)...)
	}
	return out
}

// notes returns what the probe remarked of the nodes, each remark once: a proxy or a mirror explains a pod that fails although the
// handshake passes.
func notes(f facts) []string {
	var out []string
	seen := map[string]bool{}
	for _, n := range f.probed.Nodes {
		note := strings.TrimSpace(n.Note)
		if note != "" && !seen[note] && len(out) < 5 {
			seen[note] = true
			out = append(out, "node "+n.Name+": "+note)
		}
	}
	return out
}
