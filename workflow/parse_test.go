package workflow

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const smallest = "apiVersion: tkgfix.dev/v1alpha1\nkind: Workflow\nmetadata: {name: small}\nspec:\n"

// TestParse reads the file with every key and looks at what came of it.
func TestParse(t *testing.T) {
	t.Parallel()
	src := read(t, "testdata/ok/full.yaml")
	w, diags := Check("full.yaml", src, testSchemas())
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	if w.Name != "documented-fix" || w.File != "full.yaml" || string(w.Source) != string(src) {
		t.Errorf("name %q, file %q, source kept %t", w.Name, w.File, string(w.Source) == string(src))
	}
	wantInputs := []Input{
		{Name: "registry", Type: "string", Description: "host[:port]; found from the failing pods if empty", Default: "", HasDefault: true},
		{Name: "ca", Type: "file", Description: "PEM of the CA that signed the registry's certificate", Required: true},
		{Name: "cluster", Type: "string", Description: "namespace/name", Required: true},
		{Name: "attempts", Type: "integer", Default: int64(2), HasDefault: true},
		{Name: "deep", Type: "boolean", Default: false, HasDefault: true},
		{Name: "skip", Type: "list", Default: []any{"kube-system", "vmware-system-tkg"}, HasDefault: true},
	}
	ignorePos := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Pos" }, cmp.Ignore())
	if diff := cmp.Diff(wantInputs, w.Inputs, ignorePos); diff != "" {
		t.Errorf("inputs: -want, +got:\n%s", diff)
	}
	wantDefaults := Defaults{Timeout: 10 * time.Minute, Retry: Retry{Attempts: 5, Backoff: "exponential", Initial: time.Second, Max: 30 * time.Second, Jitter: 10}}
	if diff := cmp.Diff(wantDefaults, w.Defaults); diff != "" {
		t.Errorf("defaults: -want, +got:\n%s", diff)
	}
	probe := w.Step("probe")
	if probe.Timeout != 90*time.Minute || probe.Retry.Attempts != 1 || probe.Retry.Max != 30*time.Second {
		t.Errorf("a step overrides only what it names: timeout %s, retry %+v", probe.Timeout, probe.Retry)
	}
	if got := w.Step("detect").Timeout; got != 10*time.Minute {
		t.Errorf("a step without a timeout has the default: got %s", got)
	}
	if diff := cmp.Diff([]string{"detect", "diagnose"}, w.Step("patch").Needs); diff != "" {
		t.Errorf("written and implied needs: -want, +got:\n%s", diff)
	}
	if diff := cmp.Diff(map[string]bool{"diagnose": true, "patch": true, "detect": true}, w.Step("recreate").References); diff != "" {
		t.Errorf("references: -want, +got:\n%s", diff)
	}
	if w.Step("nobody") != nil {
		t.Error("Step of an unknown id: want nil")
	}
	if w.Step("recreate").Pos != (Pos{File: "full.yaml", Line: 48, Col: 11}) {
		t.Errorf("position of a step: got %s", w.Step("recreate").Pos)
	}
}

func TestOrder(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reason string
		steps  string
		want   []string
	}{
		"File":   {"without needs the order is the file's", "{id: b, uses: x}|{id: a, uses: x}", []string{"b", "a"}},
		"Needs":  {"a need comes first, the rest stays", "{id: c, uses: x, needs: [a]}|{id: b, uses: x}|{id: a, uses: x}", []string{"b", "a", "c"}},
		"Chain":  {"an implied need comes first", `{id: c, uses: x, with: {v: "${{ steps.b.v }}"}}|{id: b, uses: x, if: "${{ steps.a.v }}"}|{id: a, uses: x}`, []string{"a", "b", "c"}},
		"Cycle":  {"what waits for itself comes last", "{id: a, uses: x, needs: [b]}|{id: b, uses: x, needs: [a]}|{id: c, uses: x}", []string{"c", "a", "b"}},
		"Ghosts": {"a need that does not exist holds nothing up", "{id: a, uses: x, needs: [ghost]}", []string{"a"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src := smallest + "  steps:\n    - " + strings.ReplaceAll(tc.steps, "|", "\n    - ") + "\n"
			w, diags := Parse("w.yaml", []byte(src))
			if err := diags.Err(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, w.Order()); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestBindInputs(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reason string
		given  map[string]string
		want   map[string]any
		errs   []string
	}{
		"Defaults": {
			reason: "what is not given has its default",
			given:  map[string]string{"ca": "ca.pem", "cluster": "a/b"},
			want: map[string]any{
				"registry": "", "ca": "ca.pem", "cluster": "a/b", "attempts": int64(2), "deep": false, "skip": []any{"kube-system", "vmware-system-tkg"},
			},
		},
		"Types": {
			reason: "each value is of its input's type",
			given:  map[string]string{"ca": "ca.pem", "cluster": "a/b", "registry": "r", "attempts": "-7", "deep": "true", "skip": "x, y,"},
			want:   map[string]any{"registry": "r", "ca": "ca.pem", "cluster": "a/b", "attempts": int64(-7), "deep": true, "skip": []any{"x", "y"}},
		},
		"JSONList": {
			reason: "a list may be a JSON array",
			given:  map[string]string{"ca": "c", "cluster": "a/b", "skip": ` ["a,b", "c"]`},
			want:   map[string]any{"registry": "", "ca": "c", "cluster": "a/b", "attempts": int64(2), "deep": false, "skip": []any{"a,b", "c"}},
		},
		"All": {
			reason: "all that is wrong is named at once",
			given:  map[string]string{"clutser": "x", "other": "y", "attempts": "many", "deep": "yes", "skip": "[1]"},
			errs: []string{
				`input "ca" (file) is required: PEM of the CA that signed the registry's certificate`,
				`input "cluster" (string) is required: namespace/name`,
				`input "attempts" must be a whole number, not "many"`,
				`input "deep" must be true or false, not "yes"`,
				`input "skip" must be a list of strings: a,b,c or ["a","b","c"]`,
				`unknown input "clutser"; did you mean "cluster"? inputs: registry, ca, cluster, attempts, deep, skip`,
				`unknown input "other"; inputs: registry, ca, cluster, attempts, deep, skip`,
			},
		},
		"EmptyFile": {
			reason: "a required file cannot be empty",
			given:  map[string]string{"ca": "", "cluster": "a/b"},
			errs:   []string{`input "ca" must be the path of a file, and is empty`},
		},
	}
	w, diags := Check("full.yaml", read(t, "testdata/ok/full.yaml"), testSchemas())
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := w.BindInputs(tc.given)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
			text := ""
			if err != nil {
				text = err.Error()
			}
			if diff := cmp.Diff(strings.Join(tc.errs, "\n"), text); diff != "" {
				t.Errorf("%s: error: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestDiagnosticsErr(t *testing.T) {
	t.Parallel()
	if err := (Diagnostics{}).Err(); err != nil {
		t.Errorf("no diagnostics are no error: got %v", err)
	}
	ds := Diagnostics{{Pos: Pos{"f", 1, 2}, Kind: "type", Message: "a"}, {Pos: Pos{"f", 3, 4}, Kind: "value", Message: "b"}}
	if diff := cmp.Diff("f:1:2: a [type]\nf:3:4: b [value]", ds.Err().Error()); diff != "" {
		t.Errorf("Err: -want, +got:\n%s", diff)
	}
}
