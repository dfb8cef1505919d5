package crashtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Assertion names what must hold.
type Assertion string

// What must hold.
const (
	// GoesOn: an engine that nothing disturbs brings the run further.
	GoesOn Assertion = "an undisturbed engine brings the run further"
	// SameEnd: the run ends as the undisturbed one did.
	SameEnd Assertion = "same end"
	// OneEffect: each effect at most once for each UID of its target, and no more writes than the undisturbed run had.
	OneEffect Assertion = "at most one effect per target UID"
	// Approved: no effect without an approval of exactly its changes.
	Approved Assertion = "no effect without an approval"
	// Intended: no write without an intent that was durable before.
	Intended Assertion = "no write without a durable intent"
	// NoLostLock: one engine at a time; a dead one holds nothing; one whose lock was broken appends nothing.
	NoLostLock Assertion = "no lost lock"
	// Intact: the journal's chain holds.
	Intact Assertion = "the journal is intact"
	// NoneLeft: no plugin's process outlives its engine.
	NoneLeft Assertion = "no plugin outlives its engine"
	// Reached: what a schedule names comes about.
	Reached Assertion = "every boundary is reached"
)

// Violation is an assertion that did not hold.
type Violation struct {
	Assertion Assertion `json:"assertion"`
	// Evidence is what was seen, a line each.
	Evidence []string `json:"evidence"`
}

// approvals are what this process approved, by gate: the digests.
type approvals map[string][]string

// checkApproved returns the effects that nobody approved: each must belong to a step that was started with a digest that was approved at
// its gate, by an entry before it and by this process.
func checkApproved(all []fact, given approvals) []string {
	var bad []string
	started := map[string]string{}
	decided := map[string]bool{}
	for _, f := range all {
		switch f.Kind {
		case entryDecided:
			if gate, ok := f.Gate.(string); ok && f.Approved {
				decided[gate+" "+f.Digest] = true
			}
		case entryStarted:
			started[base(f.Step)] = f.Digest
		case entryIntended:
			gate := base(f.Step)
			digest := started[gate]
			what := fmt.Sprintf("entry %d: effect %s/%s on %s", f.Seq, f.Step, f.Key, f.Target)
			switch {
			case digest == "":
				bad = append(bad, what+": its step was never started")
			case !slices.Contains(given[gate], digest):
				bad = append(bad, fmt.Sprintf("%s: it was started for %s, which nobody approved; approved was %q", what, digest, given[gate]))
			case !decided[gate+" "+digest]:
				bad = append(bad, fmt.Sprintf("%s: no decision on %s is in the journal before it", what, digest))
			}
		}
	}
	return bad
}

// checkIntended returns the writes for which the journal held no intent when they were made. Each intent is good for one write.
func checkIntended(all []fact, writes []Write) []string {
	intents := map[string][]fact{}
	for _, f := range all {
		if f.Kind == entryIntended {
			intents[objectOf(f)] = append(intents[objectOf(f)], f)
		}
	}
	var bad []string
	for _, w := range writes {
		left := intents[w.Object()]
		if len(left) == 0 || left[0].Time.After(w.At) {
			bad = append(bad, "no intent is left in the journal for: "+w.String())
			continue
		}
		intents[w.Object()] = left[1:]
	}
	return bad
}

// objectOf names the target of an effect as Write.Object does.
func objectOf(f fact) string {
	t := f.Target
	plural, _ := meta.UnsafeGuessKindToResource(schema.GroupVersionKind{Group: t.Group, Kind: t.Kind})
	return Write{Cluster: t.Cluster, Group: t.Group, Resource: plural.Resource, Namespace: t.Namespace, Name: t.Name}.Object()
}

