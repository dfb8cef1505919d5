package report_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/internal/report"
	"github.com/tkgfix/tkgfix/plugins"
)

var update = flag.Bool("update", false, "write the golden files again")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want, +got):\n%s", name, diff)
	}
}

// samplePlan holds one of each thing that a report shows, and words that must not become markup or drive a terminal.
func samplePlan() *plan.Plan {
	tsc := plugins.Target{Group: "run.tanzu.vmware.com", Version: "v1alpha3", Kind: "TkgServiceConfiguration", Name: "tkg-service-configuration", UID: "u1"}
	tkc := plugins.Target{Group: "run.tanzu.vmware.com", Version: "v1alpha3", Kind: "TanzuKubernetesCluster", Namespace: "team-a", Name: "dev1", UID: "u2"}
	return &plan.Plan{
		Format: plan.Format, Workflow: "documented-fix",
		Steps: []plan.Step{
			{ID: "detect", Uses: "detect", Effect: plugins.Read, Status: plan.Done, Summary: "6 pods of team-a/dev1 fail: trust",
				Evidence: []plugins.Evidence{{Subject: "pod demo/web-1", Check: "pull", Verdict: plugins.Bad, Text: "x509: <b>|`unknown`\x1b[31m authority"}}},
			{ID: "encoding", Uses: "check-encoding", Effect: plugins.Read, Status: plan.Skipped, Why: "if: is false"},
			{ID: "trust", Uses: "patch-tkgserviceconfiguration", Effect: plugins.Change, Status: plan.Changes, Summary: "adds corp-root",
				Warnings: []string{"every new node gets it"},
				Changes: []plugins.PlannedChange{{
					Action: plugins.Update, Target: tsc, Reason: "corp-root is missing",
					Before: json.RawMessage(`{"spec":{"trust":[{"name":"a"}]}}`), After: json.RawMessage(`{"spec":{"trust":[{"name":"a"},{"name":"corp-root"}]}}`),
					Preconditions: []plugins.Precondition{{Target: tsc, Field: "metadata.uid", Value: "u1"}},
					Impact:        []string{"TanzuKubernetesCluster team-a/dev2 may roll"}, Undo: "kubectl edit tkgserviceconfiguration",
				}}},
			{ID: "recreate", Uses: "recreate-cluster", Effect: plugins.Destroy, Status: plan.Changes,
				Blocks:  []plugins.Block{{Reason: "paused", Hint: "unpause it"}},
				Changes: []plugins.PlannedChange{{Action: plugins.Delete, Target: tkc, Reason: "its nodes hold the old CA", Lost: []string{"2 nodes", "1 volume"}}}},
			{ID: "verify", Uses: "verify-pull", Effect: plugins.Read, Status: plan.Deferred, Why: "known after recreate"},
		},
		Gates: []plan.Gate{{Step: "trust", Effect: plugins.Change, Message: "corrects trust", Digest: "sha256:aa", Policy: approval.Policy{Required: 1, Requester: true}}, {Step: "recreate", Effect: plugins.Destroy, Message: "deletes dev1", Digest: "sha256:bb",
			Policy: approval.Policy{Required: 2, Approvers: []string{"ann@corp", "bob@corp"}, Signed: true, ExpiresAfter: 24 * time.Hour}}},
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	var text, md bytes.Buffer
	if err := report.PlanText(&text, samplePlan()); err != nil {
		t.Fatal(err)
	}
	if err := report.PlanMarkdown(&md, samplePlan()); err != nil {
		t.Fatal(err)
	}
	golden(t, "sample-plan.txt", text.Bytes())
	golden(t, "sample-plan.md", md.Bytes())
}

func TestRun(t *testing.T) {
	t.Parallel()
	at := func(s int) time.Time { return time.Date(2026, 11, 23, 12, 0, s, 0, time.UTC) }
	r := &engine.Run{
		ID: "r1", Status: engine.Failed, Began: at(0), Updated: at(50), Seq: 12, Plan: samplePlan(),
		Created: engine.Created{File: "documented-fix.yaml", By: engine.Actor{Identity: approval.Identity{Name: "ann@jump"}, Host: "jump"}},
		Steps: map[string]*engine.Progress{
			"trust":    {Started: at(10), Finished: at(12), Summary: "corp-root is there"},
			"recreate": {Started: at(20), Error: "deletion is stuck", Hint: "look at it"},
		},
		Effects: []engine.Effect{
			{Step: "trust", Key: "patch", Target: plugins.Target{Kind: "K", Name: "n"}, Intended: at(11), Done: at(12), Note: "it holds corp-root"},
			{Step: "recreate", Key: "delete-cluster", Target: plugins.Target{Kind: "K", Name: "m"}, Intended: at(21)},
		},
		Decisions: []approval.Decision{
			{Gate: "trust", Digest: "sha256:aa", Approved: true, By: approval.Identity{Name: "ann@jump"}, At: at(9)},
			{Gate: "recreate", Digest: "sha256:bb", By: approval.Identity{Name: "bob", Verified: true}, At: at(19), Reason: "not now"},
		},
		Error: "step recreate: deletion is stuck", Hint: "look at it",
	}
	var md bytes.Buffer
	if err := report.RunMarkdown(&md, r); err != nil {
		t.Fatal(err)
	}
	golden(t, "sample-run.md", md.Bytes())
}

// fleetPlan has a step for each item of a list, a guard and an announcement.
func fleetPlan() *plan.Plan {
	instance := func(id, name string, blocks ...plugins.Block) plan.Step {
		tkc := plugins.Target{Kind: "TanzuKubernetesCluster", Namespace: "team-a", Name: name, UID: "u-" + name}
		return plan.Step{
			ID: id, Uses: "recreate-cluster", Effect: plugins.Destroy, Status: plan.Changes, Item: json.RawMessage(`"team-a/` + name + `"`),
			Summary: "1 volume is lost", Blocks: blocks,
			Changes: []plugins.PlannedChange{{Action: plugins.Delete, Target: tkc, Reason: "its nodes hold the old CA", Lost: []string{"1 volume"}}},
		}
	}
	no := false
	p := &plan.Plan{
		Format: plan.Format, Workflow: "fleet",
		Steps: []plan.Step{
			{ID: "recreate", Uses: "recreate-cluster", Effect: plugins.Destroy, ForEach: true, Strategy: plan.Strategy{MaxParallel: 1, Canary: 1}, Instances: []plan.Step{
				instance("recreate[0]", "dev1"), instance("recreate[1]", "dev2", plugins.Block{Reason: "paused", Hint: "unpause it"}),
			}},
			{ID: "tell", Uses: "notify", Effect: plugins.Announce, Status: plan.Changes, Summary: "would tell chat.example",
				Changes: []plugins.PlannedChange{{Action: plugins.Create, Target: plugins.Target{Kind: "Notification", Name: "chat.example"}, Reason: "the workflow asks for it"}}},
		},
		Gates:  []plan.Gate{{Step: "recreate", Effect: plugins.Destroy, Message: "deletes 2 clusters", Digest: "sha256:cc", Policy: approval.Policy{Required: 1, Requester: true}}},
		Guards: []plan.Guard{{Name: "window", Holds: &no, Message: "outside the maintenance window"}, {Name: "quiet"}},
	}
	p.Steps[0].Gather()
	return p
}

func TestFleet(t *testing.T) {
	t.Parallel()
	var text, md bytes.Buffer
	if err := report.PlanText(&text, fleetPlan()); err != nil {
		t.Fatal(err)
	}
	if err := report.PlanMarkdown(&md, fleetPlan()); err != nil {
		t.Fatal(err)
	}
	golden(t, "sample-fleet.txt", text.Bytes())
	golden(t, "sample-fleet.md", md.Bytes())
}
