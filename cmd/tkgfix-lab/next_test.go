package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/lab"
)

func TestPrintNextNamesAWorkflow(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"v1alpha1": "documented-fix.yaml", "v1alpha2": "documented-fix.yaml", "v1alpha3": "documented-fix.yaml",
		"tanzukubernetescluster": "registry-trust.yaml", "builtin-generic-v1beta1": "registry-trust.yaml", "builtin-generic-v1beta2": "registry-trust.yaml",
	}
	got := map[string]string{}
	for _, g := range lab.Generations() {
		var out bytes.Buffer
		printNext(&out, "/lab", lab.State{Generation: g})
		_, rest, _ := strings.Cut(out.String(), "examples/workflows/")
		got[g], _, _ = strings.Cut(rest, " ")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the workflow that is named (-want, +got):\n%s", diff)
	}
}
