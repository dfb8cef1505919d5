package workflow

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// items is a step over the clusters of a survey, and what each item's input is.
const items = `    - {id: survey, uses: survey}
    - id: nodes
      uses: verify-node-cert
      forEach: "${{ steps.survey.clusters }}"
      with: {cluster: "${{ item.ref }}"}
    - id: writes
      uses: exec
      effect: change
      forEach: "${{ inputs.names }}"
      approval: {message: "For ${{ size(inputs.names) }}"}
      with: {command: ["${{ item }}"]}
    - {id: open, uses: anything, forEach: "${{ inputs.names }}"}
`

func TestEvalForEach(t *testing.T) {
	t.Parallel()
	many := make([]any, maxItems+1)
	for i := range many {
		many[i] = "x"
	}
	tests := map[string]struct {
		reason string
		list   string
		names  []any
		want   []any
		err    string
	}{
		"Objects":  {reason: "items are objects as the step gave them", list: "steps.survey.clusters", want: []any{map[string]any{"ref": "a/1", "workers": int64(3), "skew": 2.0}}},
		"Names":    {reason: "items are strings", list: "inputs.names", names: []any{"a", "b"}, want: []any{"a", "b"}},
		"Empty":    {reason: "no items are a list too", list: "inputs.names", names: []any{}, want: []any{}},
		"Computed": {reason: "a list may be made", list: "inputs.names.map(n, {'name': n, 'n': 1})", names: []any{"a"}, want: []any{map[string]any{"name": "a", "n": int64(1)}}},
		"Bound":    {reason: "a thousand items and no more", list: "inputs.names", names: many, err: "forEach has 1001 items; at most 1000 are allowed"},
		"NoList":   {reason: "what turns out to be no list", list: "steps.free.n", err: "forEach must be a list, and this is a number"},
		"Cost":     {reason: "a list that takes too much work", list: "inputs.names.map(a, inputs.names.map(b, a + b))", names: many, err: "the expression takes too much work to evaluate"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := fixture(t, "    - {id: survey, uses: survey}\n    - {id: last, uses: anything, forEach: \"${{ "+tc.list+" }}\"}\n")
			s := scope(t)
			s.Inputs["names"] = tc.names
			s.Steps["survey"] = json.RawMessage(`{"clusters":[{"ref":"a/1","workers":3,"skew":2}]}`)
			got, err := w.EvalForEach(w.Step("last"), s)
			if tc.err != "" {
				if err == nil || !strings.HasPrefix(err.Error(), "w.yaml:19:") || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("%s: want %q, got %v", tc.reason, tc.err, err)
				}
				return
			}
			if err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
	t.Run("Unknown", func(t *testing.T) {
		t.Parallel()
		w := fixture(t, items)
		_, err := w.EvalForEach(w.Step("nodes"), scope(t))
		wantUnknown(t, err, UnknownError{"survey", "clusters"})
	})
	t.Run("None", func(t *testing.T) {
		t.Parallel()
		w := fixture(t, items)
		if got, err := w.EvalForEach(w.Step("survey"), scope(t)); got != nil || err != nil {
			t.Errorf("a step without forEach has no items: got %v, %v", got, err)
		}
	})
}

func wantUnknown(t *testing.T, err error, want UnknownError) {
	t.Helper()
	got, ok := errors.AsType[*UnknownError](err)
	if !ok {
		t.Fatalf("want an UnknownError, got %v", err)
	}
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}

// TestEvalItem holds that the input and the condition see the item, and the message does not.
func TestEvalItem(t *testing.T) {
	t.Parallel()
	const step = `    - {id: survey, uses: survey}
    - id: last
      uses: anything
      forEach: "${{ steps.survey.clusters }}"
      as: cluster
      if: "${{ cluster.workers > 1 && steps.detect.affected }}"
      with: {ref: "${{ cluster.ref }}", n: "${{ cluster.workers + 1 }}", skew: "${{ cluster.skew + 0.5 }}", text: "${{ cluster.ref }} of ${{ inputs.cluster }}"}
`
	tests := map[string]struct {
		reason string
		item   any
		runs   bool
		want   string
	}{
		"Value":       {"an item as EvalForEach gives it", map[string]any{"ref": "a/1", "workers": int64(3), "skew": 2.0}, true, `{"n":4,"ref":"a/1","skew":2.5,"text":"a/1 of team-a/dev1"}`},
		"ThroughJSON": {"an item that went through JSON", map[string]any{"ref": "a/1", "workers": 1.0, "skew": 2.0}, false, `{"n":2,"ref":"a/1","skew":2.5,"text":"a/1 of team-a/dev1"}`},
		"Raw":         {"an item that is JSON still", json.RawMessage(`{"ref":"a/2","workers":5,"skew":1}`), true, `{"n":6,"ref":"a/2","skew":1.5,"text":"a/2 of team-a/dev1"}`},
	}
	w := fixture(t, step)
	if !w.IfUsesItem(w.Step("last")) || w.IfUsesItem(w.Step("survey")) {
		t.Error("IfUsesItem: want true for the step whose if has the item, false for one without if")
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := scope(t)
			s.Item = tc.item
			runs, err := w.EvalIf(w.Step("last"), s)
			if err != nil || runs != tc.runs {
				t.Errorf("%s: EvalIf: want %t, got %t, %v", tc.reason, tc.runs, runs, err)
			}
			got, err := w.EvalWith(w.Step("last"), s)
			if err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			if diff := cmp.Diff(tc.want, string(got)); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestIfUsesItem(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reason string
		cond   string
		want   bool
	}{
		"Item":     {"the item itself", "item != ''", true},
		"Steps":    {"steps alone", "steps.detect.affected", false},
		"Shadowed": {"a macro's own variable of the same name", "inputs.names.all(item, item != '')", false},
		"Both":     {"the item within a macro", "inputs.names.all(n, n != item)", true},
		"Text":     {"the word in a text", "inputs.cluster == 'item'", false},
		"Field":    {"the word as a field", "has(steps.free.item)", false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := fixture(t, "    - {id: last, uses: anything, forEach: \"${{ inputs.names }}\", if: \"${{ "+tc.cond+" }}\"}\n")
			if got := w.IfUsesItem(w.Step("last")); got != tc.want {
				t.Errorf("%s: want %t, got %t", tc.reason, tc.want, got)
			}
		})
	}
}

// TestEvalLists holds that expressions see the outputs of a step with forEach as a list, and know what is not known of it.
func TestEvalLists(t *testing.T) {
	t.Parallel()
	full := []any{map[string]any{"ok": true, "cluster": "a"}, json.RawMessage(`{"ok":false,"cluster":"b","note":"stale"}`)}
	tests := map[string]struct {
		reason  string
		x       string
		outputs map[string]any
		want    string
		unknown UnknownError
	}{
		"Index":           {reason: "one entry", x: "steps.nodes[1].cluster", outputs: map[string]any{"nodes": full}, want: `"b"`},
		"All":             {reason: "all entries", x: "steps.nodes.all(n, n.ok)", outputs: map[string]any{"nodes": full}, want: `false`},
		"Size":            {reason: "how many", x: "size(steps.nodes)", outputs: map[string]any{"nodes": full}, want: `2`},
		"Whole":           {reason: "the list itself", x: "steps.nodes.filter(n, n.ok)", outputs: map[string]any{"nodes": full}, want: `[{"cluster":"a","ok":true}]`},
		"JSON":            {reason: "a list that is JSON", x: "steps.nodes.map(n, n.cluster)", outputs: map[string]any{"nodes": json.RawMessage(`[{"ok":true,"cluster":"c"}]`)}, want: `["c"]`},
		"Empty":           {reason: "no items, no outputs", x: "steps.nodes.all(n, n.ok)", outputs: map[string]any{"nodes": []any{}}, want: `true`},
		"Has":             {reason: "what a reading step left out is not there", x: "steps.nodes.map(n, has(n.note) ? n.note : '')", outputs: map[string]any{"nodes": full}, want: `["","stale"]`},
		"Numbers":         {reason: "numbers of JSON are whole", x: "steps.writes[0].exitCode + 1", outputs: map[string]any{"writes": []any{map[string]any{"exitCode": 0.0}}}, want: `1`},
		"KnownPart":       {reason: "an entry that is known beside one that is not", x: "steps.nodes[0].ok", outputs: map[string]any{"nodes": []any{full[0], nil}}, want: `true`},
		"NotRun":          {reason: "a step that has not run", x: "steps.nodes.all(n, n.ok)", unknown: UnknownError{"nodes", ""}},
		"NotRunIndex":     {reason: "an entry of a step that has not run", x: "steps.nodes[0].ok", unknown: UnknownError{"nodes", ""}},
		"Entry":           {reason: "an entry that is not known", x: "steps.nodes[1].ok", outputs: map[string]any{"nodes": []any{full[0], nil}}, unknown: UnknownError{"nodes", ""}},
		"NullEntry":       {reason: "null in JSON is an entry that is not known", x: "steps.nodes[1].ok", outputs: map[string]any{"nodes": json.RawMessage(`[{"ok":true,"cluster":"a"},null]`)}, unknown: UnknownError{"nodes", ""}},
		"Partly":          {reason: "all entries, when one is not known", x: "steps.nodes.all(n, n.ok)", outputs: map[string]any{"nodes": []any{full[0], nil}}, unknown: UnknownError{"nodes", ""}},
		"Required":        {reason: "a required field that an entry has not told", x: "steps.nodes[0].ok", outputs: map[string]any{"nodes": []any{map[string]any{"cluster": "a"}}}, unknown: UnknownError{"nodes", "ok"}},
		"RequiredOfAll":   {reason: "a required field, through a macro", x: "steps.nodes.exists(n, n.ok)", outputs: map[string]any{"nodes": []any{map[string]any{"cluster": "a"}}}, unknown: UnknownError{"nodes", ""}},
		"ReadAbsent":      {reason: "a field that a reading step left out and that is not tested", x: "steps.nodes.map(n, n.note)", outputs: map[string]any{"nodes": full}, unknown: UnknownError{"nodes", "note"}},
		"ChangeAbsent":    {reason: "has() cannot say no while the step may still tell", x: "has(steps.writes[0].stdout)", outputs: map[string]any{"writes": []any{map[string]any{"exitCode": 0}}}, unknown: UnknownError{"writes", "stdout"}},
		"ChangeUnrelated": {reason: "an optional field that nobody asks for does not matter", x: "steps.writes.all(w, w.exitCode == 0)", outputs: map[string]any{"writes": []any{map[string]any{"exitCode": 0}}}, want: `true`},
		"Open":            {reason: "a field that a step without schema has not told", x: "steps.open[0].nope", outputs: map[string]any{"open": []any{map[string]any{"a": 1}}}, unknown: UnknownError{"open", "nope"}},
		"Computed":        {reason: "an index that is computed", x: "steps.nodes[inputs.count - 2].cluster", outputs: map[string]any{"nodes": full}, want: `"b"`},
		"ComputedUnknown": {reason: "an index that is computed, to an entry that is not known", x: "steps.nodes[inputs.count - 2].cluster", outputs: map[string]any{"nodes": []any{full[0], nil}}, unknown: UnknownError{"nodes", ""}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := fixture(t, items+"    - {id: last, uses: anything, with: {x: \"${{ "+tc.x+" }}\"}}\n")
			s := scope(t)
			for id, out := range tc.outputs {
				s.Steps[id] = out
			}
			got, err := w.EvalWith(w.Step("last"), s)
			if tc.unknown != (UnknownError{}) {
				wantUnknown(t, err, tc.unknown)
				return
			}
			if err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			if diff := cmp.Diff(`{"x":`+tc.want+`}`, string(got)); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
	for name, raw := range map[string]any{"Object": map[string]any{"ok": true}, "Entries": []any{"text"}, "JSON": json.RawMessage(`{}`)} {
		t.Run("Malformed"+name, func(t *testing.T) {
			t.Parallel()
			w := fixture(t, items+"    - {id: last, uses: anything, with: {x: \"${{ steps.nodes }}\"}}\n")
			_, err := w.EvalWith(w.Step("last"), Scope{Steps: map[string]any{"nodes": raw}})
			if err == nil || !strings.Contains(err.Error(), "read the outputs of step nodes") {
				t.Errorf("outputs that are no list of objects: got %v", err)
			}
		})
	}
}

func TestEvalGuard(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reason  string
		expr    string
		want    bool
		unknown UnknownError
		err     string
	}{
		"Inside":   {reason: "23:30 in Shanghai is within the window", expr: "now.getHours('Asia/Shanghai') in [22, 23, 0, 1]", want: true},
		"Outside":  {reason: "15:30 UTC is not", expr: "${{ now.getHours() in [22, 23, 0, 1] }}", want: false},
		"Input":    {reason: "an input", expr: "inputs.cluster.startsWith('team-a/')", want: true},
		"Step":     {reason: "the outputs of a step", expr: "steps.detect.failingCount > 5", want: false},
		"Unknown":  {reason: "a step that has not run", expr: "steps.survey.clusters.size() > 0", unknown: UnknownError{"survey", "clusters"}},
		"NotBool":  {reason: "what turns out to be no boolean", expr: "steps.free.n", err: "a guard must be true or false, and this is a number"},
		"Duration": {reason: "times can be compared", expr: "now - timestamp('2026-03-01T00:00:00Z') < duration('24h')", want: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := fixture(t, fmt.Sprintf("    - {id: survey, uses: survey}\n  guards:\n    - {name: g, expr: %q, message: no}\n", tc.expr))
			s := scope(t)
			s.Now = time.Date(2026, 3, 1, 15, 30, 0, 0, time.UTC)
			got, err := w.EvalGuard(&w.Guards[0], s)
			switch {
			case tc.unknown != (UnknownError{}):
				wantUnknown(t, err, tc.unknown)
			case tc.err != "":
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("%s: want %q, got %v", tc.reason, tc.err, err)
				}
			case err != nil || got != tc.want:
				t.Errorf("%s: want %t, got %t, %v", tc.reason, tc.want, got, err)
			}
		})
	}
}

