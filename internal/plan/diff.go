package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"

	"github.com/tkgfix/tkgfix/plugins"
)

// maxMoved bounds how many fields of a change are named, maxValue how much of a value is shown, in characters.
const (
	maxMoved = 8
	maxValue = 80
)

// Diff says in words how the changes of a step differ from those that were approved, a line for each field that moved.
// It is empty if an approval of one covers the other.
func Diff(approved, now []plugins.PlannedChange) []string {
	var out []string
	for i := range max(len(approved), len(now)) {
		switch {
		case i >= len(now):
			out = append(out, fmt.Sprintf("no longer planned: %s %s", approved[i].Action, approved[i].Target))
		case i >= len(approved):
			out = append(out, fmt.Sprintf("newly planned: %s %s", now[i].Action, now[i].Target))
		default:
			out = append(out, diffChange(approved[i], now[i])...)
		}
	}
	return out
}

// Moved says in words how a step or instance differs from the one that was approved: its Supervisor and its changes.
func Moved(approved, now Step) []string {
	out := Diff(approved.PlannedChanges(), now.PlannedChanges())
	if a, b := approved.on(), now.on(); a != b {
		out = append(out, fmt.Sprintf("the Supervisor moved from %s to %s", a, b))
	}
	return out
}

// on names the Supervisor of a step or instance.
func (s *Step) on() string {
	switch {
	case s.Supervisor == nil:
		return "that of the workflow"
	case s.Supervisor.Context == "":
		return s.Supervisor.Kubeconfig
	}
	return s.Supervisor.Context + " of " + s.Supervisor.Kubeconfig
}

func diffChange(a, b plugins.PlannedChange) []string {
	if a.Action != b.Action || a.Target != b.Target {
		return []string{fmt.Sprintf("%s %s (uid %s) became %s %s (uid %s)", a.Action, a.Target, a.Target.UID, b.Action, b.Target, b.Target.UID)}
	}
	d := &differ{}
	d.preconditions(a.Preconditions, b.Preconditions)
	where := fmt.Sprintf("%s %s: ", b.Action, b.Target)
	// What was read says more than what would be written, which follows from it.
	d.document(where+"before ", a.Before, b.Before)
	if len(d.out) == 0 {
		d.document(where+"after ", a.After, b.After)
	}
	d.lines(where+"lost", a.Lost, b.Lost)
	d.lines(where+"impact", a.Impact, b.Impact)
	d.values(where+"reason", a.Reason, b.Reason)
	d.values(where+"undo", a.Undo, b.Undo)
	if more := len(d.out) - maxMoved; more > 0 {
		return append(d.out[:maxMoved], fmt.Sprintf("%sand %d more fields", where, more))
	}
	return d.out
}

// differ collects what moved.
type differ struct{ out []string }

func (d *differ) moved(field, from, to string) {
	d.out = append(d.out, fmt.Sprintf("%s moved from %s to %s", field, orNothing(from), orNothing(to)))
}

func (d *differ) preconditions(a, b []plugins.Precondition) {
	was, is := facts(a), facts(b)
	for _, field := range slices.Sorted(maps.Keys(merged(was, is))) {
		if was[field] != is[field] {
			d.moved(field, was[field], is[field])
		}
	}
}

func facts(all []plugins.Precondition) map[string]string {
	out := map[string]string{}
	for _, p := range all {
		out[p.Target.String()+" "+p.Field] = p.Value
	}
	return out
}

func merged[V any](a, b map[string]V) map[string]V {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

func (d *differ) document(where string, a, b json.RawMessage) {
	left, right := decoded(a), decoded(b)
	d.values(where, left, right)
}

// decoded returns a document's value; one that is no JSON is compared as it is.
func decoded(raw json.RawMessage) any {
	if len(raw) == 0 {
		return nil
	}
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return string(raw)
	}
	return v
}

// maxLine bounds how much of a line of a list is shown, in characters: it names what would be lost.
const maxLine = 200

// lines compares two lists of lines for people. A line more is what voids an approval, so that it is named; the order alone says little.
func (d *differ) lines(field string, a, b []string) {
	before := len(d.out)
	for _, line := range b {
		if !slices.Contains(a, line) {
			d.out = append(d.out, field+" has one more: "+cut(line, maxLine))
		}
	}
	for _, line := range a {
		if !slices.Contains(b, line) {
			d.out = append(d.out, field+" has no longer: "+cut(line, maxLine))
		}
	}
	if len(d.out) == before && !slices.Equal(a, b) {
		d.out = append(d.out, field+" is in another order")
	}
}

// values compares two values and what is in them. path ends with a space while nothing of the value's own path is in it.
func (d *differ) values(path string, a, b any) {
	if reflect.DeepEqual(a, b) {
		return
	}
	switch a := a.(type) {
	case map[string]any:
		if b, ok := b.(map[string]any); ok {
			for _, key := range slices.Sorted(maps.Keys(merged(a, b))) {
				d.values(join(path, key), a[key], b[key])
			}
			return
		}
	case []any:
		if b, ok := b.([]any); ok && len(a) == len(b) {
			for i := range a {
				d.values(path+"["+strconv.Itoa(i)+"]", a[i], b[i])
			}
			return
		}
	}
	d.moved(path, shownValue(a), shownValue(b))
}

func join(path, key string) string {
	if path == "" || path[len(path)-1] == ' ' {
		return path + key
	}
	return path + "." + key
}

func shownValue(v any) string {
	if v == nil {
		return ""
	}
	text, ok := v.(string)
	if !ok {
		raw, err := json.Marshal(v)
		if err != nil {
			return "something"
		}
		text = string(raw)
	}
	return cut(text, maxValue)
}

// cut shortens a text to so many characters.
func cut(text string, most int) string {
	if r := []rune(text); len(r) > most {
		return string(r[:most]) + "…"
	}
	return text
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}
