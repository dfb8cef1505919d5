package workflow

import (
	"bytes"
	"encoding/json"
	"fmt"

	"cel.dev/cel-go/common/types/traits"
)

// EvalForEach returns the items for each of which the step is taken, 1000 at most; nil for a step without ForEach. They are of the types that
// JSON has, with whole numbers as int64. The error is an UnknownError when they are not known yet.
func (w *Workflow) EvalForEach(step *Step, s Scope) ([]any, error) {
	if step.ForEach.IsZero() {
		return nil, nil
	}
	e := &step.ForEach
	v, err := w.evalRef(e, s)
	if err != nil {
		return nil, err
	}
	if list, ok := v.(traits.Lister); ok {
		if n, err := toGo(list.Size()); err == nil && n.(int64) > maxItems {
			return nil, fmt.Errorf("%s: forEach has %d items; at most %d are allowed", e.Pos, n, maxItems)
		}
	}
	out, err := toGo(v)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.Pos, err)
	}
	items, ok := out.([]any)
	if !ok {
		return nil, fmt.Errorf("%s: forEach must be a list, and this is %s", e.Pos, goWord(out))
	}
	return items, nil
}

// IfUsesItem tells whether the step's condition must be evaluated for each item: then it rests on the item. Else it is evaluated once.
func (w *Workflow) IfUsesItem(step *Step) bool { return step.If.ofItem }

// EvalGuard tells whether a guard holds. The error is an UnknownError when that is not known yet.
func (w *Workflow) EvalGuard(g *Guard, s Scope) (bool, error) {
	v, err := w.eval(&g.Expr, s)
	if err != nil {
		return false, err
	}
	holds, ok := v.(bool)
	if !ok {
		return false, fmt.Errorf("%s: a guard must be true or false, and this is %s", g.Expr.Pos, goWord(v))
	}
	return holds, nil
}

// EvalAllowedSigners returns the path of the file that says who the approvers are, empty when the workflow names none. An
// environment variable that is used and not set is an error.
func (w *Workflow) EvalAllowedSigners(s Scope) (string, error) {
	if w.Approvals == nil {
		return "", nil
	}
	return w.evalText(w.Approvals.AllowedSigners, s)
}

// withItem returns the scope with the item as the step's expressions see it.
func (w *Workflow) withItem(step *Step, s Scope) (Scope, error) {
	if !step.each {
		return s, nil
	}
	if raw, ok := s.Item.(json.RawMessage); ok {
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.UseNumber()
		if err := dec.Decode(&s.Item); err != nil {
			return s, fmt.Errorf("%s: read the item: %w", step.ForEach.Pos, err)
		}
	}
	s.Item = whole(s.Item, w.items[step.ID])
	return s, nil
}

// failureValues returns all fields of failure.
func failureValues(given map[string]string) map[string]string {
	out := map[string]string{}
	for _, name := range failureNames() {
		out[name] = given[name]
	}
	return out
}
