package tkg

import (
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Condition is one condition of an object. The texts are on one line and bounded.
type Condition struct {
	// Status is True, False or Unknown; empty if there is no such condition.
	Status, Reason, Message string
	// Observed is the generation that it was made for, 0 if it does not say.
	Observed int64
	// Since is when the status last changed, zero if that is not said.
	Since time.Time
}

// ConditionOf finds a condition of the generation v1beta2 of the Cluster API: in status.conditions of a v1beta2 object and in
// status.v1beta2.conditions of a v1beta1 object, whose own conditions come last (tkg-facts.md §1.4, §11.15).
func ConditionOf(obj *unstructured.Unstructured, kind string) Condition {
	if obj == nil {
		return Condition{}
	}
	for _, path := range [][]string{{"status", "v1beta2", "conditions"}, {"status", "conditions"}} {
		list, _, _ := unstructured.NestedFieldNoCopy(obj.Object, path...)
		items, _ := list.([]any)
		for _, item := range items {
			fields, _ := item.(map[string]any)
			if fields["type"] == kind {
				return conditionOf(fields)
			}
		}
	}
	return Condition{}
}

func conditionOf(fields map[string]any) Condition {
	word := func(key string) string { s, _ := fields[key].(string); return oneLine(s) }
	c := Condition{Status: word("status"), Reason: word("reason"), Message: word("message")}
	c.Since, _ = time.Parse(time.RFC3339, word("lastTransitionTime"))
	switch n := fields["observedGeneration"].(type) {
	case int64:
		c.Observed = n
	case float64:
		c.Observed = int64(n)
	}
	return c
}

// maxQuoted bounds what is quoted of an object.
const maxQuoted = 200

// oneLine makes a quotation fit for a line of progress.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > maxQuoted {
		s = string(r[:maxQuoted]) + "..."
	}
	return s
}

// Text puts the reason and the message of a condition into words; empty if it has none.
func (c Condition) Text() string {
	switch {
	case c.Message != "" && c.Reason != "":
		return c.Reason + " (" + c.Message + ")"
	case c.Message != "":
		return c.Message
	}
	return c.Reason
}