// checkOne returns the targets that were written to more often than there are effects on them: the same incarnation in the same way. A
// creation begins one. An effect counts once however often it was intended.
func checkOne(all []fact, writes []Write) []string {
	effects := map[string]map[string]bool{}
	for _, f := range all {
		if f.Kind == entryIntended {
			if effects[objectOf(f)] == nil {
				effects[objectOf(f)] = map[string]bool{}
			}
			effects[objectOf(f)][f.Step+"/"+f.Key] = true
		}
	}
	seen := map[string][]Write{}
	incarnation := map[string]int{}
	for _, w := range writes {
		if w.Verb == "create" {
			incarnation[w.Object()]++
		}
		uid := w.UID
		if uid == "" {
			uid = fmt.Sprintf("incarnation %d", incarnation[w.Object()])
		}
		key := w.Verb + " " + w.Object() + " " + uid
		seen[key] = append(seen[key], w)
	}
	var bad []string
	for _, key := range slices.Sorted(maps.Keys(seen)) {
		if twice := seen[key]; len(twice) > max(1, len(effects[twice[0].Object()])) {
			bad = append(bad, fmt.Sprintf("%d times: %s", len(twice), key))
			for _, w := range twice {
				bad = append(bad, "  "+w.String())
			}
		}
	}
	return bad
}

// checkNoMore returns what was written more often than in the undisturbed run.
func checkNoMore(writes []Write, want map[string]int) []string {
	got := countWrites(writes)
	var bad []string
	for _, key := range slices.Sorted(maps.Keys(got)) {
		if got[key] > want[key] {
			bad = append(bad, fmt.Sprintf("%d times, %d in the undisturbed run: %s", got[key], want[key], key))
		}
	}
	return bad
}

// countWrites counts writes by verb and object. Objects whose names servers make up count together: no two places have them alike.
func countWrites(writes []Write) map[string]int {
	out := map[string]int{}
	for _, w := range writes {
		out[w.Verb+" "+Normal(w.Object())]++
	}
	return out
}

// checkChain returns what is wrong with the numbers of a journal that a store has verified and read.
func checkChain(all []fact) []string {
	for i, f := range all {
		if f.Seq != uint64(i+1) {
			return []string{fmt.Sprintf("entry %d has number %d", i+1, f.Seq)}
		}
	}
	return nil
}

// diffLines returns what one end has and the other has not. Of two long lines about the same, only the part that differs is shown.
func diffLines(want, got []string) []string {
	less := slices.DeleteFunc(slices.Clone(want), func(l string) bool { return slices.Contains(got, l) })
	more := slices.DeleteFunc(slices.Clone(got), func(l string) bool { return slices.Contains(want, l) })
	var out []string
	for _, l := range less {
		from := 0
		i := slices.IndexFunc(more, func(m string) bool { return subject(m) == subject(l) })
		if i >= 0 {
			from = max(0, common(l, more[i])-shownBefore)
		}
		out = append(out, "- "+part(l, from))
		if i >= 0 {
			out = append(out, "+ "+part(more[i], from))
			more = slices.Delete(more, i, i+1)
		}
	}
	for _, l := range more {
		out = append(out, "+ "+part(l, 0))
	}
	return out
}

// How much is shown of a long line, in bytes: before what differs, and in all.
const (
	shownBefore = 60
	shownLine   = 300
)

// subject is what a line is about: its words before the first colon or document.
func subject(line string) string {
	if i := strings.IndexAny(line, ":{"); i >= 0 {
		return line[:i]
	}
	return line
}

// common returns how many bytes two lines have in common at the beginning.
func common(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// part returns a line's subject and what is at from.
func part(line string, from int) string {
	head, tail := "", line
	if from > len(subject(line)) {
		head, tail = subject(line)+" …", line[from:]
	}
	if len(tail) > shownLine {
		tail = tail[:shownLine] + "…"
	}
	return strings.ToValidUTF8(head+tail, "")
}

// String returns the violation for people.
func (v Violation) String() string {
	return fmt.Sprintf("%s:\n    %s", v.Assertion, strings.Join(v.Evidence, "\n    "))
}
