// Package backup is the step backup-cluster: it lets Velero back up a workload cluster where Velero is installed in it, and waits until
// that is complete. Where it is not, nothing is changed, and the step says so: the cluster's volumes are then a price that the gate of a
// recreate names.
//
// Plan and Apply both go through create; Plan gives it a client that only dry-runs. What Apply does is read from the approved change alone.
package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// Name is the word for uses:.
const Name = "backup-cluster"

// What Velero is called (https://velero.io/docs/main/api-types/backup/).
const (
	group     = "velero.io"
	kind      = "Backup"
	namespace = "velero"
	effectKey = "create-backup"
)

const inputSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["cluster"],
  "properties": {
    "cluster": {"type": "string", "description": "namespace/name of the cluster"}
  }
}`

const outputSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["cluster", "installed", "backup"],
  "properties": {
    "cluster": {"type": "string", "description": "namespace/name of the cluster"},
    "installed": {"type": "boolean", "description": "whether Velero is installed in the cluster"},
    "backup": {"type": "string", "description": "name of the Backup in the namespace velero, empty if there is none"}
  }
}`

type input struct {
	Cluster string `json:"cluster"`
}

type output struct {
	Cluster   string `json:"cluster"`
	Installed bool   `json:"installed"`
	Backup    string `json:"backup"`
}

type step struct{}

var _ plugins.Step = step{}

// New returns the step. It needs nothing of env.
func New(sdk.Env) plugins.Step { return step{} }

// Describe says what the step is.
func (step) Describe() plugins.Description {
	return plugins.Description{
		Name:        Name,
		Version:     "0.1.0",
		Summary:     "Lets Velero back up the cluster, where it is installed in it, and waits until the backup is complete.",
		Effect:      plugins.Change,
		Input:       json.RawMessage(inputSchema),
		Output:      json.RawMessage(outputSchema),
		Connections: []string{plugins.ConnSupervisor},
	}
}

// Plan finds out whether there is a Velero, and lets the cluster's API server dry-run a Backup.
func (step) Plan(ctx context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	var none plugins.PlanResponse
	ref, err := parse(req.Input)
	if err != nil {
		return none, err
	}
	supervisor, err := connect(req.Connections)
	if err != nil {
		return none, err
	}
	owner, err := tkg.FindOwner(ctx, supervisor, ref)
	if err != nil {
		return none, err
	}
	c, err := tkg.WorkloadClient(ctx, supervisor, ref)
	if apierrors.IsNotFound(err) {
		return neverUp(ref)
	}
	if err != nil {
		return none, err
	}
	r, err := c.Resource(ctx, group, kind)
	if plugins.KindOf(err) == plugins.KindTransient {
		// The kubeconfig may be there before the API that it leads to.
		if up, asked := tkg.Initialized(ctx, supervisor, owner); asked == nil && !up {
			return neverUp(ref)
		}
	}
	if errors.Is(err, kube.ErrNotServed) {
		return nothing(ref, "Velero is not installed in "+ref.String()+": no backup is made, and its volumes are a price that the gate of a recreate names")
	}
	if err != nil {
		return none, err
	}
	names, err := list(ctx, c, r)
	if err != nil {
		return none, err
	}
	places, err := storage(ctx, c)
	if err != nil {
		return none, err
	}
	obj := backupOf(ref, r, nextName(ref, names))
	change, err := changeOf(ref, owner, obj)
	if err != nil {
		return none, err
	}
	blocks := storageBlocks(ref, places)
	if err := create(ctx, c.DryRun(), r, obj); err != nil {
		if !isRefusal(err) {
			return none, err
		}
		blocks = append(blocks, refusal(ref, err))
	}
	raw, err := sdk.Output(output{Cluster: ref.String(), Installed: true, Backup: obj.GetName()})
	return plugins.PlanResponse{
		Outputs: raw, Changes: []plugins.PlannedChange{change}, Blocks: blocks,
		Evidence: []plugins.Evidence{{Subject: "cluster " + ref.String(), Check: "velero", Verdict: plugins.Info, Text: "Velero is installed; " + placesText(places)}},
		Warnings: []string{"a Backup has the data of volumes only where Velero is set up for it (CSI snapshots that are moved, or its node agent): see what it says when it is complete"},
		Summary:  fmt.Sprintf("back up %s as %s", ref, obj.GetName()),
	}, err
}

