package workflow

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestBounds holds that files made to hurt get a diagnostic, and get it soon.
func TestBounds(t *testing.T) {
	const soon = 10 * time.Second // far above what it takes, far below what a missing bound would take
	deep := func(open string, n int) string { return smallest + "  steps: " + strings.Repeat(open, n) }
	var indented strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&indented, "%sa:\n", strings.Repeat(" ", i))
	}
	bomb := "a: &a [x, x]\n"
	for i := range 30 {
		bomb += fmt.Sprintf("k%d: &k%d [*a, *a, *a, *a]\n", i, i)
	}
	tests := map[string]struct{ reason, src, kind string }{
		"Size":        {"more bytes than a workflow may have", smallest + strings.Repeat("#", maxBytes), kindLimit},
		"FlowList":    {"brackets without end", deep("[\n", 500_000), kindLimit},
		"FlowMapping": {"braces without end", deep("{a:\n ", 100_000), kindLimit},
		"Dashes":      {"dashes on one line", deep("- ", 30_000), kindLimit},
		"Indented":    {"a key in a key in a key", indented.String(), kindLimit},
		"ComplexKeys": {"question marks on one line", deep("? ", 30_000), kindLimit},
		"Nodes":       {"more nodes than a workflow may have", smallest + "  steps: [" + strings.Repeat("a,\n ", maxNodes), kindLimit},
		"Keys":        {"more keys than a workflow may have", smallest + strings.Repeat("  a: b\n", maxNodes), kindLimit},
		"AliasBomb":   {"aliases of aliases", bomb, kindSyntax},
		"Anchors":     {"many anchors", strings.Repeat("&a ", 20_000), kindSyntax},
		"Quotes":      {"many quotes", strings.Repeat("\"\"\n", 300_000), kindLimit},
		"Documents":   {"many documents", strings.Repeat("---\n", 200_000), kindDocument},
		"LongLine":    {"a line longer than a line may be", strings.Repeat("x", maxBytes-1), kindLimit},
		"Expressions": {"many opened expressions", smallest + "  steps: [{id: a, uses: anything, with: {x: \"" + strings.Repeat("${{ ", 16_000) + "\"}}]\n", kindExpression},
		"CELCount":    {"more expressions than a file may have", smallest + "  steps: [{id: a, uses: anything, with: {x: [" + strings.Repeat("\"${{ 1 }}\",\n ", 4000) + "]}}]\n", kindLimit},
		"BadCEL":      {"many broken expressions", smallest + "  steps: [{id: a, uses: anything, with: {x: [" + strings.Repeat("\"${{ 1+ }}\",", 3000) + "]}}]\n", kindExpression},
		"Guards":      {"more guards than a file may have", smallest + "  guards:\n" + repeat(600, "    - {name: g%d, expr: 'true', message: m}\n") + "  steps: [{id: a, uses: anything}]\n", kindLimit},
		"Approvers":   {"more approvers than a gate may have", smallest + "  approvals: {allowedSigners: s}\n  steps: [{id: a, uses: exec, effect: change, with: {command: []}, approval: {message: m, approvers: [" + repeat(3000, "a%d,\n ") + "]}}]\n", kindLimit},
		"Items":       {"an item of a name of its own in each of too many steps", smallest + "  steps:\n" + repeat(200, "    - {id: s%[1]d, uses: anything, forEach: \"${{ [1] }}\", as: i%[1]d, with: {x: \"${{ i%[1]d + 1 }}\"}}\n"), kindLimit},
		"OnFailure":   {"more steps of a failed run than a file may have", smallest + "  steps: [{id: a, uses: anything}]\n  onFailure:\n" + repeat(200, "    - {id: s%d, uses: anything}\n"), kindLimit},
		"CELDepth":    {"an expression of brackets", smallest + "  steps: [{id: a, uses: anything, if: \"${{ " + strings.Repeat("(", 2000) + " }}\"}]\n", kindExpression},
		"CELNodes":    {"a macro in a macro in a macro", smallest + "  steps: [{id: a, uses: anything, if: \"${{ " + strings.Repeat("[1].all(x, ", 60) + "true" + strings.Repeat(")", 60) + " }}\"}]\n", kindExpression},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			_, diags := Check("w.yaml", []byte(tc.src), testSchemas())
			if took := time.Since(began); took > soon {
				t.Errorf("%s: took %s", tc.reason, took)
			}
			if len(diags) == 0 || len(diags) > 2*maxDiagnostics || diags[0].Kind != tc.kind {
				t.Fatalf("%s: want [%s] first, got %d: %.300s", tc.reason, tc.kind, len(diags), formatted(diags[:min(3, len(diags))]))
			}
			if shown := formatted(diags[:1]); len(shown) > 2000 {
				t.Errorf("%s: the diagnostic is shown in %d bytes", tc.reason, len(shown))
			}
		})
	}
}

