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
	in, ref, candidate, err := parse(req.Input)
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
	workers, err := nodelook.FindWorkers(ctx, c, *req.Connections.Nodes, ref)
	if err != nil {
		return none, err
	}
	seen, err := s.ask(ctx, workers, in, candidate)
	if err != nil {
		return none, err
	}
	out, evidence := conclude(in, seen)
	raw, err := sdk.Output(out)
	if err != nil {
		return none, err
	}
	return plugins.PlanResponse{Outputs: raw, Evidence: evidence, Summary: summary(out, in.CA != "")}, nil
}

// Apply is never called: the step only reads.
func (step) Apply(context.Context, plugins.ApplyRequest, plugins.Host) (plugins.ApplyResponse, error) {
	return plugins.ApplyResponse{}, errors.New("probe changes nothing and is not applied")
}

func parse(raw json.RawMessage) (input, tkg.Ref, []*x509.Certificate, error) {
	in, err := sdk.Input[input](raw)
	if err != nil {
		return in, tkg.Ref{}, nil, err
	}
	ref, err := tkg.ParseRef(in.Cluster)
	if err != nil {
		return in, ref, nil, err
	}
	if _, _, err := handshake.HostPort(in.Registry); err != nil {
		return in, ref, nil, err
	}
	if in.CA == "" {
		return in, ref, nil, nil
	}
	candidate, err := inputfile.Candidate(in.CA)
	return in, ref, candidate, err
}

// stored reads the stored CAs, named as check-encoding and diagnose name them. What is no certificate is passed over: check-encoding has
// told of it.
func (in input) stored() []probe.Stored {
	var out []probe.Stored
	for _, e := range in.Stored {
		bundle, _ := certs.ParseBundle([]byte(e.PEM))
		if len(bundle.Certs) > 0 {
			out = append(out, probe.Stored{Name: e.Where + ", entry " + e.Name, Certs: bundle.Certs})
		}
	}
	return out
}

func (s step) ask(ctx context.Context, workers nodelook.Workers, in input, candidate []*x509.Certificate) ([]seen, error) {
	req, err := nodelook.Request(in.Registry)
	if err != nil {
		return nil, err
	}
	req.Candidate, req.Stored, req.Now = candidate, in.stored(), s.env.Now
	out := make([]seen, len(workers.Nodes))
	err = workers.Each(ctx, func(ctx context.Context, i int, conn *node.Conn) error {
		look, report, err := nodelook.Probe(ctx, conn, req)
		out[i] = seen{node: workers.Nodes[i], look: look, report: report}
		return err
	})
	return out, err
}
