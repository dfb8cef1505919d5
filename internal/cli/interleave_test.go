package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestInterleave(t *testing.T) {
	t.Parallel()
	root := (&app{}).command(IO{})
	for name, tc := range map[string]struct {
		reason, typed, want string
	}{
		"AsTheLibraryWants": {"an order that works already stays", "tkgfix plan --input a=b f.yaml", "tkgfix plan --input a=b f.yaml"},
		"FlagsLast":         {"flags may follow the file", "tkgfix plan f.yaml --input a=b --detailed-exitcode", "tkgfix plan --input a=b --detailed-exitcode f.yaml"},
		"Alias":             {"a short flag takes its value along", "tkgfix plan f.yaml -i a=b -o json", "tkgfix plan -i a=b -o json f.yaml"},
		"Joined":            {"a joined value is no argument", "tkgfix plan f.yaml --output=json x", "tkgfix plan --output=json f.yaml x"},
		"Boolean":           {"a boolean takes no value along", "tkgfix plan --detailed-exitcode f.yaml", "tkgfix plan --detailed-exitcode f.yaml"},
		"Global":            {"the program's own flag may stand anywhere", "tkgfix runs list --state d", "tkgfix --state d runs list"},
		"Subcommand":        {"the flags of a subcommand are known", "tkgfix runs show r1 --output json", "tkgfix runs show --output json r1"},
		"ArgumentLikeACommand": {"a run called like a command is an argument", "tkgfix approve plan run --digest d",
			"tkgfix approve --digest d plan run"},
		"Dashes":  {"after -- all are arguments", "tkgfix validate -- --input", "tkgfix validate -- --input"},
		"Unknown": {"an unknown flag stays before the arguments, where it is refused", "tkgfix plan f.yaml --nope", "tkgfix plan --nope f.yaml"},
		"Nothing": {"no arguments at all", "tkgfix", "tkgfix"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := strings.Join(interleave(root, strings.Fields(tc.typed)), " ")
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}
