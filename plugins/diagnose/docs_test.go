package diagnose_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// documented returns the causes that have a section in docs/checks.md, with an empty remedy, or a row in docs/diagnose.md, with all
// that is said of the remedy.
func documented(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for path, form := range map[string]*regexp.Regexp{
		"../../docs/checks.md":   regexp.MustCompile(`(?m)^## ([a-z0-9-]+)()$`),
		"../../docs/diagnose.md": regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| [^|]+ \\| (`[^|]+) \\|$"),
	} {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		found := form.FindAllSubmatch(data, -1)
		if len(found) < 10 {
			t.Fatalf("%s has %d causes: this test looks at the wrong thing", path, len(found))
		}
		for _, m := range found {
			if id := string(m[1]); out[id] == "" {
				out[id] = string(m[2])
			}
		}
	}
	return out
}

// wantDocumented fails unless a cause is explained to users, with the remedy that the step gives.
func wantDocumented(t *testing.T, known map[string]string, cause, remedy string) {
	t.Helper()
	switch said, ok := known[cause]; {
	case !ok:
		t.Errorf("the cause %s is neither in docs/checks.md nor in docs/diagnose.md", cause)
	case said != "" && !strings.Contains(said, "`"+remedy+"`"):
		t.Errorf("docs/diagnose.md says %s of the cause %s, whose remedy is %s", said, cause, remedy)
	}
}
