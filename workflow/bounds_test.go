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
		for i := range w.Steps {
			_, _ = w.EvalIf(&w.Steps[i], Scope{})
			_, _ = w.EvalWith(&w.Steps[i], Scope{})
			_, _ = w.EvalMessage(&w.Steps[i], Scope{})
		}
		_, _ = w.EvalConnections(Scope{})
	})
}
