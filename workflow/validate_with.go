package workflow

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
)

// with holds the input of a step against its schema.
func (v *validator) with(s *Step) {
	want := v.inputs[s.ID]
	if s.With != nil {
		v.value(s.With, "with", want)
		return
	}
	if want != nil && !s.broken {
		v.requireFields(s.usesSpan, "with", nil, want)
	}
}

// value holds a value against a shape; nil allows any. Each expression in it is type-checked. name is the value's path in messages.
func (v *validator) value(val *Value, name string, want *shape) {
	if val == nil {
		return
	}
	switch val.kind {
	case isTemplate:
		v.templateValue(val, name, want)
	case isConstant:
		v.constantValue(val, name, want)
	case isList:
		if want != nil && want.kind != "" && want.kind != "array" {
			v.add(val.at, kindType, "%s must be %s, not a list", name, want.word())
			want = nil
		}
		for i, item := range val.items {
			v.value(item, fmt.Sprintf("%s[%d]", name, i), want.element())
		}
	case isMapping:
		v.mappingValue(val, name, want)
	}
}

func (v *validator) mappingValue(val *Value, name string, want *shape) {
	if want != nil && want.kind != "" && want.kind != "object" {
		v.add(val.at, kindType, "%s must be %s, not a mapping", name, want.word())
		want = nil
	}
	for _, f := range val.fields {
		path := name + "." + f.key
		if want != nil && want.closed && want.fields[f.key] == nil {
			v.add(f.at, kindUnknownKey, "unknown key %q in %s%s", f.key, name, expected(f.key, "accepted", want.names()))
			v.value(f.value, path, nil)
			continue
		}
		v.value(f.value, path, want.field(f.key))
	}
	if want != nil {
		v.requireFields(val.at, name, val.fields, want)
	}
}

// requireFields complains about the fields that a mapping lacks.
func (v *validator) requireFields(at span, name string, fields []field, want *shape) {
	for _, key := range want.required {
		if !slices.ContainsFunc(fields, func(f field) bool { return f.key == key }) {
			v.add(at, kindMissingKey, "%s has no %q, which is required", name, key)
		}
	}
}

func (v *validator) constantValue(val *Value, name string, want *shape) {
	if want == nil {
		return
	}
	if !want.takes(val.constant) {
		v.add(val.at, kindType, "%s must be %s, not %s", name, want.word(), constantWord(val.constant))
		return
	}
	if len(want.enum) > 0 && !slices.ContainsFunc(want.enum, func(e any) bool { return sameJSON(e, val.constant) }) {
		word := fmt.Sprint(val.constant)
		v.add(val.at, kindValue, "%s cannot be %q%s", name, word, expected(word, "accepted", enumNames(want.enum)))
	}
}

func (v *validator) templateValue(val *Value, name string, want *shape) {
	e, single := val.template.single()
	if !single {
		v.text(val.template)
		if want != nil && want.kind != "" && want.kind != "string" {
			v.add(val.at, kindType, "%s must be %s, and an expression with text around it is a string", name, want.word())
		}
		return
	}
	t := v.types.check(e, v.collector)
	if t == nil || want == nil {
		return
	}
	if problem := v.misfit(t, name, want); problem != "" {
		v.add(e.whole(), kindType, "%s", problem)
	}
}

// misfit says why a result of the type cannot stand where the shape is wanted; empty when it can.
func (v *validator) misfit(t *cel.Type, name string, want *shape) string {
	if want == nil || want.kind == "" || isDyn(t) {
		return ""
	}
	if !kindFits(t, want.kind) {
		return fmt.Sprintf("%s must be %s, and this is %s", name, want.word(), typeWord(t))
	}
	switch t.Kind() {
	case cel.ListKind:
		return v.misfit(t.Parameters()[0], name+"[]", want.items)
	case cel.StructKind:
		return v.objectMisfit(t.TypeName(), name, want)
	}
	return ""
}

