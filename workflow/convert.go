package workflow

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// inputValues returns the inputs as expressions see them. Numbers that went through JSON are whole again.
func (w *Workflow) inputValues(given map[string]any) map[string]any {
	out := make(map[string]any, len(given))
	for name, v := range given {
		out[name] = whole(v, nil)
	}
	return out
}

// toObject returns the outputs of a step as expressions see them.
func toObject(raw any, s *shape) (map[string]any, error) {
	if m, ok := raw.(map[string]any); ok {
		return whole(m, s).(map[string]any), nil
	}
	var data []byte
	switch raw := raw.(type) {
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
	var m map[string]any
	if err := dec.Decode(&m); err != nil {
		return nil, err
	}
	if m == nil {
		return nil, errors.New("they are no object")
	}
	return whole(m, s).(map[string]any), nil
}

// wanted returns the names of the fields that a shape requires.
func (s *shape) wanted() []string {
	if s == nil {
		return nil
	}
	return s.required
}

// whole returns a value with numbers as int64 or float64: as the schema says, else int64 where nothing is lost. JSON knows only one kind
// of number, and CEL adds no 1 to a 1.0.
func whole(v any, s *shape) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, x := range v {
			out[key] = whole(x, s.field(key))
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = whole(x, s.element())
		}
		return out
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return number(float64(n), n, s)
		}
		f, err := v.Float64()
		if err != nil {
			return v.String()
		}
		return f
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return number(v, int64(v), s)
		}
		return v
	case int:
		return number(float64(v), int64(v), s)
	case int64:
		return number(float64(v), v, s)
	default:
		return v
	}
}

func number(f float64, n int64, s *shape) any {
	if s != nil && s.kind == "number" {
		return f
	}
	return n
}

// toGo returns the result of an expression as JSON has it.
func toGo(v ref.Val) (any, error) {
	switch v := v.(type) {
	case types.String:
		return string(v), nil
	case types.Bool:
		return bool(v), nil
	case types.Int:
		return int64(v), nil
	case types.Uint:
		return uint64(v), nil
	case types.Double:
		if f := float64(v); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f, nil
		}
		return nil, errors.New("the result is no finite number")
	case types.Null:
		return nil, nil
	case types.Timestamp, types.Duration:
		return toGo(v.ConvertToType(types.StringType))
	case traits.Mapper:
		return toGoMap(v)
	case traits.Lister:
		return toGoList(v)
	default:
		return nil, fmt.Errorf("a result of type %s cannot be used", v.Type().TypeName())
	}
}

func toGoMap(m traits.Mapper) (any, error) {
	out := map[string]any{}
	for it := m.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		name, ok := key.(types.String)
		if !ok {
			return nil, fmt.Errorf("a key of an object must be a string, not %s", key.Type().TypeName())
		}
		x, err := toGo(m.Get(key))
		if err != nil {
			return nil, err
		}
		out[string(name)] = x
	}
	return out, nil
}

func toGoList(l traits.Lister) (any, error) {
	out := []any{}
	for it := l.Iterator(); it.HasNext() == types.True; {
		x, err := toGo(it.Next())
		if err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, nil
}

// goWord names the type of a result in messages.
func goWord(v any) string {
	switch v.(type) {
	case string:
		return "a string"
	case int64, uint64, float64:
		return "a number"
	case bool:
		return "a boolean"
	case []any:
		return "a list"
	case map[string]any:
		return "an object"
	default:
		return "nothing"
	}
}
