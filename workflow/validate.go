package workflow

import (
	"encoding/json"
	"slices"
	"strings"

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
	// Effect is read, change, destroy, announce, or declared: then each step says which of the first three it is.
	Effect string
	// Input and Output are JSON Schemas of type object.
	Input, Output json.RawMessage
	// Connections names the connections that the step needs: supervisor, nodes.
	Connections []string
	// Problem, if it is not empty, says why there is such a step and it cannot be used: all else is empty then.
	Problem string
}

// validator holds a workflow against the steps that exist.
type validator struct {
	*collector
	w       *Workflow
	known   map[string]StepInfo // by step id
	inputs  map[string]*shape   // by step id
	outputs map[string]*shape   // by step id
	items   map[string]*shape   // by step id
	types   *checker
}

// Validate holds the workflow against the steps that exist and returns all that is wrong. It also remembers the types of the steps'
// outputs, by which the Eval methods convert numbers; so it must not run at the same time as they do.
func (w *Workflow) Validate(s Schemas) Diagnostics {
	v := &validator{
		collector: newCollector(w.src), w: w,
		known: map[string]StepInfo{}, inputs: map[string]*shape{}, outputs: map[string]*shape{}, items: map[string]*shape{},
	}
	for _, steps := range [][]Step{w.Steps, w.OnFailure} {
		for i := range steps {
			v.lookUp(&steps[i], s)
		}
	}
	var err error
	if v.types, err = newChecker(w, v.outputs); err != nil {
		v.add(w.specs, kindExpression, "%v", err)
		return v.sorted()
	}
	v.connectionExpressions()
	v.guards()
	for i := range w.Steps {
		v.step(&w.Steps[i])
	}
	for i := range w.OnFailure {
		v.failureStep(&w.OnFailure[i])
	}
	v.cycles()
	w.types, w.items, w.reads = v.outputs, v.items, map[string]bool{}
	for i := range w.Steps {
		s := &w.Steps[i]
		w.reads[s.ID] = w.Effect(s, v.known[s.ID].Effect) == "read"
	}
	return v.sorted()
}

// Effect returns the effect that a step has, given that of the StepInfo of what it uses: what the step declares where that is left to it.
func (w *Workflow) Effect(s *Step, declared string) string {
	if declared == "declared" {
		return s.Effect
	}
	return declared
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
	if info.Problem != "" {
		v.add(s.usesSpan, kindStep, "step %s cannot be used: %s", s.Uses, info.Problem)
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
		for _, t := range []*Template{n.User, n.KnownHosts, n.Jump, n.IdentityFile, n.PasswordFile, n.Image} {
			v.text(t)
		}
		v.port(&n.PortExpr)
	}
	if a := v.w.Approvals; a != nil {
		v.text(a.AllowedSigners)
	}
}

