package sdk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Input decodes a step's input object into a T. An empty raw is an empty object. A key that T does not have, a value of the wrong type
// and anything after the object are errors that name them.
func Input[T any](raw json.RawMessage) (T, error) {
	var v T
	text := bytes.TrimSpace(raw)
	if len(text) == 0 {
		return v, nil
	}
	if text[0] != '{' {
		return v, errors.New("input must be an object")
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		var zero T
		return zero, inputError(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		var zero T
		return zero, errors.New("input must be one object: more text follows it")
	}
	return v, nil
}

// Output encodes a step's output object. A nil slice becomes null, which a schema of type array refuses: give an empty one.
func Output(v any) (json.RawMessage, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode output: %w", err)
	}
	return raw, nil
}

func inputError(err error) error {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("input %q must be %s, not %s", wrong.Field, wrong.Type, wrong.Value)
	}
	if key, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fmt.Errorf("unknown input %s", key)
	}
	return fmt.Errorf("decode input: %w", err)
}
