package recreate

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/handshake"
	"github.com/tkgfix/tkgfix/internal/inputfile"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/internal/remedy"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// request is the input with its files read.
type request struct {
	input
	ref       tkg.Ref
	candidate []*x509.Certificate
	manifest  *unstructured.Unstructured // nil: the live object is the manifest
	workloads []*unstructured.Unstructured
}

func parse(raw json.RawMessage) (request, error) {
	in, err := sdk.Input[input](raw)
	r := request{input: in}
	if err != nil {
		return r, err
	}
	if r.ref, err = tkg.ParseRef(in.Cluster); err != nil {
		return r, err
	}
	if _, _, err = handshake.HostPort(in.Registry); err != nil {
		return r, err
	}
	if r.candidate, err = inputfile.Candidate(in.CA); err != nil {
		return r, err
	}
	if in.Manifest != "" {
		if r.manifest, err = readFile(in.Manifest, func(data []byte) (*unstructured.Unstructured, error) { return parseManifest(data, r.ref) }); err != nil {
			return r, fmt.Errorf("manifest: %w", err)
		}
	}
	if in.Workloads != "" {
		if r.workloads, err = readFile(in.Workloads, parseWorkloads); err != nil {
			return r, fmt.Errorf("workloads: %w", err)
		}
	}
	return r, nil
}

func readFile[T any](path string, parse func([]byte) (T, error)) (T, error) {
	data, err := inputfile.Read(path)
	if err != nil {
		var zero T
		return zero, err
	}
	out, err := parse(data)
	if err != nil {
		return out, fmt.Errorf("%s: %w", path, err)
	}
	return out, nil
}

// Plan proves that a new cluster would pull, lists what goes with the old one, and lets the server dry-run all acts. What speaks against
// it blocks the plan; what could not be looked at is an error.
func (s step) Plan(ctx context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	var none plugins.PlanResponse
	r, err := parse(req.Input)
	if err != nil {
		return none, err
	}
	c, err := connect(req.Connections)
	if err != nil {
		return none, err
	}
	if req.Connections.Nodes == nil {
		return none, errors.New("no connection to the nodes was given")
	}
	owner, err := tkg.FindOwner(ctx, c, r.ref)
	if err != nil {
		return none, err
	}
	sup := supervisor{c: c, ref: r.ref, kind: owner.Kind}
	w, err := sup.look(ctx)
	if err != nil {
		return none, err
	}
	if err := recreatable(w, r.ref); err != nil {
		return none, err
	}
	p, err := sup.proveBefore(ctx, *req.Connections.Nodes, r, w, s.env.Now)
	if err != nil {
		return none, err
	}
	if remedy.AllTrust(p.sights) {
		return unchanged(r, w, p)
	}
	return r.plan(ctx, sup, owner, w, p)
}

// recreatable is about a cluster that is going already: there is nothing to look at or to plan any more.
func recreatable(w world, ref tkg.Ref) error {
	if w.owner == nil {
		return fmt.Errorf("cluster %s went away while it was looked at", ref)
	}
	if w.owner.GetDeletionTimestamp() == nil {
		return nil
	}
	return plugins.Hint(fmt.Errorf("%s is being deleted already: %s", describe(w.owner), deletionNote(w)),
		"if a run of tkgfix does it, resume that run: tkgfix runs list; else find out who does")
}

func unchanged(r request, w world, p proof) (plugins.PlanResponse, error) {
	raw, err := sdk.Output(output{Cluster: r.ref.String(), UID: string(w.owner.GetUID()), Endpoint: endpointOf(w.cluster)})
	summary := fmt.Sprintf("each of the %d workers of %s trusts %s: nothing to recreate", len(p.sights), r.ref, r.Registry)
	if p.never {
		summary = fmt.Sprintf("%s never came up, and that is not for want of trust: each of its %d machines that answer trusts %s, and a new "+
			"cluster would come up as little", r.ref, len(p.sights), r.Registry)
	}
	return plugins.PlanResponse{Outputs: raw, Evidence: remedy.ProofEvidence(r.Registry, p.sights), Warnings: p.warnings, Summary: summary}, err
}

