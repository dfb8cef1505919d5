package backup

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/plugintest"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	plugintest.Conformance(t, New(sdk.Env{}), plugintest.Cases{})
}

var (
	ref      = tkg.Ref{Namespace: "team-a", Name: "dev1"}
	resource = kube.Resource{GVK: schema.GroupVersionKind{Group: group, Version: "v1", Kind: kind}}
)

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	obj := &unstructured.Unstructured{}
	if err := obj.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	return obj
}

func TestNextName(t *testing.T) {
	t.Parallel()
	for want, names := range map[string][]string{
		"tkgfix-dev1-1":  nil,
		"tkgfix-dev1-3":  {"tkgfix-dev1-1", "tkgfix-dev1-2", "daily"},
		"tkgfix-dev1-11": {"tkgfix-dev1-9", "tkgfix-dev1-10", "tkgfix-dev1-x", "tkgfix-dev12-40"},
	} {
		if got := nextName(ref, names); got != want {
			t.Errorf("after %v: %s, want %s", names, got, want)
		}
	}
}

func TestChangeIsGolden(t *testing.T) {
	t.Parallel()
	live := object(t, `{apiVersion: cluster.x-k8s.io/v1beta2, kind: Cluster, metadata: {name: dev1, namespace: team-a, uid: u1}}`)
	owner := tkg.Owner{Kind: live.GetKind(), UID: live.GetUID(), Object: live}
	got, err := changeOf(ref, owner, backupOf(ref, resource, "tkgfix-dev1-1"))
	if err != nil {
		t.Fatal(err)
	}
	want := plugins.PlannedChange{
		Action: plugins.Create,
		Target: plugins.Target{Cluster: "team-a/dev1", Group: "velero.io", Version: "v1", Kind: "Backup", Namespace: "velero", Name: "tkgfix-dev1-1"},
		Reason: "a backup of the cluster's objects, and of its volumes as far as its Velero is set up for that",
		After: json.RawMessage(`{"apiVersion":"velero.io/v1","kind":"Backup","metadata":{"annotations":{"tkgfix.dev/cluster":"team-a/dev1"},"name":"tkgfix-dev1-1",` +
			`"namespace":"velero"},"spec":{"includedNamespaces":["*"],"ttl":"720h0m0s"}}`),
		Preconditions: []plugins.Precondition{{
			Target: plugins.Target{Group: "cluster.x-k8s.io", Version: "v1beta2", Kind: "Cluster", Namespace: "team-a", Name: "dev1", UID: "u1"},
			Field:  "metadata.uid", Value: "u1",
		}},
		Undo: "delete it, in the cluster: velero backup delete tkgfix-dev1-1",
	}
	if diff := cmp.Diff(want, got, cmp.Transformer("text", func(r json.RawMessage) string { return string(r) })); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
	if _, err := read([]plugins.PlannedChange{got}, ref); err != nil {
		t.Errorf("what is planned is not applied: %v", err)
	}
	for name, bend := range map[string]func(*plugins.PlannedChange){
		"another cluster": func(c *plugins.PlannedChange) { c.Target.Cluster = "team-a/dev2" },
		"another kind":    func(c *plugins.PlannedChange) { c.Target.Kind = "Restore" },
		"a deletion":      func(c *plugins.PlannedChange) { c.Action = plugins.Delete },
		"another object": func(c *plugins.PlannedChange) {
			c.After = json.RawMessage(`{"apiVersion":"velero.io/v1","kind":"Backup","metadata":{"name":"x"}}`)
		},
	} {
		bent := got
		bend(&bent)
		if _, err := read([]plugins.PlannedChange{bent}, ref); err == nil {
			t.Errorf("%s is applied", name)
		}
	}
}

func TestSeen(t *testing.T) {
	t.Parallel()
	backup := func(run, status string) string {
		return `{apiVersion: velero.io/v1, kind: Backup, metadata: {name: tkgfix-dev1-1, namespace: velero, annotations: {tkgfix.dev/run: ` + run + `}}, status: {` + status + `}}`
	}
	for name, tc := range map[string]struct {
		reason, backup string
		state          sdk.State
		note, err      string
	}{
		"absent":      {reason: "nothing was made", state: sdk.No, note: "no Backup"},
		"complete":    {reason: "it is done", backup: backup("r1", "phase: Completed"), state: sdk.Yes, note: "Completed"},
		"new":         {reason: "Velero has not seen it", backup: backup("r1", ""), state: sdk.Underway, note: "is Velero running?"},
		"in progress": {reason: "how far it is", backup: backup("r1", "phase: InProgress, progress: {itemsBackedUp: 3, totalItems: 9}"), state: sdk.Underway, note: "InProgress, 3 of 9 items"},
		"finalizing":  {reason: "nearly", backup: backup("r1", "phase: Finalizing"), state: sdk.Underway, note: "Finalizing"},
		"partly":      {reason: "what is not whole is none", backup: backup("r1", "phase: PartiallyFailed, errors: 2"), err: "the Backup tkgfix-dev1-1 is PartiallyFailed: 2 errors"},
		"failed":      {reason: "with its reason", backup: backup("r1", "phase: Failed, failureReason: no space"), err: "is Failed: no space"},
		"invalid":     {reason: "with what is wrong", backup: backup("r1", "phase: FailedValidation, validationErrors: [no location]"), err: "is FailedValidation: no location"},
		"deleting":    {reason: "somebody takes it away", backup: backup("r1", "phase: Deleting"), err: "is Deleting"},
		"another's":   {reason: "a Backup of that name by somebody else", backup: backup("r2", "phase: Completed"), state: sdk.Unknowable, note: "kubectl get backups.velero.io"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var live *unstructured.Unstructured
			if tc.backup != "" {
				live = object(t, tc.backup)
			}
			got, err := seen(live, "r1")
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) || !strings.Contains(plugins.HintOf(err), "velero backup describe tkgfix-dev1-1") {
					t.Errorf("%s: error %v (%s), want %q and a command", tc.reason, err, plugins.HintOf(err), tc.err)
				}
				return
			}
			if err != nil || got.State != tc.state || !strings.Contains(got.Note, tc.note) {
				t.Errorf("%s: %v %q, %v; want %v with %q", tc.reason, got.State, got.Note, err, tc.state, tc.note)
			}
		})
	}
}

func TestStorageBlocks(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason string
		places []place
		want   string
	}{
		"available":   {"one is enough", []place{{name: "a", phase: "Unavailable"}, {name: "default", phase: "Available"}}, ""},
		"unavailable": {"the store cannot be reached", []place{{name: "default", phase: "Unavailable", message: "x509"}}, "BackupStorageLocation default is Unavailable (x509)"},
		"not judged":  {"Velero does not run", []place{{name: "default"}}, "BackupStorageLocation default is not judged yet"},
		"none":        {"Velero is not set up", nil, "no BackupStorageLocation"},
	} {
		blocks := storageBlocks(ref, tc.places)
		if tc.want == "" && len(blocks) > 0 || tc.want != "" && (len(blocks) != 1 || !strings.Contains(blocks[0].Reason, tc.want) || blocks[0].Hint == "") {
			t.Errorf("%s: %s: %+v, want %q", name, tc.reason, blocks, tc.want)
		}
	}
}

func TestNothing(t *testing.T) {
	t.Parallel()
	resp, err := nothing(ref, "why")
	if err != nil || len(resp.Changes) != 0 || resp.Summary != "why" {
		t.Errorf("%+v, %v", resp, err)
	}
	if diff := cmp.Diff(`{"cluster":"team-a/dev1","installed":false,"backup":""}`, string(resp.Outputs)); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}
