package plugintest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tkgfix/tkgfix/plugins"
)

var (
	kebabCase = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
	// semanticVersion is the expression that semver.org gives, without groups.
	semanticVersion = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)` +
		`(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?` +
		`(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?$`)
)

// schemas are a step's schemas, compiled.
type schemas struct {
	description plugins.Description
	input       *jsonschema.Schema
	output      *jsonschema.Schema
	// partial is output without its top level's required.
	partial *jsonschema.Schema
}

// describeProblems says what is wrong with a description. The schemas are nil if they cannot be used.
func describeProblems(step plugins.Step) (*schemas, []string) {
	d := step.Describe()
	var out []string
	bad := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if diff := cmp.Diff(d, step.Describe()); diff != "" {
		bad("is not the same when asked again (-first, +second):\n%s", diff)
	}
	if !kebabCase.MatchString(d.Name) {
		bad("name %q is not in kebab-case", d.Name)
	}
	if !semanticVersion.MatchString(d.Version) {
		bad("version %q is not a semantic version without a leading v", d.Version)
	}
	if d.Summary == "" {
		bad("summary is empty")
	}
	known := append(declarable(), plugins.Announce, plugins.Declared)
	if !slices.Contains(known, d.Effect) {
		bad("effect %q is unknown", d.Effect)
	}
	for _, c := range d.Connections {
		if c != plugins.ConnSupervisor && c != plugins.ConnNodes {
			bad("connection %q is unknown", c)
		}
	}
	s := &schemas{description: d}
	var errIn, errOut, errPartial error
	s.input, errIn = compile(d.Input, false)
	s.output, errOut = compile(d.Output, false)
	s.partial, errPartial = compile(d.Output, true)
	for what, err := range map[string]error{"input": errIn, "output": errOut, "output without required": errPartial} {
		if err != nil {
			bad("%s schema: %v", what, err)
		}
	}
	if errIn != nil || errOut != nil || errPartial != nil {
		return nil, out
	}
	return s, append(out, s.problems()...)
}

func (s *schemas) problems() []string {
	var out []string
	if !isObject(s.input) {
		out = append(out, "input schema is not of type object")
	}
	if s.input.AdditionalProperties != false {
		out = append(out, "input schema does not say additionalProperties: false")
	}
	if !isObject(s.output) {
		out = append(out, "output schema is not of type object")
	}
	out = append(out, undescribed("input", s.input, 0)...)
	return append(out, undescribed("output", s.output, 0)...)
}

// undescribed names the properties that have no description, in objects and in arrays of them.
func undescribed(path string, s *jsonschema.Schema, depth int) []string {
	const deepest = 10 // a schema may refer to itself
	if s == nil || depth > deepest {
		return nil
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		at := path + "." + name
		if p.Description == "" && (p.Ref == nil || p.Ref.Description == "") {
			out = append(out, at+" has no description")
		}
		out = append(out, undescribed(at, p, depth+1)...)
	}
	if items := s.Items2020; items != nil {
		out = append(out, undescribed(path+"[]", items, depth+1)...)
	}
	if s.Ref != nil {
		out = append(out, undescribed(path, s.Ref, depth+1)...)
	}
	return out
}

func isObject(s *jsonschema.Schema) bool {
	return s.Types != nil && slices.Equal(s.Types.ToStrings(), []string{"object"})
}

// compile compiles a schema of JSON Schema 2020-12, which must stand alone.
func compile(raw json.RawMessage, partial bool) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	object, ok := doc.(map[string]any)
	if !ok {
		return nil, errors.New("is no object")
	}
	const draft = "https://json-schema.org/draft/2020-12/schema"
	if said, ok := object["$schema"]; ok && said != draft {
		return nil, fmt.Errorf("$schema is %v, not %s", said, draft)
	}
	if partial {
		delete(object, "required")
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	c.UseLoader(alone{})
	const here = "step:///schema.json"
	if err := c.AddResource(here, object); err != nil {
		return nil, err
	}
	return c.Compile(here)
}

// alone loads nothing: a schema must not need another file.
type alone struct{}

func (alone) Load(url string) (any, error) {
	return nil, fmt.Errorf("refers to %s: a schema must stand alone", url)
}
