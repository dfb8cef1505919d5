package workflow

import (
	"maps"
	"regexp"
	"slices"

	"github.com/goccy/go-yaml/ast"
)

var stepID = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// steps reads the steps. taken gathers where each id stands.
func (d *decoder) steps(node ast.Node, defaults Defaults, taken map[string]span) []Step {
	nodes := d.list(node, "steps")
	if nodes == nil {
		return nil
	}
	if len(nodes) == 0 {
		d.add(nodeSpan(d.src, node), kindMissingKey, "steps is empty; a workflow has at least one step")
	}
	steps := d.stepList(nodes, defaults, taken, false)
	for i := range steps {
		steps[i].Needs = allNeeds(&steps[i], taken)
	}
	return steps
}

// onFailure reads the steps of a run that failed.
func (d *decoder) onFailure(node ast.Node, defaults Defaults, taken map[string]span) []Step {
	return d.stepList(d.list(node, "onFailure"), defaults, taken, true)
}

func (d *decoder) stepList(nodes []ast.Node, defaults Defaults, taken map[string]span, failure bool) []Step {
	if len(nodes) > maxSteps {
		owner := "a workflow"
		if failure {
			owner = "onFailure"
		}
		d.add(nodeSpan(d.src, nodes[maxSteps]), kindLimit, "there are %d steps; %s has at most %d", len(nodes), owner, maxSteps)
		nodes = nodes[:maxSteps]
	}
	steps := make([]Step, 0, len(nodes))
	for _, n := range nodes {
		s, ok := d.step(n, defaults, failure)
		if !ok {
			continue
		}
		if at, twice := taken[s.ID]; twice {
			d.add(s.idSpan, kindName, "step id %q is taken by the step on line %d", s.ID, at.Line)
			continue
		}
		taken[s.ID] = s.idSpan
		steps = append(steps, s)
	}
	return steps
}

// step reads one step. It is false for a step without a usable id, which nothing can refer to.
func (d *decoder) step(node ast.Node, defaults Defaults, failure bool) (Step, bool) {
	before := len(d.diags)
	what, keys := "step", d.keys["step"]
	if failure {
		what, keys = "a step of onFailure", d.keys["failureStep"]
	}
	o := d.object(node, what, keys)
	if o == nil {
		return Step{}, false
	}
	s := Step{Timeout: defaults.Timeout, Retry: defaults.Retry, References: map[string]bool{}, Its: map[string]bool{}, idSpan: o.at}
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
	if n := o.node("effect"); n != nil {
		s.Effect, s.effectSpan = d.oneOf(n, "effect", effects()...), nodeSpan(d.src, n)
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
	names := view{kind: scopeFailure}
	if !failure {
		d.forEach(o, &s)
		names = s.view()
	}
	d.stepExpressions(o, &s, names)
	s.broken = len(d.diags) > before
	return s, s.ID != ""
}

// effects are those that a workflow may declare.
func effects() []string { return []string{"read", "change", "destroy"} }

// view says what the condition and the input of a step see.
func (s *Step) view() view {
	if s.each {
		return view{kind: scopeItem, item: s.As}
	}
	return view{kind: scopeSteps}
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

// stepExpressions reads what holds expressions; those of the condition and the input see names.
func (d *decoder) stepExpressions(o *object, s *Step, names view) {
	if n := o.node("if"); n != nil {
		s.If = d.single(n, "if", names)
		s.If.references(s)
	}
	if n := o.node("with"); n != nil {
		if _, ok := mappingPairs(n); !ok {
			d.add(nodeSpan(d.src, n), kindType, "with must be a mapping, not %s", describe(n))
		} else {
			s.With = d.value(n, "with", names)
			s.With.references(s)
		}
	}
	if n := o.node("supervisor"); n != nil {
		s.Supervisor, s.supervisorSpan = d.stepSupervisor(n, names), o.spans["supervisor"]
		for _, t := range []*Template{s.Supervisor.Kubeconfig, s.Supervisor.Context} {
			t.references(s)
		}
	}
	if n := o.node("approval"); n != nil {
		s.Approval = d.approval(n, s)
		if s.Approval != nil {
			s.Approval.Message.references(s)
		}
	}
}

// stepSupervisor reads which Supervisor a step is about, when that is not the file's.
func (d *decoder) stepSupervisor(node ast.Node, names view) *SupervisorSpec {
	before := len(d.diags)
	o := d.object(node, "supervisor", d.keys["stepSupervisor"])
	spec := &SupervisorSpec{
		Kubeconfig: d.optional(o.node("kubeconfig"), "kubeconfig", names),
		Context:    d.optional(o.node("context"), "context", names),
	}
	if *spec == (SupervisorSpec{}) && len(d.diags) == before {
		d.add(nodeSpan(d.src, node), kindMissingKey, "supervisor names none; give context, kubeconfig or both, or remove it: the step is then about the file's")
	}
	return spec
}

// single reads a template that is one expression. It returns the zero Expr after a diagnostic.
func (d *decoder) single(node ast.Node, what string, names view) Expr {
	t := d.template(node, what, names)
	if t == nil {
		return Expr{}
	}
	e, ok := t.single()
	if !ok {
		d.add(nodeSpan(d.src, node), kindType, `%s must be one expression: "${{ ... }}"`, what)
		return Expr{}
	}
	return *e
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
	maps.Copy(ids, s.Its)
	for _, n := range s.written {
		ids[n.id] = true
	}
	maps.DeleteFunc(ids, func(id string, _ bool) bool { _, exists := steps[id]; return !exists || id == s.ID })
	return slices.Sorted(maps.Keys(ids))
}
