package workflow

import (
	"strings"

	"github.com/goccy/go-yaml/ast"
)

const (
	exprOpen  = "${{"
	exprClose = "}}"
)

// Template is a text with expressions in it.
type Template struct {
	// Text is the value as written.
	Text  string
	parts []part
	at    span
}

// part is a literal text, or an expression.
type part struct {
	text string
	expr *Expr
}

// single returns the expression of a template that is nothing else.
func (t *Template) single() (*Expr, bool) {
	var found *Expr
	for _, p := range t.parts {
		switch {
		case p.expr == nil && strings.TrimSpace(p.text) == "":
		case p.expr == nil || found != nil:
			return nil, false
		default:
			found = p.expr
		}
	}
	return found, found != nil
}

// blank is true for a template that holds no expression and no text.
func (t *Template) blank() bool { return strings.TrimSpace(t.Text) == "" }

// exprs returns the expressions in their order.
func (t *Template) exprs() []*Expr {
	if t == nil {
		return nil
	}
	var out []*Expr
	for _, p := range t.parts {
		if p.expr != nil {
			out = append(out, p.expr)
		}
	}
	return out
}

func (t *Template) references(s *Step) {
	for _, e := range t.exprs() {
		e.references(s)
	}
}

// template reads a string that may hold expressions. It returns nil after a diagnostic.
func (d *decoder) template(node ast.Node, what string, v view) *Template {
	text, ok := d.stringValue(node, what)
	if !ok {
		return nil
	}
	t := &Template{Text: text, at: nodeSpan(d.src, node)}
	if !strings.Contains(text, exprOpen) {
		t.parts = []part{{text: text}}
		return t
	}
	runes := []rune(text)
	places := locate(d.src, node, text)
	pieces, open, ok := cutTemplate(runes)
	if !ok {
		at := d.src.span(places[open].Line, places[open].Col, len(exprOpen))
		d.add(at, kindExpression, "the expression is not closed; it ends with }}")
		return nil
	}
	for _, p := range pieces {
		text := string(runes[p.start:p.end])
		if !p.isExpr {
			t.parts = append(t.parts, part{text: text})
			continue
		}
		e := d.exprs.compile(text, places[p.start:p.end+1], v)
		if e == nil {
			ok = false
			continue
		}
		t.parts = append(t.parts, part{expr: e})
	}
	if !ok {
		return nil
	}
	return t
}

// Value is what stands under with: a constant, a template, a list or a mapping of values.
type Value struct {
	at       span
	kind     valueKind
	constant any // of a constant: string, int64, float64, bool or nil
	template *Template
	items    []*Value
	fields   []field
}

// field is one entry of a mapping.
type field struct {
	key   string
	at    span
	value *Value
}

type valueKind int

const (
	isConstant valueKind = iota
	isTemplate
	isList
	isMapping
	isBroken // did not read; nothing more is said about it
)

// value reads any value whose expressions see the names of a view. It never returns nil.
func (d *decoder) value(node ast.Node, what string, names view) *Value {
	v := &Value{at: nodeSpan(d.src, node), kind: isBroken}
	if _, ok := mappingPairs(node); ok {
		o := d.object(node, what, nil)
		v.kind = isMapping
		for _, key := range o.keys {
			v.fields = append(v.fields, field{key: key, at: o.spans[key], value: d.value(o.node(key), key, names)})
		}
		return v
	}
	if seq, ok := node.(*ast.SequenceNode); ok {
		v.kind = isList
		for _, n := range seq.Values {
			v.items = append(v.items, d.value(n, what, names))
		}
		return v
	}
	constant, ok := constantOf(node)
	if !ok {
		d.add(v.at, kindType, "%s cannot be %s", what, describe(node))
		return v
	}
	v.kind, v.constant = isConstant, constant
	if s, ok := constant.(string); ok && strings.Contains(s, exprOpen) {
		v.kind = isTemplate
		if v.template = d.template(node, what, names); v.template == nil {
			v.kind = isBroken
		}
	}
	return v
}

func (v *Value) references(s *Step) {
	v.template.references(s)
	for _, item := range v.items {
		item.references(s)
	}
	for _, f := range v.fields {
		f.value.references(s)
	}
}
