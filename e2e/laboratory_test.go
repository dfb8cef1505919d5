package e2e

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

const laboratoryPage = "../docs/laboratory.md"

var tableRow = regexp.MustCompile("(?m)^\\| `([a-z0-9-]+)` \\|.*\\|$")

// TestLaboratoryTable holds the table of docs/laboratory.md against the scenarios that there are and what TestScenarios wants of each.
func TestLaboratoryTable(t *testing.T) {
	page, err := os.ReadFile(laboratoryPage)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, m := range tableRow.FindAllSubmatch(page, -1) {
		got[string(m[1])] = string(m[0])
	}
	want := map[string]string{}
	verdicts := verdicts()
	for line := range strings.Lines(command(t, nil, filepath.Join(bin, "tkgfix-lab"), "scenarios").wantCode(t, 0).stdout) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		v := verdicts[name]
		want[name] = fmt.Sprintf("| `%s` | %s | %s | %s | %s |", name, strings.TrimSpace(text), cmp.Or(v.cause, "—"), cmp.Or(v.remedy, "—"), v.plan)
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("rows of %s (-want, +got):\n%s", laboratoryPage, diff)
	}
}

// TestLaboratoryExamples types the lines of docs/laboratory.md, in their order, in a folder of its own.
func TestLaboratoryExamples(t *testing.T) {
	page, err := os.ReadFile(laboratoryPage)
	if err != nil {
		t.Fatal(err)
	}
	lab := filepath.Join(t.TempDir(), "lab")
	t.Cleanup(func() {
		if out, err := down(lab); err != nil {
			t.Errorf("tkgfix-lab down: %v\n%s", err, out)
		}
	})
	// The lines of a block are one shell's: export counts for those that follow.
	var script strings.Builder
	script.WriteString("set -e\ncd ..\n")
	for line := range strings.Lines(string(page)) {
		if typed, ok := strings.CutPrefix(line, "$ "); ok {
			script.WriteString(strings.ReplaceAll(typed, "/tmp/lab", lab))
		}
	}
	if strings.Count(script.String(), "tkgfix-lab plant") == 0 {
		t.Fatalf("the page has no example: %s", script.String())
	}
	r := command(t, []string{"TKGFIX_STATE=" + t.TempDir()}, "sh", "-c", script.String()).wantCode(t, 0)
	for _, want := range []string{"systemctl restart containerd", "scenario healthy"} {
		if !strings.Contains(r.stdout+r.stderr, want) {
			t.Errorf("nothing says %q:\n%s\n%s", want, r.stdout, r.stderr)
		}
	}
}
