package recreate

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tkgfix/tkgfix/internal/handshake"
	"github.com/tkgfix/tkgfix/internal/inputfile"
	"github.com/tkgfix/tkgfix/internal/nodelook"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
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

// Plan proves that a new cluster would pull, lists what goes with the old one, and lets the server dry-run both acts. What speaks against
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
	if owner, err := tkg.FindOwner(ctx, c, r.ref); err != nil {
		return none, err
	} else if owner.Kind != tkg.TKCKind {
		return none, fmt.Errorf("cluster %s is a %s, which this step does not recreate yet", r.ref, owner.Kind)
	}
	sup := supervisor{c: c, ref: r.ref}
	w, err := sup.look(ctx)
	if err != nil {
		return none, err
	}
	if err := recreatable(w, r.ref); err != nil {
		return none, err
	}
	workers, err := nodelook.FindWorkers(ctx, c, *req.Connections.Nodes, r.ref)
	if err != nil {
		return none, err
	}
	ask, err := nodelook.Request(r.Registry)
	if err != nil {
		return none, err
	}
	ask.Candidate, ask.Now = r.candidate, s.env.Now
	sights, err := see(ctx, workers, ask)
	if err != nil {
		return none, err
	}
	if allTrust(sights) {
		return unchanged(r, w, sights)
	}
	return r.plan(ctx, sup, w, sights)
}

// recreatable is about a cluster that is going already: there is nothing to look at or to plan any more.
func recreatable(w world, ref tkg.Ref) error {
	if w.tkc == nil {
		return fmt.Errorf("cluster %s went away while it was looked at", ref)
	}
	if w.tkc.GetDeletionTimestamp() == nil {
		return nil
	}
	return plugins.Hint(fmt.Errorf("%s is being deleted already: %s", describe(w.tkc), deletionNote(w)),
		"if a run of tkgfix does it, resume that run: tkgfix runs list; else find out who does")
}

func unchanged(r request, w world, sights []sight) (plugins.PlanResponse, error) {
	raw, err := sdk.Output(output{Cluster: r.ref.String(), UID: string(w.tkc.GetUID()), Endpoint: endpointOf(w.cluster)})
	return plugins.PlanResponse{
		Outputs:  raw,
		Evidence: proofEvidence(r.Registry, sights),
		Summary:  fmt.Sprintf("each of the %d workers of %s trusts %s: nothing to recreate", len(sights), r.ref, r.Registry),
	}, err
}

// plan puts together the changes and what speaks against them.
func (r request) plan(ctx context.Context, sup supervisor, w world, sights []sight) (plugins.PlanResponse, error) {
	var none plugins.PlanResponse
	manifest, removed, err := r.cleaned(w.tkc)
	if err != nil {
		return none, err
	}
	inv, err := sup.gather(ctx, w)
	if err != nil {
		return none, err
	}
	service, err := sup.c.Resource(ctx, tkg.RunGroup, "TkgServiceConfiguration")
	if err != nil {
		return none, err
	}
	changes, err := r.changes(w.tkc, manifest, service.GVK, inv.lost())
	if err != nil {
		return none, err
	}
	blocks, tried, err := sup.rehearse(ctx, w.tkc, manifest)
	if err != nil {
		return none, err
	}
	own, err := tkg.ClusterTrust(manifest)
	if err != nil {
		return none, err
	}
	raw, err := sdk.Output(output{Cluster: r.ref.String(), Recreated: true})
	if err != nil {
		return none, err
	}
	blocks = append(blocks, proofBlocks(r.Registry, sights)...)
	blocks = append(blocks, trustBlocks(r.Trust, r.candidate)...)
	blocks = append(blocks, ownerBlocks(w.tkc, w.cluster)...)
	warnings := append(ownTrustWarning(own, r.candidate), mixedWarning(sights)...)
	return plugins.PlanResponse{
		Outputs: raw,
		Changes: changes,
		Blocks:  blocks,
		Evidence: append(append(proofEvidence(r.Registry, sights), tried...), plugins.Evidence{
			Subject: describe(manifest), Check: "manifest", Verdict: plugins.Info,
			Text: "taken out of the manifest: " + listOr(removed, "nothing"),
		}),
		Warnings: append(warnings, "on some releases a cluster that is created again under its old name comes up under its old address and never becomes "+
			"ready; this step waits until the old one is gone altogether, and compares the addresses afterwards"),
		Summary: fmt.Sprintf("delete %s and create it again (%d workers, %d workloads)", r.ref, len(sights), len(r.workloads)),
	}, nil
}

// cleaned returns the manifest of the new cluster: the user's file, else the live object.
func (r request) cleaned(live *unstructured.Unstructured) (*unstructured.Unstructured, []string, error) {
	if r.manifest == nil {
		return tkg.CleanManifest(live)
	}
	manifest, removed, err := tkg.CleanManifest(r.manifest)
	if err != nil {
		return nil, nil, plugins.Hint(fmt.Errorf("manifest: %s: %w", r.Manifest, err),
			"plans and journals hold the manifest: take credentials out of it")
	}
	return manifest, removed, nil
}

