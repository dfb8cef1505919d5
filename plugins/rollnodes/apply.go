package rollnodes

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/internal/remedy"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// effectDelete begins the key of an effect; the Machine's UID ends it.
const effectDelete = "delete-machine:"

// run is one Apply.
type run struct {
	step
	c        *kube.Client
	nodes    plugins.Nodes
	host     plugins.Host
	ref      tkg.Ref
	registry string
	changes  []plugins.PlannedChange
}

// Apply has one machine after the other replaced. After each, the replacement must be ready and all that are not still to be replaced must
// trust the registry, so that the first decides whether there is a second.
func (s step) Apply(ctx context.Context, req plugins.ApplyRequest, host plugins.Host) (plugins.ApplyResponse, error) {
	var none plugins.ApplyResponse
	in, err := sdk.Input[input](req.Input)
	if err != nil {
		return none, err
	}
	ref, err := tkg.ParseRef(in.Cluster)
	if err != nil {
		return none, err
	}
	if err := check(req.Changes, ref); err != nil {
		return none, err
	}
	c, nodes, err := remedy.Connect(req.Connections)
	if err != nil {
		return none, err
	}
	r := run{step: s, c: c, nodes: nodes, host: host, ref: ref, registry: in.Registry, changes: req.Changes}
	out := output{Cluster: ref.String(), Rolled: []string{}}
	var sights []remedy.Sight
	for i := range r.changes {
		if sights, err = r.replace(ctx, i); err != nil {
			return none, err
		}
		out.Rolled = append(out.Rolled, nodeOf(r.changes[i]))
	}
	raw, err := sdk.Output(out)
	return plugins.ApplyResponse{
		Outputs: raw, Evidence: remedy.ProofEvidence(r.registry, sights),
		Summary: fmt.Sprintf("%d workers of %s are replaced, and all %d trust %s", len(r.changes), ref, len(sights), r.registry),
	}, err
}

// check refuses any shape of changes but that of Plan before anything is done.
func check(changes []plugins.PlannedChange, ref tkg.Ref) error {
	if len(changes) == 0 {
		return fmt.Errorf("%s was approved without a change", Name)
	}
	for _, c := range changes {
		t := c.Target
		if c.Action != plugins.Delete || t.Kind != machineKind || t.Group != tkg.ClusterGroup || t.Cluster != "" || t.UID == "" || t.Namespace != ref.Namespace {
			return fmt.Errorf("the approved change is %s %s, which this step never plans for %s", c.Action, t, ref)
		}
	}
	return nil
}

// replace deletes one Machine and waits until its replacement has proved itself.
func (r run) replace(ctx context.Context, i int) ([]remedy.Sight, error) {
	change := r.changes[i]
	observe := func(ctx context.Context) (sdk.Observation, error) {
		live, err := r.machine(ctx, change.Target)
		if err != nil {
			return sdk.Observation{}, err
		}
		return goneSeen(live, change.Target), nil
	}
	act := func(ctx context.Context) error {
		err := remove(ctx, r.c, change)
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return nil // it went by itself meanwhile; observing says so
		}
		return err
	}
	if err := sdk.Effect(ctx, r.host, plugins.EffectSpec{Key: effectDelete + change.Target.UID, Target: change.Target}, observe, act); err != nil {
		return nil, err
	}
	return r.waitAndProve(ctx, i)
}

// machine reads a Machine; nil is not there.
func (r run) machine(ctx context.Context, t plugins.Target) (*unstructured.Unstructured, error) {
	kind, err := r.c.Resource(ctx, t.Group, t.Kind)
	if err != nil {
		return nil, err
	}
	obj, err := r.c.Get(ctx, kind, t.Namespace, t.Name)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return obj, err
}

// goneSeen decides whether the Machine with this UID is gone.
func goneSeen(live *unstructured.Unstructured, t plugins.Target) sdk.Observation {
	switch {
	case live == nil:
		return sdk.Observation{State: sdk.Yes, Note: fmt.Sprintf("%s is gone", t)}
	case string(live.GetUID()) != t.UID:
		return sdk.Observation{State: sdk.Yes, Note: fmt.Sprintf("%s is gone, and another has its name, with UID %s", t, live.GetUID())}
	case live.GetDeletionTimestamp() != nil:
		note := fmt.Sprintf("waiting for %s to go", t)
		if c := tkg.ConditionOf(live, "Deleting"); c.Status == "True" && c.Text() != "" {
			note += ": " + c.Text()
		}
		return sdk.Observation{State: sdk.Underway, Note: note}
	}
	return sdk.Observation{State: sdk.No, Note: fmt.Sprintf("%s is there", t)}
}

