package debugpod

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestEnter runs the way into the node's root with the shell of this machine, in images that have one or the other program for it. The
// programs stay where they are: to change the root takes a pod, which e2e has.
func TestEnter(t *testing.T) {
	t.Parallel()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	program := func(says string, shift int) string {
		return "#!" + sh + "\necho " + says + "\n" + strings.Repeat("shift\n", shift) + "exec \"$@\"\n"
	}
	const chroot, nsenter = "chroot", "nsenter"
	cases := map[string]struct {
		reason string
		image  map[string]string
		want   string
		code   int
	}{
		"Chroot":  {"as most images have", map[string]string{chroot: program("chroot $1", 1)}, "chroot /host\n", 0},
		"Both":    {"chroot stays in the pod's own namespaces", map[string]string{chroot: program("chroot $1", 1), nsenter: program("no", 3)}, "chroot /host\n", 0},
		"Nsenter": {"an image of the network's agent", map[string]string{nsenter: program("nsenter $1 $2 $3", 3)}, "nsenter --target 1 --mount\n", 0},
		"Neither": {"a shell is not enough", nil, "", 127},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for name, text := range c.image {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			command := `printf '%s\n' "it's \"$HOME\" and not $0" "${SSL_CERT_FILE-none}" "$(cat)"`
			cmd := exec.CommandContext(t.Context(), sh, "-c", enter, "sh", command)
			cmd.Env = []string{"PATH=" + dir, "SSL_CERT_FILE=/image/roots.pem"}
			cmd.Stdin = strings.NewReader("what came in")
			out, err := cmd.Output()
			want := ""
			if c.code == 0 {
				want = c.want + "it's \"/root\" and not /bin/sh\nnone\nwhat came in\n"
			}
			if diff := cmp.Diff(want, string(out)); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", c.reason, diff)
			}
			if got := cmd.ProcessState.ExitCode(); got != c.code {
				t.Errorf("%s: exit code %d, %v", c.reason, got, err)
			}
		})
	}
}
