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
			"guard-now-elsewhere", "guard-step", "guard-time-zone", "if-never", "on-failure-steps",
			"with-expression-type", "with-object-field",
		},
		"what one step is to another": {
			"cycle", "cycle-implied", "cycle-self", "foreach-cycle", "on-failure-id",
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
