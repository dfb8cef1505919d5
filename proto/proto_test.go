// Package proto_test holds the published protocol to the one that tkgfix speaks.
package proto_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPublishedIsSpoken compares the copies. Internal packages cannot be imported or linked to by others, so there are two.
func TestPublishedIsSpoken(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile("../internal/wire/proto/step.proto")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("step.proto")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("cp internal/wire/proto/step.proto proto/step.proto (-want, +got):\n%s", diff)
	}
}

// TestProtosCompile has protoc read what is published.
func TestProtosCompile(t *testing.T) {
	t.Parallel()
	if out, err := exec.CommandContext(t.Context(), "protoc", "--descriptor_set_out="+os.DevNull, "step.proto", "goplugin.proto").CombinedOutput(); err != nil {
		t.Errorf("protoc: %v\n%s", err, out)
	}
}
