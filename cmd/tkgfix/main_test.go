package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tkgfix/tkgfix/internal/cli"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tkgfix": main})
}

// TestExamples validates every workflow that is shipped as an example with the steps of this binary.
func TestExamples(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../examples/workflows/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, f := range files {
		var said bytes.Buffer
		code := cli.Main(t.Context(), cli.IO{In: strings.NewReader(""), Out: &said, Err: &said}, []string{"tkgfix", "validate", f})
		if code != cli.ExitDone {
			t.Errorf("%s: exit %d\n%s", f, code, said.String())
		}
	}
}

// TestScripts runs the command lines in testdata/script as a user would type them. What needs clusters is in e2e.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("TKGFIX_STATE", env.WorkDir+"/state")
			env.Setenv("HOME", env.WorkDir)
			return nil
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}
