package workflow

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
)

// typeProvider tells CEL's type checker which fields objects have. It is used for checking only: values are evaluated as plain
// maps.
type typeProvider struct {
	types.Provider
	objects map[string]objectType
	misses  map[string]string // field name to the object that was asked for it in vain
}

// objectType is a declared object type.
type objectType struct {
	celType *cel.Type
	shape   *shape
	fields  map[string]*cel.Type
}

func newTypeProvider() (*typeProvider, error) {
	base, err := types.NewRegistry()
	if err != nil {
		return nil, fmt.Errorf("prepare the types of expressions: %w", err)
	}
	return &typeProvider{Provider: base, objects: map[string]objectType{}, misses: map[string]string{}}, nil
}

// objectPrefix begins the name of each object type: with a space in it, no name in an expression can mean the type.
const objectPrefix = "object "

// declare makes an object type known.
func (p *typeProvider) declare(name string, s *shape, fields map[string]*cel.Type) *cel.Type {
	name = objectPrefix + name
	t := cel.ObjectType(name)
	p.objects[name] = objectType{celType: t, shape: s, fields: fields}
	return t
}

// FindStructType implements types.Provider.
func (p *typeProvider) FindStructType(name string) (*types.Type, bool) {
	if o, ok := p.objects[name]; ok {
		return types.NewTypeTypeWithParam(o.celType), true
	}
	return p.Provider.FindStructType(name)
}

// FindStructFieldNames implements types.Provider.
func (p *typeProvider) FindStructFieldNames(name string) ([]string, bool) {
	if o, ok := p.objects[name]; ok {
		return slices.Sorted(maps.Keys(o.fields)), true
	}
	return p.Provider.FindStructFieldNames(name)
}

// FindStructFieldType implements types.Provider, and remembers what was asked for in vain.
func (p *typeProvider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	o, ok := p.objects[name]
	if !ok {
		return p.Provider.FindStructFieldType(name, field)
	}
	t, ok := o.fields[field]
	if !ok {
		p.misses[field] = name
		return nil, false
	}
	return &types.FieldType{Type: t}, true
}

// checker type-checks the expressions of one workflow.
type checker struct {
	*typeProvider
	variables map[string]*cel.Type
	envs      map[scopeKind]*cel.Env
}

// newChecker declares the inputs and the outputs of the steps. outputs holds the shape of each step's; nil when it is not known.
func newChecker(w *Workflow, outputs map[string]*shape) (*checker, error) {
	p, err := newTypeProvider()
	if err != nil {
		return nil, err
	}
	inputs := map[string]*cel.Type{}
	for _, in := range w.Inputs {
		inputs[in.Name] = inputType(in.Type)
	}
	steps, its := map[string]*cel.Type{}, map[string]*cel.Type{}
	for _, s := range w.Steps {
		if s.each {
			its[s.ID] = outputs[s.ID].celType("steps."+s.ID+"[]", p)
			steps[s.ID] = cel.ListType(its[s.ID])
			continue
		}
		its[s.ID] = cel.DynType // that it is none is told by its own diagnostic
		steps[s.ID] = outputs[s.ID].celType("steps."+s.ID, p)
	}
	failure := map[string]*cel.Type{}
	for _, name := range failureNames() {
		failure[name] = cel.StringType
	}
	variables := map[string]*cel.Type{
		"inputs": p.declare("inputs", nil, inputs), "steps": p.declare("steps", nil, steps), itsName: p.declare(itsName, nil, its),
		"failure": p.declare("failure", nil, failure),
		"env":     cel.MapType(cel.StringType, cel.StringType), "now": cel.TimestampType,
	}
	return &checker{typeProvider: p, variables: variables, envs: map[scopeKind]*cel.Env{}}, nil
}

// env returns the environment of a kind of place. That of an item is made by setItem.
func (c *checker) env(kind scopeKind) (*cel.Env, error) {
	if env, ok := c.envs[kind]; ok {
		return env, nil
	}
	options := append(celOptions(), cel.CustomTypeProvider(c.typeProvider))
	for _, name := range (view{kind: kind}).names() {
		options = append(options, cel.Variable(name, c.variables[name]))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, fmt.Errorf("prepare the types of expressions: %w", err)
	}
	c.envs[kind] = env
	return env, nil
}

// setItem says of which type the item is that the next expressions see.
func (c *checker) setItem(name string, t *cel.Type) error {
	env, err := c.env(scopeSteps)
	if err == nil {
		env, err = env.Extend(cel.Variable(name, t), cel.Variable(itsName, c.variables[itsName]))
	}
	if err != nil {
		return fmt.Errorf("prepare the types of expressions: %w", err)
	}
	c.envs[scopeItem] = env
	return nil
}

// shapeOf returns what is known of the values of a type; nil when that is nothing.
func (c *checker) shapeOf(t *cel.Type) *shape {
	switch t.Kind() {
	case cel.DoubleKind:
		return &shape{kind: "number"}
	case cel.ListKind:
		return &shape{kind: "array", items: c.shapeOf(t.Parameters()[0])}
	case cel.MapKind:
		return &shape{kind: "object", extra: c.shapeOf(t.Parameters()[1])}
	case cel.StructKind:
		return c.objects[t.TypeName()].shape
	default:
		return nil
	}
}

func inputType(kind string) *cel.Type {
	switch kind {
	case "integer":
		return cel.IntType
	case "boolean":
		return cel.BoolType
	case "list":
		return cel.ListType(cel.StringType)
	default:
		return cel.StringType
	}
}

// check returns the type of an expression's result, or nil after diagnostics.
func (c *checker) check(e *Expr, to *collector) *cel.Type {
	clear(c.misses)
	env, err := c.env(e.view.kind)
	if err != nil {
		to.add(e.whole(), kindExpression, "%v", err)
		return nil
	}
	checked, issues := env.Compile(e.text)
	if issues.Err() == nil {
		return checked.OutputType()
	}
	for _, issue := range issues.Errors() {
		at := e.span(offsetOf(e.text, issue.Location.Line(), issue.Location.Column()))
		m := fieldRE.FindStringSubmatch(issue.Message)
		if m == nil {
			to.add(at, kindExpression, "%s", celMessage(issue.Message))
			continue
		}
		to.add(at, kindReference, "%s", c.missing(m[1]))
	}
	return nil
}

// missing says what could have been meant by a field that does not exist.
func (c *checker) missing(field string) string {
	owner := c.misses[field]
	names, _ := c.FindStructFieldNames(owner)
	owner = strings.TrimPrefix(owner, objectPrefix)
	switch owner {
	case "inputs":
		return fmt.Sprintf("unknown input %q%s", field, expected(field, "inputs", names))
	case "steps", itsName:
		return fmt.Sprintf("unknown step %q%s", field, expected(field, "steps", names))
	default:
		return fmt.Sprintf("%s has no field %q%s", owner, field, expected(field, "fields", names))
	}
}
