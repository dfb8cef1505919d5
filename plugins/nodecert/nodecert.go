// Package nodecert is the step verify-node-cert: what each worker really holds of the CAs that are declared for its cluster (tkg.ReadTrust),
// and what a machine holds that never became a node.
//
// A file on a node is what is configured made effective: missing, encoded once too often, of another key, not taken by Go, or
// younger than the containerd that should know it (tkg-facts.md §2, §11.13).
package nodecert

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"

	"github.com/tkgfix/tkgfix/internal/inputfile"
	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/node"
	"github.com/tkgfix/tkgfix/internal/nodelook"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// Name is the word for uses:.
const Name = "verify-node-cert"

type step struct{ env sdk.Env }

var _ plugins.Step = step{}

// New returns the step.
func New(env sdk.Env) plugins.Step { return step{env: env.Complete()} }

// Describe says what the step is.
func (step) Describe() plugins.Description {
	return plugins.Description{
		Name:        Name,
		Version:     "0.1.0",
		Summary:     "Looks on each worker for the CAs that are declared, and for the candidate.",
		Effect:      plugins.Read,
		Input:       json.RawMessage(inputSchema),
		Output:      json.RawMessage(outputSchema),
		Connections: []string{plugins.ConnSupervisor, plugins.ConnNodes},
	}
}

// Plan looks at all workers. One that cannot be looked at is told with its error beside the others; it is an error when none can.
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
	q := question{candidate: anchors(candidate), now: s.env.Now()}
	warnings, err := q.declared(ctx, c, ref)
	if err != nil {
		return none, err
	}
	workers, err := nodelook.FindAll(ctx, c, *req.Connections.Nodes, ref)
	if err != nil {
		return none, err
	}
	answers, err := s.ask(ctx, workers)
	if err != nil {
		return none, err
	}
	out, evidence := q.conclude(workers.Nodes, answers)
	raw, err := sdk.Output(out)
	if err != nil {
		return none, err
	}
	return plugins.PlanResponse{Outputs: raw, Evidence: evidence, Warnings: warnings, Summary: summary(out, len(q.wanted), in.CA != "")}, nil
}

// Apply is never called: the step only reads.
func (step) Apply(context.Context, plugins.ApplyRequest, plugins.Host) (plugins.ApplyResponse, error) {
	return plugins.ApplyResponse{}, errors.New("verify-node-cert changes nothing and is not applied")
}

func parse(raw json.RawMessage) (input, tkg.Ref, []*x509.Certificate, error) {
	in, err := sdk.Input[input](raw)
	if err != nil {
		return in, tkg.Ref{}, nil, err
	}
	ref, err := tkg.ParseRef(in.Cluster)
	if err != nil || in.CA == "" {
		return in, ref, nil, err
	}
	candidate, err := inputfile.Candidate(in.CA)
	return in, ref, candidate, err
}

// ask looks at all workers. It is an error when none of them could be asked, or ctx has ended.
func (s step) ask(ctx context.Context, workers nodelook.Workers) ([]answer, error) {
	out := make([]answer, len(workers.Nodes))
	errs := workers.Ask(ctx, func(ctx context.Context, i int, conn *node.Conn) error {
		var err error
		out[i].look, err = nodelook.Take(ctx, conn, nodelook.LookRequest{Now: s.env.Now})
		return err
	})
	silent := 0
	for i, err := range errs {
		out[i].err = err
		if err != nil {
			silent++
		}
	}
	if ctx.Err() != nil || silent == len(out) {
		return nil, workers.Join(errs)
	}
	return out, nil
}

// declared reads what nodes of the cluster should hold.
func (q *question) declared(ctx context.Context, c *kube.Client, ref tkg.Ref) (warnings []string, err error) {
	owner, err := tkg.FindOwner(ctx, c, ref)
	if err != nil {
		return nil, err
	}
	all, warnings, err := tkg.ReadTrust(ctx, c, owner)
	if err != nil {
		return nil, err
	}
	list, others, more := toCompare(all)
	q.wanted, q.others = declarations(list...), declarations(others...)
	return append(warnings, more...), nil
}
