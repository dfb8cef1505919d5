// Package report renders plans and runs: as text for a terminal, as Markdown and as JSON. It decides nothing and reads
// nothing but what it is given.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/aymanbagabas/go-udiff"
	"sigs.k8s.io/yaml"

	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/plugins"
)

// maxDiffLines and maxLine bound what of an object is shown to people; JSON output holds the whole.
const (
	maxDiffLines = 80
	maxLine      = 120
	maxText      = 400
	maxBad       = 3
)

// PlanText writes a plan for a terminal: what was found, what would change, what the gates cover.
func PlanText(w io.Writer, p *plan.Plan) error {
	t := &text{w: w}
	t.line(0, "Plan of %s", p.Workflow)
	t.line(0, "")
	for _, s := range p.Steps {
		t.step(s)
	}
	for _, s := range p.Steps {
		if len(s.PlannedChanges()) > 0 {
			t.changes(p, s)
		}
	}
	t.guards(p)
	t.line(0, "")
	t.line(0, "%s", Totals(p))
	return t.err
}

// text writes lines and keeps the first error.
type text struct {
	w   io.Writer
	err error
}

func (t *text) line(indent int, format string, args ...any) {
	if t.err != nil {
		return
	}
	s := strings.TrimRight(strings.Repeat(" ", indent)+printable(fmt.Sprintf(format, args...)), " ")
	_, t.err = fmt.Fprintln(t.w, s)
}

func (t *text) step(s plan.Step) {
	t.line(2, "%-10s %-10s %s", s.ID, status(s), firstOf(s.Summary, s.Why))
	t.findings(s)
	for _, in := range s.Instances {
		t.instance(in)
	}
}

// findings shows what was found wrong, and what a person must read.
func (t *text) findings(s plan.Step) {
	bad := slices.DeleteFunc(slices.Clone(s.Evidence), func(e plugins.Evidence) bool { return e.Verdict != plugins.Bad })
	for _, e := range bad[:min(len(bad), maxBad)] {
		t.block(13, "- "+e.Subject+": "+e.Text)
	}
	if more := len(bad) - maxBad; more > 0 {
		t.line(13, "… and %d more: --output json or markdown shows all", more)
	}
	for _, w := range s.Warnings {
		t.block(13, "warning: "+w)
	}
	for _, b := range s.Blocks {
		t.block(13, "blocked: "+b.Reason)
		if b.Hint != "" {
			t.block(13, "hint: "+b.Hint)
		}
	}
}

// instance shows one take of a forEach step, with the item that it is about.
func (t *text) instance(s plan.Step) {
	t.line(4, "%-8s %-10s %s", strings.TrimLeft(s.ID, "abcdefghijklmnopqrstuvwxyz0123456789_"), status(s), firstOf(s.Summary, s.Why))
	t.line(13, "item %s", s.About())
	if s.Status == plan.Failed && s.Hint != "" {
		t.block(13, "hint: "+s.Hint)
	}
	t.findings(s)
}

// guards says under which conditions the changes may be made.
func (t *text) guards(p *plan.Plan) {
	if len(p.Guards) == 0 || !p.HasChanges() {
		return
	}
	t.line(0, "")
	t.line(0, "Changes are made only while:")
	for _, g := range p.Guards {
		word := "not known yet"
		if g.Holds != nil {
			word = map[bool]string{true: "holds now", false: "does not hold now: " + g.Message}[*g.Holds]
		}
		t.line(2, "- guard %s: %s", g.Name, word)
	}
}

// block writes a text of several lines, each indented.
func (t *text) block(indent int, s string) {
	for l := range strings.Lines(strings.TrimSpace(s)) {
		t.line(indent, "%s", cut(strings.TrimRight(l, "\n"), maxText))
	}
}

func (t *text) changes(p *plan.Plan, s plan.Step) {
	t.line(0, "")
	t.line(0, "Step %s would (%s):", s.ID, s.Effect)
	for _, in := range s.Each() {
		if s.ForEach && len(in.Changes) > 0 {
			t.line(0, "")
			t.line(0, "%s:", in.Title())
		}
		t.each(in.Changes)
	}
	if g, ok := p.Gate(s.ID); ok {
		t.line(0, "")
		t.line(2, "gate %s: %s", g.Step, g.Message)
		t.line(2, "digest %s", g.Digest)
		if p := Policy(g); p != "" {
			t.line(2, "%s", p)
		}
	}
}

// each writes changes in their order.
func (t *text) each(changes []plugins.PlannedChange) {
	for _, c := range changes {
		t.line(0, "")
		t.line(2, "%s %s %s", sign(c.Action), c.Action, c.Target)
		t.line(6, "why: %s", c.Reason)
		for _, l := range Diff(c) {
			t.line(8, "%s", l)
		}
		t.list(6, "lost", c.Lost)
		t.list(6, "may also touch", c.Impact)
		if c.Undo != "" {
			t.line(6, "undo: %s", cut(c.Undo, maxText))
		}
		for _, pre := range c.Preconditions {
			t.line(6, "only if: %s %s is %s", pre.Target, pre.Field, pre.Value)
		}
	}
}

