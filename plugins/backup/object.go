package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

const (
	// runAnnotation holds the id of the run that made a Backup.
	runAnnotation = "tkgfix.dev/run"
	// retention is how long Velero keeps the Backup: its own default, said aloud.
	retention = "720h0m0s"
	fieldUID  = "metadata.uid"
	maxNote   = 200
)

// backupOf is the Backup: all namespaces, as the cluster's Velero is set up.
func backupOf(ref tkg.Ref, r kube.Resource, name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": r.GVK.GroupVersion().String(), "kind": kind,
		"metadata": map[string]any{"namespace": namespace, "name": name, "annotations": map[string]any{"tkgfix.dev/cluster": ref.String()}},
		"spec":     map[string]any{"includedNamespaces": []any{"*"}, "ttl": retention},
	}}
}

// nextName counts on from the Backups that there are, so that a plan names the same one until it is made, whatever day it is.
func nextName(ref tkg.Ref, names []string) string {
	prefix := "tkgfix-" + ref.Name + "-"
	last := 0
	for _, name := range names {
		rest, ok := strings.CutPrefix(name, prefix)
		if n, err := strconv.Atoi(rest); ok && err == nil && n > last {
			last = n
		}
	}
	return prefix + strconv.Itoa(last+1)
}

func list(ctx context.Context, c *kube.Client, r kube.Resource) ([]string, error) {
	var names []string
	err := c.Each(ctx, r, namespace, metav1.ListOptions{}, func(u *unstructured.Unstructured) error {
		names = append(names, u.GetName())
		return nil
	})
	return names, err
}

// place is where Velero keeps backups.
type place struct{ name, phase, message string }

// storage returns the BackupStorageLocations.
func storage(ctx context.Context, c *kube.Client) ([]place, error) {
	r, err := c.Resource(ctx, group, "BackupStorageLocation")
	if err != nil {
		return nil, err
	}
	var out []place
	err = c.Each(ctx, r, namespace, metav1.ListOptions{}, func(u *unstructured.Unstructured) error {
		phase, _, _ := unstructured.NestedString(u.Object, "status", "phase")
		message, _, _ := unstructured.NestedString(u.Object, "status", "message")
		out = append(out, place{name: u.GetName(), phase: phase, message: oneLine(message)})
		return nil
	})
	return out, err
}

