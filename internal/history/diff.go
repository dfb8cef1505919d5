package history

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/aymanbagabas/go-udiff"

	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/plugins"
)

// maxDetails bounds the lines below one difference.
const maxDetails = 100

// Difference is one thing in which two runs differ.
type Difference struct {
	// Part is what it is about: workflow, inputs, connections, tkgfix, plugins, steps, changes, effects, decisions, outcome.
	Part string `json:"part"`
	// Name tells which of them, if there are several: an input, a step.
	Name string `json:"name,omitempty"`
	// A and B are what the two runs hold; empty for what a run does not have.
	A string `json:"a"`
	B string `json:"b"`
	// Details are lines that say what moved, where A and B alone would not show it.
	Details []string `json:"details,omitempty"`
}

// Diff returns in what two runs differ, in the order in which a run comes about. When, on what machine and under which id
// they ran is no difference, nor are the words of evidence.
func Diff(a, b *engine.Run) []Difference {
	out := []Difference{}
	out = append(out, workflows(a.Created, b.Created)...)
	out = append(out, pairs("inputs", inputs(a.Created.Inputs), inputs(b.Created.Inputs))...)
	out = append(out, pairs("connections", connections(a.Created.Connections), connections(b.Created.Connections))...)
	out = append(out, one("tkgfix", "version", a.Created.Version, b.Created.Version)...)
	left, right := planOf(a), planOf(b)
	out = append(out, pairs("plugins", codes(left.Plugins), codes(right.Plugins))...)
	out = append(out, pairs("steps", steps(left), steps(right))...)
	out = append(out, changes(left, right)...)
	out = append(out, pairs("effects", effects(a), effects(b))...)
	out = append(out, pairs("decisions", decisions(a), decisions(b))...)
	return append(out, one("outcome", "", outcome(a), outcome(b))...)
}

// named is one of several things of a part, in words that can be compared.
type named struct{ name, text string }

// pairs compares things by their names: those of a in their order, then those that only b has.
func pairs(part string, a, b []named) []Difference {
	var out []Difference
	for _, x := range a {
		out = append(out, one(part, x.name, x.text, find(b, x.name))...)
	}
	for _, y := range b {
		if !slices.ContainsFunc(a, func(x named) bool { return x.name == y.name }) {
			out = append(out, one(part, y.name, "", y.text)...)
		}
	}
	return out
}

func find(all []named, name string) string {
	if i := slices.IndexFunc(all, func(n named) bool { return n.name == name }); i >= 0 {
		return all[i].text
	}
	return ""
}

func one(part, name, a, b string) []Difference {
	if a == b {
		return nil
	}
	return []Difference{{Part: part, Name: name, A: oneLine(a), B: oneLine(b)}}
}

func planOf(r *engine.Run) *plan.Plan {
	if r.Plan == nil {
		return &plan.Plan{}
	}
	return r.Plan
}

