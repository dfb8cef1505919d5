// Package owner is the step find-owner: what a cluster is made from, where CAs are declared for it and which of them it can have seen, who
// else keeps it in order, and what this login may do to it.
//
// It reads the Supervisor alone, so that it tells of clusters too that have never been up.
package owner

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/pull"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// Name is the word for uses:.
const Name = "find-owner"

type step struct{ env sdk.Env }

var _ plugins.Step = step{}

// New returns the step.
func New(env sdk.Env) plugins.Step { return step{env: env.Complete()} }

// Describe says what the step is.
func (step) Describe() plugins.Description {
	return plugins.Description{
		Name:        Name,
		Version:     "0.1.0",
		Summary:     "Finds what a cluster is made from, the CAs that are declared for it, and what this login may do.",
		Effect:      plugins.Read,
		Input:       json.RawMessage(inputSchema),
		Output:      json.RawMessage(outputSchema),
		Connections: []string{plugins.ConnSupervisor},
	}
}

// Plan reads what the Supervisor knows of the cluster. What may not be read is a warning. It blocks on the Supervisor.
func (s step) Plan(ctx context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	var none plugins.PlanResponse
	in, err := sdk.Input[input](req.Input)
	if err != nil {
		return none, err
	}
	ref, err := tkg.ParseRef(in.Cluster)
	if err != nil {
		return none, err
	}
	if req.Connections.Supervisor == nil {
		return none, errors.New("no connection to the Supervisor was given")
	}
	c, err := kube.New(*req.Connections.Supervisor)
	if err != nil {
		return none, err
	}
	found, warnings, err := find(ctx, c, ref, s.env.Now())
	if err != nil {
		return none, err
	}
	raw, err := sdk.Output(found)
	if err != nil {
		return none, err
	}
	return plugins.PlanResponse{Outputs: raw, Evidence: evidence(found), Warnings: warnings, Summary: summary(found)}, nil
}

// Apply does nothing: the step only reads.
func (step) Apply(context.Context, plugins.ApplyRequest, plugins.Host) (plugins.ApplyResponse, error) {
	return plugins.ApplyResponse{}, errors.New(Name + " only reads and has nothing to apply")
}

// find reads all of it.
func find(ctx context.Context, c *kube.Client, ref tkg.Ref, now time.Time) (output, []string, error) {
	owner, err := tkg.FindOwner(ctx, c, ref)
	if err != nil {
		return output{}, nil, err
	}
	cluster, err := tkg.ReadCluster(ctx, c, owner)
	if err != nil {
		return output{}, nil, err
	}
	out := output{
		Cluster: ref.String(), Kind: owner.Kind, APIVersion: owner.APIVersion, Way: string(owner.Way), Retiring: owner.Retiring,
		Paused: tkg.Paused(owner.Object) || tkg.Paused(cluster), Managed: tkg.ManagedBy(owner.Object, cluster),
		Declared: []declared{},
	}
	out.Managed.Source, out.Managed.Text = pull.Printable(out.Managed.Source, maxText), pull.Printable(out.Managed.Text, maxText)
	if owner.Class.Name != "" {
		out.Class = shown(owner.Class.String())
	}
	if out.Initialized, err = tkg.Initialized(ctx, c, owner); err != nil {
		return output{}, nil, err
	}
	if out.Roll, err = readRoll(ctx, c, owner, now); err != nil {
		return output{}, nil, err
	}
	list, warnings, err := tkg.ReadTrust(ctx, c, owner)
	if err != nil {
		return output{}, nil, err
	}
	for _, d := range list {
		out.Declared = append(out.Declared, judge(d))
	}
	var note string
	if out.May, note, err = may(ctx, c, owner); err != nil {
		return output{}, nil, err
	}
	if note != "" {
		warnings = append(warnings, note)
	}
	return out, warnings, nil
}

// readRoll tells whether anything moves: what it moves for is not asked, since a change of a Secret's bytes moves nothing.
func readRoll(ctx context.Context, c *kube.Client, owner tkg.Owner, now time.Time) (roll, error) {
	r, err := tkg.ReadRoll(ctx, c, owner, time.Time{}, now)
	switch {
	case apierrors.IsForbidden(err), errors.Is(err, kube.ErrNotServed):
		return roll{State: string(tkg.RollUnknown), Note: "the cluster's Machines may not be read with this login, or are not served"}, nil
	case err != nil:
		return roll{}, err
	}
	return roll{State: string(r.State), Note: pull.Printable(r.Note, maxText)}, nil
}
