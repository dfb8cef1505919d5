package recreate

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/nodelook"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/internal/remedy"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

const (
	pollEvery = time.Second
	// reusedFor is how long the endpoint must differ from its service's address before that is called the fault of tkg-facts.md §4.
	reusedFor = 2 * time.Minute
)

// run is one Apply.
type run struct {
	supervisor
	approved
	id    string
	host  plugins.Host
	now   func() time.Time
	in    input
	nodes *plugins.Nodes
}

// wait blocks until the new cluster is ready under its own address and its workers are there.
func (r run) wait(ctx context.Context) error {
	var reused time.Time // since when the endpoint differs
	_, wanted := desiredNodes(r.manifest)
	return r.poll(ctx, "wait for the new cluster", func(ctx context.Context) (bool, string, error) {
		w, err := r.look(ctx)
		if err != nil {
			return false, "", err
		}
		if w.owner == nil || w.owner.GetAnnotations()[runAnnotation] != r.id {
			return false, "", plugins.Hint(fmt.Errorf("the new cluster %s is no longer the one that this run created", r.ref),
				"see what is there: kubectl get %s %s -n %s -o yaml", resourceOf(r.manifest), r.ref.Name, r.ref.Namespace)
		}
		// Before it is ready a cluster without machines is no surprise.
		workers, err := tkg.Workers(ctx, r.c, r.ref)
		if err != nil && isReady(w.owner) {
			return false, "", err
		}
		is := readinessOf(w, workers, wanted)
		if !is.reused {
			reused = time.Time{}
			return is.ready, is.note, nil
		}
		if reused.IsZero() {
			reused = r.now()
		}
		if r.now().Sub(reused) >= reusedFor {
			return false, "", plugins.Hint(errors.New(is.note), "%s", reusedHint(r.ref))
		}
		return false, is.note, nil
	})
}

// reusedHint says what is known of clusters that come up under an old address (tkg-facts.md §4, name reuse).
func reusedHint(ref tkg.Ref) string {
	return fmt.Sprintf("the new cluster came up under an address that is not its own, and so it never becomes available; deleting and creating it again "+
		"under the same name does not help: create it under a new name from the manifest in this run's plan, and ask the vendor; "+
		"compare: kubectl get cluster,virtualmachineservice %s -n %s -o yaml", ref.Name, ref.Namespace)
}

// prove lets each new worker dial the registry, until all of them trust it. A node that looks and does not trust it gets no other trust by
// waiting; one that cannot be reached yet, or a registry that does not answer, may come.
func (r run) prove(ctx context.Context) ([]remedy.Sight, error) {
	if r.nodes == nil {
		return nil, errors.New("no connection to the nodes was given")
	}
	ask, err := nodelook.Request(r.in.Registry)
	if err != nil {
		return nil, err
	}
	ask.Now = r.now
	var sights []remedy.Sight
	err = r.poll(ctx, "prove that the new nodes trust "+r.in.Registry, func(ctx context.Context) (bool, string, error) {
		workers, err := nodelook.FindWorkers(ctx, r.c, *r.nodes, r.ref)
		if err == nil {
			sights, err = see(ctx, workers, ask)
		}
		if err != nil {
			return false, "a new node cannot be asked yet: " + oneLine(err.Error()), nil
		}
		return judgeNew(sights, r.in.Registry, r.ref)
	})
	return sights, err
}

// judgeNew says whether all new workers trust the registry. It is an error if one does not for a reason that is its own.
func judgeNew(sights []remedy.Sight, registry string, ref tkg.Ref) (done bool, note string, err error) {
	for _, s := range sights {
		switch {
		case s.Report.Accepted:
		case s.Report.Verdict.Trust:
			err := fmt.Errorf("the new node %s does not trust %s: %s", s.Node.Name, registry, s.Report.GoError)
			return false, "", plugins.Hint(err, "the new cluster is there, and does not get what is declared: see what its nodes hold and why with: tkgfix diagnose %s", ref)
		default:
			note = fmt.Sprintf("node %s does not reach %s yet: %s", s.Node.Name, registry, oneLine(s.Report.GoError))
		}
	}
	return note == "", note, nil
}

