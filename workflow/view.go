package workflow

import (
	"fmt"
	"slices"
)

// scopeKind sorts the places where an expression may stand by the names that it sees there.
type scopeKind int

const (
	scopeSteps       scopeKind = iota // inputs and steps
	scopeConnections                  // inputs and env
	scopeItem                         // inputs, steps, its and the item of a forEach
	scopeGate                         // inputs and steps: the approval of a step with forEach
	scopeGuard                        // inputs, steps and now
	scopeFailure                      // inputs and failure
)

// itsName is the name by which a step with forEach sees what other steps found for the same item.
const itsName = "its"

// view says which names an expression sees.
type view struct {
	kind scopeKind
	// item is the name of the item: what is seen with scopeItem, and what scopeGate tells about when it is asked for.
	item string
}

// names returns the names that are seen, sorted.
func (v view) names() []string {
	switch v.kind {
	case scopeConnections:
		return []string{"env", "inputs"}
	case scopeItem:
		names := []string{"inputs", itsName, "steps", v.item}
		slices.Sort(names)
		return names
	case scopeGuard:
		return []string{"inputs", "now", "steps"}
	case scopeFailure:
		return []string{"failure", "inputs"}
	default:
		return []string{"inputs", "steps"}
	}
}

// seesSteps is true where the outputs of steps are seen.
func (v view) seesSteps() bool { return v.kind != scopeConnections && v.kind != scopeFailure }

// undeclared says why a name is not seen, and which ones are.
func (v view) undeclared(name string) string {
	switch {
	case name == "env":
		return "env can be used only under connections and approvals; make it an input"
	case name == itsName:
		return "its can be used only in if, with and supervisor of a step with forEach"
	case name == "now":
		return "now can be used only in a guard"
	case name == "failure":
		return "failure can be used only under onFailure"
	case name == "steps" && v.kind == scopeConnections:
		return "steps cannot be used here: this is settled before any step"
	case name == "steps":
		return "steps cannot be used under onFailure, where nobody knows which of them were done; use failure"
	case v.kind == scopeGate && name == v.item:
		return fmt.Sprintf("%s cannot be used here: one approval covers all items", name)
	default:
		return fmt.Sprintf("unknown name %q%s", name, expected(name, "names here", v.names()))
	}
}

// failureNames are the fields of failure.
func failureNames() []string { return []string{"error", "run", "status", "step"} }
