package engine

import (
	"os"
	"strings"
	"testing"
)

// TestStateFormatNamesEveryKind holds the document of the journal to what the engine writes.
func TestStateFormatNamesEveryKind(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/state-format.md")
	if err != nil {
		t.Fatal(err)
	}
	for kind := range folds() {
		if !strings.Contains(string(doc), "`"+kind+"`") {
			t.Errorf("docs/state-format.md does not name %s", kind)
		}
	}
}
