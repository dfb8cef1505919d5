package crashtest

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/plugins"
)

// callPrefix begins the labels of calls of a plugin, which are boundaries for plugins only.
const callPrefix = "call."

// The kinds of entries that this package looks into: docs/state-format.md.
const (
	entryCreated = "run.created"
	entryProcess = "plugin.started"
	entryDecided = "gate.decided"
	entryStarted = "step.started"
	// entryReplanned is a step that was planned when its turn came.
	entryReplanned = "step.planned"
	entryIntended  = "effect.intended"
	entryDone      = "effect.done"
)

// progress says which entries bring a run further. Others, such as run.resumed, come again with each attempt.
func progress(label string) bool {
	kind, _, _ := strings.Cut(label, "(")
	return slices.Contains([]string{
		entryCreated, "run.planned", entryDecided, entryReplanned, entryStarted, entryIntended, entryDone, "step.finished",
	}, kind)
}

// fact is what this package reads of an entry.
type fact struct {
	Seq      uint64    `json:"-"`
	Time     time.Time `json:"-"`
	Kind     string    `json:"-"`
	Step     string    `json:"-"`
	RawStep  any       `json:"step"`
	Key      string    `json:"key"`
	Name     string    `json:"name"`
	Gate     any       `json:"gate"`
	Digest   string    `json:"digest"`
	Approved bool      `json:"approved"`

	Target plugins.Target `json:"target"`
}

// read returns what an entry says. What is not there stays empty: kinds that are not known are read too.
func read(kind string, data []byte) fact {
	f := fact{}
	_ = json.Unmarshal(data, &f) // a field of another type is left out, and the label is the poorer for it
	f.Kind = kind
	switch s := f.RawStep.(type) {
	case string:
		f.Step = s
	case map[string]any:
		f.Step, _ = s["id"].(string)
	}
	return f
}

// facts returns what a journal says.
func facts(entries []state.Entry) []fact {
	out := make([]fact, len(entries))
	for i, e := range entries {
		out[i] = read(e.Kind, e.Data)
		out[i].Seq, out[i].Time = e.Seq, e.Time
	}
	return out
}

// label names an entry in a way that is the same in each run.
func (f fact) label() string {
	gate, _ := f.Gate.(string)
	var words []string
	for _, w := range []string{f.Step, Normal(f.Key), f.Name, gate} {
		if w != "" {
			words = append(words, url.PathEscape(w))
		}
	}
	if len(words) == 0 {
		return f.Kind
	}
	return f.Kind + "(" + escapeParens(strings.Join(words, "/")) + ")"
}

// labelOf names an append.
func labelOf(drafts []state.Draft) string {
	var words []string
	for _, d := range drafts {
		words = append(words, read(d.Kind, d.Data).label())
	}
	if len(words) == 1 {
		return words[0]
	}
	// A batch is told by its first entry and its kinds.
	for i := 1; i < len(words); i++ {
		words[i], _, _ = strings.Cut(words[i], "(")
	}
	return strings.Join(words[1:], "+") + "+" + words[0]
}

func callLabel(method, step string) string {
	return callPrefix + method + "(" + escapeParens(url.PathEscape(step)) + ")"
}

func escapeParens(s string) string {
	return strings.NewReplacer("(", "%28", ")", "%29", "@", "%40").Replace(s)
}

// lastProgress returns the label of the last entry that brought the run further.
func lastProgress(all []fact) string {
	for _, f := range slices.Backward(all) {
		if l := f.label(); progress(l) {
			return l
		}
	}
	return ""
}

// base returns the id of a step without the number of an instance of it.
func base(step string) string {
	name, _, _ := strings.Cut(step, "[")
	return name
}
