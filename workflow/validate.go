package workflow

import (
	"encoding/json"
	"slices"

	"cel.dev/cel-go/cel"
)

// Schemas says which steps exist. Validate asks it.
type Schemas interface {
	// Step returns what a step says of itself, false if there is none of the name.
	Step(uses string) (StepInfo, bool)
	// Names returns the names of all steps.
	Names() []string
}

// StepInfo is what Validate needs to know of a step.
type StepInfo struct {
	// Effect is read, change or destroy.
	Effect string
	// Input and Output are JSON Schemas of type object.
	Input, Output json.RawMessage
	// Connections names the connections that the step needs: supervisor, nodes.
	Connections []string
}

// validator holds a workflow against the steps that exist.
type validator struct {
	*collector
	w       *Workflow
	known   map[string]StepInfo // by step id
	inputs  map[string]*shape   // by step id
	outputs map[string]*shape   // by step id
	types   *checker
}

// Validate holds the workflow against the steps that exist and returns all that is wrong. It also remembers the types of the steps'
// outputs, by which the Eval methods convert numbers; so it must not run at the same time as they do.
func (w *Workflow) Validate(s Schemas) Diagnostics {
	v := &validator{
		collector: newCollector(w.src), w: w,
		known: map[string]StepInfo{}, inputs: map[string]*shape{}, outputs: map[string]*shape{},
	}
	for i := range w.Steps {
		v.lookUp(&w.Steps[i], s)
	}
	var err error
	if v.types, err = newChecker(w, v.outputs); err != nil {
		v.add(w.specs, kindExpression, "%v", err)
		return v.sorted()
	}
	v.connectionExpressions()
	for i := range w.Steps {
		v.step(&w.Steps[i])
	}
	v.cycles()
	w.types, w.reads = v.outputs, map[string]bool{}
	for id, info := range v.known {
		w.reads[id] = info.Effect == "read"
	}
	return v.sorted()
}

// lookUp finds the step that a uses: names, and reads its schemas.
func (v *validator) lookUp(s *Step, schemas Schemas) {
	if s.Uses == "" {
		return // already told
	}
	info, ok := schemas.Step(s.Uses)
	if !ok {
		names := slices.Sorted(slices.Values(schemas.Names()))
		v.add(s.usesSpan, kindStep, "there is no step %q%s", s.Uses, expected(s.Uses, "steps", names))
		return
	}
	v.known[s.ID] = info
	var err error
	if v.inputs[s.ID], err = parseShape(info.Input); err != nil {
		v.add(s.usesSpan, kindStep, "the input of step %s cannot be checked: %v", s.Uses, err)
	}
	if v.outputs[s.ID], err = parseShape(info.Output); err != nil {
		v.add(s.usesSpan, kindStep, "the output of step %s cannot be checked: %v", s.Uses, err)
	}
}

// connectionExpressions checks what stands under connections.
func (v *validator) connectionExpressions() {
	c := v.w.Connections
	if s := c.Supervisor; s != nil {
		v.text(s.Kubeconfig)
		v.text(s.Context)
	}
	if n := c.Nodes; n != nil {
		v.text(n.User)
		v.text(n.KnownHosts)
		v.port(&n.PortExpr)
	}
}

func (v *validator) port(e *Expr) {
	if e.IsZero() {
		return
	}
	t := v.types.check(e, v.collector)
	if t != nil && !isDyn(t) && t.Kind() != cel.IntKind {
		v.add(e.whole(), kindType, "port must be a whole number, and this is %s; int() makes one of a text", typeWord(t))
	}
}

// step checks one step.
func (v *validator) step(s *Step) {
	v.needs(s)
	v.condition(s)
	if s.Approval != nil {
		v.text(s.Approval.Message)
	}
	info, ok := v.known[s.ID]
	if !ok {
		v.value(s.With, "with", nil) // the expressions can still be wrong
		return
	}
	v.approval(s, info)
	v.connections(s, info)
	v.with(s)
}

// needs checks what needs: names.
func (v *validator) needs(s *Step) {
	seen := map[string]bool{}
	for _, n := range s.written {
		switch {
		case n.id == s.ID:
			v.add(n.at, kindNeeds, "step %q cannot need itself", s.ID)
		case v.w.Step(n.id) == nil:
			v.add(n.at, kindNeeds, "needs names the unknown step %q%s", n.id, expected(n.id, "steps", v.otherSteps(s)))
		case seen[n.id]:
			v.add(n.at, kindNeeds, "needs names step %q twice", n.id)
		}
		seen[n.id] = true
	}
	for _, e := range s.exprs() {
		if i := slices.IndexFunc(e.refs, func(r reference) bool { return r.step == s.ID }); i >= 0 {
			v.add(e.whole(), kindReference, "step %q cannot use its own outputs", s.ID)
		}
	}
}

func (v *validator) otherSteps(s *Step) []string {
	var ids []string
	for _, other := range v.w.Steps {
		if other.ID != s.ID {
			ids = append(ids, other.ID)
		}
	}
	return ids
}

// condition checks if:, and finds the one that can never be true.
func (v *validator) condition(s *Step) {
	if s.If.IsZero() {
		return
	}
	t := v.types.check(&s.If, v.collector)
	if t == nil {
		return
	}
	at := s.If.whole()
	if !isDyn(t) && t.Kind() != cel.BoolKind {
		v.add(at, kindType, "if must be true or false, and this is %s", typeWord(t))
		return
	}
	if !s.If.isConst {
		return
	}
	if yes, err := v.w.EvalIf(s, Scope{}); err == nil && !yes {
		v.add(at, kindUnreachable, "step %q can never run: its if is always false", s.ID)
	}
}

// approval checks that what changes anything has a gate, and that what changes nothing has none.
func (v *validator) approval(s *Step, info StepInfo) {
	switch {
	case info.Effect == "read" && s.Approval != nil:
		v.add(s.Approval.Message.at, kindApproval, "step %q changes nothing, so there is nothing to approve; remove the approval", s.ID)
	case info.Effect != "read" && s.Approval == nil && !s.broken:
		v.add(s.usesSpan, kindApproval, "step %q has the effect %s and no approval; add approval: {message: ...}", s.ID, info.Effect)
	}
}

// connections checks that the workflow has the connections that the step needs.
func (v *validator) connections(s *Step, info StepInfo) {
	has := map[string]bool{"supervisor": v.w.Connections.Supervisor != nil, "nodes": v.w.Connections.Nodes != nil}
	for _, name := range info.Connections {
		if !has[name] {
			v.add(s.usesSpan, kindConnection, "step %s needs the connection %q; add it under spec.connections", s.Uses, name)
		}
	}
}

// text checks a template whose result is text.
func (v *validator) text(t *Template) {
	for _, e := range t.exprs() {
		if got := v.types.check(e, v.collector); got != nil && !isScalar(got) {
			v.add(e.whole(), kindType, "%s cannot be put into a text; name a field of it, or use size()", typeWord(got))
		}
	}
}
