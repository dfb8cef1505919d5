package workflow

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
)

// stepValues returns the outputs that the expression uses, and patterns for those that are not known.
func (w *Workflow) stepValues(e *Expr, s Scope) (*outputs, error) {
	o := &outputs{w: w, e: e, values: map[string]map[string]any{"steps": {}, itsName: {}}}
	for _, ref := range e.refs {
		given := s.Steps
		if ref.its {
			given = s.Its
		}
		raw, ok := given[ref.step]
		var err error
		switch {
		case !ok:
			o.miss(ref.root(), ref.step, ref.field)
		case w.each(ref.step) && !ref.its:
			err = o.list(ref.step, raw)
		default:
			err = o.object(ref, raw)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: read the outputs of step %s: %w", e.Pos, ref.step, err)
		}
	}
	return o, nil
}

// each tells whether the outputs of a step are a list.
func (w *Workflow) each(id string) bool {
	s := w.Step(id)
	return s != nil && s.each
}

// outputs gathers what an expression sees of the steps.
type outputs struct {
	w       *Workflow
	e       *Expr
	values  map[string]map[string]any // steps and its
	unknown []*cel.AttributePatternType
}

// miss makes a path of outputs below root unknown: strings for fields, int64 for entries. It ends before an empty field.
func (o *outputs) miss(root string, path ...any) {
	p := cel.AttributePattern(root)
	for _, q := range path {
		switch q := q.(type) {
		case int64:
			p = p.QualInt(q)
		case string:
			if q != "" {
				p = p.QualString(q)
			}
		}
	}
	o.unknown = append(o.unknown, p)
}

// object takes the outputs of a step that is taken once, or of one item.
func (o *outputs) object(ref reference, raw any) error {
	shape := o.w.types[ref.step]
	root := ref.root()
	values, ok := o.values[root][ref.step].(map[string]any)
	if !ok {
		var err error
		if values, err = toObject(raw, shape); err != nil {
			return err
		}
		o.values[root][ref.step] = values
		for _, name := range shape.wanted() {
			if _, there := values[name]; !there {
				o.miss(root, ref.step, name)
			}
		}
	}
	if _, there := values[ref.field]; there || ref.field == "" {
		return nil
	}
	// What a reading step has told is all that there is: has() may say no.
	if !o.w.reads[ref.step] || !o.e.tests(ref) {
		o.miss(root, ref.step, ref.field)
	}
	return nil
}

// list takes the outputs of a step with forEach: those of each item.
func (o *outputs) list(id string, raw any) error {
	if _, done := o.values["steps"][id]; done {
		return nil
	}
	entries, err := toList(raw)
	if err != nil {
		return err
	}
	shape, list := o.w.types[id], make([]any, len(entries))
	for i, entry := range entries {
		if entry == nil {
			o.miss("steps", id, int64(i))
			continue
		}
		values, err := toObject(entry, shape)
		if err != nil {
			return fmt.Errorf("of item %d: %w", i, err)
		}
		list[i] = values
		for _, name := range o.missing(id, shape, values) {
			o.miss("steps", id, int64(i), name)
		}
	}
	o.values["steps"][id] = list
	return nil
}

// missing returns the fields that an entry of a list may still get: the required ones, and of a changing step those that the
// expression asks for.
func (o *outputs) missing(id string, s *shape, values map[string]any) []string {
	names := slices.Clone(s.wanted())
	if s != nil && !o.w.reads[id] {
		for _, name := range o.e.selects {
			if s.fields[name] != nil {
				names = append(names, name)
			}
		}
	}
	return slices.DeleteFunc(names, func(name string) bool { _, there := values[name]; return there })
}

var noSuchKey = regexp.MustCompile(`no such key: (\S+)$`)

// missingKey returns what is not known yet when an expression failed for a field that an entry of a list of outputs lacks; else nil.
func (w *Workflow) missingKey(e *Expr, failure error, given map[string]any) error {
	m := noSuchKey.FindStringSubmatch(failure.Error())
	if m == nil {
		return nil
	}
	for _, ref := range e.refs {
		s := w.types[ref.step]
		if !w.each(ref.step) || s != nil && len(s.fields) > 0 && s.fields[m[1]] == nil {
			continue
		}
		entries, _ := toList(given[ref.step])
		lacks := func(entry any) bool {
			values, err := toObject(entry, s)
			_, there := values[m[1]]
			return err == nil && !there
		}
		if slices.ContainsFunc(entries, lacks) {
			return &UnknownError{Step: ref.step, Field: m[1]}
		}
	}
	return nil
}

// toList returns the outputs of each item.
func toList(raw any) ([]any, error) {
	var data []byte
	switch raw := raw.(type) {
	case []any:
		return raw, nil
	case json.RawMessage:
		data = raw
	case []byte:
		data = raw
	default:
		var err error
		if data, err = json.Marshal(raw); err != nil {
			return nil, err
		}
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var list []any
	if err := dec.Decode(&list); err != nil {
		return nil, err
	}
	return list, nil
}

// tests tells whether has() asks for the referenced field somewhere in the expression.
func (e *Expr) tests(ref reference) bool {
	return slices.Contains(e.refs, reference{step: ref.step, field: ref.field, tested: true, its: ref.its})
}

// unknownError says which output an unknown result rests on: the first, when there are several.
func unknownError(u *types.Unknown) error {
	for _, id := range u.IDs() {
		trails, _ := u.GetAttributeTrails(id)
		for _, trail := range trails {
			path := trail.QualifierPath()
			if trail.Variable() != "steps" && trail.Variable() != itsName || len(path) == 0 {
				continue
			}
			err := &UnknownError{Step: fmt.Sprint(path[0])}
			for _, q := range path[1:] {
				if name, ok := q.(string); ok {
					err.Field = name
					break
				}
			}
			return err
		}
	}
	return errors.New("the value is not known")
}
