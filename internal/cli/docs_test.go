package cli

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestExitCodesAreDocumented holds the document to the codes.
func TestExitCodesAreDocumented(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/exit-codes.md")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range regexp.MustCompile(`(?m)^\| (\d+) \|`).FindAllStringSubmatch(string(doc), -1) {
		got = append(got, m[1])
	}
	var want []string
	for _, code := range []int{ExitDone, ExitFailed, ExitChanges, ExitWaiting, ExitRejected, ExitLocked, ExitInterrupted} {
		want = append(want, fmt.Sprint(code))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("codes (-want, +got):\n%s", diff)
	}
}

// TestReadmeNamesEveryCommand holds the README to the commands that there are.
func TestReadmeNamesEveryCommand(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	root := (&app{}).command(IO{})
	for _, c := range root.Commands {
		if !c.Hidden && c.Name != "version" && !strings.Contains(string(readme), "tkgfix "+c.Name) {
			t.Errorf("README.md does not name tkgfix %s", c.Name)
		}
	}
	for _, m := range regexp.MustCompile("(?m)^\\$ tkgfix +([a-z]+)|`tkgfix ([a-z]+)").FindAllStringSubmatch(string(readme), -1) {
		if name := m[1] + m[2]; find(root.Commands, name) == nil {
			t.Errorf("README.md names tkgfix %s, and there is no such command", name)
		}
	}
}
