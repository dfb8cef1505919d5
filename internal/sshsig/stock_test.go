package sshsig_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tkgfix/tkgfix/internal/sshsig"
)

// noon is when the tests' signatures are judged.
func noon() time.Time { return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) }

// stock runs a program of Debian's openssh-client with something on stdin and returns all that it said.
func stock(t *testing.T, env []string, stdin []byte, name string, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v: these tests need OpenSSH; as root: apt-get install openssh-client", err)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TZ=" + os.Getenv("TZ")}, env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func must(t *testing.T, out string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// key is a private key in a file, with its public half beside it.
type key struct{ file string }

func newKey(t *testing.T, args ...string) key {
	t.Helper()
	k := key{file: filepath.Join(t.TempDir(), "key")}
	if len(args) == 0 {
		args = []string{"-t", "ed25519"}
	}
	out, err := stock(t, nil, nil, "ssh-keygen", append([]string{"-q", "-N", "", "-C", "", "-f", k.file}, args...)...)
	must(t, out, err)
	return k
}

// public returns "type base64".
func (k key) public(t *testing.T) string {
	t.Helper()
	return strings.TrimSpace(read(t, k.file+".pub"))
}

// certified returns the file of a certificate by the authority, beside a copy of the key.
func (k key) certified(t *testing.T, authority key, args ...string) string {
	t.Helper()
	copied := key{file: filepath.Join(t.TempDir(), "key")}
	write(t, copied.file, read(t, k.file))
	write(t, copied.file+".pub", read(t, k.file+".pub"))
	args = append([]string{"-q", "-s", authority.file, "-I", "id"}, args...)
	out, err := stock(t, nil, nil, "ssh-keygen", append(args, copied.file+".pub")...)
	must(t, out, err)
	return copied.file + "-cert.pub"
}

func stockSign(t *testing.T, file, namespace string, message []byte) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "message")
	write(t, path, string(message))
	out, err := stock(t, nil, nil, "ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", file, path)
	must(t, out, err)
	return []byte(read(t, path+".sig"))
}

// stockFiles puts an allowed-signers file and a signature where ssh-keygen reads them.
func stockFiles(t *testing.T, allowed string, sig []byte) []string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "allowed"), allowed)
	write(t, filepath.Join(dir, "sig"), string(sig))
	return []string{"-f", filepath.Join(dir, "allowed"), "-s", filepath.Join(dir, "sig"), "-n", sshsig.Namespace}
}

// stockVerify says whether ssh-keygen takes the signature as the principal's.
func stockVerify(t *testing.T, files []string, principal string, message []byte, at time.Time) (bool, string) {
	t.Helper()
	args := append([]string{"-Y", "verify", "-I", principal, "-O", "verify-time=" + at.UTC().Format("20060102150405Z")}, files...)
	out, err := stock(t, nil, message, "ssh-keygen", args...)
	if good := strings.Contains(out, "Good "); good != (err == nil) {
		t.Fatalf("ssh-keygen says %q and ends with %v", out, err)
	}
	return err == nil, out
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func parse(t *testing.T, text string) *sshsig.AllowedSigners {
	t.Helper()
	a, err := sshsig.ParseAllowedSigners("allowed", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func message(t *testing.T) []byte {
	t.Helper()
	m, err := sshsig.Statement{Run: "01kb3h0zq2v9k3q4m8r7t6w5y1", Gate: "trust", Digest: "sha256:00", Decision: sshsig.Approve, Reason: "窗口内"}.Message()
	if err != nil {
		t.Fatal(err)
	}
	return m
}