// patience is how long a new node that cannot be asked is waited for after it is ready.
const patience = 3 * time.Minute

// waitAndProve waits until as many machines as are wanted are ready and none is going, and then lets all prove themselves but those that
// are still to be replaced.
func (r run) waitAndProve(ctx context.Context, done int) ([]remedy.Sight, error) {
	var sights []remedy.Sight
	var settled time.Time
	hint := fmt.Sprintf("the pool makes a new node by itself; look at it with: kubectl get machines -n %s -l cluster.x-k8s.io/cluster-name=%s; then resume this run",
		r.ref.Namespace, r.ref.Name)
	err := remedy.Poll(ctx, r.host, fmt.Sprintf("wait for a new node in the place of %s", nodeOf(r.changes[done])), hint, func(ctx context.Context) (bool, string, error) {
		roll, err := r.roll(ctx)
		if err != nil || roll.State != tkg.RollSettled {
			settled = time.Time{}
			return false, roll.Note, err
		}
		if settled.IsZero() {
			settled = r.env.Now()
		}
		all, err := remedy.Request{Ref: r.ref, Registry: r.registry}.SeeWorkers(ctx, r.c, r.nodes, roll, r.env.Now)
		if err != nil {
			return false, roll.Note, err
		}
		sights = slices.DeleteFunc(all, func(s remedy.Sight) bool { return r.pending(s, done) })
		i := slices.IndexFunc(sights, func(s remedy.Sight) bool { return s.Err != nil })
		if i >= 0 && r.env.Now().Sub(settled) < patience {
			return false, sights[i].Err.Error(), nil
		}
		return true, roll.Note, nil
	})
	if err != nil {
		return nil, err
	}
	return sights, r.proved(sights, done)
}

func (r run) roll(ctx context.Context) (tkg.Roll, error) {
	owner, err := tkg.FindOwner(ctx, r.c, r.ref)
	if err != nil {
		return tkg.Roll{}, err
	}
	roll, err := tkg.ReadRoll(ctx, r.c, owner, time.Time{}, r.env.Now())
	if err == nil && roll.State == tkg.RollStuck && !roll.Draining {
		err = plugins.Hint(fmt.Errorf("the new node of %s does not come up: %s", r.ref, roll.Note),
			"the other nodes were left as they are; see why: kubectl describe machines -n %s -l cluster.x-k8s.io/cluster-name=%s", r.ref.Namespace, r.ref.Name)
	}
	return roll, err
}

// pending reports that a worker is still to be replaced.
func (r run) pending(s remedy.Sight, done int) bool {
	return slices.ContainsFunc(r.changes[done+1:], func(c plugins.PlannedChange) bool { return c.Target.UID == string(s.Node.MachineUID) })
}

// proved says which of the new nodes do not trust the registry.
func (r run) proved(sights []remedy.Sight, done int) error {
	for _, s := range sights {
		switch {
		case s.Err != nil:
			return s.Err
		case s.Report.Accepted:
			continue
		}
		err := fmt.Errorf("a new node does not get what is declared: %s does not trust %s: %s", s.Node.Name, r.registry, s.Report.GoError)
		return plugins.Hint(err, "%d machines were left as they are; let the step patch-cluster-trust declare the CA anew", len(r.changes)-done-1)
	}
	if len(sights) == 0 {
		return fmt.Errorf("there is no new worker of %s to ask", r.ref)
	}
	return nil
}

// nodeOf returns the name of the node that a change is about, else that of its Machine.
func nodeOf(c plugins.PlannedChange) string {
	var doc struct {
		Node string `json:"node"`
	}
	if err := json.Unmarshal(c.Before, &doc); err != nil || doc.Node == "" {
		return c.Target.Name
	}
	return doc.Node
}