// plan puts together the changes and what speaks against them.
func (r request) plan(ctx context.Context, sup supervisor, owner tkg.Owner, w world, p proof) (plugins.PlanResponse, error) {
	var none plugins.PlanResponse
	n, err := r.newCluster(ctx, sup, owner, w)
	if err != nil {
		return none, err
	}
	inv, err := sup.gather(ctx, w)
	if err != nil {
		return none, err
	}
	inv.addons, inv.addonsLost, inv.keysLost = len(n.companions), n.addonsLost, n.keysLost()
	changes, err := r.changes(w.owner, n, inv.lost())
	if err != nil {
		return none, err
	}
	blocks, tried, err := sup.rehearse(ctx, w.owner, n)
	if err != nil {
		return none, err
	}
	newest, err := sup.newestClass(ctx, owner.Class.Name)
	if err != nil {
		return none, err
	}
	cost := inv.price()
	raw, err := sdk.Output(output{Cluster: r.ref.String(), Recreated: true, Price: &cost})
	if err != nil {
		return none, err
	}
	blocks = slices.Concat(p.blocks, n.blocks, ownerBlocks(owner, w.cluster), reuseBlocks(w, r.ref, newest, r.ReuseName),
		r.Budget.blocks(cost, broughtBack(r.workloads)), blocks)
	evidence := slices.Concat([]plugins.Evidence{cost.evidence(describe(w.owner))}, remedy.ProofEvidence(r.Registry, p.sights), tried, n.evidence())
	return plugins.PlanResponse{
		Outputs: raw, Changes: changes, Blocks: blocks, Evidence: evidence,
		Warnings: slices.Concat(p.warnings, n.warnings, []string{"on some releases a cluster that is created again under its old name comes up under its " +
			"old address and never becomes ready; this step waits until the old one is gone altogether, and compares the addresses afterwards"}),
		Summary: fmt.Sprintf("delete %s and create it again (%d workloads applied); the price: %s", r.ref, len(r.workloads), cost.sentence()),
	}, nil
}

// broughtBack counts the workloads that the user's file makes again.
func broughtBack(objects []*unstructured.Unstructured) int {
	n := 0
	for _, obj := range objects {
		if slices.Contains([]string{"Deployment", "StatefulSet", "DaemonSet", "CronJob", "Job"}, obj.GetKind()) {
			n++
		}
	}
	return n
}

// changes are the acts in their order. Nothing in them moves while the cluster, the list of trusted CAs and what the cluster holds
// stay as they are.
func (r request) changes(live *unstructured.Unstructured, n newCluster, lost []string) ([]plugins.PlannedChange, error) {
	old := targetOf(live)
	deletion := plugins.PlannedChange{
		Action: plugins.Delete,
		Target: old,
		Reason: fmt.Sprintf("its nodes do not trust %s, and only new nodes get the CA from %s", r.Registry, n.source),
		Before: identity(live),
		Preconditions: []plugins.Precondition{
			{Target: old, Field: fieldUID, Value: old.UID},
			{Target: old, Field: fieldGeneration, Value: fmt.Sprint(live.GetGeneration())},
		},
		Lost: lost,
		Undo: "it cannot be undone; the changes that follow create the cluster again, without what is listed as lost",
	}
	if n.service != nil {
		deletion.Preconditions = append(deletion.Preconditions, plugins.Precondition{Target: *n.service, Field: fieldTrust, Value: tkg.TrustHash(r.Trust)})
	}
	// A live object that holds a credential is not shown; its identity is enough then, as the manifest is the user's own.
	if clean, _, err := tkg.CleanManifest(live); err == nil {
		if deletion.Before, err = document(clean); err != nil {
			return nil, err
		}
	}
	out := []plugins.PlannedChange{deletion}
	for _, name := range slices.Sorted(maps.Keys(n.secrets)) {
		change, ok, err := n.secrets[name].change(r.ref)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, change)
		}
		if p, ok := n.secrets[name].precondition(); ok {
			out[0].Preconditions = append(out[0].Preconditions, p)
		}
	}
	for _, c := range n.companions {
		change, err := c.change()
		if err != nil {
			return nil, err
		}
		out = append(out, change)
	}
	after, err := document(n.manifest)
	if err != nil {
		return nil, err
	}
	source := "from the live object, without what the server and the controllers wrote into it"
	if r.Manifest != "" {
		source = "from the manifest that was given"
	}
	out = append(out, plugins.PlannedChange{
		Action: plugins.Create, Target: targetOf(n.manifest), Reason: "create the cluster again, " + source, After: after,
		Undo: fmt.Sprintf("kubectl delete %s %s -n %s", resourceOf(n.manifest), r.ref.Name, r.ref.Namespace),
	})
	for _, obj := range r.workloads {
		change, err := workloadChange(r.ref, obj)
		if err != nil {
			return nil, err
		}
		out = append(out, change)
	}
	return out, nil
}

func workloadChange(ref tkg.Ref, obj *unstructured.Unstructured) (plugins.PlannedChange, error) {
	after, err := document(obj)
	target := targetOf(obj)
	target.Cluster = ref.String()
	return plugins.PlannedChange{
		Action: plugins.Create, Target: target, Reason: "apply it on the new cluster, from the file of workloads", After: after,
		Undo: "delete it on the new cluster",
	}, err
}

// identity returns what names an object and nothing of its content.
func identity(obj *unstructured.Unstructured) json.RawMessage {
	raw, _ := json.Marshal(map[string]any{ // strings alone: it cannot go wrong
		"apiVersion": obj.GetAPIVersion(), "kind": obj.GetKind(),
		"metadata": map[string]string{"name": obj.GetName(), "namespace": obj.GetNamespace()},
	})
	return raw
}

// document returns an object as JSON with its keys in order.
func document(obj *unstructured.Unstructured) (json.RawMessage, error) {
	raw, err := json.Marshal(obj.Object)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", describe(obj), err)
	}
	return raw, nil
}

func listOr(items []string, none string) string {
	if len(items) == 0 {
		return none
	}
	return strings.Join(items, ", ")
}
