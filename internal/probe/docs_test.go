package probe_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/probe"
)

// TestEachVerdictIsDocumented holds docs/checks.md and the code equal.
func TestEachVerdictIsDocumented(t *testing.T) {
	t.Parallel()
	doc, _, _ := strings.Cut(string(read(t, "../../docs/checks.md")), "\n# Node checks\n") // what follows is not of the probe
	sections := regexp.MustCompile(`(?m)^## (.+)$`).FindAllStringSubmatchIndex(doc, -1)
	var got, want []string
	text := map[string]string{}
	for i, at := range sections {
		end := len(doc)
		if i+1 < len(sections) {
			end = sections[i+1][0]
		}
		id := doc[at[2]:at[3]]
		got = append(got, id)
		text[id] = doc[at[1]:end]
	}
	for _, v := range probe.Verdicts() {
		want = append(want, v.ID)
		if v.Do == "" || v.Remedy == "" {
			t.Errorf("%s has no remedy", v.ID)
		}
		for _, part := range []string{"**Means.** ", "**Told apart.** ", "**Does not help.** ", fmt.Sprintf("**Remedy.** `%s`: ", v.Remedy)} {
			if !strings.Contains(text[v.ID], part) {
				t.Errorf("the section of %s has no %s", v.ID, part)
			}
		}
		answer := map[bool]string{true: "Trust can fix it: yes", false: "Trust can fix it: no"}[v.Trust]
		if !strings.Contains(text[v.ID], answer) {
			t.Errorf("the section of %s does not say %q", v.ID, answer)
		}
		if says := strings.Contains(text[v.ID], "Recreate will not help."); says == v.Trust {
			t.Errorf("the section of %s says that recreate will not help: %v; trust can fix it: %v", v.ID, says, v.Trust)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sections (-want, +got):\n%s", diff)
	}
}

// TestVerdicts checks the list in itself.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	form, seen := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`), map[string]bool{}
	trust := map[probe.Remedy]bool{probe.AddCA: true, probe.ReplaceCA: true, probe.Encoding: true, probe.Chain: true}
	for _, v := range probe.Verdicts() {
		if !form.MatchString(v.ID) || seen[v.ID] {
			t.Errorf("%q is no id, or stands twice", v.ID)
		}
		seen[v.ID] = true
		if v.Trust && !trust[v.Remedy] {
			t.Errorf("%s: trust cannot fix what %s mends", v.ID, v.Remedy)
		}
	}
	if got := probe.VerdictOf("no such"); got.ID != "other" {
		t.Errorf("an unknown id became %+v", got)
	}
}
