package workflow

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// decoder turns YAML nodes into Go values and tells its collector what does not fit. It goes on after each complaint.
type decoder struct {
	*collector
	exprs *compiler
	keys  map[string][]string // that each mapping accepts, by the name of its form
}

// object is a mapping that was read; its keys are in the order of the file.
type object struct {
	what   string
	at     span
	keys   []string
	values map[string]ast.Node
	spans  map[string]span
}

// node returns the value of a key, nil if it is not there.
func (o *object) node(key string) ast.Node {
	if o == nil {
		return nil
	}
	return o.values[key]
}

// object reads a mapping. accepted lists its keys; nil accepts any. It returns nil, after a diagnostic, for what is no mapping.
func (d *decoder) object(node ast.Node, what string, accepted []string) *object {
	pairs, ok := mappingPairs(node)
	if !ok {
		d.add(nodeSpan(d.src, node), kindType, "%s must be a mapping, not %s", what, describe(node))
		return nil
	}
	o := &object{what: what, at: nodeSpan(d.src, node), values: map[string]ast.Node{}, spans: map[string]span{}}
	for _, pair := range pairs {
		at := tokenSpan(d.src, pair.Key.GetToken())
		scalar, ok := pair.Key.(ast.ScalarNode)
		if !ok {
			d.add(at, kindType, "a key must be plain text")
			continue
		}
		key := scalar.GetToken().Value
		if first, twice := o.spans[key]; twice {
			d.add(at, kindDuplicate, "key %q stands twice in %s; first on line %d", key, what, first.Line)
			continue
		}
		o.spans[key] = at
		if accepted != nil && !slices.Contains(accepted, key) {
			d.add(at, kindUnknownKey, "unknown key %q in %s%s", key, what, expected(key, "accepted", accepted))
			continue
		}
		o.keys = append(o.keys, key)
		o.values[key] = pair.Value
	}
	return o
}

// require complains about the keys that are missing.
func (d *decoder) require(o *object, keys ...string) bool {
	complete := true
	for _, key := range keys {
		if _, there := o.spans[key]; !there {
			d.add(o.at, kindMissingKey, "%s has no %q", o.what, key)
			complete = false
		}
	}
	return complete
}

func mappingPairs(node ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := node.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	default:
		return nil, false
	}
}

// list reads a sequence.
func (d *decoder) list(node ast.Node, what string) []ast.Node {
	seq, ok := node.(*ast.SequenceNode)
	if !ok {
		d.add(nodeSpan(d.src, node), kindType, "%s must be a list, not %s", what, describe(node))
		return nil
	}
	return seq.Values
}

// text reads a string that holds no expression.
func (d *decoder) text(node ast.Node, what string) (string, bool) {
	s, ok := d.stringValue(node, what)
	if ok && strings.Contains(s, exprOpen) {
		d.add(nodeSpan(d.src, node), kindValue, "%s cannot hold an expression", what)
		return "", false
	}
	return s, ok
}

// stringValue reads a string, of an expression or not.
func (d *decoder) stringValue(node ast.Node, what string) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		d.add(nodeSpan(d.src, node), kindType, "%s must be a string, not %s; put quotes around it", what, describe(node))
	case *ast.NullNode:
		d.add(nodeSpan(d.src, node), kindType, `%s must be a string, not nothing; an empty text is ""`, what)
	default:
		d.add(nodeSpan(d.src, node), kindType, "%s must be a string, not %s", what, describe(node))
	}
	return "", false
}

// oneOf reads a string that is one of a few.
func (d *decoder) oneOf(node ast.Node, what string, accepted ...string) string {
	s, ok := d.text(node, what)
	if !ok {
		return ""
	}
	if !slices.Contains(accepted, s) {
		d.add(nodeSpan(d.src, node), kindValue, "%s cannot be %q%s", what, s, expected(s, "accepted", accepted))
		return ""
	}
	return s
}

// integer reads a whole number between low and high.
func (d *decoder) integer(node ast.Node, what string, low, high int) int {
	n, ok := constantOf(node)
	i, isInt := n.(int64)
	if !ok || !isInt {
		d.add(nodeSpan(d.src, node), kindType, "%s must be a whole number, not %s", what, describe(node))
		return low
	}
	if i < int64(low) || i > int64(high) {
		d.add(nodeSpan(d.src, node), kindValue, "%s must be from %d to %d", what, low, high)
		return low
	}
	return int(i)
}

// boolean reads true or false.
func (d *decoder) boolean(node ast.Node, what string) bool {
	v, ok := constantOf(node)
	b, isBool := v.(bool)
	if !ok || !isBool {
		d.add(nodeSpan(d.src, node), kindType, "%s must be true or false, not %s", what, describe(node))
	}
	return b
}

// duration reads a length of time such as 30s or 10m, above zero.
func (d *decoder) duration(node ast.Node, what string, longest time.Duration) time.Duration {
	text, ok := node.(*ast.StringNode)
	if !ok {
		d.add(nodeSpan(d.src, node), kindType, "%s must be a length of time such as 30s, 10m or 1h30m, not %s", what, describe(node))
		return 0
	}
	t, err := time.ParseDuration(text.Value)
	if err != nil {
		d.add(nodeSpan(d.src, node), kindValue, "%s must be a length of time such as 30s, 10m or 1h30m, not %q", what, text.Value)
		return 0
	}
	if t <= 0 || t > longest {
		d.add(nodeSpan(d.src, node), kindValue, "%s must be above 0 and at most %s", what, shortDuration(longest))
		return 0
	}
	return t
}

// shortDuration writes a length of time without the units that are zero: 720h, not 720h0m0s.
func shortDuration(t time.Duration) string {
	s := t.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// constantOf returns the Go value of a scalar: string, int64, float64, bool or nil.
func constantOf(node ast.Node) (any, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode:
		switch v := n.Value.(type) {
		case int64:
			return v, true
		case uint64:
			return int64(v), v <= 1<<63-1
		}
		return nil, false
	case *ast.FloatNode:
		return n.Value, true
	case *ast.BoolNode:
		return n.Value, true
	case *ast.NullNode:
		return nil, true
	default:
		return nil, false
	}
}

// describe names what a node is, for messages.
func describe(node ast.Node) string {
	switch n := node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.StringNode, *ast.LiteralNode:
		return "a string"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return fmt.Sprintf("the number %s", n.GetToken().Value)
	case *ast.BoolNode:
		return fmt.Sprintf("the boolean %t", n.Value)
	case nil, *ast.NullNode:
		return "nothing"
	default:
		return "something else"
	}
}
