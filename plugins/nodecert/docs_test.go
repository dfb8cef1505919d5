package nodecert

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestEachFindingIsDocumented holds the chapter of docs/checks.md and the code equal.
func TestEachFindingIsDocumented(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../docs/checks.md")
	if err != nil {
		t.Fatal(err)
	}
	_, doc, ok := strings.Cut(string(data), "\n# Node checks\n")
	if !ok {
		t.Fatal("docs/checks.md has no chapter Node checks")
	}
	var got, want []string
	text := map[string]string{}
	for _, section := range strings.Split(doc, "\n## ")[1:] {
		id, rest, _ := strings.Cut(section, "\n")
		got, text[id] = append(got, id), rest
	}
	remedy := regexp.MustCompile("`([a-z-]+)`: ")
	for _, c := range Checks() {
		id := string(c.ID)
		want = append(want, id)
		for _, part := range []string{"**Means.** ", "**Told apart.** ", "**Does not help.** ", "**Remedy.** "} {
			if !strings.Contains(text[id], part) {
				t.Errorf("the section of %s has no %s", id, part)
			}
		}
		_, remedies, _ := strings.Cut(text[id], "**Remedy.** ")
		var said []Remedy
		for _, m := range remedy.FindAllStringSubmatch(remedies, -1) {
			said = append(said, Remedy(m[1]))
		}
		if diff := cmp.Diff(c.Remedies, said); diff != "" {
			t.Errorf("remedies of %s (-code, +docs):\n%s", id, diff)
		}
		for words, must := range map[string]bool{"Recreating the cluster does not help": !c.Recreate, "Recreating the cluster is not needed": c.Recreate} {
			if strings.Contains(text[id], words) != must {
				t.Errorf("the section of %s says %q: want %v", id, words, must)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sections (-code, +docs):\n%s", diff)
	}
}

// TestRemediesOfTheSchema holds the output's schema and the list of checks equal.
func TestRemediesOfTheSchema(t *testing.T) {
	t.Parallel()
	var schema struct {
		Properties struct {
			Nodes struct {
				Items struct {
					Properties struct {
						Findings struct {
							Items struct {
								Properties struct {
									Remedy struct{ Enum []Remedy } `json:"remedy"`
								}
							}
						}
					}
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(outputSchema), &schema); err != nil {
		t.Fatal(err)
	}
	var want []Remedy
	for _, c := range Checks() {
		want = append(want, c.Remedies...)
	}
	slices.Sort(want)
	got := slices.Sorted(slices.Values(schema.Properties.Nodes.Items.Properties.Findings.Items.Properties.Remedy.Enum))
	if diff := cmp.Diff(slices.Compact(want), got); diff != "" {
		t.Errorf("remedies (-checks, +schema):\n%s", diff)
	}
}
