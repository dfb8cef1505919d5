package recreate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/internal/remedy"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// The keys of the effects. Those of which there are several end with a number.
const (
	effectDelete    = "delete-cluster"
	effectSecret    = "create-secret:"
	effectCompanion = "create-companion:"
	effectCreate    = "create-cluster"
	effectWorkload  = "apply-workloads:"
)

// approved is what the changes say.
type approved struct {
	cluster    tkg.Ref
	deletion   plugins.PlannedChange
	secrets    []made
	companions []made
	creation   plugins.PlannedChange
	manifest   *unstructured.Unstructured
	workloads  []made
}

// made is an object that is made, with its change.
type made struct {
	change plugins.PlannedChange
	object *unstructured.Unstructured
}

// read sorts the approved changes: the deletion, the Secrets and companions, the creation, then the workloads. Any other shape is
// refused before anything is done.
func read(changes []plugins.PlannedChange) (approved, error) {
	var a approved
	if len(changes) < 2 {
		return a, fmt.Errorf("%s was approved with %d changes: a deletion and a creation are needed", Name, len(changes))
	}
	a.deletion = changes[0]
	gone := a.deletion.Target
	owner := gone.Kind == tkg.TKCKind && gone.Group == tkg.RunGroup || gone.Kind == tkg.ClusterKind && gone.Group == tkg.ClusterGroup
	if a.deletion.Action != plugins.Delete || !owner || gone.Cluster != "" || gone.UID == "" {
		return a, fmt.Errorf("the first approved change is %s %s, not the deletion of a cluster", a.deletion.Action, gone)
	}
	a.cluster = tkg.Ref{Namespace: gone.Namespace, Name: gone.Name}
	for _, c := range changes[1:] {
		if err := a.take(c); err != nil {
			return a, err
		}
	}
	if a.manifest == nil {
		return a, fmt.Errorf("none of the approved changes is the creation of the same cluster as is deleted, %s", a.cluster)
	}
	return a, nil
}

// take sorts one change. Before the cluster's creation come its Secrets and companions, in its own namespace, and after it the workloads.
func (a *approved) take(c plugins.PlannedChange) error {
	if a.manifest != nil && (c.Action != plugins.Create || c.Target.Cluster != a.cluster.String()) {
		return fmt.Errorf("the approved change %s %s is not a workload of %s", c.Action, c.Target, a.cluster)
	}
	obj, err := objectOf(c)
	if err != nil {
		return err
	}
	m := made{change: c, object: obj}
	t := c.Target
	if a.manifest != nil {
		a.workloads = append(a.workloads, m)
		return nil
	}
	if t.Cluster != "" || t.Namespace != a.cluster.Namespace || obj.GetNamespace() != t.Namespace || obj.GetName() != t.Name || obj.GetKind() != t.Kind {
		return fmt.Errorf("the approved change %s %s, of %s, is not the creation of the same cluster, nor of what belongs to it", c.Action, t, describe(obj))
	}
	switch gone := a.deletion.Target; {
	case t.Kind == gone.Kind && t.Group == gone.Group && t.Name == gone.Name && c.Action == plugins.Create:
		a.creation, a.manifest = c, obj
	case t.Kind == "Secret" && t.Group == "" && (c.Action == plugins.Create || c.Action == plugins.Update):
		a.secrets = append(a.secrets, m)
	case isCompanion(t) && c.Action == plugins.Create:
		a.companions = append(a.companions, m)
	default:
		return fmt.Errorf("the approved change %s %s is not the creation of the same cluster, nor of what belongs to it", c.Action, t)
	}
	return nil
}