// workflows compares the texts that the runs were begun with; the names of the files do not matter.
func workflows(a, b engine.Created) []Difference {
	if a.Source == b.Source {
		return nil
	}
	d := Difference{Part: "workflow", A: sum(a.Source), B: sum(b.Source)}
	for l := range strings.Lines(udiff.Unified("a", "b", a.Source, b.Source)) {
		if l = strings.TrimRight(l, "\n"); !strings.HasPrefix(l, "---") && !strings.HasPrefix(l, "+++") && !strings.HasPrefix(l, `\`) {
			d.Details = append(d.Details, indented(l))
		}
	}
	return []Difference{bounded(d)}
}

// indented is oneLine for text whose indentation says something.
func indented(l string) string {
	rest := strings.TrimLeft(l[min(1, len(l)):], " ")
	return l[:len(l)-len(rest)] + oneLine(rest)
}

func bounded(d Difference) Difference {
	if more := len(d.Details) - maxDetails; more > 0 {
		d.Details = append(d.Details[:maxDetails], fmt.Sprintf("… %d more lines", more))
	}
	return d
}

func sum(text string) string {
	digest := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(digest[:])
}

func inputs(all []plan.Input) []named {
	var out []named
	for _, in := range all {
		text := encode(in.Value)
		if in.SHA256 != "" {
			text += " (sha256:" + in.SHA256 + ")"
		}
		out = append(out, named{in.Name, text})
	}
	return out
}

func connections(c plugins.Connections) []named {
	var out []named
	if c.Supervisor != nil {
		out = append(out, named{"supervisor", encode(c.Supervisor)})
	}
	if c.Nodes != nil {
		out = append(out, named{"nodes", encode(c.Nodes)})
	}
	return out
}

func codes(all []plan.Plugin) []named {
	var out []named
	for _, p := range all {
		out = append(out, named{p.Name, p.Version + " (sha256:" + p.SHA256 + ")"})
	}
	return out
}

func steps(p *plan.Plan) []named {
	var out []named
	for _, s := range p.Steps {
		text := string(s.Status) + after(": ", first(s.Why, s.Summary))
		for _, b := range s.Blocks {
			text += "; blocked: " + b.Reason
		}
		out = append(out, named{s.ID, text})
	}
	return out
}

// changes compares what the steps would change, field by field where the same object is meant.
func changes(a, b *plan.Plan) []Difference {
	var ids []string
	for _, s := range slices.Concat(a.Steps, b.Steps) {
		if !slices.Contains(ids, s.ID) {
			ids = append(ids, s.ID)
		}
	}
	var out []Difference
	for _, id := range ids {
		left, right := changesOf(a, id), changesOf(b, id)
		moved := plan.Diff(left, right)
		for i := range min(len(left), len(right)) {
			moved = append(moved, content(left[i], right[i])...)
		}
		if len(moved) == 0 {
			continue
		}
		d := Difference{Part: "changes", Name: id, A: listed(left), B: listed(right)}
		for _, m := range moved {
			d.Details = append(d.Details, indented(m))
		}
		out = append(out, bounded(d))
	}
	return out
}

// content shows how what would be there after two changes of one object differs.
func content(a, b plugins.PlannedChange) []string {
	if a.Target.String() != b.Target.String() || bytes.Equal(a.After, b.After) {
		return nil
	}
	var out []string
	for l := range strings.Lines(udiff.Unified("a", "b", pretty(a.After), pretty(b.After))) {
		l = strings.TrimRight(l, "\n")
		if (strings.HasPrefix(l, "-") || strings.HasPrefix(l, "+")) && !strings.HasPrefix(l, "---") && !strings.HasPrefix(l, "+++") {
			out = append(out, l)
		}
	}
	return out
}

func pretty(raw json.RawMessage) string {
	var out bytes.Buffer
	if json.Indent(&out, raw, "", "  ") != nil {
		return string(raw) + "\n"
	}
	return out.String() + "\n"
}

func changesOf(p *plan.Plan, id string) []plugins.PlannedChange {
	if s, ok := p.Step(id); ok {
		return s.PlannedChanges()
	}
	return nil
}

func listed(all []plugins.PlannedChange) string {
	var out []string
	for _, c := range all {
		out = append(out, fmt.Sprintf("%s %s", c.Action, c.Target))
	}
	return strings.Join(out, ", ")
}

func effects(r *engine.Run) []named {
	var out []named
	for _, e := range r.Effects {
		text := "intended, outcome not known"
		switch {
		case !e.Done.IsZero():
			text = "done"
		case !e.Absent.IsZero():
			text = "did not happen"
		}
		out = append(out, named{e.Step + "/" + e.Key, fmt.Sprintf("%s: %s", e.Target, text)})
	}
	return out
}

// decisions puts all that was said of a gate into one text, so that a gate is one difference.
func decisions(r *engine.Run) []named {
	var out []named
	for _, d := range r.Decisions {
		text := fmt.Sprintf("%s by %s, %s", verdict(d), d.By.Name, d.Digest) + after(": ", d.Reason)
		if i := slices.IndexFunc(out, func(n named) bool { return n.name == d.Gate }); i >= 0 {
			out[i].text += "; " + text
			continue
		}
		out = append(out, named{d.Gate, text})
	}
	return out
}

func verdict(d approval.Decision) approval.Verdict {
	if d.Approved {
		return approval.Approved
	}
	return approval.Rejected
}

func outcome(r *engine.Run) string { return string(r.Status) + after(": ", r.Error) }

func encode(v any) string {
	raw, err := plan.Canonical(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(raw)
}
