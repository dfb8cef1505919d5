package workflow

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
)

const maxSchemaDepth = 24

// shape is what this package understands of a JSON Schema: enough to type expressions and to check the keys and the types
// of inputs. What it does not understand it lets pass.
type shape struct {
	kind     string // a JSON Schema type; empty for any
	fields   map[string]*shape
	required []string
	closed   bool   // no fields but these
	extra    *shape // of further fields; nil for any
	items    *shape // nil for any
	enum     []any
}

// schemaJSON is the wire form of a JSON Schema.
type schemaJSON struct {
	Ref        string                 `json:"$ref"`
	Defs       map[string]*schemaJSON `json:"$defs"`
	Type       json.RawMessage        `json:"type"`
	Properties map[string]*schemaJSON `json:"properties"`
	Required   []string               `json:"required"`
	Additional json.RawMessage        `json:"additionalProperties"`
	Items      json.RawMessage        `json:"items"`
	Enum       []any                  `json:"enum"`
	Const      any                    `json:"const"`
}

// parseShape reads the JSON Schema of a step's input or output. No schema at all allows any object.
func parseShape(raw json.RawMessage) (*shape, error) {
	if len(raw) == 0 {
		return &shape{kind: "object"}, nil
	}
	var s schemaJSON
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("read the JSON Schema: %w", err)
	}
	return s.shape(s.Defs, 0), nil
}

func (s *schemaJSON) shape(defs map[string]*schemaJSON, depth int) *shape {
	if s == nil || depth > maxSchemaDepth {
		return &shape{}
	}
	if name, ok := strings.CutPrefix(s.Ref, "#/$defs/"); ok {
		return defs[name].shape(defs, depth+1)
	}
	out := &shape{required: s.Required, enum: s.Enum}
	if s.Const != nil {
		out.enum = []any{s.Const}
	}
	_ = json.Unmarshal(s.Type, &out.kind) // several types, or none, are any
	if len(s.Properties) > 0 {
		out.fields = map[string]*shape{}
		for name, p := range s.Properties {
			out.fields[name] = p.shape(defs, depth+1)
		}
	}
	if len(s.Additional) > 0 {
		open := true
		if err := json.Unmarshal(s.Additional, &open); err == nil {
			out.closed = !open
		} else {
			out.extra = rawShape(s.Additional, defs, depth)
		}
	}
	if len(s.Items) > 0 {
		out.items = rawShape(s.Items, defs, depth)
	}
	return out
}

func rawShape(raw json.RawMessage, defs map[string]*schemaJSON, depth int) *shape {
	var s schemaJSON
	if json.Unmarshal(raw, &s) != nil {
		return &shape{}
	}
	return s.shape(defs, depth+1)
}

// names returns the names of the fields, sorted.
func (s *shape) names() []string { return slices.Sorted(maps.Keys(s.fields)) }

// field returns the shape of a field; nil means that any value goes.
func (s *shape) field(name string) *shape {
	if s == nil {
		return nil
	}
	if f, ok := s.fields[name]; ok {
		return f
	}
	return s.extra
}

func (s *shape) element() *shape {
	if s == nil {
		return nil
	}
	return s.items
}

// word names the type in messages.
func (s *shape) word() string {
	switch s.kind {
	case "object":
		return "an object"
	case "array":
		return "a list"
	case "integer":
		return "a whole number"
	case "null":
		return "null"
	default:
		return "a " + s.kind
	}
}

// celType returns the CEL type of a shape and declares the objects in it under the name and below.
func (s *shape) celType(name string, into *typeProvider) *cel.Type {
	if s == nil {
		return cel.DynType
	}
	switch s.kind {
	case "string":
		return cel.StringType
	case "integer":
		return cel.IntType
	case "number":
		return cel.DoubleType
	case "boolean":
		return cel.BoolType
	case "array":
		return cel.ListType(s.items.celType(name+"[]", into))
	case "object":
		if len(s.fields) == 0 {
			return cel.MapType(cel.StringType, s.extra.celType(name+".*", into))
		}
		fields := map[string]*cel.Type{}
		for _, f := range s.names() {
			fields[f] = s.fields[f].celType(name+"."+f, into)
		}
		return into.declare(name, s, fields)
	default:
		return cel.DynType
	}
}
