package sshdtest_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/node/sshdtest"
)

func TestNodeIsItsOwn(t *testing.T) {
	t.Parallel()
	server := sshdtest.Start(t, sshdtest.Options{})
	server.WriteFile(t, "/etc/ssl/certs/tkg-a.pem", []byte("a certificate\n"), 0o600)
	conn := server.Dial(t)
	out, err := conn.Run(t.Context(), "id -un; sudo -n id -u; sudo -n cat /etc/ssl/certs/tkg-a.pem; cat /etc/ssl/certs/tkg-a.pem 2>/dev/null || echo closed\n")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("vmware-system-user\n0\na certificate\nclosed\n", string(out)); diff != "" {
		t.Errorf("a login user that is root by sudo only (-want, +got):\n%s", diff)
	}
	if _, err := conn.Run(t.Context(), "echo hello | sudo -n tee /etc/tkgfix-test >/dev/null\n"); err != nil {
		t.Fatal(err)
	}
	if got := string(server.ReadFile(t, "/etc/tkgfix-test")); got != "hello\n" {
		t.Errorf("the test sees what the node writes: got %q", got)
	}
	for _, path := range []string{"/etc/tkgfix-test", "/etc/ssl/certs/tkg-a.pem"} {
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("%s is on the machine: %v", path, err)
		}
	}
	passwd, err := os.ReadFile("/etc/passwd")
	if err != nil || strings.Contains(string(passwd), sshdtest.User) {
		t.Errorf("the user is on the machine: %v", err)
	}
}
