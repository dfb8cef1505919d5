package workflow

import (
	"regexp"
	"slices"

	"github.com/goccy/go-yaml/ast"
)

const (
	maxParallel = 100  // items under way at once
	maxItems    = 1000 // of one forEach
	defaultItem = "item"
)

var itemName = regexp.MustCompile(`^[a-z][a-zA-Z0-9_]{0,62}$`)

// takenNames are what an item cannot be called: the names that expressions see elsewhere, and the words that CEL keeps for itself.
func takenNames() []string {
	return []string{
		"inputs", "steps", itsName, "env", "now", "failure", "self",
		"as", "bool", "break", "bytes", "const", "continue", "double", "else", "false", "for", "function", "if", "import", "in", "int", "let", "list",
		"loop", "map", "namespace", "null", "null_type", "optional_type", "package", "return", "string", "true", "type", "uint", "var", "void", "while",
	}
}

// forEach reads forEach, as and strategy.
func (d *decoder) forEach(o *object, s *Step) {
	node := o.node("forEach")
	s.each = node != nil
	if !s.each {
		for _, key := range []string{"as", "strategy"} {
			if o.node(key) != nil {
				d.add(o.spans[key], kindUnknownKey, "%s has a meaning only in a step with forEach; add forEach, or remove it", key)
			}
		}
		return
	}
	s.ForEach = d.single(node, "forEach", view{kind: scopeSteps})
	s.ForEach.references(s)
	s.As = defaultItem
	if n := o.node("as"); n != nil {
		s.As = d.itemName(n)
	}
	if n := o.node("strategy"); n != nil {
		s.Strategy = d.strategy(n)
	}
}

// itemName reads the name of the item, which is the default one after a diagnostic.
func (d *decoder) itemName(node ast.Node) string {
	name, ok := d.text(node, "as")
	switch {
	case !ok:
		return defaultItem
	case !itemName.MatchString(name):
		d.add(nodeSpan(d.src, node), kindName, "as %q is malformed; begin with a-z, then a-z, A-Z, 0-9 and _, 63 characters at most", name)
		return defaultItem
	case slices.Contains(takenNames(), name):
		d.add(nodeSpan(d.src, node), kindName, "as cannot be %q, which means something else in expressions; choose another name", name)
		return defaultItem
	}
	return name
}

func (d *decoder) strategy(node ast.Node) Strategy {
	var s Strategy
	o := d.object(node, "strategy", d.keys["strategy"])
	if n := o.node("maxParallel"); n != nil {
		s.MaxParallel = d.integer(n, "maxParallel", 1, maxParallel)
	}
	if n := o.node("canary"); n != nil {
		s.Canary = d.integer(n, "canary", 0, maxParallel)
	}
	if n := o.node("maxFailures"); n != nil {
		s.MaxFailures = d.integer(n, "maxFailures", 0, maxParallel)
	}
	return s
}
