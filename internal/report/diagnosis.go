package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/tkgfix/tkgfix/internal/diagnosis"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/plugins"
)

// maxOfCheck bounds how much of one check's evidence is shown without being asked for.
const maxOfCheck = 2

// DiagnosisText writes the diagnosis of one cluster for a terminal. The evidence of what is in order is counted only, unless all is set.
func DiagnosisText(w io.Writer, d diagnosis.Diagnosis, all bool) error {
	t := &text{w: w}
	kind := ""
	if d.Kind != "" && d.Kind != "TanzuKubernetesCluster" {
		kind = " (" + d.Kind + ", of no TanzuKubernetesCluster)"
	}
	t.line(0, "%s%s: %s", d.Cluster, kind, firstOf(d.Cause, "not diagnosed"))
	for _, row := range []struct{ name, text string }{
		{"remedy", d.Remedy}, {"summary", d.Summary}, {"blocked", d.Blocked}, {"next", d.Next}, {"see", d.See},
	} {
		if row.text != "" {
			t.line(2, "%-8s %s", row.name, cut(strings.TrimSpace(row.text), 3*maxText))
		}
	}
	t.unseen(d)
	t.findingsOf(d.Evidence, all)
	t.whyNot(d)
	for _, warning := range d.Warnings {
		t.block(2, "warning: "+warning)
	}
	t.line(0, "")
	return t.err
}

// unseen says which looks failed.
func (t *text) unseen(d diagnosis.Diagnosis) {
	if len(d.Looks) == 0 && d.Error != "" {
		t.line(2, "%-8s %s", "error", cut(d.Error, maxText))
	}
	for _, l := range d.Looks {
		if l.Status != plan.Failed {
			continue
		}
		t.line(2, "could not look: %s: %s", l.Step, cut(l.Error, maxText))
		if l.Hint != "" && l.Hint != d.Next {
			t.line(4, "hint: %s", cut(l.Hint, maxText))
		}
	}
}

// findingsOf shows what is wrong, a few of each check, and counts the rest; with all it shows everything.
func (t *text) findingsOf(seen []plugins.Evidence, all bool) {
	if len(seen) == 0 {
		return
	}
	t.line(2, "evidence:")
	of := map[string]int{}
	more, fine := 0, 0
	for _, e := range seen {
		if !all && e.Verdict != plugins.Bad {
			fine++
			continue
		}
		if of[e.Check]++; !all && of[e.Check] > maxOfCheck {
			more++
			continue
		}
		lines := slices.Collect(strings.Lines(strings.TrimSpace(e.Text)))
		t.line(4, "- %s, %s, %s: %s", e.Check, e.Subject, e.Verdict, cut(strings.TrimSpace(firstOf(lines...)), maxText))
		if all && len(lines) > 1 {
			t.block(8, strings.Join(lines[1:], ""))
		}
	}
	if more > 0 {
		t.line(4, "- %d more of the same checks: --verbose shows them", more)
	}
	if fine > 0 {
		t.line(4, "- %d are no fault: --verbose shows them", fine)
	}
}

func (t *text) whyNot(d diagnosis.Diagnosis) {
	if len(d.RuledOut) == 0 || !d.Fault() {
		return
	}
	t.line(2, "why not:")
	width := 0
	for _, r := range d.RuledOut {
		width = max(width, len(r.Remedy))
	}
	for _, r := range d.RuledOut {
		t.line(4, "%-*s  %s", min(width, 24), r.Remedy, cut(r.Reason, maxText))
	}
}

// DiagnosisTotals writes the last line of several diagnoses.
func DiagnosisTotals(w io.Writer, all []diagnosis.Diagnosis) error {
	var sick, well, unknown int
	for _, d := range all {
		switch {
		case d.Fault():
			sick++
		case d.Cause != "":
			well++
		default:
			unknown++
		}
	}
	_, err := fmt.Fprintf(w, "clusters: %d with a fault, %d well, %d not diagnosed\n", sick, well, unknown)
	return err
}
