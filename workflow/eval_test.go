package workflow

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fixture returns a valid workflow whose last step is given, after detect, probe, patch and anything.
func fixture(t *testing.T, last string) *Workflow {
	t.Helper()
	const head = `apiVersion: tkgfix.dev/v1alpha1
kind: Workflow
metadata: {name: evaluate}
spec:
  inputs:
    cluster: {type: string}
    count: {type: integer, default: 3}
    deep: {type: boolean, default: false}
    names: {type: list, default: [a, b]}
  connections:
    supervisor: {kubeconfig: "${{ env.KUBECONFIG }}"}
    nodes: {via: ssh}
  steps:
    - {id: detect, uses: detect, with: {cluster: x}}
    - {id: probe, uses: probe, with: {cluster: x, registry: y}}
    - {id: patch, uses: patch-tkgserviceconfiguration, approval: {message: Go?}, with: {cluster: x, ca: y}}
    - {id: free, uses: anything}
`
	w, diags := Check("w.yaml", []byte(head+last), testSchemas())
	if err := diags.Err(); err != nil {
		t.Fatalf("Check: %v", err)
	}
	return w
}

func scope(t *testing.T) Scope {
	t.Helper()
	return Scope{
		Inputs: map[string]any{"cluster": "team-a/dev1", "count": int64(3), "deep": false, "names": []any{"a", "b"}},
		Steps: map[string]any{
			"detect": json.RawMessage(`{"affected":true,"class":"trust","registry":"r:5000","failing":[{"pod":"p1","scope":"cluster"},{"pod":"p2","scope":"supervisor"}],"failingCount":2,"scanned":9007199254740993}`),
			"probe":  map[string]any{"registry": "r:5000", "trusted": false, "skew": 2.0, "labels": map[string]any{"zone": "1"}},
			"patch":  map[string]any{"name": "lab-2026", "changed": true},
			"free":   map[string]any{"n": 3.0, "f": 1.5, "deep": map[string]any{"list": []any{1.0, "two"}}},
		},
	}
}