func TestEvalOnFailure(t *testing.T) {
	t.Parallel()
	w := fixture(t, `  onFailure:
    - {id: tell, uses: notify, if: "${{ failure.status == 'failed' }}", with: {url: u, message: "${{ failure.run }} ${{ failure.step }}: ${{ failure.error }}"}}
`)
	if len(w.OnFailure) != 1 || w.Step("tell") != nil {
		t.Fatalf("onFailure: got %d steps, and Step finds it: %t", len(w.OnFailure), w.Step("tell") != nil)
	}
	s := Scope{Failure: map[string]string{"status": "failed", "step": "patch", "run": "01x"}}
	if runs, err := w.EvalIf(&w.OnFailure[0], s); err != nil || !runs {
		t.Errorf("EvalIf: want true, got %t, %v", runs, err)
	}
	got, err := w.EvalWith(&w.OnFailure[0], s)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`{"message":"01x patch: ","url":"u"}`, string(got)); diff != "" {
		t.Errorf("EvalWith: -want, +got:\n%s", diff)
	}
}

func TestEvalAllowedSigners(t *testing.T) {
	t.Parallel()
	if got, err := fixture(t, "").EvalAllowedSigners(Scope{}); got != "" || err != nil {
		t.Errorf("none is configured: got %q, %v", got, err)
	}
	w := fixture(t, "  approvals: {allowedSigners: \"${{ env.HOME }}/signers\"}\n")
	got, err := w.EvalAllowedSigners(Scope{Env: map[string]string{"HOME": "/h"}})
	if got != "/h/signers" || err != nil {
		t.Errorf("want /h/signers, got %q, %v", got, err)
	}
	if _, err := w.EvalAllowedSigners(Scope{}); err == nil || !strings.Contains(err.Error(), "environment variable HOME is not set") {
		t.Errorf("a variable that is not set: got %v", err)
	}
}

