package workflow

import (
	"maps"
	"regexp"
	"slices"

	"github.com/goccy/go-yaml/ast"
)

var stepID = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

func stepKeys() []string {
	return []string{"id", "name", "uses", "if", "needs", "with", "approval", "timeout", "retry"}
}

func (d *decoder) steps(node ast.Node, defaults Defaults) []Step {
	nodes := d.list(node, "steps")
	if nodes == nil {
		return nil
	}
	if len(nodes) == 0 {
		d.add(nodeSpan(d.src, node), kindMissingKey, "steps is empty; a workflow has at least one step")
	}
	if len(nodes) > maxSteps {
		d.add(nodeSpan(d.src, nodes[maxSteps]), kindLimit, "there are %d steps; a workflow has at most %d", len(nodes), maxSteps)
		nodes = nodes[:maxSteps]
	}
	steps := make([]Step, 0, len(nodes))
	first := map[string]span{}
	for _, n := range nodes {
		s, ok := d.step(n, defaults)
		if !ok {
			continue
		}
		if at, taken := first[s.ID]; taken {
			d.add(s.idSpan, kindName, "step id %q is taken by the step on line %d", s.ID, at.Line)
			continue
		}
		first[s.ID] = s.idSpan
		steps = append(steps, s)
	}
	for i := range steps {
		steps[i].Needs = allNeeds(&steps[i], first)
	}
	return steps
}

// step reads one step. It is false for a step without a usable id, which nothing can refer to.
func (d *decoder) step(node ast.Node, defaults Defaults) (Step, bool) {
	before := len(d.diags)
	o := d.object(node, "step", stepKeys())
	if o == nil {
		return Step{}, false
	}
	s := Step{Timeout: defaults.Timeout, Retry: defaults.Retry, References: map[string]bool{}, idSpan: o.at}
	d.require(o, "id", "uses")
	if n := o.node("id"); n != nil {
		s.ID, s.idSpan = d.stepID(n), nodeSpan(d.src, n)
	}
	s.Pos = s.idSpan.Pos
	if n := o.node("uses"); n != nil {
		s.Uses, _ = d.text(n, "uses")
		s.usesSpan = nodeSpan(d.src, n)
	}
	if n := o.node("name"); n != nil {
		s.Name, _ = d.text(n, "name")
	}
	if n := o.node("needs"); n != nil {
		s.written = d.needs(n)
	}
	if n := o.node("timeout"); n != nil {
		s.Timeout = d.duration(n, "timeout", maxTimeout)
	}
	if n := o.node("retry"); n != nil {
		s.Retry = d.retry(n, defaults.Retry)
	}
	d.stepExpressions(o, &s)
	s.broken = len(d.diags) > before
	return s, s.ID != ""
}

func (d *decoder) stepID(node ast.Node) string {
	id, ok := d.text(node, "id")
	if !ok {
		return ""
	}
	if !stepID.MatchString(id) || slices.Contains(reservedNames(), id) {
		d.add(nodeSpan(d.src, node), kindName,
			"step id %q is malformed; begin with a-z, then a-z, 0-9 and _ (a hyphen would be a minus in steps.%s), and not one of in, true, false, null", id, id)
		return ""
	}
	return id
}

// stepExpressions reads the parts of a step that may hold expressions, and which steps they use.
func (d *decoder) stepExpressions(o *object, s *Step) {
	if n := o.node("if"); n != nil {
		if t := d.template(n, "if", scopeSteps); t != nil {
			s.If = d.condition(n, t)
			t.references(s.References)
		}
	}
	if n := o.node("with"); n != nil {
		if _, ok := mappingPairs(n); !ok {
			d.add(nodeSpan(d.src, n), kindType, "with must be a mapping, not %s", describe(n))
		} else {
			s.With = d.value(n, "with")
			s.With.references(s.References)
		}
	}
	if n := o.node("approval"); n != nil {
		s.Approval = d.approval(n)
		if s.Approval != nil {
			s.Approval.Message.references(s.References)
		}
	}
}

// condition returns the one expression of an if.
func (d *decoder) condition(node ast.Node, t *Template) Expr {
	e, ok := t.single()
	if !ok {
		d.add(nodeSpan(d.src, node), kindType, `if must be one expression: "${{ ... }}"`)
		return Expr{}
	}
	return *e
}

func (d *decoder) approval(node ast.Node) *Approval {
	o := d.object(node, "approval", []string{"message"})
	if o == nil || !d.require(o, "message") {
		return nil
	}
	t := d.template(o.node("message"), "message", scopeSteps)
	if t == nil {
		return nil
	}
	if t.blank() {
		d.add(nodeSpan(d.src, o.node("message")), kindValue, "message is empty; say what the approver is asked")
	}
	return &Approval{Message: t}
}

func (d *decoder) needs(node ast.Node) []need {
	var out []need
	for _, n := range d.list(node, "needs") {
		if id, ok := d.text(n, "needs"); ok {
			out = append(out, need{id: id, at: nodeSpan(d.src, n)})
		}
	}
	return out
}

// allNeeds joins the needs as written with those that follow from the references. What does not exist is left out; Validate
// complains about it.
func allNeeds(s *Step, steps map[string]span) []string {
	ids := maps.Clone(s.References)
	for _, n := range s.written {
		ids[n.id] = true
	}
	maps.DeleteFunc(ids, func(id string, _ bool) bool { _, exists := steps[id]; return !exists || id == s.ID })
	return slices.Sorted(maps.Keys(ids))
}