// objectMisfit compares an object that the schemas declare with a wanted one, field by field.
func (v *validator) objectMisfit(typeName, name string, want *shape) string {
	got := v.types.objects[typeName]
	for _, field := range want.required {
		if got.fields[field] == nil {
			return fmt.Sprintf("%s must have the field %q, and %s has none", name, field, strings.TrimPrefix(typeName, objectPrefix))
		}
	}
	for _, field := range want.names() {
		t := got.fields[field]
		if t == nil {
			continue
		}
		if problem := v.misfit(t, name+"."+field, want.fields[field]); problem != "" {
			return problem
		}
	}
	return ""
}

func kindFits(t *cel.Type, want string) bool {
	switch t.Kind() {
	case cel.StringKind, cel.TimestampKind, cel.DurationKind:
		return want == "string"
	case cel.BoolKind:
		return want == "boolean"
	case cel.IntKind, cel.UintKind:
		return want == "integer" || want == "number"
	case cel.DoubleKind:
		return want == "number"
	case cel.ListKind:
		return want == "array"
	case cel.MapKind, cel.StructKind:
		return want == "object"
	case cel.NullTypeKind:
		return want == "null"
	default:
		return false
	}
}

// takes tells whether a constant has the type that is wanted.
func (s *shape) takes(constant any) bool {
	switch constant.(type) {
	case string:
		return s.kind == "" || s.kind == "string"
	case int64:
		return s.kind == "" || s.kind == "integer" || s.kind == "number"
	case float64:
		return s.kind == "" || s.kind == "number"
	case bool:
		return s.kind == "" || s.kind == "boolean"
	default:
		return s.kind == "" || s.kind == "null"
	}
}

// sameJSON compares a value of a JSON Schema with a constant of a workflow.
func sameJSON(a, b any) bool {
	if n, ok := b.(int64); ok {
		b = float64(n)
	}
	return a == b
}

func enumNames(values []any) []string {
	names := make([]string, 0, len(values))
	for _, v := range values {
		names = append(names, fmt.Sprint(v))
	}
	return names
}

func constantWord(c any) string {
	switch c := c.(type) {
	case string:
		return "a string"
	case int64, float64:
		return fmt.Sprintf("the number %v", c)
	case bool:
		return fmt.Sprintf("the boolean %t", c)
	default:
		return "nothing"
	}
}

// typeWord names a CEL type in messages.
func typeWord(t *cel.Type) string {
	switch t.Kind() {
	case cel.StringKind:
		return "a string"
	case cel.IntKind, cel.UintKind:
		return "a whole number"
	case cel.DoubleKind:
		return "a number"
	case cel.BoolKind:
		return "a boolean"
	case cel.ListKind:
		return "a list"
	case cel.MapKind, cel.StructKind:
		return "an object"
	default:
		return "a " + cel.FormatCELType(t)
	}
}

func isDyn(t *cel.Type) bool { return t.Kind() == cel.DynKind || t.Kind() == cel.AnyKind }

func isScalar(t *cel.Type) bool {
	switch t.Kind() {
	case cel.ListKind, cel.MapKind, cel.StructKind, cel.BytesKind, cel.TypeKind, cel.NullTypeKind:
		return false
	default:
		return true
	}
}

// exprs returns all expressions of a step.
func (s *Step) exprs() []*Expr {
	var out []*Expr
	for _, e := range []*Expr{&s.ForEach, &s.If} {
		if !e.IsZero() {
			out = append(out, e)
		}
	}
	if s.Approval != nil {
		out = append(out, s.Approval.Message.exprs()...)
	}
	if s.Supervisor != nil {
		out = append(out, s.Supervisor.Kubeconfig.exprs()...)
		out = append(out, s.Supervisor.Context.exprs()...)
	}
	return append(out, s.With.exprs()...)
}

func (v *Value) exprs() []*Expr {
	if v == nil {
		return nil
	}
	out := v.template.exprs()
	for _, item := range v.items {
		out = append(out, item.exprs()...)
	}
	for _, f := range v.fields {
		out = append(out, f.value.exprs()...)
	}
	return out
}