func TestApprovalPolicy(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reason string
		policy string
		want   Approval
	}{
		"Default":   {"one approver, anybody, for ever", "", Approval{Required: 1, Requester: true}},
		"Two":       {"of two the requester is none", ", required: 2", Approval{Required: 2}},
		"Named":     {"named approvers leave the requester out", ", approvers: [a]", Approval{Required: 1, Approvers: []string{"a"}}},
		"Allowed":   {"unless it says so", ", required: 2, approvers: [a, b], requester: allowed", Approval{Required: 2, Requester: true, Approvers: []string{"a", "b"}}},
		"Excluded":  {"one that is somebody else", ", requester: excluded", Approval{Required: 1}},
		"Expiring":  {"a gate that does not wait for ever", ", expiresAfter: 24h", Approval{Required: 1, Requester: true, ExpiresAfter: 24 * time.Hour}},
		"TwoAllow":  {"two, of whom the requester may be one", ", required: 2, requester: allowed", Approval{Required: 2, Requester: true}},
		"OneNamed2": {"two named, one needed", ", approvers: [a, b]", Approval{Required: 1, Approvers: []string{"a", "b"}}},
	}
	ignore := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Message" }, cmp.Ignore())
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := fixture(t, "    - {id: last, uses: exec, effect: change, with: {command: [a]}, approval: {message: Go?"+tc.policy+"}}\n  approvals: {allowedSigners: s}\n")
			if diff := cmp.Diff(&tc.want, w.Step("last").Approval, ignore); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestUnapproved holds that the one diagnostic that may be dropped can be told from the others, and that the workflow is whole then.
