package history_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/history"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/plugins"
)

// raw is what Words says of an entry that it has no words for.
const raw = `{"unlike":"anything"}`

// TestEveryKindHasWords wants words for each kind that docs/state-format.md names, which a test of the engine holds to what
// it writes.
func TestEveryKindHasWords(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/state-format.md")
	if err != nil {
		t.Fatal(err)
	}
	_, kinds, ok := strings.Cut(string(doc), "\nKinds: ")
	kinds, _, end := strings.Cut(kinds, "\n\n")
	if !ok || !end {
		t.Fatal("docs/state-format.md has no paragraph that begins with Kinds:")
	}
	found := regexp.MustCompile("`([a-z]+\\.[a-z]+)`").FindAllStringSubmatch(kinds, -1)
	if len(found) < 14 {
		t.Errorf("only %d kinds are named", len(found))
	}
	for _, m := range found {
		if got := history.Words(state.Entry{Kind: m[1], Data: json.RawMessage(raw)}); got == raw || got == "" {
			t.Errorf("there are no words for %s", m[1])
		}
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason, kind, data, want string
	}{
		"Actor":     {"who runs an engine", "run.resumed", `{"by":{"identity":{"name":"ann@jump"},"host":"jump","pid":7}}`, "taken up by ann@jump (pid 7)"},
		"Identity":  {"who decides", "gate.decided", `{"gate":"trust","approved":false,"by":{"name":"bob@jump"},"reason":"no"}`, "gate trust rejected by bob@jump: no"},
		"Replanned": {"what moved", "step.planned", `{"step":{"id":"trust","status":"changes","summary":"one more"},"moved":["spec.x moved"]}`, "step trust planned again: changes: one more; what was approved has moved: spec.x moved"},
		"Attempt":   {"a retry", "step.attempt", `{"step":"probe","number":2,"error":"no route","nextInNanoseconds":1500000000}`, "step probe: attempt 2 failed, next in 1.5s: no route"},
		"Intended":  {"an act", "effect.intended", `{"step":"recreate","key":"delete-cluster","target":{"kind":"Cluster","namespace":"a","name":"dev1"}}`, "step recreate is about to delete-cluster: Cluster a/dev1"},
		"Broken":    {"a lock", "lock.broken", `{"by":{"identity":{"name":"ann@jump"}},"was":{},"reason":"hung"}`, "lock of someone who has not written a name broken by ann@jump: hung"},
		"Withdrawn": {"a decision that was taken back elsewhere", "gate.withdrawn", `{"ref":"Approval a/b c","why":"it is not there any more"}`, "Approval a/b c does not count any more: it is not there any more"},
		"Traced":    {"where the trace is found", "trace.started", `{"traceparent":"00-a-b-01"}`, "traced as 00-a-b-01"},
		"Unknown":   {"a kind of a later tkgfix", "from.tomorrow", `{"a":1}`, `{"a":1}`},
		"OtherData": {"data of another shape", "run.waiting", `{"gates":{"trust":true}}`, `{"gates":{"trust":true}}`},
		"NoData":    {"no data at all", "run.resumed", ``, ``},
		"Control":   {"words that would drive the terminal", "run.finished", `{"status":"failed","error":"a\u001b[31mb\nc\u202ed\u0085e"}`, "ended failed: a [31mb c d e"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, history.Words(state.Entry{Kind: tc.kind, Data: json.RawMessage(tc.data)})); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// FuzzWords checks that no entry makes more than a line, or one that drives the terminal.
func FuzzWords(f *testing.F) {
	for _, kind := range []string{"run.created", "run.planned", "step.planned", "gate.decided", "lock.broken", "x"} {
		f.Add(kind, []byte(`{"step":{"id":"a"},"by":{"name":"b"},"plan":{"steps":[{"changes":[{}]}]}}`))
	}
	f.Fuzz(func(t *testing.T, kind string, data []byte) {
		got := history.Words(state.Entry{Kind: kind, Data: data})
		if i := strings.IndexFunc(got, unicode.IsControl); i >= 0 || len([]rune(got)) > 241 {
			t.Errorf("%d characters, control character at %d: %q", len([]rune(got)), i, got)
		}
	})
}

// lamp returns a run that turned a lamp on.
func lamp() *engine.Run {
	target := plugins.Target{Kind: "Lamp", Name: "desk"}
	return &engine.Run{
		ID: "r", Status: engine.Done,
		Created: engine.Created{
			File: "lamp.yaml", Source: "a: 1\n", Version: "v1", Inputs: []plan.Input{{Name: "ca", Value: "/ca.pem", SHA256: "11"}},
			Connections: plugins.Connections{Supervisor: &plugins.Kube{Kubeconfig: "/k"}},
		},
		Plan: &plan.Plan{
			Plugins: []plan.Plugin{{Name: "turn", Version: "1", SHA256: "aa"}},
			Steps: []plan.Step{{ID: "turn", Status: plan.Done, Summary: "lit", Changes: []plugins.PlannedChange{{
				Action: plugins.Update, Target: target, Before: json.RawMessage(`{"lit":false}`), After: json.RawMessage(`{"lit":true}`),
				Preconditions: []plugins.Precondition{{Target: target, Field: "spec.serial", Value: "s1"}},
			}}}},
		},
		Effects:   []engine.Effect{{Step: "turn", Key: "turn", Target: target, Intended: time.Unix(1, 0), Done: time.Unix(2, 0)}},
		Decisions: []approval.Decision{{Gate: "turn", Digest: "sha256:aa", Approved: true, By: approval.Identity{Name: "ann"}}},
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason string
		change func(*engine.Run)
		want   []history.Difference
	}{
		"Same":     {"the same run", func(*engine.Run) {}, nil},
		"WhenOnly": {"another time, machine and id", func(r *engine.Run) { r.ID, r.Began, r.Created.File = "s", time.Unix(9, 9), "x.yaml" }, nil},
		"Workflow": {
			"another text of the workflow", func(r *engine.Run) { r.Created.Source = "a: 2\n" },
			[]history.Difference{{Part: "workflow", Details: []string{"@@ -1 +1 @@", "-a: 1", "+a: 2"}}},
		},
		"Input": {
			"a file of the same name and another content", func(r *engine.Run) { r.Created.Inputs = []plan.Input{{Name: "ca", Value: "/ca.pem", SHA256: "22"}} },
			[]history.Difference{{Part: "inputs", Name: "ca", A: `"/ca.pem" (sha256:11)`, B: `"/ca.pem" (sha256:22)`}},
		},
		"Connection": {
			"another way to the nodes", func(r *engine.Run) { r.Created.Connections.Supervisor = nil },
			[]history.Difference{{Part: "connections", Name: "supervisor", A: `{"kubeconfig":"/k"}`}},
		},
		"Plugin": {
			"other code", func(r *engine.Run) { r.Plan.Plugins[0].SHA256 = "bb" },
			[]history.Difference{{Part: "plugins", Name: "turn", A: "1 (sha256:aa)", B: "1 (sha256:bb)"}},
		},
		"Step": {
			"a step more", func(r *engine.Run) {
				r.Plan.Steps = append(r.Plan.Steps, plan.Step{ID: "look", Status: plan.Skipped, Why: "if: is false", Blocks: []plugins.Block{{Reason: "dark"}}})
			},
			[]history.Difference{{Part: "steps", Name: "look", B: "skipped: if: is false; blocked: dark"}},
		},
		"Moved": {
			"a field that was read", func(r *engine.Run) { r.Plan.Steps[0].Changes[0].Preconditions[0].Value = "s2" },
			[]history.Difference{{Part: "changes", Name: "turn", A: "update Lamp desk", B: "update Lamp desk", Details: []string{"Lamp desk spec.serial moved from s1 to s2"}}},
		},
		"Content": {
			"another content of the change", func(r *engine.Run) { r.Plan.Steps[0].Changes[0].After = json.RawMessage(`{"lit":"dimly"}`) },
			[]history.Difference{{Part: "changes", Name: "turn", A: "update Lamp desk", B: "update Lamp desk", Details: []string{
				"update Lamp desk: after lit moved from true to dimly", `-  "lit": true`, `+  "lit": "dimly"`,
			}}},
		},
		"Effect": {
			"an effect of which the end is not known", func(r *engine.Run) { r.Effects[0].Done = time.Time{} },
			[]history.Difference{{Part: "effects", Name: "turn/turn", A: "Lamp desk: done", B: "Lamp desk: intended, outcome not known"}},
		},
		"Decision": {
			"another who approved", func(r *engine.Run) { r.Decisions[0].By.Name = "bob" },
			[]history.Difference{{Part: "decisions", Name: "turn", A: "approved by ann, sha256:aa", B: "approved by bob, sha256:aa"}},
		},
		"Outcome": {
			"another end", func(r *engine.Run) { r.Status, r.Error = engine.Failed, "boom" },
			[]history.Difference{{Part: "outcome", A: "done", B: "failed: boom"}},
		},
		"NotPlanned": {
			"one that is not planned yet", func(r *engine.Run) { r.Plan, r.Effects, r.Decisions = nil, nil, nil },
			[]history.Difference{
				{Part: "plugins", Name: "turn", A: "1 (sha256:aa)"}, {Part: "steps", Name: "turn", A: "done: lit"},
				{Part: "changes", Name: "turn", A: "update Lamp desk", Details: []string{"no longer planned: update Lamp desk"}},
				{Part: "effects", Name: "turn/turn", A: "Lamp desk: done"}, {Part: "decisions", Name: "turn", A: "approved by ann, sha256:aa"},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := lamp()
			tc.change(b)
			got := history.Diff(lamp(), b)
			if tc.want == nil {
				tc.want = []history.Difference{}
			}
			for i := range got {
				if got[i].Part == "workflow" { // digests, which the details explain
					if got[i].A == got[i].B {
						t.Error("two workflows have one digest")
					}
					got[i].A, got[i].B = "", ""
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}
