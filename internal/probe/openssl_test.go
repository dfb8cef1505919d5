package probe_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tkgfix/tkgfix/internal/probe"
)

// needOpenSSL returns this machine's openssl, for what Go cannot make or speak.
func needOpenSSL(t testing.TB) string {
	t.Helper()
	path := probe.FindOpenSSL()
	if path == "" {
		t.Fatal("no openssl on this machine: hack/deps.sh installs it")
	}
	return path
}

// openssl runs openssl in a folder.
func openssl(t testing.TB, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), needOpenSSL(t), args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// sServer starts openssl s_server with a certificate and key and returns its address.
func sServer(t testing.TB, cert, key string, args ...string) string {
	t.Helper()
	args = append([]string{"s_server", "-accept", "127.0.0.1:0", "-cert", cert, "-key", key, "-www"}, args...)
	cmd := exec.CommandContext(t.Context(), needOpenSSL(t), args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if addr, found := strings.CutPrefix(lines.Text(), "ACCEPT "); found {
			go func() {
				for lines.Scan() {
				}
			}()
			return addr
		}
	}
	t.Fatal("openssl s_server did not start")
	return ""
}

// foreign is a certificate that openssl made: of a key that Go does not make, by a root of Go's.
func foreign(t testing.TB, root *id, generate ...string) (cert, key string) {
	t.Helper()
	dir := t.TempDir()
	for name, data := range map[string][]byte{
		"root.pem": pemOf(root), "root.key": keyPEM(t, root.key), "ext": []byte("subjectAltName=DNS:" + name + "\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	openssl(t, dir, generate...)
	openssl(t, dir, "req", "-new", "-key", "leaf.key", "-subj", "/CN="+name, "-out", "leaf.csr")
	openssl(t, dir, "x509", "-req", "-in", "leaf.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-days", "90", "-sha256", "-extfile", "ext", "-out", "leaf.pem")
	return filepath.Join(dir, "leaf.pem"), filepath.Join(dir, "leaf.key")
}
