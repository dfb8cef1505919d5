// Package probe is the step probe: each worker shakes hands with the registry, which is judged as its containerd would, and again with
// the candidate CA added.
//
// It is tkgfix probe --via for each worker: the worker dials, this machine judges (internal/nodelook, internal/probe); nothing is
// installed or pulled. What the worker's own openssl says stands beside it for people and decides nothing (diagnosis.md §0).
package probe

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/handshake"
	"github.com/tkgfix/tkgfix/internal/inputfile"
	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/node"
	"github.com/tkgfix/tkgfix/internal/nodelook"
	"github.com/tkgfix/tkgfix/internal/probe"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// Name is the word for uses:.
const Name = "probe"

type step struct{ env sdk.Env }

var _ plugins.Step = step{}

// New returns the step.
func New(env sdk.Env) plugins.Step { return step{env: env.Complete()} }

// Describe says what the step is.
func (step) Describe() plugins.Description {
	return plugins.Description{
		Name:        Name,
		Version:     "0.1.0",
		Summary:     "Shakes hands with the registry from each worker and judges it as containerd there would.",
		Effect:      plugins.Read,
		Input:       json.RawMessage(inputSchema),
		Output:      json.RawMessage(outputSchema),
		Connections: []string{plugins.ConnSupervisor, plugins.ConnNodes},
	}
}

// Plan asks all workers. A worker that cannot be asked is an error; a registry that cannot be reached is an answer.
func (s step) Plan(ctx context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	var none plugins.PlanResponse
	in, err := parse(req.Input)
	if err != nil {
		return none, err
	}
	if req.Connections.Supervisor == nil || req.Connections.Nodes == nil {
		return none, errors.New("no connection to the Supervisor and the nodes was given")
	}
	c, err := kube.New(*req.Connections.Supervisor)
	if err != nil {
		return none, err
	}
	workers, err := nodelook.FindWorkers(ctx, c, *req.Connections.Nodes, in.ref)
	if err != nil {
		return none, err
	}
	seen, err := s.ask(ctx, workers, in)
	if err != nil {
		return none, err
	}
	out, evidence := conclude(in.input, seen)
	raw, err := sdk.Output(out)
	if err != nil {
		return none, err
	}
	var warnings []string
	for _, n := range workers.Unjoined {
		warnings = append(warnings, "machine "+n.Name+" has not joined the cluster and was not asked: verify-node-cert looks at it")
	}
	return plugins.PlanResponse{Outputs: raw, Evidence: evidence, Warnings: warnings, Summary: summary(out, in.CA != "")}, nil
}

// Apply is never called: the step only reads.
func (step) Apply(context.Context, plugins.ApplyRequest, plugins.Host) (plugins.ApplyResponse, error) {
	return plugins.ApplyResponse{}, errors.New("probe changes nothing and is not applied")
}

// question is the input with what it names.
type question struct {
	input
	ref       tkg.Ref
	candidate []*x509.Certificate
	stored    []probe.Stored
}

func parse(raw json.RawMessage) (question, error) {
	in, err := sdk.Input[input](raw)
	q := question{input: in}
	if err != nil {
		return q, err
	}
	if q.stored, err = readStored(in.Stored); err != nil {
		return q, err
	}
	if q.ref, err = tkg.ParseRef(in.Cluster); err != nil {
		return q, err
	}
	if _, _, err := handshake.HostPort(in.Registry); err != nil || in.CA == "" {
		return q, err
	}
	q.candidate, err = inputfile.Candidate(in.CA)
	return q, err
}

// readStored reads the stored CAs, named as check-encoding and diagnose name them. What is no certificate is passed over: check-encoding has
// told of it.
func readStored(raw json.RawMessage) ([]probe.Stored, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	var entries []entry
	if err := json.Unmarshal(raw, &entries); err != nil {
		return nil, fmt.Errorf("input \"stored\": it is not what check-encoding puts out: %w", err)
	}
	var out []probe.Stored
	for _, e := range entries {
		bundle, _ := certs.ParseBundle([]byte(e.PEM))
		if len(bundle.Certs) > 0 {
			out = append(out, probe.Stored{Name: e.Where + ", entry " + e.Name, Certs: bundle.Certs})
		}
	}
	return out, nil
}

func (s step) ask(ctx context.Context, workers nodelook.Workers, in question) ([]seen, error) {
	req, err := nodelook.Request(in.Registry)
	if err != nil {
		return nil, err
	}
	req.Candidate, req.Stored, req.Now = in.candidate, in.stored, s.env.Now
	out := make([]seen, len(workers.Nodes))
	err = workers.Each(ctx, func(ctx context.Context, i int, conn *node.Conn) error {
		look, report, err := nodelook.Probe(ctx, conn, req)
		out[i] = seen{node: workers.Nodes[i], look: look, report: report}
		return err
	})
	return out, err
}
