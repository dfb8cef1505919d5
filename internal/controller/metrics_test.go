package controller_test

import (
	"testing"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
)

// TestMetrics takes a Run to its end and finds it in the figures. Other tests are in them too.
func TestMetrics(t *testing.T) {
	t.Parallel()
	ns := team(t)
	workflowOf(t, ns, "lamp", lampSpec(ns, ", required: 1, approvers: [bob]"))
	run := until(t, runOf(t, ns, "desk", "lamp", nil), v1alpha1.PhaseWaiting)
	approve(t, run, "bob", nil)
	until(t, run, v1alpha1.PhaseDone)
	err := poll(t, func() (bool, error) { return figures(t)["tkgfix_runs Done"] > 0, nil }) // the cache is a moment behind
	must(t, err)
	got := figures(t)
	for _, name := range []string{
		"tkgfix_attempts_total waiting", "tkgfix_attempts_total done", "tkgfix_approvals_total approved", "tkgfix_effects_total intended",
		"tkgfix_effects_total done", "tkgfix_journal_appends_total ok", "tkgfix_journal_entries_total", "tkgfix_locks_total taken",
	} {
		if got[name] == 0 {
			t.Errorf("%s is 0", name)
		}
	}
}

// figures returns the values of counters and gauges, by name and label.
func figures(t *testing.T) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	must(t, err)
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			out[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return out
}
