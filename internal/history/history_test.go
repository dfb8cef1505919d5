package history_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/history"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/plugins"
)

func TestWords(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ reason, kind, data, want string }{
		"Created":  {"who began it with what", "run.created", `{"file":"w.yaml","version":"1","by":{"identity":{"name":"ann@jump"},"pid":7}}`, "begun by ann@jump (pid 7) with w.yaml (tkgfix 1)"},
		"Started":  {"all approvers", "step.started", `{"step":"s","approvedBy":[{"name":"ann"},{"name":"bob"}]}`, "step s begins, approved by ann, bob"},
		"Tells":    {"what needs no approval", "step.started", `{"step":"s"}`, "step s begins"},
		"Decided":  {"a rejection and its reason", "gate.decided", `{"gate":"g","by":{"name":"ann"},"reason":"no"}`, "gate g rejected by ann: no"},
		"Resolved": {"a person's word", "effect.resolved", `{"step":"s","key":"k","outcome":"absent","by":{"identity":{"name":"ann"}},"reason":"I looked"}`, "step s: k is absent by the word of ann: I looked"},
		"Moved":    {"what moved", "step.planned", `{"step":{"id":"s","status":"changes"},"moved":["a moved from 1 to 2"]}`, "step s planned again: changes; what was approved has moved: a moved from 1 to 2"},
		"Unknown":  {"a kind of a later tkgfix", "moon.phase", `{"phase":"full"}`, `{"phase":"full"}`},
		"Broken":   {"data of another form", "gate.decided", `[1]`, `[1]`},
		"Hostile":  {"what would drive a terminal, or fill it", "run.finished", `{"status":"failed","error":"\u001b[2J` + strings.Repeat("x", 400) + `"}`, "ended failed: [2J" + strings.Repeat("x", 223) + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, history.Words(state.Entry{Kind: tc.kind, Data: json.RawMessage(tc.data)})); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	run := func(edit func(*engine.Run)) *engine.Run {
		target := plugins.Target{Kind: "K", Name: "n", UID: "u"}
		r := &engine.Run{
			ID: "r", Status: engine.Waiting,
			Plan: &plan.Plan{Workflow: "w", Inputs: []plan.Input{{Name: "ca", Value: "a.pem"}}, Steps: []plan.Step{{
				ID: "s", Uses: "u", Effect: plugins.Change, Status: plan.Changes,
				Changes: []plugins.PlannedChange{{Action: plugins.Update, Target: target, Preconditions: []plugins.Precondition{{Target: target, Field: "f", Value: "1"}}}},
			}}},
			Effects:   []engine.Effect{{Step: "s", Key: "k", Target: target}},
			Decisions: []approval.Decision{{Gate: "s", Digest: "d", Approved: true, By: approval.Identity{Name: "ann"}}},
		}
		r.Created.Inputs = r.Plan.Inputs
		edit(r)
		return r
	}
	for name, tc := range map[string]struct {
		reason string
		edit   func(*engine.Run)
		want   string // part of the only difference; empty for none
	}{
		"Same":     {"nothing", func(*engine.Run) {}, ""},
		"Outcome":  {"how it ended", func(r *engine.Run) { r.Status = engine.Failed }, "outcome"},
		"Field":    {"a field that was read", func(r *engine.Run) { r.Plan.Steps[0].Changes[0].Preconditions[0].Value = "2" }, "f moved from 1 to 2"},
		"Effect":   {"what became of an effect", func(r *engine.Run) { r.Effects[0].Absent = r.Began.AddDate(1, 0, 0) }, "did not happen"},
		"Decision": {"who decided", func(r *engine.Run) { r.Decisions[0].By.Name = "bob" }, "bob"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := history.Diff(run(func(*engine.Run) {}), run(tc.edit))
			raw, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			if (tc.want == "") != (len(got) == 0) || !strings.Contains(string(raw), tc.want) {
				t.Errorf("%s: %s, want %q", tc.reason, raw, tc.want)
			}
		})
	}
}
