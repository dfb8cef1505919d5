package sshdtest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"
)

// emptied are the folders that a node has for itself and finds empty; /etc is a copy of the machine's. None is hidden that sshd, sudo or
// a shell reads.
var emptied = []string{"home", "run", "usr/local/share", "var/log", "var/lib/sudo"}

const (
	sshd   = "/usr/sbin/sshd"
	userID = 10001
)

// needs fails the test where a real node cannot be.
func needs(t testing.TB) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Fatalf("a node with an /etc of its own needs Linux, and this is %s: run the tests in a container", runtime.GOOS)
	}
	for _, program := range []string{sshd, "/usr/bin/sudo"} {
		if _, err := os.Stat(program); err != nil {
			t.Fatalf("%v: install what the tests need with hack/deps.sh", err)
		}
	}
	if os.Geteuid() != 0 {
		t.Fatal("sshd in a namespace of its own needs root: run the tests as root, in a container for instance")
	}
}

// furnish fills the private folders below root and returns the public host key.
func furnish(t testing.TB, root string, o Options, login gossh.PublicKey) gossh.PublicKey {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", "/etc", filepath.Join(root, "etc")).CombinedOutput(); err != nil {
		t.Fatalf("copy /etc: %v: %s", err, out)
	}
	dir, err := os.OpenRoot(root)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dir.Close() }()
	if o.HostKey == nil {
		o.HostKey, _ = NewKey(t)
	}
	host, err := gossh.ParsePrivateKey(o.HostKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append([]string{"run/sshd", "home/" + o.User}, emptied...) {
		if err := dir.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := dir.Chown("home/"+o.User, userID, userID); err != nil {
		t.Fatal(err)
	}
	type file struct {
		text string
		mode os.FileMode
	}
	files := map[string]file{
		"/etc/passwd":                     {read(t, dir, "etc/passwd") + fmt.Sprintf("%s:x:%d:%d::/home/%[1]s:/bin/bash\n", o.User, userID, userID), 0o644},
		"/etc/group":                      {read(t, dir, "etc/group") + fmt.Sprintf("%s:x:%d:\n", o.User, userID), 0o644},
		"/etc/shadow":                     {read(t, dir, "etc/shadow") + shadow(t, o), 0o640},
		"/etc/sudoers.d/" + o.User:        {o.User + " ALL=(ALL) NOPASSWD: ALL\n", 0o440},
		"/etc/pam.d/sshd":                 {pam, 0o644},
		"/etc/ssh/host_key":               {string(o.HostKey), 0o600},
		"/etc/ssh/authorized_keys":        {string(gossh.MarshalAuthorizedKey(login)), 0o644},
		"/etc/ssh/sshd_config":            {config(o), 0o644},
		"/home/" + o.User + "/.hushlogin": {"", 0o644},
	}
	if o.Certify != nil {
		files["/etc/ssh/host_key-cert.pub"] = file{string(gossh.MarshalAuthorizedKey(o.Certify(host.PublicKey()))), 0o644}
	}
	for path, f := range files {
		if err := write(dir, path, []byte(f.text), f.mode); err != nil {
			t.Fatal(err)
		}
	}
	return host.PublicKey()
}

// pam is Debian's /etc/pam.d/sshd without what writes the kernel's audit id and shows a message of the day.
const pam = "@include common-auth\naccount required pam_nologin.so\n@include common-account\n@include common-session\n@include common-password\n"

// shadow returns the user's line: days since 1970 of the last change, and how many a password may be old.
func shadow(t testing.TB, o Options) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "openssl", "passwd", "-6", "-stdin")
	cmd.Stdin = strings.NewReader(Password)
	hash, err := cmd.Output()
	if err != nil {
		t.Fatalf("hash the password: %v", err)
	}
	age := "20000:0:99999"
	if o.Expired {
		age = "10000:0:30"
	}
	return fmt.Sprintf("%s:%s:%s:7:::\n", o.User, bytes.TrimSpace(hash), age)
}

// config is the server's configuration but for the port, which is an argument.
func config(o Options) string {
	say := map[bool]string{true: "yes", false: "no"}
	lines := []string{
		"LogLevel VERBOSE",
		"ListenAddress " + o.Address,
		"HostKey /etc/ssh/host_key",
		"AuthorizedKeysFile /etc/ssh/authorized_keys",
		"UsePAM yes",
		"PubkeyAuthentication " + say[!o.NoKeys && !o.OnlyQuestions],
		"PasswordAuthentication " + say[!o.OnlyQuestions],
		"KbdInteractiveAuthentication yes",
		"AllowUsers " + o.User,
		"AllowTcpForwarding " + say[!o.NoForwarding],
		"MaxStartups 100",
		"MaxSessions 100",
	}
	if o.Certify != nil {
		lines = append(lines, "HostCertificate /etc/ssh/host_key-cert.pub")
	}
	return strings.Join(lines, "\n") + "\n"
}

func read(t testing.TB, root *os.Root, path string) string {
	t.Helper()
	data, err := root.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// write puts a file where the node sees it at path.
func write(root *os.Root, path string, data []byte, mode os.FileMode) error {
	name := inside(path)
	top := false
	for _, folder := range append([]string{"etc"}, emptied...) {
		top = top || strings.HasPrefix(name, folder+"/")
	}
	if !top {
		return fmt.Errorf("%s is in none of the node's private folders: /etc, /%s", path, strings.Join(emptied, ", /"))
	}
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := root.WriteFile(name, data, mode); err != nil {
		return err
	}
	return root.Chmod(name, mode) // whatever the umask, and the mode that it had
}

// inside returns the path below a node's root.
func inside(path string) string { return strings.TrimPrefix(filepath.Clean(path), "/") }
