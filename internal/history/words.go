// Package history tells what journals say in words: each entry in one line, and how two runs differ.
//
// It reads what the engine wrote and knows no store and no terminal; the command line prints what it returns.
package history

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/plugins"
)

// maxLine bounds a line of words, in characters; the entry itself holds the whole.
const maxLine = 240

// data holds the fields of the entries' data that the words are made of, each in one or several kinds.
type data struct {
	File      string              `json:"file"`
	Version   string              `json:"version"`
	By        by                  `json:"by"`
	Plan      plan.Plan           `json:"plan"`
	Why       string              `json:"why"`
	Gates     []string            `json:"gates"`
	Status    string              `json:"status"`
	Error     string              `json:"error"`
	Name      string              `json:"name"`
	PID       int                 `json:"pid"`
	Step      json.RawMessage     `json:"step"`
	Moved     []string            `json:"moved"`
	Approvers []approval.Identity `json:"approvedBy"`
	Outcome   string              `json:"outcome"`
	Number    int                 `json:"number"`
	Next      time.Duration       `json:"nextInNanoseconds"`
	Summary   string              `json:"summary"`
	Key       string              `json:"key"`
	Target    plugins.Target      `json:"target"`
	Note      string              `json:"note"`
	Gate      json.RawMessage     `json:"gate"`
	Approved  bool                `json:"approved"`
	Reason    string              `json:"reason"`
	NotBegun  []string            `json:"notBegun"`
	Was       state.Holder        `json:"was"`
	Trace     string              `json:"traceparent"`
	Ref       string              `json:"ref"`
}

// by is who did something: an approval.Identity, or an engine.Actor, which holds one.
type by struct {
	approval.Identity
	Actor approval.Identity `json:"identity"`
	Host  string            `json:"host"`
	PID   int               `json:"pid"`
}

func (b by) String() string {
	name := first(b.Name, b.Actor.Name, "someone")
	if b.PID == 0 {
		return name
	}
	return fmt.Sprintf("%s (pid %d)", name, b.PID)
}

// Words returns what an entry says, in one line without control characters. An entry of a kind that is not known here, or
// whose data is not as expected, is told by the beginning of its data.
func Words(e state.Entry) string {
	var d data
	say, known := words()[e.Kind]
	if !known || json.Unmarshal(e.Data, &d) != nil {
		return oneLine(string(e.Data))
	}
	return oneLine(say(d))
}

// words says what each kind of entry tells.
func words() map[string]func(data) string {
	return map[string]func(data) string{
		"run.created":    func(d data) string { return fmt.Sprintf("begun by %s with %s (tkgfix %s)", d.By, d.File, d.Version) },
		"run.resumed":    func(d data) string { return fmt.Sprintf("taken up by %s", d.By) },
		"run.planned":    func(d data) string { return planned(d.Plan) + after(": ", d.Why) },
		"run.waiting":    func(d data) string { return "waits for approval of " + strings.Join(d.Gates, ", ") },
		"run.finished":   func(d data) string { return "ended " + d.Status + after(": ", d.Error) },
		"trace.started":  func(d data) string { return "traced as " + d.Trace },
		"plugin.started": func(d data) string { return fmt.Sprintf("plugin %s started (pid %d)", d.Name, d.PID) },
		"step.planned":   replanned,
		"step.started": func(d data) string {
			return fmt.Sprintf("step %s begins", d.step()) + after(", approved by ", strings.Join(d.approvers(), ", "))
		},
		"step.attempt": func(d data) string {
			return fmt.Sprintf("step %s: attempt %d failed, next in %s: %s", d.step(), d.Number, d.Next, d.Error)
		},
		"step.finished": func(d data) string { return fmt.Sprintf("step %s is done", d.step()) + after(": ", d.Summary) },
		"step.failed":   func(d data) string { return fmt.Sprintf("step %s failed: %s", d.step(), d.Error) },
		"step.braked": func(d data) string {
			return fmt.Sprintf("step %s: brake: %s; not begun: %s", d.step(), d.Why, strings.Join(d.NotBegun, ", "))
		},
		"effect.intended": func(d data) string { return fmt.Sprintf("step %s is about to %s: %s", d.step(), d.Key, d.Target) },
		"effect.done": func(d data) string {
			return fmt.Sprintf("step %s: %s has happened", d.step(), d.Key) + after(": ", d.Note)
		},
		"effect.resolved": func(d data) string {
			return fmt.Sprintf("step %s: %s is %s by the word of %s", d.step(), d.Key, d.Outcome, d.By) + after(": ", d.Reason)
		},
		"gate.decided":   decided,
		"gate.withdrawn": func(d data) string { return fmt.Sprintf("%s does not count any more", d.Ref) + after(": ", d.Why) },
		"lock.broken": func(d data) string {
			return fmt.Sprintf("lock of %s broken by %s", d.Was, d.By) + after(": ", d.Reason)
		},
	}
}

func planned(p plan.Plan) string {
	changes := 0
	for i := range p.Steps {
		changes += len(p.Steps[i].PlannedChanges())
	}
	out := fmt.Sprintf("planned: steps %d, changes %d, gates %d", len(p.Steps), changes, len(p.Gates))
	if p.Blocked() {
		out += ", blocked"
	}
	return out
}

func replanned(d data) string {
	var s plan.Step
	if json.Unmarshal(d.Step, &s) != nil {
		return "a step was planned again"
	}
	return fmt.Sprintf("step %s planned again: %s", s.ID, s.Status) + after(": ", first(s.Why, s.Summary)) +
		after("; what was approved has moved: ", strings.Join(d.Moved, "; "))
}

func decided(d data) string {
	word := "rejected"
	if d.Approved {
		word = "approved"
	}
	return fmt.Sprintf("gate %s %s by %s", name(d.Gate), word, d.By) + after(": ", d.Reason)
}

// step returns the id of the step that the entry is about.
func (d data) step() string { return name(d.Step) }

func (d data) approvers() []string {
	var names []string
	for _, a := range d.Approvers {
		names = append(names, a.Name)
	}
	return names
}

// name returns a JSON string's value, and other JSON as it is.
func name(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return string(raw)
	}
	return s
}

func after(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// oneLine keeps what nodes and API servers said from driving the terminal, and bounds it.
func oneLine(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f && r <= 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
	}), " ")
	if r := []rune(s); len(r) > maxLine {
		return string(r[:maxLine]) + "…"
	}
	return s
}
