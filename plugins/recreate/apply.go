package recreate

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// The keys of the effects. Each workload's key ends with its number.
const (
	effectDelete   = "delete-cluster"
	effectCreate   = "create-cluster"
	effectWorkload = "apply-workloads:"
)

// approved is what the changes say.
type approved struct {
	cluster   tkg.Ref
	deletion  plugins.PlannedChange
	creation  plugins.PlannedChange
	manifest  *unstructured.Unstructured
	workloads []workload
}

type workload struct {
	change plugins.PlannedChange
	object *unstructured.Unstructured
}

// read sorts the approved changes: the deletion, the creation, then the workloads. Any other shape is refused before anything is done.
func read(changes []plugins.PlannedChange) (approved, error) {
	var a approved
	if len(changes) < 2 {
		return a, fmt.Errorf("%s was approved with %d changes: a deletion and a creation are needed", Name, len(changes))
	}
	a.deletion, a.creation = changes[0], changes[1]
	gone, made := a.deletion.Target, a.creation.Target
	switch {
	case a.deletion.Action != plugins.Delete || gone.Kind != tkcKind || gone.Group != tkg.RunGroup || gone.Cluster != "" || gone.UID == "":
		return a, fmt.Errorf("the first approved change is %s %s, not the deletion of a %s", a.deletion.Action, gone, tkcKind)
	case a.creation.Action != plugins.Create || made.Kind != tkcKind || made.Group != tkg.RunGroup || made.Cluster != "" ||
		made.Namespace != gone.Namespace || made.Name != gone.Name:
		return a, fmt.Errorf("the second approved change is %s %s, not the creation of the same cluster", a.creation.Action, made)
	}
	a.cluster = tkg.Ref{Namespace: gone.Namespace, Name: gone.Name}
	var err error
	if a.manifest, err = objectOf(a.creation); err != nil {
		return a, err
	}
	if a.manifest.GetNamespace() != made.Namespace || a.manifest.GetName() != made.Name {
		return a, fmt.Errorf("the approved manifest is that of %s, not of %s", describe(a.manifest), made)
	}
	for _, c := range changes[2:] {
		if c.Action != plugins.Create || c.Target.Cluster != a.cluster.String() {
			return a, fmt.Errorf("the approved change %s %s is not a workload of %s", c.Action, c.Target, a.cluster)
		}
		obj, err := objectOf(c)
		if err != nil {
			return a, err
		}
		a.workloads = append(a.workloads, workload{change: c, object: obj})
	}
	return a, nil
}

// Apply deletes, creates, waits until the new cluster is ready, and applies the workloads. Each act is an effect, so that Apply can be
// called again after a crash at any instant.
func (s step) Apply(ctx context.Context, req plugins.ApplyRequest, host plugins.Host) (plugins.ApplyResponse, error) {
	var none plugins.ApplyResponse
	// The input is only checked: what is done is in the approved changes.
	if _, err := sdk.Input[input](req.Input); err != nil {
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
	r := run{supervisor: supervisor{c: c, ref: a.cluster}, approved: a, id: req.RunID, host: host, now: s.env.Now}
	for _, part := range []func(context.Context) error{r.delete, r.create, r.wait, r.applyWorkloads} {
		if err := part(ctx); err != nil {
			return none, err
		}
	}
	w, err := r.look(ctx)
	if err != nil {
		return none, err
	}
	return r.response(w)
}

func (r run) response(w world) (plugins.ApplyResponse, error) {
	if w.tkc == nil {
		return plugins.ApplyResponse{}, fmt.Errorf("the new cluster %s is gone", r.ref)
	}
	out := output{Cluster: r.ref.String(), UID: string(w.tkc.GetUID()), Endpoint: endpointOf(w.cluster), Recreated: true}
	raw, err := sdk.Output(out)
	text := fmt.Sprintf("%s has UID %s instead of %s and is ready at %s", describe(w.tkc), out.UID, r.deletion.Target.UID, out.Endpoint)
	return plugins.ApplyResponse{
		Outputs:  raw,
		Evidence: []plugins.Evidence{{Subject: describe(w.tkc), Check: "recreated", Verdict: plugins.OK, Text: text}},
		Summary:  fmt.Sprintf("%s is recreated and ready at %s; %d workloads applied", r.ref, out.Endpoint, len(r.workloads)),
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
		if err := r.holds(ctx, r.deletion.Preconditions); err != nil {
			return err
		}
	}
	observe := func(ctx context.Context) (sdk.Observation, error) {
		w, err := r.look(ctx)
		if err != nil {
			return sdk.Observation{}, err
		}
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
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return plugins.Hint(err, "%s", stuckHint(r.ref))
	}
	return err
}

// stuckHint names what is known to hold a deletion up (tkg-facts.md §4).
func stuckHint(ref tkg.Ref) string {
	return fmt.Sprintf("the deletion goes on by itself; look at it with: kubectl get tanzukubernetescluster,cluster,machine,virtualmachineservice -n %s; "+
		"known causes: the add-ons controller left the finalizer tkg.tanzu.vmware.com/addon; the Kubernetes release is no longer in the content library, "+
		"and the webhook tkr-resolver-cluster-webhook refuses every edit; the control plane waits for etcd; a VirtualMachineService survived its cluster "+
		"(a new cluster would get its old address). Do not remove finalizers by hand, that orphans machines and load balancers: "+
		"mend the cause, then resume this run", ref.Namespace)
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
		return creationSeen(w.tkc, r.id), nil
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
	for _, obj := range []*unstructured.Unstructured{w.tkc, w.cluster, w.service} {
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
