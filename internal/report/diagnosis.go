package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/tkgfix/tkgfix/internal/diagnosis"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/plugins"
)

// maxFindings bounds the evidence that is shown without being asked for.
const maxFindings = 6

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

func (t *text) findingsOf(seen []plugins.Evidence, all bool) {
	if len(seen) == 0 {
		return
	}
	t.line(2, "evidence:")
	fine := func(e plugins.Evidence) bool { return e.Verdict == plugins.OK }
	shown, most := slices.DeleteFunc(slices.Clone(seen), fine), maxFindings
	well := len(seen) - len(shown)
	slices.SortStableFunc(shown, func(a, b plugins.Evidence) int { return cmp.Compare(a.Verdict, b.Verdict) }) // bad before info
	if all {
		shown, most, well = seen, len(seen), 0
	}
	for _, e := range shown[:min(len(shown), most)] {
		lines := slices.Collect(strings.Lines(strings.TrimSpace(e.Text)))
		t.line(4, "- %s, %s, %s: %s", e.Check, e.Subject, e.Verdict, cut(firstOf(lines...), maxText))
		if all && len(lines) > 1 {
			t.block(8, strings.Join(lines[1:], ""))
		}
	}
	if more := len(shown) - most; more > 0 {
		t.line(4, "- %d more: --verbose shows all", more)
	}
	if well > 0 {
		t.line(4, "- %d in order: --verbose shows them", well)
	}
}

func (t *text) whyNot(d diagnosis.Diagnosis) {
	if len(d.RuledOut) == 0 || !d.Fault() {
		return
	}
	t.line(2, "why not:")
	for _, r := range d.RuledOut {
		t.line(4, "%-12s %s", r.Remedy, cut(r.Reason, maxText))
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
