package workflow

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// BindInputs checks the values that a run is started with and returns one for each input: a string, int64, bool or []any of strings.
// A list is given as a JSON array of strings or as words between commas. The value of a file is its path as given. The
// error names all that is wrong, a line each, with what is accepted.
func (w *Workflow) BindInputs(given map[string]string) (map[string]any, error) {
	var errs []error
	bound := map[string]any{}
	names := make([]string, 0, len(w.Inputs))
	for _, in := range w.Inputs {
		names = append(names, in.Name)
		text, ok := given[in.Name]
		switch {
		case ok:
			value, err := in.parse(text)
			if err != nil {
				errs = append(errs, err)
			}
			bound[in.Name] = value
		case in.HasDefault:
			bound[in.Name] = in.Default
		default:
			errs = append(errs, fmt.Errorf("input %q (%s) is required%s", in.Name, in.Type, described(in)))
		}
	}
	for _, name := range sortedKeys(given) {
		if w.input(name) == nil {
			errs = append(errs, fmt.Errorf("unknown input %q%s", name, expected(name, "inputs", names)))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return bound, nil
}

func (w *Workflow) input(name string) *Input {
	for i := range w.Inputs {
		if w.Inputs[i].Name == name {
			return &w.Inputs[i]
		}
	}
	return nil
}

func described(in Input) string {
	if in.Description == "" {
		return ""
	}
	return ": " + in.Description
}

// parse turns a value from the command line into one of the input's type.
func (in *Input) parse(text string) (any, error) {
	switch in.Type {
	case "integer":
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("input %q must be a whole number, not %q", in.Name, text)
		}
		return n, nil
	case "boolean":
		if text != "true" && text != "false" {
			return nil, fmt.Errorf("input %q must be true or false, not %q", in.Name, text)
		}
		return text == "true", nil
	case "list":
		return in.parseList(text)
	case "file":
		if text == "" && in.Required {
			return nil, fmt.Errorf("input %q must be the path of a file, and is empty", in.Name)
		}
	}
	return text, nil
}

func (in *Input) parseList(text string) (any, error) {
	items := []any{}
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "[") {
		var words []string
		if err := json.Unmarshal([]byte(text), &words); err != nil {
			return nil, fmt.Errorf(`input %q must be a list of strings: a,b,c or ["a","b","c"]`, in.Name)
		}
		for _, word := range words {
			items = append(items, word)
		}
		return items, nil
	}
	for word := range strings.SplitSeq(text, ",") {
		if word = strings.TrimSpace(word); word != "" {
			items = append(items, word)
		}
	}
	return items, nil
}