// poll asks until done, shows what it waits for, and goes on over what may pass. It ends with ctx, saying what it waited for.
func (r run) poll(ctx context.Context, what string, ask func(context.Context) (done bool, note string, err error)) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	note := ""
	for {
		done, now, err := ask(ctx)
		note = now
		switch {
		case done:
			return nil
		case err != nil && plugins.KindOf(err) != plugins.KindTransient && ctx.Err() == nil:
			return fmt.Errorf("%s: %w", what, err)
		case err != nil:
			note = err.Error()
		}
		_ = r.host.Progress(ctx, note) // that it cannot be shown is no reason to stop
		select {
		case <-ctx.Done():
			err := fmt.Errorf("%s (%s): %w", what, note, ctx.Err())
			return plugins.Hint(err, "it goes on by itself; look with: kubectl describe %s %s -n %s; then resume this run",
				tkg.Owner{Kind: r.kind}.Resource(), r.ref.Name, r.ref.Namespace)
		case <-tick.C:
		}
	}
}

// applyWorkloads applies what was approved on the new cluster, in its order.
func (r run) applyWorkloads(ctx context.Context) error {
	if len(r.workloads) == 0 {
		return nil
	}
	c, err := r.reach(ctx)
	if err != nil {
		return err
	}
	for i, w := range r.workloads {
		if err := r.applyWorkload(ctx, c, fmt.Sprint(effectWorkload, i+1), w); err != nil {
			return err
		}
	}
	return nil
}

// reach waits until the new cluster's API answers. Its first Secret may still be the old cluster's, and its server just starting,
// so that no error means anything before the deadline.
func (r run) reach(ctx context.Context) (*kube.Client, error) {
	var c *kube.Client
	err := r.poll(ctx, "reach the new cluster's API", func(ctx context.Context) (bool, string, error) {
		client, err := tkg.WorkloadClient(ctx, r.c, r.ref)
		if err == nil {
			_, err = client.Resource(ctx, "apps", "Deployment")
		}
		if err != nil {
			return false, "the new cluster's API does not answer yet: " + oneLine(err.Error()), nil
		}
		c = client
		return true, "", nil
	})
	return c, err
}

func (r run) applyWorkload(ctx context.Context, c *kube.Client, key string, w made) error {
	gvk := w.object.GroupVersionKind()
	resource := func(ctx context.Context) (kube.Resource, *unstructured.Unstructured, error) {
		found, err := c.Resource(ctx, gvk.Group, gvk.Kind)
		if errors.Is(err, kube.ErrNotServed) {
			// A definition that was applied a moment ago is served a moment later.
			return found, nil, plugins.WithKind(plugins.KindTransient, err)
		}
		found.GVK = gvk
		found.GVR.Version = gvk.Version
		obj := marked(w.object, r.id)
		if found.Namespaced && obj.GetNamespace() == "" {
			obj.SetNamespace("default")
		}
		return found, obj, err
	}
	observe := func(ctx context.Context) (sdk.Observation, error) {
		found, obj, err := resource(ctx)
		if err != nil {
			return sdk.Observation{}, err
		}
		live, err := c.Get(ctx, found, obj.GetNamespace(), obj.GetName())
		if apierrors.IsNotFound(err) {
			return applySeen(nil, r.id), nil
		}
		if err != nil {
			return sdk.Observation{}, err
		}
		return applySeen(live, r.id), nil
	}
	act := func(ctx context.Context) error {
		found, obj, err := resource(ctx)
		if err != nil {
			return err
		}
		_, err = c.Apply(ctx, found, obj)
		return err
	}
	if err := sdk.Effect(ctx, r.host, plugins.EffectSpec{Key: key, Target: w.change.Target}, observe, act); err != nil {
		err = fmt.Errorf("the new cluster %s is ready, but not all of its workloads are applied: %w", r.ref, err)
		return plugins.Hint(err, "%s", workloadHint(err))
	}
	return nil
}

func workloadHint(err error) string {
	if hint := plugins.HintOf(err); hint != "" {
		return hint
	}
	return "mend what the API server complains of, then resume this run; or apply the file yourself"
}