// guards checks the conditions of the guards.
func (v *validator) guards() {
	for i := range v.w.Guards {
		e := &v.w.Guards[i].Expr
		if e.IsZero() {
			continue
		}
		if t := v.types.check(e, v.collector); t != nil && !isDyn(t) && t.Kind() != cel.BoolKind {
			v.add(e.whole(), kindType, "a guard must be true or false, and this is %s", typeWord(t))
		}
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
	if !v.forEach(s) {
		return
	}
	v.its(s)
	v.condition(s)
	if s.Approval != nil {
		v.text(s.Approval.Message)
	}
	if s.Supervisor != nil {
		v.text(s.Supervisor.Kubeconfig)
		v.text(s.Supervisor.Context)
	}
	info, ok := v.known[s.ID]
	if !ok {
		v.value(s.With, "with", nil) // the expressions can still be wrong
		return
	}
	v.effect(s, info)
	v.approval(s, info)
	v.connections(s, info)
	v.with(s)
}

// failureStep checks one step of onFailure.
func (v *validator) failureStep(s *Step) {
	v.condition(s)
	info, ok := v.known[s.ID]
	if !ok {
		v.value(s.With, "with", nil)
		return
	}
	v.effect(s, info)
	if effect := v.w.Effect(s, info.Effect); effect == "change" || effect == "destroy" {
		v.add(s.usesSpan, kindEffect, "step %q has the effect %s, and onFailure takes only steps that read or announce: when a run has failed nobody could approve it in time", s.ID, effect)
	}
	v.connections(s, info)
	v.with(s)
}

// forEach checks the list of items and makes the type of an item known. It is false when nothing more can be told of the step.
func (v *validator) forEach(s *Step) bool {
	if !s.each {
		return true
	}
	item := cel.DynType
	if !s.ForEach.IsZero() {
		switch t := v.types.check(&s.ForEach, v.collector); {
		case t == nil || isDyn(t):
		case t.Kind() != cel.ListKind:
			v.add(s.ForEach.whole(), kindType, "forEach must be a list, and this is %s", typeWord(t))
		case t.Parameters()[0].Kind() != cel.TypeParamKind:
			item = t.Parameters()[0]
		}
	}
	v.items[s.ID] = v.types.shapeOf(item)
	if err := v.types.setItem(s.As, item); err != nil {
		v.add(s.ForEach.whole(), kindExpression, "%v", err)
		return false
	}
	return true
}

// effect checks that a step says its effect exactly when that is left to it.
func (v *validator) effect(s *Step, info StepInfo) {
	written := s.effectSpan != (span{})
	switch {
	case info.Effect == "declared" && !written && !s.broken:
		v.add(s.usesSpan, kindMissingKey, "step %q has no \"effect\", and %s leaves it to the workflow; add effect: read, change or destroy", s.ID, s.Uses)
	case info.Effect != "declared" && written:
		v.add(s.effectSpan, kindEffect, "%s has the effect %s by itself; remove effect", s.Uses, info.Effect)
	}
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
	switch effect := v.w.Effect(s, info.Effect); {
	case effect == "":
	case effect == "read" && s.Approval != nil:
		v.add(s.Approval.Message.at, kindApproval, "step %q changes nothing, so there is nothing to approve; remove the approval", s.ID)
	case effect == "announce" && s.Approval != nil:
		v.add(s.Approval.Message.at, kindApproval, "step %q only announces, so there is nothing to approve; remove the approval", s.ID)
	case (effect == "change" || effect == "destroy") && s.Approval == nil && !s.broken:
		v.add(s.usesSpan, KindUnapproved, "step %q has the effect %s and no approval; add approval: {message: ...}", s.ID, effect)
	}
	if a := v.w.Approvals; s.approversSpan != (span{}) && a == nil {
		v.add(s.approversSpan, KindUnproven, "approvers needs spec.approvals.allowedSigners: a name that no signature proves is no policy")
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
	if s.Supervisor != nil && !slices.Contains(info.Connections, "supervisor") {
		v.add(s.supervisorSpan, kindConnection, "step %s does not ask for a Supervisor; remove supervisor", s.Uses)
	}
}

// its checks that the steps of which the step wants what they found for the same item go over the same items.
func (v *validator) its(s *Step) {
	told := map[string]bool{}
	for _, e := range s.exprs() {
		for _, r := range e.refs {
			other := v.w.Step(r.step)
			if !r.its || told[r.step] || other == nil || other == s {
				continue // an unknown step is a matter of types, and the step itself one of needs
			}
			told[r.step] = true
			switch {
			case !other.each:
				v.add(e.whole(), kindReference, "step %q has no forEach, so that it has nothing for one item; use steps.%s", r.step, r.step)
			case !other.ForEach.IsZero() && !s.ForEach.IsZero() && !other.ForEach.sameText(&s.ForEach):
				v.add(e.whole(), kindReference, "step %q goes over other items: its forEach is %s; give both steps the same, or use the list steps.%s",
					r.step, cutText(other.ForEach.Source), r.step)
			}
		}
	}
}

// sameText tells whether two expressions are the same but for white space.
func (e *Expr) sameText(other *Expr) bool {
	return slices.Equal(strings.Fields(e.Source), strings.Fields(other.Source))
}

// cutText shortens an expression for a message, and puts it on one line.
func cutText(s string) string {
	r := []rune(strings.Join(strings.Fields(s), " "))
	if len(r) > 80 {
		return string(r[:80]) + "…"
	}
	return string(r)
}

// text checks a template whose result is text.
func (v *validator) text(t *Template) {
	for _, e := range t.exprs() {
		if got := v.types.check(e, v.collector); got != nil && !isScalar(got) {
			v.add(e.whole(), kindType, "%s cannot be put into a text; name a field of it, or use size()", typeWord(got))
		}
	}
}
