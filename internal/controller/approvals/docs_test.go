package approvals_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/config/admission"
	"github.com/tkgfix/tkgfix/internal/cli"
)

// section returns what docs/approvals.md says of clusters, about a namespace of the test's own.
func section(t *testing.T, namespace string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "approvals.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(data), "\n## In a cluster\n")
	text, _, _ := strings.Cut(after, "\n## ")
	return strings.ReplaceAll(text, "team-a", namespace)
}

// TestDocument runs the lines of docs/approvals.md that are about clusters, one after the other: alice has a shell and tkgfix, an
// administrator makes the list, and a GitOps controller applies.
func TestDocument(t *testing.T) {
	const team = "document"
	doc := section(t, team)
	home := t.TempDir()
	k := newKey(t)
	if err := os.MkdirAll(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(k.file, filepath.Join(home, ".ssh", "id_ed25519")); err != nil {
		t.Fatal(err)
	}
	namespace(t, team, "")
	login(t, alice)
	values, manifest, ran := "", "", 0
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(doc, -1) {
		for step := range strings.SplitSeq(strings.TrimPrefix(block[1], "$ "), "\n$ ") {
			line, want, _ := strings.Cut(strings.TrimSpace(step), "\n")
			ran++
			switch {
			case strings.Contains(strings.Fields(line)[0], "="):
				values += line + "\n"
			case strings.HasPrefix(line, "tkgfix "):
				var said string
				line, _, _ = strings.Cut(line, " > ")
				manifest, said = typed(t, home, values+line)
				for piece := range strings.SplitSeq(want, "…") {
					_, rest, ok := strings.Cut(said, piece)
					if !ok {
						t.Errorf("%s says %q, the document %q", line, said, want)
					}
					said = rest
				}
			case line == "kubectl create configmap tkgfix-allowed-signers -n "+team+" --from-file=allowed_signers":
				list := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: team, Name: "tkgfix-allowed-signers"}, Data: map[string]string{"allowed_signers": alice + " " + k.public}}
				if err := clientOf(t, "").Create(t.Context(), list); err != nil {
					t.Fatal(err)
				}
			case line == "kubectl apply -f approval.yaml":
				apply(t, manifest)
			default:
				t.Errorf("nobody runs %q", line)
			}
		}
	}
	if ran != 6 {
		t.Errorf("%d lines were run, want 6", ran)
	}
	shown := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(doc)[1]
	cut := regexp.MustCompile(`(?s)(SIGNATURE-----\n).*`)
	if diff := cmp.Diff(cut.ReplaceAllString(shown, "$1"), cut.ReplaceAllString(manifest, "$1")); diff != "" {
		t.Errorf("the manifest (-the document, +tkgfix):\n%s", diff)
	}
}

// typed has a shell read the last line of a script, whose command is tkgfix, and runs it. It returns its results and its talk.
func typed(t *testing.T, home, script string) (out, said string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-euc", `tkgfix() { printf '%s\0' "$@"; }`+"\n"+script)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home}
	words, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	code, out, said := tkgfix(t, strings.Split(strings.TrimSuffix(string(words), "\x00"), "\x00")...)
	if code != cli.ExitDone {
		t.Fatalf("%s: exit %d: %s", script, code, said)
	}
	return out, said
}

// apply applies an Approval as a GitOps controller's service account, and wants it to count for alice.
func apply(t *testing.T, manifest string) {
	t.Helper()
	var a v1alpha1.Approval
	if err := yaml.UnmarshalStrict([]byte(manifest), &a); err != nil {
		t.Fatal(err)
	}
	if err := clientOf(t, gitops).Create(t.Context(), &a); err != nil {
		t.Fatal(err)
	}
	if by, err := judge(t).Who(t.Context(), &a); err != nil || by.Name != alice {
		t.Errorf("it counts for %v, %v", by, err)
	}
}

// TestDocumentedRefusals holds the table of refusals to the words that are said.
func TestDocumentedRefusals(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("judge.go")
	if err != nil {
		t.Fatal(err)
	}
	words := string(source) + string(admission.Approver) + string(admission.Requester) + string(admission.Signers)
	rows := regexp.MustCompile("(?m)^\\| `(.*?)` \\|").FindAllStringSubmatch(section(t, "team-a"), -1)
	for _, row := range rows {
		for piece := range strings.SplitSeq(row[1], "…") {
			if piece = strings.TrimSpace(piece); !strings.Contains(words, piece) {
				t.Errorf("the document has %q, and nothing says %q", row[1], piece)
			}
		}
	}
	if len(rows) != 8 {
		t.Errorf("the table has %d rows, want 8", len(rows))
	}
}