func TestUnapproved(t *testing.T) {
	t.Parallel()
	w, diags := Parse("w.yaml", []byte(smallest+"  steps:\n    - {id: a, uses: exec, effect: destroy, with: {command: [rm]}}\n"))
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	diags = w.Validate(testSchemas())
	if len(diags) != 1 || diags[0].Kind != KindUnapproved {
		t.Fatalf("want one [%s], got %v", KindUnapproved, diags)
	}
	s := w.Step("a")
	if s.Approval != nil || w.Effect(s, "declared") != "destroy" || w.Effect(w.Step("a"), "read") != "read" {
		t.Errorf("approval %v, effect %q", s.Approval, w.Effect(s, "declared"))
	}
	if message, err := w.EvalMessage(s, Scope{}); message != "" || err != nil {
		t.Errorf("a step without approval asks nothing: got %q, %v", message, err)
	}
}

func TestForEachIsRead(t *testing.T) {
	t.Parallel()
	w, diags := Check("design.yaml", read(t, "testdata/ok/design.yaml"), testSchemas())
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	nodes, recreate := w.Step("nodes"), w.Step("recreate")
	if nodes.As != "cluster" || recreate.As != "item" || w.Step("patch").As != "" {
		t.Errorf("as: got %q, %q and %q", nodes.As, recreate.As, w.Step("patch").As)
	}
	if diff := cmp.Diff(Strategy{MaxParallel: 8}, nodes.Strategy); diff != "" {
		t.Errorf("strategy: -want, +got:\n%s", diff)
	}
	if diff := cmp.Diff(Strategy{MaxParallel: 1, Canary: 1}, recreate.Strategy); diff != "" {
		t.Errorf("strategy: -want, +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"detect", "diagnose", "nodes", "patch", "survey"}, recreate.Needs); diff != "" {
		t.Errorf("implied needs, those of forEach among them: -want, +got:\n%s", diff)
	}
	if !w.IfUsesItem(recreate) || len(w.Guards) != 2 || w.Guards[0].Message != "outside the maintenance window" || w.Guards[0].Pos.Line != 18 {
		t.Errorf("if uses item: %t; %d guards", w.IfUsesItem(recreate), len(w.Guards))
	}
}

// chain goes over one list twice, and asks for what the first step found for the same item.
const chain = `    - {id: survey, uses: survey}
    - id: nodes
      uses: verify-node-cert
      forEach: "${{ steps.survey.clusters }}"
      with: {cluster: "${{ item.ref }}"}
    - id: writes
      uses: exec
      effect: change
      forEach: "${{ steps.survey.clusters }}"
      approval: {message: "Go?"}
      with: {command: [a]}
    - id: last
      uses: verify-node-cert
      forEach: "${{ steps.survey.clusters }}"
      supervisor: {kubeconfig: "${{ item.ref == 'a/2' ? '' : '/etc/' + item.ref }}", context: "${{ its.nodes.cluster }}"}
      if: "${{ its.nodes.ok }}"
      with: {cluster: "${{ %s }}"}
`

// TestEvalIts holds that a step sees of another what that found for the same item, and knows what is not known of it.
func TestEvalIts(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason, x string
		its       map[string]any
		want      string
		unknown   UnknownError
	}{
		"Field":        {"a field", "its.nodes.cluster", map[string]any{"nodes": json.RawMessage(`{"ok":true,"cluster":"a"}`)}, `"a"`, UnknownError{}},
		"BesideList":   {"the same step's list is another thing", "its.nodes.cluster + string(size(steps.nodes))", map[string]any{"nodes": map[string]any{"ok": true, "cluster": "a"}}, `"a2"`, UnknownError{}},
		"Has":          {"what a reading step left out is not there", "has(its.nodes.note) ? its.nodes.note : 'none'", map[string]any{"nodes": map[string]any{"ok": true, "cluster": "a"}}, `"none"`, UnknownError{}},
		"NotRun":       {"a step that has told nothing for the item", "its.nodes.cluster", nil, "", UnknownError{"nodes", "cluster"}},
		"Required":     {"a required field that is not told", "its.nodes.cluster", map[string]any{"nodes": map[string]any{"ok": true}}, "", UnknownError{"nodes", "cluster"}},
		"ChangeAbsent": {"has() cannot say no while the step may still tell", "has(its.writes.stdout) ? 'a' : 'b'", map[string]any{"writes": map[string]any{"exitCode": 0}}, "", UnknownError{"writes", "stdout"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := fixture(t, fmt.Sprintf(chain, tc.x))
			s := scope(t)
			s.Steps["nodes"] = []any{map[string]any{"ok": true, "cluster": "a"}, map[string]any{"ok": true, "cluster": "b"}}
			s.Item, s.Its = map[string]any{"ref": "a/1", "workers": int64(3)}, tc.its
			got, err := w.EvalWith(w.Step("last"), s)
			if tc.unknown != (UnknownError{}) {
				wantUnknown(t, err, tc.unknown)
				return
			}
			if err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			if diff := cmp.Diff(`{"cluster":`+tc.want+`}`, string(got)); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestEvalSupervisor(t *testing.T) {
	t.Parallel()
	w := fixture(t, fmt.Sprintf(chain, "item.ref"))
	its := map[string]any{"nodes": map[string]any{"ok": true, "cluster": "ctx"}}
	for name, tc := range map[string]struct {
		reason, step string
		item         string
		context      string
		want         *Supervisor
	}{
		"Both":     {"a path and a context of the item", "last", "a/1", "ctx", &Supervisor{Kubeconfig: "/etc/a/1", Context: "ctx"}},
		"One":      {"a context alone", "last", "a/2", "ctx", &Supervisor{Context: "ctx"}},
		"Empty":    {"two empty texts mean the file's", "last", "a/2", "", nil},
		"NoneSaid": {"a step that says nothing", "nodes", "a/1", "ctx", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := scope(t)
			s.Item, s.Its = map[string]any{"ref": tc.item, "workers": int64(3)}, map[string]any{"nodes": map[string]any{"ok": true, "cluster": tc.context}}
			got, err := w.EvalSupervisor(w.Step(tc.step), s)
			if err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
	s := scope(t)
	s.Item = map[string]any{"ref": "a/1", "workers": int64(3)}
	_, err := w.EvalSupervisor(w.Step("last"), s)
	wantUnknown(t, err, UnknownError{"nodes", "cluster"})
	s.Its = its
	if !w.IfUsesItem(w.Step("last")) {
		t.Error("a condition that asks for what was found for the item must be asked for each")
	}
	last := w.Step("last")
	if !last.Its["nodes"] || last.References["nodes"] || last.NeedsAll("nodes") || !last.NeedsAll("survey") {
		t.Errorf("what the step needs of which: its %v, whole %v", last.Its, last.References)
	}
}

// TestLists holds that lists of lists can be made one, and that no list can be made of nothing: its length would be unbounded.
func TestLists(t *testing.T) {
	t.Parallel()
	w := fixture(t, "    - {id: last, uses: anything, with: {x: \"${{ [inputs.names, ['c']].flatten() }}\"}}\n")
	got, err := w.EvalWith(w.Step("last"), scope(t))
	if diff := cmp.Diff(`{"x":["a","b","c"]}`, string(got)); err != nil || diff != "" {
		t.Errorf("flatten: %v, -want, +got:\n%s", err, diff)
	}
	src := "apiVersion: tkgfix.dev/v1alpha1\nkind: Workflow\nmetadata: {name: x}\nspec:\n  steps: [{id: last, uses: anything, with: {x: \"${{ lists.range(1000000000) }}\"}}]\n"
	if _, diags := Check("w.yaml", []byte(src), testSchemas()); diags.Err() == nil {
		t.Error("a list of any length passes")
	}
}
