package engine

import (
	"encoding/json"
	"testing"

	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/internal/state"
)

// TestFailedStep tells the step that failed from the onFailure step that failed after it, in this attempt and not in an earlier one.
func TestFailedStep(t *testing.T) {
	t.Parallel()
	p := planned{Plan: plan.Plan{Steps: []plan.Step{{ID: "a"}, {ID: "b"}}}}
	for name, tc := range map[string]struct {
		reason string
		after  []any
		want   string
	}{
		"Step":      {"the step", []any{failed{Step: "a", Error: "x"}}, "a"},
		"OnFailure": {"not what could not tell of it", []any{failed{Step: "a", Error: "x"}, failed{Step: "tell#1", Error: "y"}}, "a"},
		"Again":     {"the step of this attempt, though the other began later", []any{failed{Step: "a", Error: "x"}, failed{Step: "tell#1", Error: "y"}, resumed{}, failed{Step: "a", Error: "x"}}, "a"},
		"Resumed":   {"nothing failed yet", []any{failed{Step: "b", Error: "x"}, resumed{}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var entries []state.Entry
			for i, data := range append([]any{Created{Source: "s"}, p}, tc.after...) {
				raw, err := json.Marshal(data)
				if err != nil {
					t.Fatal(err)
				}
				entries = append(entries, state.Entry{Seq: uint64(i + 1), Kind: kindOf(data), Data: raw})
			}
			r, err := Replay("r", entries)
			if err != nil {
				t.Fatal(err)
			}
			if r.failedStep != tc.want {
				t.Errorf("%s: got %q, want %q", tc.reason, r.failedStep, tc.want)
			}
		})
	}
}

func kindOf(data any) string {
	switch data.(type) {
	case Created:
		return kindCreated
	case planned:
		return kindPlanned
	case failed:
		return kindFailed
	default:
		return kindResumed
	}
}
