package workflow

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// compiled returns the JSON Schema of the file format over the steps of the tests.
func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	raw, err := Schema(testSchemas())
	if err != nil {
		t.Fatal(err)
	}
	return compile(t, raw)
}

func compile(t *testing.T, raw json.RawMessage) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(SchemaID, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(SchemaID)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// document returns a workflow file as a JSON Schema validator takes it.
func document(src []byte) (any, error) {
	var v any
	if err := yaml.Unmarshal(src, &v); err != nil {
		return nil, err
	}
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(data))
}

func TestSchemaTakesWhatIsValid(t *testing.T) {
	t.Parallel()
	s := compiled(t)
	for _, path := range files(t, "testdata/ok") {
		doc, err := document(read(t, path))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if err := s.Validate(doc); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestSchemaRefuses holds that the schema refuses each broken file, but for those that are listed with the reason why it cannot.
func TestSchemaRefuses(t *testing.T) {
	t.Parallel()
	s := compiled(t)
	accepted := map[string]string{}
	refused := 0
	for _, path := range files(t, "testdata/err") {
		doc, err := document(read(t, path))
		if err != nil {
			continue // no YAML
		}
		if s.Validate(doc) == nil {
			name := strings.TrimSuffix(filepath.Base(path), ".yaml")
			accepted[name] = beyondSchema()[name]
		} else {
			refused++
		}
	}
	if diff := cmp.Diff(beyondSchema(), accepted); diff != "" {
		t.Errorf("what the schema cannot know: -want, +got:\n%s", diff)
	}
	if refused < 40 {
		t.Errorf("only %d broken files are refused", refused)
	}
}

// TestSchemaKeys holds that the parser accepts no key that the schema lacks: both are made of the forms.
func TestSchemaKeys(t *testing.T) {
	t.Parallel()
	raw, err := Schema(testSchemas())
	if err != nil {
		t.Fatal(err)
	}
	var root struct {
		ID   string `json:"$id"`
		Defs map[string]struct {
			Additional any                                     `json:"additionalProperties"`
			Properties map[string]struct{ Description string } `json:"properties"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal(raw, &root); err != nil {
		t.Fatal(err)
	}
	for _, f := range forms() {
		if f.name == "workflow" {
			continue
		}
		def := root.Defs[f.name]
		if def.Additional != false {
			t.Errorf("%s takes any key", f.name)
		}
		for _, k := range f.keys {
			if p, ok := def.Properties[k.name]; !ok || p.Description == "" || k.kind == "" {
				t.Errorf("%s.%s has no description or type", f.name, k.name)
			}
		}
	}
}

// beyondSchema lists the broken files that a JSON Schema accepts, with what it would have to know.
func beyondSchema() map[string]string {
	out := map[string]string{}
	for reason, names := range map[string][]string{
		"the types and names within expressions": {
			"approvals-expression", "connections-port", "expression-bare-steps", "expression-env-in-step", "expression-field",
			"expression-input", "expression-name", "expression-nested-field", "expression-positions", "expression-step",
			"expression-steps-in-connections", "expression-syntax", "expression-too-long", "expression-types", "expression-unclosed",
			"failure-elsewhere", "failure-field", "foreach-item-field", "foreach-item-in-message", "foreach-item-other-name",
			"foreach-item-outside", "foreach-item-type", "foreach-not-list", "foreach-outputs-are-a-list", "foreach-reference",
			"guard-now-elsewhere", "guard-step", "guard-time-zone", "if-never", "its-outside", "its-reference", "on-failure-steps",
			"with-expression-type", "with-object-field",
		},
		"what one step is to another": {
			"cycle", "cycle-implied", "cycle-self", "foreach-cycle", "its-other-items", "on-failure-id",
			"on-failure-needed", "step-id-taken",
		},
		"what two places of the file are to each other": {
			"approval-too-few-approvers", "approval-unproved", "connection-missing", "defaults-initial-over-max",
		},
		"that nobody says --auto-approve": {
			"approval-missing",
		},
		"how the YAML is written": {
			"document-two", "limit-depth", "syntax-anchor", "syntax-directive", "syntax-merge",
			"syntax-tag",
		},
	} {
		for _, name := range names {
			out[name] = reason
		}
	}
	return out
}

// TestSchemaInput holds that each value of with may be an expression, however the step's own schema is made, and that constants are
// still held against it.
func TestSchemaInput(t *testing.T) {
	t.Parallel()
	raw, err := Schema(schemas{"made": {Effect: "read", Input: json.RawMessage(`{
		"type": "object", "additionalProperties": false, "required": ["mode"],
		"properties": {
			"mode": {"type": "string", "enum": ["fast", "full"], "description": "how"},
			"n": {"type": "integer", "minimum": 1},
			"list": {"type": "array", "items": {"$ref": "#/$defs/pair"}},
			"either": {"anyOf": [{"type": "boolean"}, {"$ref": "#/$defs/pair"}]},
			"labels": {"type": "object", "additionalProperties": {"type": "boolean"}}
		},
		"$defs": {"pair": {"type": "object", "additionalProperties": false, "properties": {"k": {"type": "number"}}}}
	}`)}})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		reason, with string
		ok           bool
	}{
		"Constants":      {"constants of the right types", "{mode: fast, n: 3, list: [{k: 1.5}], either: true, labels: {a: false}}", true},
		"Expressions":    {"expressions in the place of each", `{mode: "${{ inputs.m }}", n: "${{ 3 }}", list: "${{ [] }}", either: "${{ x }}", labels: "${{ {} }}"}`, true},
		"Within":         {"expressions within", `{mode: "f${{ 'ast' }}", list: ["${{ {} }}", {k: "${{ 1 }}"}], either: {k: "${{ 1 }}"}, labels: {a: "${{ true }}"}}`, true},
		"Enum":           {"a word that is not allowed", "{mode: slow}", false},
		"Number":         {"text for a number", "{mode: fast, n: many}", false},
		"Text":           {"an expression with text around it for a number", `{mode: fast, n: "1${{ 2 }}"}`, false},
		"Minimum":        {"a number that is too small", "{mode: fast, n: 0}", false},
		"Unknown":        {"a key that does not exist", "{mode: fast, m: 1}", false},
		"UnknownWithin":  {"a key that does not exist, behind a $ref", "{mode: fast, list: [{l: 1}]}", false},
		"Missing":        {"a key that must be there", "{n: 1}", false},
		"WholeIsText":    {"an expression for the whole of with", `"${{ inputs.all }}"`, false},
		"LabelIsNumber":  {"a value of a map of the wrong type", "{mode: fast, labels: {a: 1}}", false},
		"EitherIsNumber": {"none of several", "{mode: fast, either: 1}", false},
	}
	s := compile(t, raw)
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doc, err := document([]byte(smallest + "  steps:\n    - id: a\n      uses: made\n      with: " + tc.with + "\n"))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Validate(doc); (err == nil) != tc.ok {
				t.Errorf("%s: want ok %t, got %v", tc.reason, tc.ok, err)
			}
		})
	}
	if _, err := Schema(schemas{"broken": {Effect: "read", Input: json.RawMessage(`[`)}}); err == nil {
		t.Error("an input that is no JSON Schema: want an error")
	}
}
