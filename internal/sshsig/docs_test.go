package sshsig_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tkgfix/tkgfix/internal/sshsig"
)

// TestDocument runs the lines of docs/approvals.md that need no tkgfix and no cluster, one after the other, and compares what they print. It also
// holds the document to the text that is signed and to the errors.
func TestDocument(t *testing.T) {
	t.Parallel()
	doc := read(t, filepath.Join("..", "..", "docs", "approvals.md"))
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	statement := regexp.MustCompile("(?s)```\n(tkgfix approval v1\n.*?)```").FindStringSubmatch(doc)[1]
	write(t, filepath.Join(home, "statement"), statement)
	values := regexp.MustCompile(`(?m)^\$ RUN=(\S+) GATE=(\S+)\n\$ DIGEST=(\S+)\n.*--reason '(.*?)'`).FindStringSubmatch(doc)
	signed, err := sshsig.Statement{Run: values[1], Gate: values[2], Digest: values[3], Decision: sshsig.Approve, Reason: values[4]}.Message()
	if err != nil || string(signed) != statement {
		t.Errorf("the commands sign %q (%v), the document shows %q", signed, err, statement)
	}
	ran := 0
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(doc, -1) {
		for step := range strings.SplitSeq(strings.TrimPrefix(block[1], "$ "), "\n$ ") {
			line, want, _ := strings.Cut(step, "\n")
			if strings.HasPrefix(line, "tkgfix ") || strings.HasPrefix(line, "kubectl ") || strings.Contains(strings.Fields(line)[0], "=") {
				continue
			}
			ran++
			cmd := exec.CommandContext(t.Context(), "sh", "-euc", line)
			cmd.Dir, cmd.Env = home, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home}
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %v: %s", line, err, out)
			}
			want, _, _ = strings.Cut(want, "…") // the fingerprint
			if want != "" && !strings.HasPrefix(string(out), strings.TrimSpace(want)) {
				t.Errorf("%s prints %q, the document says %q", line, out, want)
			}
		}
	}
	if ran < 5 {
		t.Errorf("%d lines were run, want 5 or more", ran)
	}
	a := parse(t, read(t, filepath.Join(home, "allowed_signers")))
	if s, err := a.Verify(signed, []byte(read(t, filepath.Join(home, "statement.sig"))), noon()); err != nil || s.Principal != "alice@example.com" {
		t.Errorf("Verify says %+v, %v", s, err)
	}
	for _, why := range []error{
		sshsig.ErrMalformed, sshsig.ErrNamespace, sshsig.ErrForged, sshsig.ErrNotListed, sshsig.ErrNotAllowed, sshsig.ErrUnnamed, sshsig.ErrWeak,
	} {
		if !strings.Contains(doc, "| `"+why.Error()+"` |") {
			t.Errorf("the document does not explain %q", why)
		}
	}
}
