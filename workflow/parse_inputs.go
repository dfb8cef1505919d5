package workflow

import (
	"regexp"
	"slices"

	"github.com/goccy/go-yaml/ast"
)

var inputName = regexp.MustCompile(`^[a-z][a-zA-Z0-9_]{0,62}$`)

func inputTypes() []string { return []string{"string", "integer", "boolean", "file", "list"} }

// reservedNames are the identifiers that CEL keeps for itself after a dot.
func reservedNames() []string { return []string{"in", "true", "false", "null"} }

func (d *decoder) inputs(node ast.Node) []Input {
	o := d.object(node, "inputs", nil)
	if o == nil {
		return nil
	}
	if len(o.keys) > maxInputs {
		d.add(o.at, kindLimit, "there are %d inputs; a workflow has at most %d", len(o.keys), maxInputs)
		return nil
	}
	inputs := make([]Input, 0, len(o.keys))
	for _, name := range o.keys {
		at := o.spans[name]
		if !inputName.MatchString(name) || slices.Contains(reservedNames(), name) {
			d.add(at, kindName, "input name %q is malformed; begin with a-z, then a-z, A-Z, 0-9 and _, and not one of in, true, false, null", name)
		}
		inputs = append(inputs, d.input(name, at, o.node(name)))
	}
	return inputs
}

func (d *decoder) input(name string, at span, node ast.Node) Input {
	in := Input{Name: name, Type: "string", Required: true, Pos: at.Pos}
	o := d.object(node, "input "+name, d.keys["input"])
	if o == nil || !d.require(o, "type") {
		return in
	}
	kind := d.oneOf(o.node("type"), "type", inputTypes()...)
	if kind != "" {
		in.Type = kind
	}
	if node := o.node("description"); node != nil {
		in.Description, _ = d.text(node, "description")
	}
	if node, there := o.values["default"]; there && kind != "" {
		in.Default, in.HasDefault = d.defaultValue(node, kind)
		in.Required = false
	}
	return in
}

// defaultValue reads the default of an input of the kind.
func (d *decoder) defaultValue(node ast.Node, kind string) (any, bool) {
	if kind == "list" {
		return d.defaultList(node)
	}
	if kind == "string" || kind == "file" {
		s, ok := d.text(node, "default")
		return s, ok
	}
	v, _ := constantOf(node)
	switch v.(type) {
	case int64:
		if kind == "integer" {
			return v, true
		}
	case bool:
		if kind == "boolean" {
			return v, true
		}
	}
	want := map[string]string{"integer": "a whole number", "boolean": "true or false"}[kind]
	d.add(nodeSpan(d.src, node), kindType, "default must be %s, not %s", want, describe(node))
	return nil, false
}

func (d *decoder) defaultList(node ast.Node) (any, bool) {
	seq, ok := node.(*ast.SequenceNode)
	if !ok {
		d.add(nodeSpan(d.src, node), kindType, "default must be a list of strings, not %s", describe(node))
		return nil, false
	}
	items := make([]any, 0, len(seq.Values))
	for _, n := range seq.Values {
		s, good := d.text(n, "default")
		ok = ok && good
		items = append(items, s)
	}
	return items, ok
}