// Apply deletes, creates what the new cluster needs and the cluster, waits until it is ready and its nodes trust the registry, and applies
// the workloads. Each act is an effect, so that Apply can be called again after a crash at any instant.
func (s step) Apply(ctx context.Context, req plugins.ApplyRequest, host plugins.Host) (plugins.ApplyResponse, error) {
	var none plugins.ApplyResponse
	// What is done is in the approved changes. The input has the bounds, and how the registry is called.
	in, err := sdk.Input[input](req.Input)
	if err != nil {
		return none, err
	}
	a, err := read(req.Changes)
	if err != nil {
		return none, err
	}
	c, err := connect(req.Connections)
	if err != nil {
		return none, err
	}
	r := run{
		supervisor: supervisor{c: c, ref: a.cluster, kind: a.deletion.Target.Kind}, approved: a, id: req.RunID, host: host, now: s.env.Now,
		in: in, nodes: req.Connections.Nodes,
	}
	var late []int
	var sights []remedy.Sight
	for _, part := range []func(context.Context) error{
		r.delete, r.makeSecrets,
		func(ctx context.Context) (err error) { late, err = r.makeCompanions(ctx); return err },
		r.create, r.wait,
		func(ctx context.Context) error { return r.makeLate(ctx, late) },
		func(ctx context.Context) (err error) { sights, err = r.prove(ctx); return err },
		r.applyWorkloads,
	} {
		if err := part(ctx); err != nil {
			return none, err
		}
	}
	w, err := r.look(ctx)
	if err != nil {
		return none, err
	}
	return r.response(w, sights)
}

func (r run) response(w world, sights []remedy.Sight) (plugins.ApplyResponse, error) {
	if w.owner == nil {
		return plugins.ApplyResponse{}, fmt.Errorf("the new cluster %s is gone", r.ref)
	}
	out := output{Cluster: r.ref.String(), UID: string(w.owner.GetUID()), Endpoint: endpointOf(w.cluster), Recreated: true}
	raw, err := sdk.Output(out)
	text := fmt.Sprintf("%s has UID %s instead of %s and is ready at %s", describe(w.owner), out.UID, r.deletion.Target.UID, out.Endpoint)
	evidence := []plugins.Evidence{{Subject: describe(w.owner), Check: "recreated", Verdict: plugins.OK, Text: text}}
	evidence = append(evidence, remedy.ProofEvidence(r.in.Registry, sights)...)
	return plugins.ApplyResponse{
		Outputs: raw, Evidence: evidence,
		Summary: fmt.Sprintf("%s is recreated and ready at %s; %d workers trust %s; %d workloads applied",
			r.ref, out.Endpoint, len(sights), r.in.Registry, len(r.workloads)),
	}, err
}

// delete deletes the old cluster and waits until nothing of it is left.
func (r run) delete(ctx context.Context) error {
	uid := types.UID(r.deletion.Target.UID)
	fresh, err := r.isFresh(ctx, effectDelete)
	if err != nil {
		return err
	}
	if fresh {
		if err := r.mayDelete(ctx); err != nil {
			return err
		}
	}
	var last world
	observe := func(ctx context.Context) (sdk.Observation, error) {
		w, err := r.look(ctx)
		if err != nil {
			return sdk.Observation{}, err
		}
		last = w
		return deletionSeen(w, uid), nil
	}
	act := func(ctx context.Context) error {
		err := r.remove(ctx, uid)
		if apierrors.IsNotFound(err) {
			return nil // it went by itself meanwhile; observing says whether all of it did
		}
		return err
	}
	err = sdk.Effect(ctx, r.host, plugins.EffectSpec{Key: effectDelete, Target: r.deletion.Target}, observe, act)
	if err != nil && ctx.Err() != nil { // a step in a process of its own learns of the deadline as a cancellation
		return plugins.Hint(err, "%s", stuckHint(last, r.ref))
	}
	return err
}

// mayDelete holds all that the deletion stands on, as long as it was never begun: the preconditions, then that nothing is lost that was
// not approved, and the budget.
func (r run) mayDelete(ctx context.Context) error {
	if err := r.holds(ctx, r.deletion.Preconditions); err != nil {
		return err
	}
	w, err := r.look(ctx)
	if err != nil {
		return err
	}
	inv, err := r.gather(ctx, w)
	if err != nil {
		return err
	}
	return stillApproved(inv, r.deletion.Lost, r.in.Budget, broughtBack(objectsOf(r.workloads)))
}

