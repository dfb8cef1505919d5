// Package probe is the step probe: each worker shakes hands with the registry, and Go's rules with that worker's own roots say
// what its containerd would say. Then again with the candidate CA added.
//
// The worker dials, this machine judges; nothing is installed or pulled. What the worker's own openssl says stands beside it
// for people and decides nothing (diagnosis.md §0).
package probe

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"

	"github.com/tkgfix/tkgfix/internal/handshake"
	"github.com/tkgfix/tkgfix/internal/inputfile"
	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/node"
	"github.com/tkgfix/tkgfix/internal/nodelook"
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
	proofs, err := s.ask(ctx, workers, nodelook.ProofRequest{Registry: in.Registry, Candidate: candidate, OpenSSL: true, Now: s.env.Now})
	if err != nil {
		return none, err
	}
	out, evidence := conclude(question{input: in, Candidate: candidate, Now: s.env.Now()}, workers.Nodes, proofs)
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

func (s step) ask(ctx context.Context, workers nodelook.Workers, req nodelook.ProofRequest) ([]nodelook.Proof, error) {
	out := make([]nodelook.Proof, len(workers.Nodes))
	err := workers.Each(ctx, func(ctx context.Context, i int, conn *node.Conn) error {
		proof, err := nodelook.Prove(ctx, conn, req)
		out[i] = proof
		return err
	})
	return out, err
}
