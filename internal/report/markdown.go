package report

import (
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/plugins"
)

// PlanMarkdown writes a plan for a merge request or a ticket.
func PlanMarkdown(w io.Writer, p *plan.Plan) error {
	t := &text{w: w}
	t.line(0, "# Plan of %s", p.Workflow)
	t.line(0, "")
	t.planBody(p)
	return t.err
}

// RunMarkdown writes what a run found, did and proved, from its journal alone.
func RunMarkdown(w io.Writer, r *engine.Run) error {
	t := &text{w: w}
	t.line(0, "# Run %s: %s", r.ID, r.Status)
	t.line(0, "")
	t.line(0, "| | |")
	t.line(0, "|---|---|")
	t.line(0, "| workflow | %s |", cell(r.Created.File))
	t.line(0, "| begun | %s by %s on %s |", stamp(r.Began), cell(r.Created.By.Identity.Name), cell(r.Created.By.Host))
	t.line(0, "| last entry | %d at %s |", r.Seq, stamp(r.Updated))
	if r.Error != "" {
		t.line(0, "| ended because | %s |", cell(r.Error))
	}
	if r.Hint != "" {
		t.line(0, "| next | %s |", cell(r.Hint))
	}
	t.line(0, "")
	if r.Plan == nil {
		t.line(0, "Not planned yet.")
		return t.err
	}
	t.planBody(r.Plan)
	t.decisions(r)
	t.effects(r)
	t.applied(r)
	return t.err
}

func (t *text) planBody(p *plan.Plan) {
	t.line(0, "## Steps")
	t.line(0, "")
	t.line(0, "| step | uses | effect | status | what was found |")
	t.line(0, "|---|---|---|---|---|")
	for _, s := range p.Steps {
		t.line(0, "| %s | %s | %s | %s | %s |", s.ID, s.Uses, s.Effect, status(s), cell(firstOf(s.Summary, s.Why)))
		for _, in := range s.Instances {
			t.line(0, "| %s | | | %s | %s: %s |", in.ID, status(in), cell(in.About()), cell(firstOf(in.Summary, in.Why)))
		}
	}
	t.line(0, "")
	for _, s := range p.Steps {
		t.stepMarkdown(p, s)
		for _, in := range s.Instances {
			t.stepMarkdown(p, in)
		}
	}
	for _, g := range p.Guards {
		t.line(0, "- guard %s: changes are made only while it holds", cell(g.Name))
	}
	if len(p.Guards) > 0 {
		t.line(0, "")
	}
	t.line(0, "%s", Totals(p))
	t.line(0, "")
}

func (t *text) stepMarkdown(p *plan.Plan, s plan.Step) {
	if len(s.Evidence)+len(s.Warnings)+len(s.Blocks)+len(s.PlannedChanges()) == 0 {
		return
	}
	t.line(0, "### %s", cell(s.Title()))
	t.line(0, "")
	for _, b := range s.Blocks {
		t.line(0, "- **blocked**: %s", cell(b.Reason))
		if b.Hint != "" {
			t.line(0, "  - next: %s", cell(b.Hint))
		}
	}
	for _, w := range s.Warnings {
		t.line(0, "- **warning**: %s", cell(w))
	}
	t.evidence(s.Evidence)
	for _, c := range s.Changes {
		t.changeMarkdown(c)
	}
	if g, ok := p.Gate(s.ID); ok {
		t.line(0, "- gate: %s", cell(g.Message))
		t.line(0, "- digest: `%s`", g.Digest)
		if p := Policy(g); p != "" {
			t.line(0, "- %s", cell(p))
		}
	}
	t.line(0, "")
}

func (t *text) evidence(all []plugins.Evidence) {
	for _, e := range all {
		t.line(0, "- %s `%s` %s: %s", e.Verdict, e.Check, cell(e.Subject), cell(e.Text))
	}
}

func (t *text) changeMarkdown(c plugins.PlannedChange) {
	t.line(0, "- **%s** %s: %s", c.Action, cell(c.Target.String()), cell(c.Reason))
	for _, l := range c.Lost {
		t.line(0, "  - lost: %s", cell(l))
	}
	for _, l := range c.Impact {
		t.line(0, "  - may also touch: %s", cell(l))
	}
	if c.Undo != "" {
		t.line(0, "  - undo: %s", cell(c.Undo))
	}
	for _, p := range c.Preconditions {
		t.line(0, "  - only if: %s `%s` is `%s`", cell(p.Target.String()), p.Field, cell(p.Value))
	}
	lines := Diff(c)
	if len(lines) == 0 {
		return
	}
	t.line(0, "")
	t.line(2, "```diff")
	for _, l := range lines {
		t.line(2, "%s", l)
	}
	t.line(2, "```")
	t.line(0, "")
}

func (t *text) decisions(r *engine.Run) {
	if len(r.Decisions) == 0 {
		return
	}
	t.line(0, "## Approvals")
	t.line(0, "")
	for _, d := range r.Decisions {
		word, sure := "rejected", "unverified"
		if d.Approved {
			word = "approved"
		}
		if d.By.Verified {
			sure = "verified"
		}
		t.line(0, "- %s: gate %s %s by %s (%s), `%s`%s", stamp(d.At), d.Gate, word, cell(firstOf(strings.TrimSpace(d.By.Name+" "+d.By.Key))), sure, d.Digest, prefixed(": ", cell(d.Reason)))
	}
	t.line(0, "")
}

func (t *text) effects(r *engine.Run) {
	if len(r.Effects) == 0 {
		return
	}
	t.line(0, "## Effects")
	t.line(0, "")
	t.line(0, "| step | effect | target | intended | done | how it is known |")
	t.line(0, "|---|---|---|---|---|---|")
	for _, e := range r.Effects {
		done := "not known"
		switch {
		case !e.Done.IsZero():
			done = stamp(e.Done)
		case !e.Absent.IsZero():
			done = "did not happen"
		}
		t.line(0, "| %s | %s | %s | %s | %s | %s |", e.Step, e.Key, cell(e.Target.String()), stamp(e.Intended), done, cell(e.Note))
	}
	t.line(0, "")
}

func (t *text) applied(r *engine.Run) {
	if len(r.Steps)+len(r.NotBegun) == 0 {
		return
	}
	t.line(0, "## Applied")
	t.line(0, "")
	for _, id := range slices.SortedFunc(maps.Keys(r.Steps), func(a, b string) int { return r.Steps[a].Started.Compare(r.Steps[b].Started) }) {
		p := r.Steps[id]
		switch {
		case p.Error != "":
			t.line(0, "- %s failed: %s", id, cell(p.Error))
		case !p.Finished.IsZero():
			t.line(0, "- %s took %s: %s", id, p.Finished.Sub(p.Started).Round(time.Millisecond), cell(p.Summary))
		}
		t.evidence(p.Evidence)
	}
	for _, id := range slices.Sorted(maps.Keys(r.NotBegun)) {
		t.line(0, "- %s %s", id, cell(r.NotBegun[id]))
	}
	for _, b := range r.Broken {
		t.line(0, "- %s: %s on %s broke the lock of %s%s", stamp(b.At), cell(b.By.Identity.Name), cell(b.By.Host), cell(b.Was.String()), prefixed(": ", cell(b.Reason)))
	}
}

// cell makes a text safe inside a table or a list item: what nodes say must not become markup.
func cell(s string) string {
	s = strings.Join(strings.Fields(printable(s)), " ")
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "`", "'").Replace(s)
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

func stamp(t time.Time) string {
	return t.UTC().Format(time.RFC3339)
}
