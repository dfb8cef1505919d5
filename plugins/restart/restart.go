// Package restart is the step restart-runtime: it restarts containerd on the workers whose files make the registry's chain valid and whose
// containerd is older than those files, since it reads its roots once (tkg-facts.md §2). It is the one remedy that replaces nothing.
package restart

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"time"

	"github.com/tkgfix/tkgfix/internal/inputfile"
	"github.com/tkgfix/tkgfix/internal/nodelook"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/internal/remedy"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// Name is the word for uses:.
const Name = "restart-runtime"

const inputSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["cluster", "registry"],
  "properties": {
    "cluster": {"type": "string", "description": "namespace/name of the cluster"},
    "registry": {"type": "string", "description": "host[:port] of the registry that its pods cannot pull from"},
    "ca": {"type": "string", "default": "", "description": "absolute path of the PEM file with the CA, to see beside what the nodes trust; none if empty"}
  }
}`

const outputSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["cluster", "restarted"],
  "properties": {
    "cluster": {"type": "string", "description": "namespace/name of the cluster"},
    "restarted": {"type": "array", "description": "the nodes whose containerd is restarted, by name", "items": {"type": "string"}}
  }
}`

// kind is the kind of what is changed, which is no API object.
const kind = "containerd"

// fieldStarted is what a restart stands on.
const fieldStarted = "started"

type input struct {
	Cluster  string `json:"cluster"`
	Registry string `json:"registry"`
	CA       string `json:"ca"`
}

type output struct {
	Cluster   string   `json:"cluster"`
	Restarted []string `json:"restarted"`
}

type step struct{ env sdk.Env }

var _ plugins.Step = step{}

// New returns the step.
func New(env sdk.Env) plugins.Step { return step{env: env.Complete()} }

// Describe says what the step is.
func (step) Describe() plugins.Description {
	return plugins.Description{
		Name:        Name,
		Version:     "0.1.0",
		Summary:     "Restarts containerd on the workers whose trust is right and whose containerd has not read it.",
		Effect:      plugins.Change,
		Input:       json.RawMessage(inputSchema),
		Output:      json.RawMessage(outputSchema),
		Connections: []string{plugins.ConnSupervisor, plugins.ConnNodes},
	}
}

// request is the input with its file read.
type request struct{ remedy.Request }

func parse(raw json.RawMessage) (request, error) {
	in, err := sdk.Input[input](raw)
	if err != nil {
		return request{}, err
	}
	common, err := remedy.ReadRequest(in.Cluster, in.Registry)
	r := request{common}
	if err == nil && in.CA != "" {
		r.Candidate, err = inputfile.Candidate(in.CA)
	}
	return r, err
}

// Plan lets each worker shake hands and finds those whose containerd is older than their trust.
func (s step) Plan(ctx context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	var none plugins.PlanResponse
	r, err := parse(req.Input)
	if err != nil {
		return none, err
	}
	c, nodes, err := remedy.Connect(req.Connections)
	if err != nil {
		return none, err
	}
	workers, err := nodelook.FindWorkers(ctx, c, nodes, r.Ref)
	if err != nil {
		return none, err
	}
	sights, err := s.see(ctx, workers, r.Registry, r.Candidate)
	if err != nil {
		return none, err
	}
	return r.plan(nodes, sights)
}

// see lets workers shake hands. All count as joined: a restart is for nodes that run.
func (s step) see(ctx context.Context, workers nodelook.Workers, registry string, candidate []*x509.Certificate) ([]remedy.Sight, error) {
	ask, err := nodelook.Request(registry)
	if err != nil {
		return nil, err
	}
	ask.Now, ask.Candidate = s.env.Now, candidate
	joined := map[string]bool{}
	for _, n := range workers.Nodes {
		joined[string(n.MachineUID)] = true
	}
	return remedy.See(ctx, workers, ask, joined), ctx.Err()
}

func (r request) plan(nodes plugins.Nodes, sights []remedy.Sight) (plugins.PlanResponse, error) {
	out := output{Cluster: r.Ref.String(), Restarted: []string{}}
	resp := plugins.PlanResponse{Evidence: remedy.ProofEvidence(r.Registry, sights), Warnings: remedy.Unasked(sights)}
	for _, s := range sights {
		if !s.Older() {
			continue
		}
		out.Restarted = append(out.Restarted, s.Node.Name)
		resp.Changes = append(resp.Changes, r.change(s))
		if s.Look.Containerd.Started.IsZero() {
			resp.Blocks = append(resp.Blocks, plugins.Block{
				Reason: fmt.Sprintf("when containerd was started on %s is not known, so that a restart could not be told from none", s.Node.Name),
				Hint:   "restart it by hand: " + command,
			})
		}
	}
	resp.Summary = r.summary(len(out.Restarted), sights)
	if len(resp.Changes) > 0 {
		resp.Warnings = append(resp.Warnings, "pulls and kubectl exec sessions that go through containerd on these nodes end; containers keep running",
			"a CA that was put on nodes by hand goes with them when they are replaced: declare it in the cluster's trust as well")
		if nodes.Via != viaSSH {
			resp.Blocks = append(resp.Blocks, plugins.Block{
				Reason: "containerd is not restarted through a pod that it runs itself: the session would end with it",
				Hint:   "reach the nodes by ssh (connections.nodes.via: ssh), or restart it by hand: " + command,
			})
		}
	}
	var err error
	resp.Outputs, err = sdk.Output(out)
	return resp, err
}

const viaSSH = "ssh"

func (r request) change(s remedy.Sight) plugins.PlannedChange {
	target := plugins.Target{Cluster: r.Ref.String(), Kind: kind, Name: s.Node.Name, UID: string(s.Node.MachineUID)}
	started := stamp(s.Look.Containerd.Started)
	before, _ := json.Marshal(map[string]string{fieldStarted: started}) // strings alone: it cannot go wrong
	after, _ := json.Marshal(map[string]string{fieldStarted: "anew"})
	return plugins.PlannedChange{
		Action: plugins.Update, Target: target,
		Reason: fmt.Sprintf("the node's files make the chain of %s valid, and its containerd is older than they are", r.Registry),
		Before: before, After: after,
		Preconditions: []plugins.Precondition{{Target: target, Field: fieldStarted, Value: started}},
		Undo:          "nothing is to be taken back: it reads the node's files as any start of it does",
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func (r request) summary(n int, sights []remedy.Sight) string {
	switch {
	case n > 0:
		return fmt.Sprintf("restart containerd on %d of the %d workers of %s", n, len(sights), r.Ref)
	case remedy.AllTrust(sights):
		return fmt.Sprintf("each of the %d workers of %s that were asked trusts %s: nothing to restart", len(remedy.Asked(sights)), r.Ref, r.Registry)
	}
	return fmt.Sprintf("no containerd of %s is older than a trust that would be right: a restart would not help", r.Ref)
}