// stillApproved compares what would be lost now with what was approved, and with the budget.
func stillApproved(inv inventory, lost []string, bounds budget, back int) error {
	const hint = "nothing was deleted; plan and approve again"
	var more []string
	for _, line := range inv.lost() {
		if !slices.Contains(lost, line) {
			more = append(more, line)
		}
	}
	if len(more) > 0 {
		err := fmt.Errorf("more would be lost than was approved: %s", strings.Join(more[:min(len(more), maxTold)], "; "))
		return plugins.Hint(plugins.WithKind(plugins.KindConflict, err), hint)
	}
	if blocks := bounds.blocks(inv.price(), back); len(blocks) > 0 {
		return plugins.Hint(plugins.WithKind(plugins.KindConflict, errors.New(blocks[0].Reason)), "%s; %s", hint, blocks[0].Hint)
	}
	return nil
}

// maxTold bounds how many lines an error names.
const maxTold = 5

func objectsOf(list []made) []*unstructured.Unstructured {
	var out []*unstructured.Unstructured
	for _, m := range list {
		out = append(out, m.object)
	}
	return out
}

// create creates the new cluster from the approved manifest. The annotation tells this run's cluster from another's.
func (r run) create(ctx context.Context) error {
	fresh, err := r.isFresh(ctx, effectCreate)
	if err != nil {
		return err
	}
	if fresh {
		if err := r.vacant(ctx); err != nil {
			return err
		}
	}
	observe := func(ctx context.Context) (sdk.Observation, error) {
		w, err := r.look(ctx)
		if err != nil {
			return sdk.Observation{}, err
		}
		return creationSeen(w.owner, r.id), nil
	}
	act := func(ctx context.Context) error {
		err := r.supervisor.create(ctx, marked(r.manifest, r.id))
		if apierrors.IsAlreadyExists(err) {
			return nil // ours, if an answer was lost; observing tells
		}
		return err
	}
	err = sdk.Effect(ctx, r.host, plugins.EffectSpec{Key: effectCreate, Target: r.creation.Target}, observe, act)
	return plugins.Hint(err, "%s", createHint(err, r.ref))
}

// createHint keeps a hint that is there.
func createHint(err error, ref tkg.Ref) string {
	if hint := plugins.HintOf(err); hint != "" {
		return hint
	}
	return fmt.Sprintf("the old cluster %s is deleted and its manifest is in this run's plan: mend what the API server complains of, then resume this run", ref)
}

// vacant makes sure that nobody has taken the name since the deletion.
func (r run) vacant(ctx context.Context) error {
	w, err := r.look(ctx)
	if err != nil {
		return err
	}
	for _, obj := range []*unstructured.Unstructured{w.owner, w.cluster, w.service} {
		if obj == nil {
			continue
		}
		err := fmt.Errorf("create cluster %s: metadata.uid of %s was nothing after the deletion and is now %s", r.ref, describe(obj), obj.GetUID())
		return plugins.Hint(plugins.WithKind(plugins.KindConflict, err),
			"somebody else created it (a GitOps controller?): mend the manifest at its source; look at it with: kubectl get %s %s -n %s -o yaml",
			obj.GetKind(), obj.GetName(), obj.GetNamespace())
	}
	return nil
}

// marked returns an object with the run's annotation, which is not part of what was approved.
func marked(obj *unstructured.Unstructured, runID string) *unstructured.Unstructured {
	out := obj.DeepCopy()
	annotations := out.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[runAnnotation] = runID
	out.SetAnnotations(annotations)
	return out
}

// isFresh reports whether an effect was never intended.
func (r run) isFresh(ctx context.Context, key string) (bool, error) {
	state, err := r.host.Effect(ctx, key)
	if err != nil {
		return false, fmt.Errorf("read the journal of %s: %w", key, err)
	}
	return state == plugins.EffectNone, nil
}
