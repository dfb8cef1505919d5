package crashtest

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/plugins"
)

// Outcome is how a run ended.
type Outcome struct {
	// Lines are what the run and the world say, without times, names that servers make up, addresses and UIDs.
	Lines []string
	// Writes counts what was written, by verb and object.
	Writes map[string]int
}

// varying are the things that differ from run to run, and what stands for them.
func varying() []struct {
	pattern *regexp.Regexp
	name    string
} {
	return []struct {
		pattern *regexp.Regexp
		name    string
	}{
		{uidPattern, "<uid>"},
		{timePattern, "<time>"},
		{addressPattern, "<address>"},
		{hashPattern, "<hash>"},
		{keyPattern, "<key>"},
		{machinePattern, "-<machine>"},
		{namePattern, "-<name>"},
		{spanPattern, "<span>"},
	}
}

var (
	uidPattern     = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	timePattern    = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`)
	addressPattern = regexp.MustCompile(`\b\d{1,3}(\.\d{1,3}){3}\b`)
	hashPattern    = regexp.MustCompile(`\b[0-9a-f]{64}\b`)
	// keyPattern is a fingerprint or a key id.
	keyPattern = regexp.MustCompile(`\b[0-9A-F]{2}(:[0-9A-F]{2}){15,31}\b`)
	// machinePattern is what Cluster API appends for a Machine: the hash of its MachineSet's template, and the Machine's own name.
	machinePattern = regexp.MustCompile(`-[0-9a-z]{5}-[bcdfghjklmnpqrstvwxz2456789]{5}\b`)
	// namePattern is what generateName appends: k8s.io/apimachinery/pkg/util/rand.
	namePattern = regexp.MustCompile(`-[bcdfghjklmnpqrstvwxz2456789]{5}\b`)
	spanPattern = regexp.MustCompile(`\b(\d+h)?(\d+m)?\d+(\.\d+)?(ms|µs|s)\b`)
)

// Normal returns text without what differs from run to run.
func Normal(s string) string {
	for _, v := range varying() {
		s = v.pattern.ReplaceAllString(s, v.name)
	}
	return s
}

// NormalJSON returns a JSON document, its lists sorted, without what differs from run to run.
func NormalJSON(raw []byte) string {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return Normal(string(raw))
	}
	out, err := json.Marshal(normal(v))
	if err != nil {
		return Normal(string(raw))
	}
	return string(out)
}

func normal(v any) any {
	switch v := v.(type) {
	case string:
		return Normal(v)
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			out[Normal(k)] = normal(e)
		}
		return out
	case []any:
		// Two elements that differ only in what varies are one: how many there are is said by the other fields.
		texts := map[string]any{}
		for _, e := range v {
			n := normal(e)
			text, err := json.Marshal(n)
			if err != nil {
				return v
			}
			texts[string(text)] = n
		}
		out := []any{}
		for _, k := range slices.Sorted(maps.Keys(texts)) {
			out = append(out, texts[k])
		}
		return out
	}
	return v
}

// runLines says how a run ended: its status, what each step came to, and the effects. What a step gave is compared if the step
// changed something or was looked at after the last effect, which is what late names; what was read before that is a matter of the
// instant, and only its verdicts are compared. rename gives the place's own things names that are the same in each place.
func runLines(r *engine.Run, late map[string]bool, rename func(string) string) []string {
	lines := []string{"run: " + string(r.Status)}
	if r.Plan == nil {
		return lines
	}
	for _, s := range r.Plan.Steps {
		lines = append(lines, fmt.Sprintf("step %s: %s", s.ID, s.Status))
		evidence := s.Evidence
		p := r.Steps[s.ID]
		if p != nil {
			evidence = slices.Concat(evidence, p.Evidence)
		}
		if p != nil || late[s.ID] {
			lines = append(lines, fmt.Sprintf("step %s gave %s", s.ID, NormalJSON([]byte(rename(string(s.Outputs))))))
		}
		lines = append(lines, evidenceLines(s.ID, evidence)...)
	}
	slices.Sort(lines)
	lines = slices.Compact(lines)
	var effects []string
	for _, e := range r.Effects {
		t := e.Target
		t.UID = ""
		state := "done"
		if e.Done.IsZero() {
			state = "intended"
		}
		effects = append(effects, Normal(fmt.Sprintf("effect %s/%s on %s: %s", e.Step, e.Key, t, state)))
	}
	return append(lines, counted(effects)...)
}

// counted sorts lines and puts the number of times before those that stand there more than once.
func counted(lines []string) []string {
	slices.Sort(lines)
	var out []string
	for len(lines) > 0 {
		n := 1
		for n < len(lines) && lines[n] == lines[0] {
			n++
		}
		line := lines[0]
		if n > 1 {
			line = fmt.Sprintf("%d times: %s", n, line)
		}
		out = append(out, line)
		lines = lines[n:]
	}
	return out
}

// lateSteps returns the steps that were planned after the last effect was done.
func lateSteps(all []fact) map[string]bool {
	late := map[string]bool{}
	for _, f := range all {
		switch f.Kind {
		case entryDone:
			clear(late)
		case entryReplanned:
			late[f.Step] = true
		}
	}
	return late
}

// evidenceLines says what was seen: which check came to which verdict about what.
func evidenceLines(step string, all []plugins.Evidence) []string {
	var out []string
	for _, e := range all {
		out = append(out, strings.TrimSpace(fmt.Sprintf("step %s saw %s: %s %s", step, Normal(e.Subject), e.Check, e.Verdict)))
	}
	return out
}
