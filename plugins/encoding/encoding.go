// Package encoding is the step check-encoding: it takes every stored CA apart, layer by layer, and says whether the nodes can
// use it, with the corrected value when they cannot.
//
// The judgement is pure (judge.go); what is declared, and where, is read by tkg.ReadTrust.
package encoding

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/tkgfix/tkgfix/internal/inputfile"
	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// Name is the word for uses:.
const Name = "check-encoding"

type step struct{}

var _ plugins.Step = step{}

// New returns the step. It needs nothing of env.
func New(sdk.Env) plugins.Step { return step{} }

// Describe says what the step is.
func (step) Describe() plugins.Description {
	return plugins.Description{
		Name:        Name,
		Version:     "0.1.0",
		Summary:     "Decodes each stored CA layer by layer and says whether the nodes can use it.",
		Effect:      plugins.Read,
		Input:       json.RawMessage(inputSchema),
		Output:      json.RawMessage(outputSchema),
		Connections: []string{plugins.ConnSupervisor},
	}
}

// Plan reads the trust lists and judges them. What may not be read is a warning. It blocks on the Supervisor.
func (step) Plan(ctx context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	var none plugins.PlanResponse
	in, err := sdk.Input[input](req.Input)
	if err != nil {
		return none, err
	}
	ref, err := tkg.ParseRef(in.Cluster)
	if err != nil {
		return none, err
	}
	candidate := candidateFile{path: in.CA}
	if in.CA != "" {
		if candidate.data, err = inputfile.Read(in.CA); err != nil {
			return none, fmt.Errorf("CA file: %w", err)
		}
	}
	if req.Connections.Supervisor == nil {
		return none, errors.New("no connection to the Supervisor was given")
	}
	client, err := kube.New(*req.Connections.Supervisor)
	if err != nil {
		return none, err
	}
	owner, err := tkg.FindOwner(ctx, client, ref)
	if err != nil {
		return none, err
	}
	declared, notes, err := tkg.ReadTrust(ctx, client, owner)
	if err != nil {
		return none, err
	}
	concern, others := apart(declared)
	shown, more := information(others)
	resp, err := respond(judge(concern, candidate), append(notes, more...))
	resp.Evidence = append(resp.Evidence, shown...)
	return resp, err
}

// Apply does nothing: the step only reads.
func (step) Apply(context.Context, plugins.ApplyRequest, plugins.Host) (plugins.ApplyResponse, error) {
	return plugins.ApplyResponse{}, errors.New(Name + " only reads and has nothing to apply")
}

// apart parts what the cluster gets from what it may not get at all.
func apart(declared []tkg.Declared) (concern, others []tkg.Declared) {
	for _, d := range declared {
		if d.Conflicting {
			others = append(others, d)
		} else {
			concern = append(concern, d)
		}
	}
	return concern, others
}

// information shows what may not reach the cluster at all: it is judged as the rest, and is no fault of the cluster's. A private key is an
// alarm wherever it lies.
func information(others []tkg.Declared) (evidence []plugins.Evidence, warnings []string) {
	if len(others) == 0 {
		return nil, nil
	}
	for i, e := range judge(others, candidateFile{}).Entries {
		ev := evidenceOf(e)
		if ev.Check != "private-key" {
			ev.Verdict = plugins.Info
		}
		ev.Text = "for information: " + others[i].Why + "\n" + ev.Text
		evidence = append(evidence, ev)
	}
	return evidence, []string{fmt.Sprintf("%s declares %d CAs, which are shown and do not count: %s", others[0].Where, len(others), others[0].Why)}
}

func respond(out output, warnings []string) (plugins.PlanResponse, error) {
	resp := plugins.PlanResponse{Summary: summary(out), Warnings: warnings}
	for _, e := range out.Entries {
		resp.Evidence = append(resp.Evidence, evidenceOf(e))
		if e.has(formUnread) {
			resp.Warnings = append(resp.Warnings, e.Where+": "+messages()[formUnread])
		}
		if e.Problem != "" {
			resp.Warnings = append(resp.Warnings, fmt.Sprintf("%s, entry %q: %s", e.Where, e.Name, e.Problem))
		}
	}
	if c := out.Candidate; c.Given {
		resp.Evidence = append(resp.Evidence, candidateEvidence(c))
	}
	var err error
	resp.Outputs, err = sdk.Output(out)
	return resp, err
}

func evidenceOf(e entry) plugins.Evidence {
	out := plugins.Evidence{
		Subject: e.Where + ", entry " + e.Name, Check: "encoding", Verdict: plugins.OK,
		Text: fmt.Sprintf("base64 layers: %d, wanted: %d", e.Layers, e.WantLayers),
	}
	if !e.OK {
		out.Verdict = plugins.Bad
		out.Text += "\n" + e.Problem
	}
	for _, f := range e.Findings {
		if !f.Fatal {
			out.Text += "\n" + f.Message
		}
	}
	if e.has(formPrivateKey) || e.has(formPKCS12) {
		out.Check = "private-key"
	}
	if e.Corrected != "" {
		out.Text += "\na corrected value is in the step's output: corrected"
	}
	out.Text += certificateLines(e.Subjects, e.Fingerprints)
	return out
}

func candidateEvidence(c candidateOutput) plugins.Evidence {
	out := plugins.Evidence{Subject: "the given CA file", Check: "candidate", Verdict: plugins.OK, Text: "configured as: none"}
	switch {
	case !c.OK:
		out.Verdict, out.Text = plugins.Bad, c.Problem
	case c.ConfiguredAs != "":
		out.Text = "configured as: " + c.ConfiguredAs
	}
	out.Text += certificateLines(c.Subjects, c.Fingerprints)
	return out
}

// certificateLines shows twenty certificates at most: an entry may hold a whole system bundle.
func certificateLines(subjects, fingerprints []string) string {
	var b strings.Builder
	for i := range subjects {
		if i == 20 {
			fmt.Fprintf(&b, "\nand %d more", len(subjects)-i)
			break
		}
		fmt.Fprintf(&b, "\n%s (sha256 %s)", subjects[i], fingerprints[i])
	}
	return b.String()
}
