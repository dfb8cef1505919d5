package cli

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tkgfix/tkgfix/internal/plugindir"
	"github.com/tkgfix/tkgfix/workflow"
)

var updateReference = flag.Bool("update", false, "write docs/workflow-reference.md")

// onlyShipped is a catalog without plugins of third parties.
func onlyShipped() *catalog {
	return &catalog{shelf: func() (*plugindir.Shelf, error) {
		return plugindir.Open(nil, "/nowhere/"+plugindir.LockFile, shippedNames())
	}}
}

// TestReference holds docs/workflow-reference.md to the code that it is made of.
func TestReference(t *testing.T) {
	t.Parallel()
	const path = "../../docs/workflow-reference.md"
	want, err := workflow.Reference(onlyShipped())
	if err != nil {
		t.Fatal(err)
	}
	if *updateReference {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("the reference is stale; go test ./internal/cli -run TestReference -update (-want, +got):\n%s", diff)
	}
}

// TestSchemaTakesTheExamples holds the schema of the shipped steps to the shipped workflows, with a validator that is not ours.
func TestSchemaTakesTheExamples(t *testing.T) {
	t.Parallel()
	raw, err := workflow.Schema(onlyShipped())
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(workflow.SchemaID, doc); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile(workflow.SchemaID)
	if err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob("../../examples/workflows/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, path := range paths {
		src, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(asJSON(t, src)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		broken := bytes.Replace(src, []byte("uses: detect\n"), []byte("uses: detcet\n"), 1)
		if bytes.Contains(src, []byte("uses: detect\n")) && schema.Validate(asJSON(t, broken)) == nil {
			t.Errorf("%s: a step that does not exist passes", path)
		}
	}
}

func asJSON(t *testing.T, src []byte) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(src, &v); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}