func TestEvalWith(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reason string
		with   string
		want   string
	}{
		"Constants":      {"constants keep their types and keys are sorted", `{z: 1, a: [1.5, true, ~, "1", "<&>"]}`, `{"a":[1.5,true,null,"1","<&>"],"z":1}`},
		"Empty":          {"an empty mapping is an empty object", `{}`, `{}`},
		"String":         {"a lone expression is its value", `{x: "${{ inputs.cluster }}"}`, `{"x":"team-a/dev1"}`},
		"Integer":        {"a lone expression keeps a number", `{x: "${{ inputs.count + 1 }}"}`, `{"x":4}`},
		"Spaces":         {"white space around a lone expression is no text", `{x: " ${{ inputs.count }} "}`, `{"x":3}`},
		"Text":           {"an expression in text is put into it", `{x: "${{ inputs.count }} of ${{ 1.5 }} ${{ inputs.deep }}"}`, `{"x":"3 of 1.5 false"}`},
		"List":           {"a list stays a list", `{x: "${{ inputs.names }}"}`, `{"x":["a","b"]}`},
		"Object":         {"all outputs of a step are an object", `{x: "${{ steps.probe }}"}`, `{"x":{"labels":{"zone":"1"},"registry":"r:5000","skew":2,"trusted":false}}`},
		"Filter":         {"macros work on outputs", `{x: "${{ steps.detect.failing.filter(f, f.scope == 'cluster').map(f, f.pod) }}"}`, `{"x":["p1"]}`},
		"NumberBySchema": {"a whole number that the schema calls a number adds to a fraction", `{x: "${{ steps.probe.skew + 0.5 }}"}`, `{"x":2.5}`},
		"WholeByDefault": {"without a schema a whole number is an integer", `{x: "${{ steps.free.n + 1 }}", y: "${{ steps.free.f * 2.0 }}"}`, `{"x":4,"y":3}`},
		"LargeInteger":   {"an integer that a float cannot hold is exact", `{x: "${{ steps.detect.scanned }}"}`, `{"x":9007199254740993}`},
		"Nested":         {"expressions are found at any depth", `{a: {b: [{c: "${{ steps.free.deep.list[1] }}"}]}}`, `{"a":{"b":[{"c":"two"}]}}`},
		"MapLiteral":     {"braces of CEL do not end the expression", `{x: "${{ {'a': {'b': '}}'}} }}"}`, `{"x":{"a":{"b":"}}"}}}`},
		"HasNot":         {"an output that a reading step left out is not there", `{x: "${{ has(steps.detect.note) ? steps.detect.note : 'none' }}"}`, `{"x":"none"}`},
		"KnownAnyway":    {"what decides without the unknown part is known", `{x: "${{ inputs.deep && steps.patch.trust.size() > 0 }}"}`, `{"x":false}`},
		"Null":           {"null is null", `{x: "${{ null }}"}`, `{"x":null}`},
		"Strings":        {"the string functions are there", `{x: "${{ inputs.names.join('-').upperAscii() }}"}`, `{"x":"A-B"}`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := fixture(t, "    - {id: last, uses: anything, with: "+tc.with+"}\n")
			got, err := w.EvalWith(w.Step("last"), scope(t))
			if err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			if diff := cmp.Diff(tc.want, string(got)); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestEvalUnknown(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reason string
		x      string
		want   UnknownError
	}{
		"Field":      {"a field that a changing step has not told", "steps.patch.trust", UnknownError{"patch", "trust"}},
		"Inside":     {"something within an unknown field", "steps.patch.trust[0].name", UnknownError{"patch", "trust"}},
		"Has":        {"has() cannot say no while the step may still tell", "has(steps.patch.trust)", UnknownError{"patch", "trust"}},
		"Whole":      {"all outputs, when a required one is missing", "steps.patch", UnknownError{"patch", ""}},
		"Function":   {"a function of an unknown", "size(steps.patch.trust) + 1", UnknownError{"patch", "trust"}},
		"Step":       {"a field of a step that has not run", "steps.later.name", UnknownError{"later", "name"}},
		"WholeStep":  {"all of a step that has not run", "steps.later", UnknownError{"later", ""}},
		"Macro":      {"an unknown inside a macro", "inputs.names.exists(n, n == steps.later.name)", UnknownError{"later", "name"}},
		"InList":     {"an unknown inside a list", "[1, steps.later.changed]", UnknownError{"later", "changed"}},
		"ReadAbsent": {"a reading step that left out a field that is not tested", "steps.detect.note", UnknownError{"detect", "note"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := fixture(t, `    - {id: later, uses: patch-tkgserviceconfiguration, approval: {message: Go?}, with: {cluster: x, ca: y}}
    - {id: last, uses: anything, with: {x: "${{ `+tc.x+` }}"}}
`)
			_, err := w.EvalWith(w.Step("last"), scope(t))
			var got *UnknownError
			if !errors.As(err, &got) {
				t.Fatalf("%s: want an UnknownError, got %v", tc.reason, err)
			}
			if diff := cmp.Diff(tc.want, *got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestEvalIf(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reason string
		cond   string
		want   bool
	}{
		"None":    {"without an if the step runs", "", true},
		"True":    {"a comparison that holds", `, if: "${{ steps.detect.class == 'trust' }}"`, true},
		"False":   {"a comparison that does not", `, if: "${{ steps.detect.failingCount > 5 }}"`, false},
		"Dynamic": {"a value without a schema that is a boolean", `, if: "${{ steps.free.n == 3 }}"`, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := fixture(t, "    - {id: last, uses: anything"+tc.cond+"}\n")
			got, err := w.EvalIf(w.Step("last"), scope(t))
			if err != nil || got != tc.want {
				t.Errorf("%s: want %t, got %t, %v", tc.reason, tc.want, got, err)
			}
		})
	}
	t.Run("NotBoolean", func(t *testing.T) {
		t.Parallel()
		w := fixture(t, "    - {id: last, uses: anything, if: \"${{ steps.free.n }}\"}\n")
		_, err := w.EvalIf(w.Step("last"), scope(t))
		if err == nil || !strings.Contains(err.Error(), "must be true or false, and this is a number") {
			t.Errorf("a number is no condition: got %v", err)
		}
	})
}

func TestEvalMessage(t *testing.T) {
	t.Parallel()
	w := fixture(t, `    - id: last
      uses: patch-tkgserviceconfiguration
      approval: {message: "Patch for ${{ steps.detect.failingCount }} pods of ${{ inputs.cluster }}?"}
      with: {cluster: x, ca: y}
`)
	got, err := w.EvalMessage(w.Step("last"), scope(t))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("Patch for 2 pods of team-a/dev1?", got); diff != "" {
		t.Errorf("EvalMessage: -want, +got:\n%s", diff)
	}
	if got, err := w.EvalMessage(w.Step("detect"), scope(t)); got != "" || err != nil {
		t.Errorf("a step without approval asks nothing: got %q, %v", got, err)
	}
}

func TestEvalConnections(t *testing.T) {
	t.Parallel()
	w := fixture(t, "")
	_, err := w.EvalConnections(Scope{})
	if err == nil || !strings.Contains(err.Error(), "w.yaml:11:35: environment variable KUBECONFIG is not set") {
		t.Errorf("a variable that is not set: got %v", err)
	}
	got, err := w.EvalConnections(Scope{Env: map[string]string{"KUBECONFIG": "/k"}})
	if err != nil {
		t.Fatal(err)
	}
	want := ConnectionValues{
		Supervisor: &Supervisor{Kubeconfig: "/k"},
		Nodes:      &Nodes{Via: "ssh", User: "vmware-system-user", Port: 22, HostKeys: "accept-new"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("EvalConnections: -want, +got:\n%s", diff)
	}
}

func TestEvalNodes(t *testing.T) {
	t.Parallel()
	src := "apiVersion: tkgfix.dev/v1alpha1\nkind: Workflow\nmetadata: {name: nodes}\nspec:\n  inputs:\n    bastion: {type: string}\n  connections:\n" +
		"    nodes:\n      {via: debug-pod, user: ann, port: 2222, jump: \"ann@${{ inputs.bastion }}:22\", identityFile: \"${{ env.KEY }}\",\n" +
		"       passwordFile: /pw, agent: true, knownHosts: /k, hostKeys: strict, image: pause}\n  steps:\n    - {id: a, uses: anything}\n"
	w, diags := Check("w.yaml", []byte(src), testSchemas())
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	got, err := w.EvalConnections(Scope{Inputs: map[string]any{"bastion": "jump.corp"}, Env: map[string]string{"KEY": "/id"}})
	if err != nil {
		t.Fatal(err)
	}
	want := &Nodes{
		Via: "debug-pod", User: "ann", Port: 2222, Jump: "ann@jump.corp:22", IdentityFile: "/id", PasswordFile: "/pw", Agent: true,
		KnownHosts: "/k", HostKeys: "strict", Image: "pause",
	}
	if diff := cmp.Diff(want, got.Nodes); diff != "" {
		t.Errorf("every key of nodes (-want, +got):\n%s", diff)
	}
}

func TestEvalPort(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reason string
		given  any
		want   int
		err    string
	}{
		"Integer":     {"an input gives the port", int64(2222), 2222, ""},
		"ThroughJSON": {"a number that went through JSON is still whole", 2222.0, 2222, ""},
		"Zero":        {"no port is 0", int64(0), 0, "w.yaml:8:24: port must be from 1 to 65535, and this is 0"},
		"Large":       {"no port is above 65535", int64(70000), 0, "w.yaml:8:24: port must be from 1 to 65535, and this is 70000"},
	}
	src := "apiVersion: tkgfix.dev/v1alpha1\nkind: Workflow\nmetadata: {name: port}\nspec:\n  inputs:\n    port: {type: integer}\n  connections:\n" +
		"    nodes: {port: \"${{ inputs.port }}\"}\n  steps:\n    - {id: a, uses: anything}\n"
	w, diags := Check("w.yaml", []byte(src), testSchemas())
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := w.EvalConnections(Scope{Inputs: map[string]any{"port": tc.given}})
			if tc.err != "" {
				if err == nil || err.Error() != tc.err {
					t.Errorf("%s: want %q, got %v", tc.reason, tc.err, err)
				}
				return
			}
			if err != nil || got.Nodes.Port != tc.want {
				t.Errorf("%s: want %d, got %+v, %v", tc.reason, tc.want, got.Nodes, err)
			}
		})
	}
}

func TestEvalCost(t *testing.T) {
	t.Parallel()
	w := fixture(t, `    - {id: last, uses: anything, with: {x: "${{ steps.free.l.map(a, steps.free.l.map(b, steps.free.l.map(c, a + b + c))) }}"}}`+"\n")
	s := scope(t)
	list := make([]any, 2000)
	for i := range list {
		list[i] = 1.0
	}
	s.Steps["free"] = map[string]any{"l": list}
	// Unbounded, these are eight thousand million additions.
	_, err := w.EvalWith(w.Step("last"), s)
	if err == nil || !strings.Contains(err.Error(), "too much work") {
		t.Errorf("want the cost limit, got %v", err)
	}
}

func TestEvalErrors(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ reason, x, want string }{
		"NoField": {"a field that a nested object lacks", "steps.free.deep.nope", "no such key: nope"},
		"Index":   {"an index beyond the list", "steps.detect.failing[9].pod", "index out of bounds: 9"},
		"Bytes":   {"bytes are no JSON", "b'abc'", "a result of type bytes cannot be used"},
		"Keys":    {"an object has strings as keys", "{1: 2}", "a key of an object must be a string, not int"},
		"NaN":     {"JSON has no infinity", "1.0 / 0.0", "no finite number"},
		"Divide":  {"a division by zero", "1 / (inputs.count - 3)", "division by zero"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := fixture(t, "    - {id: last, uses: anything, with: {x: \"${{ "+tc.x+" }}\"}}\n")
			_, err := w.EvalWith(w.Step("last"), scope(t))
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.HasPrefix(err.Error(), "w.yaml:18:") {
				t.Errorf("%s: want an error at w.yaml:18 with %q, got %v", tc.reason, tc.want, err)
			}
		})
	}
}
