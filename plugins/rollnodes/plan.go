package rollnodes

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/internal/remedy"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// found is what Plan goes by.
type found struct {
	owner    tkg.Owner
	cluster  *unstructured.Unstructured
	roll     tkg.Roll
	declared []tkg.Declared
	notes    []string
	sights   []remedy.Sight
	machines []*unstructured.Unstructured
}

// Plan finds the workers that are older than what is declared and that would trust the registry with it, and lets the server dry-run their
// deletion. While machines are being replaced already it answers that it is not yet to be planned.
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
	f, err := s.look(ctx, c, nodes, r)
	if err != nil {
		return none, err
	}
	stale := f.stale()
	switch {
	case remedy.AllTrust(f.sights) || len(stale) == 0 && len(remedy.Asked(f.sights)) > 0:
		return f.unchanged(r)
	case f.roll.State == tkg.Rolling:
		return none, plugins.NotYet("machines of %s are being replaced already: %s", r.Ref, f.roll.Note)
	}
	return f.plan(ctx, c, r, stale)
}

func (s step) look(ctx context.Context, c *kube.Client, nodes plugins.Nodes, r request) (found, error) {
	var f found
	var err error
	if f.owner, err = tkg.FindOwner(ctx, c, r.Ref); err != nil {
		return f, err
	}
	if f.cluster, err = remedy.ClusterOf(ctx, c, f.owner); err != nil {
		return f, err
	}
	if err := remedy.Going(f.owner, f.cluster); err != nil {
		return f, err
	}
	if f.machines, err = tkg.Machines(ctx, c, r.Ref); err != nil {
		return f, err
	}
	f.roll = tkg.RollOf(f.owner, f.cluster, f.machines, time.Time{}, s.env.Now())
	if f.declared, f.notes, err = tkg.ReadTrust(ctx, c, f.owner); err != nil {
		return f, err
	}
	f.sights, err = r.SeeWorkers(ctx, c, nodes, f.roll, s.env.Now)
	return f, err
}

// stale are the workers that do not trust the registry for want of what is declared: not those whose containerd has not read it.
func (f found) stale() []remedy.Sight {
	out := slices.DeleteFunc(remedy.Asked(f.sights), func(s remedy.Sight) bool { return s.Report.Accepted || s.Older() })
	slices.SortStableFunc(out, func(a, b remedy.Sight) int {
		return cmp.Or(cmp.Compare(a.Node.Pool, b.Node.Pool), cmp.Compare(a.Node.Name, b.Node.Name))
	})
	return out
}

func (f found) unchanged(r request) (plugins.PlanResponse, error) {
	raw, err := sdk.Output(output{Cluster: r.Ref.String(), Rolled: []string{}})
	return plugins.PlanResponse{
		Outputs: raw, Evidence: remedy.ProofEvidence(r.Registry, f.sights), Warnings: remedy.Unasked(f.sights),
		Summary: fmt.Sprintf("no worker of %s lacks what is declared for it: nothing to roll", r.Ref),
	}, err
}

// plan puts together the deletions and what speaks against them.
func (f found) plan(ctx context.Context, c *kube.Client, r request, stale []remedy.Sight) (plugins.PlanResponse, error) {
	var none plugins.PlanResponse
	kind, err := c.Resource(ctx, tkg.ClusterGroup, machineKind)
	if err != nil {
		return none, err
	}
	out := output{Cluster: r.Ref.String(), Rolled: []string{}}
	blocks := slices.Concat(remedy.PausedBlocks(f.owner, f.cluster), f.declaredBlocks(r, stale), remedy.ProofBlocks(r.Registry, f.sights))
	if f.roll.State == tkg.RollStuck {
		blocks = append(blocks, plugins.Block{
			Reason: "machines are being replaced already, and that does not go on: " + f.roll.Note,
			Hint:   fmt.Sprintf("see what holds it: kubectl describe machines -n %s -l cluster.x-k8s.io/cluster-name=%s", r.Ref.Namespace, r.Ref.Name),
		})
	}
	var changes []plugins.PlannedChange
	var evidence []plugins.Evidence
	for _, s := range stale {
		machine := f.machine(s)
		if machine == nil {
			return none, fmt.Errorf("the machine of node %s went away while it was looked at", s.Node.Name)
		}
		change := f.change(kind, machine, s)
		changes = append(changes, change)
		out.Rolled = append(out.Rolled, s.Node.Name)
		block, e, err := rehearse(ctx, c.DryRun(), change)
		if err != nil {
			return none, err
		}
		blocks, evidence = append(append(blocks, block...), orphan(machine)...), append(evidence, e)
	}
	raw, err := sdk.Output(out)
	return plugins.PlanResponse{
		Outputs: raw, Changes: changes, Blocks: blocks,
		Evidence: append(remedy.ProofEvidence(r.Registry, f.sights), evidence...),
		Warnings: slices.Concat(remedy.DrainWarnings(ctx, c, r.Ref), f.notes, remedy.Unasked(f.sights)),
		Summary:  fmt.Sprintf("replace %d of the %d workers of %s, which are older than what is declared", len(stale), len(f.sights), r.Ref),
	}, err
}