// NotBegun writes which instances of a run a brake has held back, and why; nothing if it held none.
func NotBegun(w io.Writer, r *engine.Run) error {
	t := &text{w: w}
	if r.Plan == nil || len(r.NotBegun) == 0 {
		return nil
	}
	t.line(0, "")
	for i := range r.Plan.Steps {
		for _, in := range r.Plan.Steps[i].Each() {
			if why := r.NotBegun[in.ID]; why != "" {
				t.line(0, "%s: %s", in.Title(), why)
			}
		}
	}
	return t.err
}

// Policy says in words who may approve a gate and until when; empty when anybody may at any time.
func Policy(g *plan.Gate) string {
	p := g.Policy
	if p.Required <= 1 && p.Requester && len(p.Approvers) == 0 && !p.Signed && p.ExpiresAfter == 0 {
		return ""
	}
	out := "approval: one person"
	if p.Required > 1 {
		out = fmt.Sprintf("approval: %d different people", p.Required)
	}
	if len(p.Approvers) > 0 {
		out += " of " + strings.Join(p.Approvers, ", ")
	}
	if !p.Requester {
		out += ", who began the run is not one of them"
	}
	if p.Signed {
		out += ", signed"
	}
	if end := g.Judged(approval.Identity{}).Deadline(); !end.IsZero() {
		return out + ", until " + stamp(end) + ", then it is rejected"
	} else if p.ExpiresAfter > 0 {
		return out + fmt.Sprintf(", within %s, then it is rejected", p.ExpiresAfter)
	}
	return out
}

func (t *text) list(indent int, title string, items []string) {
	if len(items) == 0 {
		return
	}
	t.line(indent, "%s:", title)
	for _, i := range items {
		t.line(indent+2, "- %s", i)
	}
}

// Diff returns what a change does to its object, as lines of a unified diff of the two as YAML. It is cut for people.
func Diff(c plugins.PlannedChange) []string {
	before, after := asYAML(c.Before), asYAML(c.After)
	var lines []string
	for l := range strings.Lines(udiff.Unified("before", "after", before, after)) {
		l = strings.TrimRight(l, "\n")
		if strings.HasPrefix(l, "---") || strings.HasPrefix(l, "+++") || strings.HasPrefix(l, "@@") || strings.HasPrefix(l, `\`) {
			continue
		}
		lines = append(lines, cut(l, maxLine))
	}
	if len(lines) > maxDiffLines {
		more := len(lines) - maxDiffLines
		lines = append(lines[:maxDiffLines], fmt.Sprintf("… %d more lines: --output json shows all", more))
	}
	return lines
}

// cut shortens a line to n characters.
func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}

func asYAML(raw json.RawMessage) string {
	if len(raw) == 0 {
		return ""
	}
	out, err := yaml.JSONToYAML(raw)
	if err != nil {
		return string(raw) + "\n"
	}
	return string(out)
}

// Totals returns the last line of a plan: how much would change.
func Totals(p *plan.Plan) string {
	count := map[plugins.Action]int{}
	deferred := 0
	for _, s := range p.Steps {
		if s.Effect != plugins.Announce {
			for _, c := range s.PlannedChanges() {
				count[c.Action]++
			}
		}
		if s.Status == plan.Deferred {
			deferred++
		}
	}
	var parts []string
	for _, a := range []plugins.Action{plugins.Create, plugins.Update, plugins.Replace, plugins.Delete} {
		if count[a] > 0 {
			parts = append(parts, fmt.Sprintf("%d to %s", count[a], a))
		}
	}
	out := "No changes."
	if slices.ContainsFunc(p.Steps, func(s plan.Step) bool { return s.Status == plan.Failed }) {
		out = "Planning failed: what would change is not known."
	}
	if len(parts) > 0 {
		out = "Plan: " + strings.Join(parts, ", ") + "."
	}
	if deferred > 0 {
		out += fmt.Sprintf(" Known later: %d of %d steps.", deferred, len(p.Steps))
	}
	if p.Blocked() {
		out += " BLOCKED."
	}
	return out
}

func sign(a plugins.Action) string {
	switch a {
	case plugins.Create:
		return "+"
	case plugins.Delete:
		return "-"
	}
	return "~"
}

func status(s plan.Step) string {
	if len(s.AllBlocks()) > 0 {
		return "BLOCKED"
	}
	return string(s.Status)
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// printable keeps what nodes and API servers say from driving the terminal: control characters become spaces.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\u202e' {
			return ' '
		}
		return r
	}, s)
}