func neverUp(ref tkg.Ref) (plugins.PlanResponse, error) {
	return nothing(ref, "the control plane of "+ref.String()+" has never been up: there is nothing to back up")
}

// nothing is the plan for a cluster of which no backup can be made.
func nothing(ref tkg.Ref, why string) (plugins.PlanResponse, error) {
	raw, err := sdk.Output(output{Cluster: ref.String()})
	return plugins.PlanResponse{
		Outputs:  raw,
		Evidence: []plugins.Evidence{{Subject: "cluster " + ref.String(), Check: "velero", Verdict: plugins.Info, Text: why}},
		Summary:  why,
	}, err
}

// Apply makes the approved Backup once and waits until it is complete.
func (step) Apply(ctx context.Context, req plugins.ApplyRequest, host plugins.Host) (plugins.ApplyResponse, error) {
	var none plugins.ApplyResponse
	ref, err := parse(req.Input)
	if err != nil {
		return none, err
	}
	a, err := read(req.Changes, ref)
	if err != nil {
		return none, err
	}
	supervisor, err := connect(req.Connections)
	if err != nil {
		return none, err
	}
	state, err := host.Effect(ctx, effectKey)
	if err != nil {
		return none, fmt.Errorf("read the journal of %s: %w", effectKey, err)
	}
	if state == plugins.EffectNone {
		if err := holds(ctx, supervisor, ref, a.change.Preconditions); err != nil {
			return none, err
		}
	}
	c, err := tkg.WorkloadClient(ctx, supervisor, ref)
	if err != nil {
		return none, err
	}
	r, err := c.Resource(ctx, group, kind)
	if err != nil {
		return none, err
	}
	var last *unstructured.Unstructured
	observe := func(ctx context.Context) (sdk.Observation, error) {
		live, err := c.Get(ctx, r, namespace, a.object.GetName())
		if apierrors.IsNotFound(err) {
			return seen(nil, req.RunID)
		}
		if err != nil {
			return sdk.Observation{}, err
		}
		last = live
		return seen(live, req.RunID)
	}
	act := func(ctx context.Context) error {
		err := create(ctx, c, r, marked(a.object, req.RunID))
		if apierrors.IsAlreadyExists(err) {
			return nil // ours, if an answer was lost; observing tells
		}
		return err
	}
	if err := sdk.Effect(ctx, host, plugins.EffectSpec{Key: effectKey, Target: a.change.Target}, observe, act); err != nil {
		return none, err
	}
	return response(ref, a.object.GetName(), last)
}

func response(ref tkg.Ref, name string, last *unstructured.Unstructured) (plugins.ApplyResponse, error) {
	raw, err := sdk.Output(output{Cluster: ref.String(), Installed: true, Backup: name})
	text := fmt.Sprintf("the Backup %s of %s is complete%s", name, ref, volumesText(last))
	return plugins.ApplyResponse{
		Outputs: raw, Summary: text,
		Evidence: []plugins.Evidence{{Subject: "Backup " + namespace + "/" + name, Check: "backup", Verdict: plugins.OK, Text: text}},
	}, err
}

func parse(raw json.RawMessage) (tkg.Ref, error) {
	in, err := sdk.Input[input](raw)
	if err != nil {
		return tkg.Ref{}, err
	}
	return tkg.ParseRef(in.Cluster)
}

func connect(conn plugins.Connections) (*kube.Client, error) {
	if conn.Supervisor == nil {
		return nil, errors.New("no connection to the Supervisor was given")
	}
	return kube.New(*conn.Supervisor)
}