// repeat writes a line so often, each time with the number of the time.
func repeat(n int, format string) string {
	var out strings.Builder
	for i := range n {
		fmt.Fprintf(&out, format, i)
	}
	return out.String()
}

// evaluate asks for all that a workflow has to tell.
func evaluate(w *Workflow, s Scope) {
	for _, steps := range [][]Step{w.Steps, w.OnFailure} {
		for i := range steps {
			_, _ = w.EvalForEach(&steps[i], s)
			_, _ = w.EvalIf(&steps[i], s)
			_, _ = w.EvalWith(&steps[i], s)
			_, _ = w.EvalMessage(&steps[i], s)
		}
	}
	for i := range w.Guards {
		_, _ = w.EvalGuard(&w.Guards[i], s)
	}
	_, _ = w.EvalConnections(s)
	_, _ = w.EvalAllowedSigners(s)
}

// someSteps returns outputs of which a part is not known.
func someSteps(w *Workflow) map[string]any {
	steps := map[string]any{}
	for i, s := range w.Steps {
		one := map[string]any{"ok": true, "affected": i%2 == 0, "clusters": []any{map[string]any{"ref": "a/b", "workers": 1.0}}}
		steps[s.ID] = one
		if !s.ForEach.IsZero() {
			steps[s.ID] = []any{one, nil, map[string]any{}}
		}
	}
	return steps
}

// FuzzParse holds that no file makes Check panic, hang or point outside the file, and that what Check passes evaluates without a panic.
func FuzzParse(f *testing.F) {
	for _, dir := range []string{"testdata/ok", "testdata/err"} {
		for _, path := range files(f, dir) {
			f.Add(read(f, path))
		}
	}
	known := testSchemas()
	f.Fuzz(func(t *testing.T, src []byte) {
		// An input that hangs shall show itself: a fuzzer alone waits.
		hung := time.AfterFunc(30*time.Second, func() { panic(fmt.Sprintf("Check hangs on %q", src)) })
		defer hung.Stop()
		w, diags := Check("f.yaml", src, known)
		if (w == nil) != (len(diags) > 0) {
			t.Fatalf("workflow %v with %d diagnostics", w != nil, len(diags))
		}
		lines := strings.Split(string(src), "\n")
		for _, d := range diags {
			if d.Pos.Line < 1 || d.Pos.Line > max(1, len(lines)) || d.Pos.Col < 1 || d.Width < 1 || d.Message == "" || d.Kind == "" {
				t.Fatalf("malformed diagnostic %+v", d)
			}
			if strings.ContainsAny(d.String(), "\n\x1b") {
				t.Fatalf("diagnostic %q holds control characters", d.String())
			}
		}
		_ = formatted(diags)
		if w == nil {
			return
		}
		if got := len(w.Order()); got != len(w.Steps) {
			t.Fatalf("order of %d of %d steps", got, len(w.Steps))
		}
		for _, s := range []Scope{{}, {Item: "x"}, {Item: map[string]any{"ref": "a/b"}, Steps: someSteps(w), Now: time.Unix(0, 0)}} {
			evaluate(w, s)
		}
	})
}