func placesText(places []place) string {
	if len(places) == 0 {
		return "it has no BackupStorageLocation"
	}
	var parts []string
	for _, p := range places {
		text := "BackupStorageLocation " + p.name + " is " + or(p.phase, "not judged yet")
		if p.message != "" {
			text += " (" + p.message + ")"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

// storageBlocks says that there is nowhere to back up to. Velero's own images and its store may lie behind the registry that is out of
// reach (tkg-facts.md §4, backup).
func storageBlocks(ref tkg.Ref, places []place) []plugins.Block {
	if slices.ContainsFunc(places, func(p place) bool { return p.phase == "Available" }) {
		return nil
	}
	return []plugins.Block{{
		Reason: fmt.Sprintf("Velero in %s has nowhere to back up to: %s", ref, placesText(places)),
		Hint:   "see that Velero runs and reaches its store: kubectl get pods,backupstoragelocations -n velero; or leave this step out, and accept the volumes as a price",
	}}
}

// changeOf is the Backup's place in the plan.
func changeOf(ref tkg.Ref, owner tkg.Owner, obj *unstructured.Unstructured) (plugins.PlannedChange, error) {
	after, err := json.Marshal(obj.Object)
	if err != nil {
		return plugins.PlannedChange{}, fmt.Errorf("write the Backup: %w", err)
	}
	gvk := obj.GroupVersionKind()
	return plugins.PlannedChange{
		Action: plugins.Create,
		Target: plugins.Target{Cluster: ref.String(), Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind, Namespace: namespace, Name: obj.GetName()},
		Reason: "a backup of the cluster's objects, and of its volumes as far as its Velero is set up for that", After: after,
		Preconditions: []plugins.Precondition{{Target: owner.Target(), Field: fieldUID, Value: string(owner.UID)}},
		Undo:          "delete it, in the cluster: velero backup delete " + obj.GetName(),
	}, nil
}

type approved struct {
	change plugins.PlannedChange
	object *unstructured.Unstructured
}

// read holds the approved changes against what this step plans.
func read(changes []plugins.PlannedChange, ref tkg.Ref) (approved, error) {
	if len(changes) != 1 {
		return approved{}, fmt.Errorf("%s was approved with %d changes, not one", Name, len(changes))
	}
	a := approved{change: changes[0], object: &unstructured.Unstructured{}}
	if t := a.change.Target; a.change.Action != plugins.Create || t.Kind != kind || t.Group != group || t.Cluster != ref.String() {
		return a, fmt.Errorf("the approved change is %s %s, not the creation of a %s in %s", a.change.Action, t, kind, ref)
	}
	if err := a.object.UnmarshalJSON(a.change.After); err != nil {
		return a, fmt.Errorf("read %s from the approved change: %w", a.change.Target, err)
	}
	if a.object.GetKind() != kind || a.object.GetNamespace() != namespace || a.object.GetName() != a.change.Target.Name {
		return a, fmt.Errorf("the approved object is %s %s/%s, not %s", a.object.GetKind(), a.object.GetNamespace(), a.object.GetName(), a.change.Target)
	}
	return a, nil
}

// holds makes sure that it is still the same cluster.
func holds(ctx context.Context, c *kube.Client, ref tkg.Ref, preconditions []plugins.Precondition) error {
	owner, err := tkg.FindOwner(ctx, c, ref)
	if err != nil {
		return err
	}
	for _, p := range preconditions {
		if p.Field != fieldUID {
			return fmt.Errorf("the approved change stands on %s, which this step does not know", p.Field)
		}
		if p.Value != string(owner.UID) {
			err := fmt.Errorf("metadata.uid of %s changed since the plan: it was %s and is now %s", p.Target, p.Value, owner.UID)
			return plugins.Hint(plugins.WithKind(plugins.KindConflict, err), "nothing was changed; it is another cluster now: plan and approve again")
		}
	}
	return nil
}

// create makes a Backup, or has the server check it when the client only dry-runs. It is the one way to the server for both.
func create(ctx context.Context, c *kube.Client, r kube.Resource, obj *unstructured.Unstructured) error {
	_, err := c.Create(ctx, r, obj)
	return err
}

// isRefusal reports whether the server looked at a request and said no, for a reason that asking again does not change.
func isRefusal(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	code := status.Status().Code
	return code >= 400 && code < 500 && code != http.StatusUnauthorized && code != http.StatusTooManyRequests && code != http.StatusRequestTimeout
}

func refusal(ref tkg.Ref, err error) plugins.Block {
	return plugins.Block{
		Reason: fmt.Sprintf("the API server of %s refuses the Backup: %v", ref, err),
		Hint:   or(plugins.HintOf(err), "see that Velero is whole, in its namespace velero: kubectl get ns,pods -n velero"),
	}
}

// marked returns the Backup with the run's annotation, which is not part of what was approved.
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

// seen decides how far a Backup is. One that ended otherwise than complete is an error: a recreate must not stand on it.
func seen(live *unstructured.Unstructured, runID string) (sdk.Observation, error) {
	if live == nil {
		return sdk.Observation{State: sdk.No, Note: "there is no Backup of that name"}, nil
	}
	name := live.GetName()
	if runID == "" || live.GetAnnotations()[runAnnotation] != runID {
		return sdk.Observation{State: sdk.Unknowable, Note: fmt.Sprintf(
			"a Backup of that name is there that this run did not make: kubectl get backups.velero.io %s -n %s -o yaml, in the cluster", name, namespace)}, nil
	}
	switch phase, _, _ := unstructured.NestedString(live.Object, "status", "phase"); phase {
	case "Completed":
		return sdk.Observation{State: sdk.Yes, Note: "Backup " + name + " is Completed"}, nil
	case "PartiallyFailed", "Failed", "FailedValidation", "FinalizingPartiallyFailed", "WaitingForPluginOperationsPartiallyFailed", "Deleting":
		err := fmt.Errorf("the Backup %s is %s%s", name, phase, failureText(live))
		return sdk.Observation{}, plugins.Hint(err, "see why, in the cluster: velero backup describe %s --details; mend it, delete that Backup, and resume this run: it is made anew", name)
	default:
		return sdk.Observation{State: sdk.Underway, Note: fmt.Sprintf("Backup %s: %s%s", name, or(phase, "not begun yet; is Velero running?"), progressText(live))}, nil
	}
}

func failureText(live *unstructured.Unstructured) string {
	var parts []string
	if reason, _, _ := unstructured.NestedString(live.Object, "status", "failureReason"); reason != "" {
		parts = append(parts, oneLine(reason))
	}
	problems, _, _ := unstructured.NestedStringSlice(live.Object, "status", "validationErrors")
	for _, p := range problems[:min(len(problems), 3)] {
		parts = append(parts, oneLine(p))
	}
	if n, _, _ := unstructured.NestedInt64(live.Object, "status", "errors"); n > 0 {
		parts = append(parts, fmt.Sprintf("%d errors", n))
	}
	if len(parts) == 0 {
		return ""
	}
	return ": " + strings.Join(parts, "; ")
}

func progressText(live *unstructured.Unstructured) string {
	done, _, _ := unstructured.NestedInt64(live.Object, "status", "progress", "itemsBackedUp")
	total, _, _ := unstructured.NestedInt64(live.Object, "status", "progress", "totalItems")
	if total == 0 {
		return ""
	}
	return fmt.Sprintf(", %d of %d items", done, total)
}

// volumesText says what of volumes is in a Backup, by Velero's own count.
func volumesText(live *unstructured.Unstructured) string {
	if live == nil {
		return ""
	}
	var n int64
	for _, field := range []string{"volumeSnapshotsCompleted", "csiVolumeSnapshotsCompleted"} {
		some, _, _ := unstructured.NestedInt64(live.Object, "status", field)
		n += some
	}
	if n == 0 {
		return "; Velero says of no volume that a snapshot is in it"
	}
	return fmt.Sprintf("; snapshots of %d volumes are in it", n)
}

// oneLine makes a quotation fit for a line.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > maxNote {
		s = string(r[:maxNote]) + "..."
	}
	return s
}

func or(s, otherwise string) string {
	if s != "" {
		return s
	}
	return otherwise
}