// changes are the acts in their order. Nothing in them moves while the cluster and the list of trusted CAs stay as they are.
func (r request) changes(live, manifest *unstructured.Unstructured, service schema.GroupVersionKind, lost []string) ([]plugins.PlannedChange, error) {
	trust := plugins.Target{Group: service.Group, Version: service.Version, Kind: service.Kind, Name: tkg.ServiceConfigurationName}
	old := targetOf(live)
	deletion := plugins.PlannedChange{
		Action: plugins.Delete,
		Target: old,
		Reason: fmt.Sprintf("its nodes do not trust %s, and only new nodes get the CA from TkgServiceConfiguration", r.Registry),
		Before: identity(live),
		Preconditions: []plugins.Precondition{
			{Target: old, Field: fieldUID, Value: old.UID},
			{Target: old, Field: fieldGeneration, Value: fmt.Sprint(live.GetGeneration())},
			{Target: trust, Field: fieldTrust, Value: tkg.TrustHash(r.Trust)},
		},
		Lost: lost,
		Undo: "it cannot be undone; the next change creates the cluster again, without what is listed as lost",
	}
	// A live object that holds a credential is not shown; its identity is enough then, as the manifest is the user's own.
	if clean, _, err := tkg.CleanManifest(live); err == nil {
		if deletion.Before, err = document(clean); err != nil {
			return nil, err
		}
	}
	after, err := document(manifest)
	if err != nil {
		return nil, err
	}
	source := "from the live object, without what the server and the controllers wrote into it"
	if r.Manifest != "" {
		source = "from the manifest that was given"
	}
	out := []plugins.PlannedChange{deletion, {
		Action: plugins.Create, Target: targetOf(manifest), Reason: "create the cluster again, " + source, After: after,
		Undo: fmt.Sprintf("kubectl delete tanzukubernetescluster %s -n %s", r.ref.Name, r.ref.Namespace),
	}}
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

// rehearse lets the server dry-run both acts by the code that Apply uses: the deletion, and the creation under another name beside
// the live cluster. A refusal is a block; anything else that goes wrong is an error.
func (s supervisor) rehearse(ctx context.Context, live, manifest *unstructured.Unstructured) ([]plugins.Block, []plugins.Evidence, error) {
	dry := supervisor{c: s.c.DryRun(), ref: s.ref}
	if !dry.c.IsDryRun() {
		return nil, nil, errors.New("the client would really delete the cluster: nothing was tried")
	}
	trial := manifest.DeepCopy()
	trial.SetName(checkName(manifest.GetName()))
	var blocks []plugins.Block
	var evidence []plugins.Evidence
	for _, act := range []struct {
		check, what string
		err         error
	}{
		{"dry-run-delete", "delete " + describe(live), dry.remove(ctx, live.GetUID())},
		{"dry-run-create", "create the new cluster, tried as " + trial.GetName(), dry.create(ctx, trial)},
	} {
		e := plugins.Evidence{Subject: describe(live), Check: act.check, Verdict: plugins.OK, Text: act.what + ": the API server would take it"}
		if act.err != nil {
			if !refused(act.err) {
				return nil, nil, act.err
			}
			e.Verdict, e.Text = plugins.Bad, act.what+": "+act.err.Error()
			hint := plugins.HintOf(act.err)
			if hint == "" {
				hint = "give manifest: the file from which the cluster was made, corrected until the server takes it with --dry-run=server"
			}
			blocks = append(blocks, plugins.Block{Reason: "the API server refuses to " + e.Text, Hint: hint})
		}
		evidence = append(evidence, e)
	}
	return blocks, evidence, nil
}

// refused reports whether the server looked at a request and said no, for a reason that asking again does not change.
func refused(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	switch code := status.Status().Code; code {
	case http.StatusUnauthorized, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	default:
		return code >= 400 && code < 500
	}
}

// document returns an object as JSON with its keys in order.
func document(obj *unstructured.Unstructured) (json.RawMessage, error) {
	raw, err := json.Marshal(obj.Object)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", describe(obj), err)
	}
	return raw, nil
}

// identity returns what names an object and nothing of its content.
func identity(obj *unstructured.Unstructured) json.RawMessage {
	raw, _ := json.Marshal(map[string]any{ // strings alone: it cannot go wrong
		"apiVersion": obj.GetAPIVersion(), "kind": obj.GetKind(),
		"metadata": map[string]string{"name": obj.GetName(), "namespace": obj.GetNamespace()},
	})
	return raw
}

func listOr(items []string, none string) string {
	if len(items) == 0 {
		return none
	}
	return strings.Join(items, ", ")
}
