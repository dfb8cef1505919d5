package tkg

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// place is the way to a list of trusted CAs in an object.
type place []hop

// hop is one step of it: a key of an object or, of a list, the one element with a name.
type hop struct {
	key     string
	element bool
}

// placeOf returns where a way has its list (tkg-facts.md §1.2 to §1.4).
func placeOf(way Way) (place, error) {
	switch way {
	case WayTKC:
		return keys("spec", "settings", "network", "trust", listKey), nil
	case WayTrust:
		return slices.Concat(keys("spec", "topology", "variables"), place{{trustVariable, true}}, keys("value", listKey)), nil
	case WayOSConfiguration:
		return slices.Concat(keys("spec", "topology", "variables"), place{{osVariable, true}}, keys("value", "trust", listKey)), nil
	}
	return nil, fmt.Errorf("a cluster whose trust is declared by the way %q has no list of trusted CAs", way)
}

// listKey is the name of the list in each of the places.
const listKey = "additionalTrustedCAs"

func keys(names ...string) place {
	out := make(place, len(names))
	for i, n := range names {
		out[i] = hop{key: n}
	}
	return out
}

// String returns the place as a path: spec.topology.variables[trust].value.additionalTrustedCAs.
func (p place) String() string {
	var b strings.Builder
	for i, h := range p {
		switch {
		case h.element:
			b.WriteString("[" + h.key + "]")
		case i > 0:
			b.WriteString("." + h.key)
		default:
			b.WriteString(h.key)
		}
	}
	return b.String()
}

// reached is how far one comes on the way to a list.
type reached struct {
	// pointer is the JSON pointer of the last that is there, and value what is there.
	pointer string
	value   any
	// rest are the hops that lead nowhere; none if value is the list.
	rest place
	// tests are what a patch has to test that stands on this.
	tests []Operation
}

// reach goes as far as it comes. What has not the shape that the API gives it is an error.
func (p place) reach(obj *unstructured.Unstructured) (reached, error) {
	r := reached{value: obj.Object, rest: p}
	for len(r.rest) > 0 {
		next, pointer, ok, err := r.rest[0].from(r.value)
		if err != nil {
			return r, fmt.Errorf("reading %s of %s %s: %w", p, obj.GetKind(), obj.GetName(), err)
		}
		if !ok {
			return p.ends(r)
		}
		r.pointer += pointer
		if r.rest[0].element {
			r.tests = append(r.tests, Operation{"test", r.pointer + "/name", r.rest[0].key})
		}
		r.value, r.rest = next, r.rest[1:]
	}
	if _, ok := r.value.([]any); !ok {
		return r, fmt.Errorf("reading %s of %s %s: it is no list", p, obj.GetKind(), obj.GetName())
	}
	r.tests = append(r.tests, Operation{"test", r.pointer, r.value})
	return r, nil
}

// ends is where the way ends before the list: a patch tests that there is nothing, which a test for null holds for.
func (p place) ends(r reached) (reached, error) {
	// A topology is never made: an owner without one is of another kind.
	if topology := slices.Index(p, hop{key: "topology"}); topology >= 0 && len(r.rest) >= len(p)-topology {
		return r, fmt.Errorf("reading %s: the object has no topology", p)
	}
	if list, ok := r.value.([]any); ok {
		r.tests = append(r.tests, Operation{"test", r.pointer, list})
	} else {
		r.tests = append(r.tests, Operation{"test", r.pointer + "/" + r.rest[0].key, nil})
	}
	return r, nil
}

// from takes one step; ok is false if there is nothing.
func (h hop) from(value any) (next any, pointer string, ok bool, err error) {
	if !h.element {
		fields, isObject := value.(map[string]any)
		if !isObject {
			return nil, "", false, fmt.Errorf("there is no object that could have %s", h.key)
		}
		next = fields[h.key]
		return next, "/" + h.key, next != nil, nil
	}
	list, isList := value.([]any)
	if !isList {
		return nil, "", false, fmt.Errorf("there is no list that could have %s", h.key)
	}
	for i, item := range list {
		fields, _ := item.(map[string]any)
		if fields["name"] != h.key {
			continue
		}
		if ok {
			return nil, "", false, fmt.Errorf("there are several variables of the name %s", h.key)
		}
		next, pointer, ok = item, fmt.Sprintf("/%d", i), true
	}
	return next, pointer, ok, nil
}

// list returns the list, nil if there is none.
func (r reached) list() []any {
	list, _ := r.value.([]any)
	if len(r.rest) > 0 {
		return nil
	}
	return list
}

// make returns the operation that makes what is missing, with the list at its end.
func (r reached) make(list []any) Operation {
	v := r.rest[1:].under(list)
	if r.rest[0].element {
		v = r.rest[0].named(v)
	}
	return Operation{"add", r.made(), v}
}

// made is the pointer of the first that is missing; behind a list it is that of one more.
func (r reached) made() string {
	if r.rest[0].element {
		list, _ := r.value.([]any)
		return fmt.Sprintf("%s/%d", r.pointer, len(list))
	}
	return r.pointer + "/" + r.rest[0].key
}

// under builds what stands before p, with the list at its end.
func (p place) under(list []any) any {
	switch {
	case len(p) == 0:
		return list
	case p[0].element:
		return []any{p[0].named(p[1:].under(list))}
	}
	return map[string]any{p[0].key: p[1:].under(list)}
}

// named gives an element of a list its name.
func (h hop) named(v any) any {
	fields, _ := v.(map[string]any)
	fields["name"] = h.key
	return fields
}

// put sets the list in a value that is the caller's alone, and makes what is missing. Reach has found its shape to be right.
func (p place) put(at map[string]any, list []any) {
	for i, h := range p {
		if at[h.key] == nil || i == len(p)-1 {
			at[h.key] = p[i+1:].under(list)
			return
		}
		if !p[i+1].element {
			at, _ = at[h.key].(map[string]any)
			continue
		}
		elements, _ := at[h.key].([]any)
		item, _, ok, _ := p[i+1].from(elements)
		if !ok {
			at[h.key] = append(elements, p[i+1].named(p[i+2:].under(list)))
			return
		}
		fields, _ := item.(map[string]any)
		p[i+2:].put(fields, list)
		return
	}
}

// only returns what of a value is on the way, and the list at its end.
func (p place) only(value any) any {
	if len(p) == 0 {
		return value
	}
	next, _, ok, _ := p[0].from(value)
	if !p[0].element {
		if !ok {
			return map[string]any{}
		}
		return map[string]any{p[0].key: p[1:].only(next)}
	}
	if !ok {
		return []any{}
	}
	return []any{p[0].named(p[1:].only(next))}
}
