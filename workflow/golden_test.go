package workflow

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the .out files of testdata/err")

// TestOK holds each file of testdata/ok to silence.
func TestOK(t *testing.T) {
	t.Parallel()
	for _, path := range files(t, "testdata/ok") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			w, diags := Check(filepath.Base(path), read(t, path), testSchemas())
			if diff := cmp.Diff("", formatted(diags)); diff != "" {
				t.Fatalf("Check(%s): -want, +got:\n%s", path, diff)
			}
			if w == nil || len(w.Steps) == 0 {
				t.Fatalf("Check(%s): no workflow, and no diagnostics", path)
			}
		})
	}
}

// TestErr holds each file of testdata/err to the lines beside it: message, source line, caret.
func TestErr(t *testing.T) {
	t.Parallel()
	for _, path := range files(t, "testdata/err") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			w, diags := Check(filepath.Base(path), read(t, path), testSchemas())
			if w != nil || len(diags) == 0 {
				t.Fatalf("Check(%s): a broken file passed", path)
			}
			out := strings.TrimSuffix(path, ".yaml") + ".out"
			got := formatted(diags)
			if *update {
				if err := os.WriteFile(out, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(read(t, out)), got); diff != "" {
				t.Errorf("Check(%s): -want, +got:\n%s", path, diff)
			}
		})
	}
}

// TestEveryKind holds that the broken files show each kind of diagnostic at least once.
func TestEveryKind(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, path := range files(t, "testdata/err") {
		_, diags := Check(path, read(t, path), testSchemas())
		for _, d := range diags {
			seen[d.Kind] = true
		}
	}
	for _, kind := range []string{
		kindSyntax, kindEncoding, kindLimit, kindDocument, kindVersion, kindUnknownKey, kindDuplicate, kindMissingKey, kindType, kindValue,
		kindName, kindExpression, kindReference, kindStep, kindConnection, kindApproval, KindUnapproved, KindUnproven, kindEffect, kindNeeds, kindCycle, kindUnreachable,
	} {
		if !seen[kind] {
			t.Errorf("no file in testdata/err is [%s]", kind)
		}
	}
}

func formatted(ds Diagnostics) string {
	var out bytes.Buffer
	ds.Format(&out)
	return out.String()
}

func files(t testing.TB, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files in %s: %v", dir, err)
	}
	return paths
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