// machine returns the Machine of a worker, nil if it is gone.
func (f found) machine(s remedy.Sight) *unstructured.Unstructured {
	i := slices.IndexFunc(f.machines, func(u *unstructured.Unstructured) bool { return u.GetUID() == s.Node.MachineUID })
	if i < 0 {
		return nil
	}
	return f.machines[i]
}

const machineKind = "Machine"

const fieldUID = "metadata.uid"

func (f found) change(kind kube.Resource, machine *unstructured.Unstructured, s remedy.Sight) plugins.PlannedChange {
	target := plugins.Target{
		Group: kind.GVK.Group, Version: kind.GVK.Version, Kind: kind.GVK.Kind,
		Namespace: machine.GetNamespace(), Name: machine.GetName(), UID: string(machine.GetUID()),
	}
	before, _ := json.Marshal(map[string]string{ // strings alone: it cannot go wrong
		"node": s.Node.Name, "pool": s.Node.Pool, "created": s.Node.Created.UTC().Format(time.RFC3339), "version": s.Node.Version,
	})
	return plugins.PlannedChange{
		Action: plugins.Delete, Target: target, Before: before,
		Reason:        "the node is older than what is declared in its cluster's trust, and nodes get files when they are made",
		Preconditions: []plugins.Precondition{{Target: target, Field: fieldUID, Value: target.UID}},
		Lost:          []string{"the disk of node " + s.Node.Name + ", with what pods keep in emptyDir and hostPath volumes"},
		Impact:        []string{fmt.Sprintf("pool %s has one node less until the new one is ready; the node's pods are evicted and start elsewhere", s.Node.Pool)},
		Undo:          "nothing is to be taken back: the pool makes a new node of the same kind",
	}
}

// orphan says that nobody would make a new machine in the place of one.
func orphan(machine *unstructured.Unstructured) []plugins.Block {
	if metav1.GetControllerOf(machine) != nil {
		return nil
	}
	return []plugins.Block{{
		Reason: fmt.Sprintf("Machine %s has no controller that would make a new one in its place", machine.GetName()),
		Hint:   fmt.Sprintf("see what it belongs to: kubectl get machine %s -n %s -o yaml", machine.GetName(), machine.GetNamespace()),
	}}
}

// holding returns what is declared for the cluster, gives new nodes each certificate of the candidate, and certainly reaches them.
func (f found) holding(candidate []*x509.Certificate) []tkg.Declared {
	return slices.DeleteFunc(slices.Clone(f.declared), func(d tkg.Declared) bool {
		held := tkg.Hold(d.Name, d.Data, d.Layers)
		return d.Absent != "" || d.Conflicting || !held.Right || !held.HoldsAll(candidate)
	})
}

// declaredBlocks says why new nodes would be no better: the candidate is not declared, or a node that is younger lacks it all the same.
func (f found) declaredBlocks(r request, stale []remedy.Sight) []plugins.Block {
	holding := f.holding(r.Candidate)
	hint := "let the step patch-cluster-trust declare it, which has the nodes replaced as well"
	if len(holding) == 0 {
		return []plugins.Block{{Reason: "nothing that is declared for the cluster gives new nodes the candidate CA", Hint: hint}}
	}
	var blocks []plugins.Block
	for _, s := range stale {
		older := slices.ContainsFunc(holding, func(d tkg.Declared) bool {
			return d.Change.Until.IsZero() || !s.Node.Created.After(d.Change.Until) // times are whole seconds
		})
		if !older {
			d := holding[0]
			blocks = append(blocks, plugins.Block{
				Reason: fmt.Sprintf("node %s was made after %s was changed (%s) and lacks the CA all the same: another new node would lack it too", s.Node.Name, d.Where, d.Change),
				Hint:   hint,
			})
		}
	}
	return blocks
}

// rehearse lets the server dry-run a deletion by the code that Apply uses. A refusal is a block; anything else that goes wrong is an error.
func rehearse(ctx context.Context, dry *kube.Client, change plugins.PlannedChange) ([]plugins.Block, plugins.Evidence, error) {
	e := plugins.Evidence{Subject: change.Target.String(), Check: "dry-run-delete", Verdict: plugins.OK, Text: "the API server takes the deletion (dry-run)"}
	if !dry.IsDryRun() {
		return nil, e, errors.New("the client would really delete the machine: nothing was tried")
	}
	err := remove(ctx, dry, change)
	switch {
	case err == nil:
		return nil, e, nil
	case !remedy.Refused(err):
		return nil, e, err
	}
	e.Verdict, e.Text = plugins.Bad, err.Error()
	hint := plugins.HintOf(err)
	if hint == "" {
		hint = fmt.Sprintf("see why: kubectl delete machine %s -n %s --dry-run=server", change.Target.Name, change.Target.Namespace)
	}
	return []plugins.Block{{Reason: "the API server refuses it: " + err.Error(), Hint: hint}}, e, nil
}

// remove asks for the deletion of the Machine with this UID and of no other.
func remove(ctx context.Context, c *kube.Client, change plugins.PlannedChange) error {
	t := change.Target
	r, err := c.Resource(ctx, t.Group, t.Kind)
	if err != nil {
		return err
	}
	return c.Delete(ctx, r, types.NamespacedName{Namespace: t.Namespace, Name: t.Name}, types.UID(t.UID))
}
