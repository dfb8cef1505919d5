package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/tkgfix/tkgfix/internal/lab"
)

// testNode reaches a worker of dev1 as a user would: with what is in the Secrets.
func testNode(t *testing.T, dir string, s lab.State) {
	client, err := kubernetes.NewForConfig(config(t, filepath.Join(dir, "kubeconfig", "platform.yaml")))
	if err != nil {
		t.Fatal(err)
	}
	secret := func(name, key string) []byte {
		got, err := client.CoreV1().Secrets("team-a").Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return got.Data[key]
	}
	signer, err := ssh.ParsePrivateKey(secret("dev1-ssh", "ssh-privatekey"))
	if err != nil {
		t.Fatal(err)
	}
	node := s.Clusters[0].Nodes[0]
	address := net.JoinHostPort(node.Address, strconv.Itoa(s.SSHPort))
	dial := func(user string, auth ssh.AuthMethod) (*ssh.Client, error) {
		return ssh.Dial("tcp", address, &ssh.ClientConfig{User: user, Auth: []ssh.AuthMethod{auth}, HostKeyCallback: ssh.InsecureIgnoreHostKey()})
	}
	conn, err := dial("vmware-system-user", ssh.PublicKeys(signer))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	byPassword, err := dial("vmware-system-user", ssh.Password(string(secret("dev1-ssh-password", "ssh-passwordkey"))))
	if err != nil {
		t.Errorf("the password does not open the node: %v", err)
	} else {
		_ = byPassword.Close()
	}
	for user, auth := range map[string]ssh.AuthMethod{"root": ssh.PublicKeys(signer), "vmware-system-user": ssh.Password("")} {
		if c, err := dial(user, auth); err == nil {
			_ = c.Close()
			t.Errorf("%s got in with what should not open the node", user)
		}
	}
	t.Run("Exec", func(t *testing.T) { testExec(t, conn, node) })
	t.Run("Kill", func(t *testing.T) { testKill(t, conn) })
	t.Run("SFTP", func(t *testing.T) { testSFTP(t, conn, node) })
	t.Run("DirectTCP", func(t *testing.T) { testDirectTCP(t, conn, dir, s) })
	t.Run("Restart", func(t *testing.T) { testRestart(t, conn) })
}

// output runs a script as `sh -s` on its standard input and returns what it wrote and its exit code.
func output(t *testing.T, conn *ssh.Client, script string) (string, int) {
	t.Helper()
	session, err := conn.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	session.Stdin = strings.NewReader(script)
	out, err := session.CombinedOutput("sh -s")
	var exit *ssh.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("running %q: %v", script, err)
	}
	code := 0
	if exit != nil {
		code = exit.ExitStatus()
	}
	return strings.TrimSpace(string(out)), code
}

func testExec(t *testing.T, conn *ssh.Client, node lab.NodeState) {
	cases := map[string]struct {
		reason, script, want string
		code                 int
	}{
		"Name":     {"the node's own name", "hostname", node.Name, 0},
		"OS":       {"Photon", ". /etc/os-release; echo $ID", "photon", 0},
		"Trust":    {"TkgServiceConfiguration's entries are files", "cd /etc/ssl/certs; ls tkg-*", "tkg-corp-a.pem\ntkg-corp-b.pem", 0},
		"Sudo":     {"sudo needs no password", "sudo -n head -c 27 /etc/ssl/certs/tkg-corp-a.pem", "-----BEGIN CERTIFICATE-----", 0},
		"Code":     {"the exit code is the command's", "exit 7", "", 7},
		"ReadOnly": {"the host's programs cannot be changed", "touch /usr/bin/evil 2>/dev/null || echo refused", "refused", 0},
		"Inside":   {"the host's files are not there", "ls /work /home", "", 2},
		"Started":  {"containerd has started", "systemctl show containerd -p ExecMainStartTimestamp | cut -d= -f1", "ExecMainStartTimestamp", 0},
		"Value":    {"one property by value", "systemctl show -p ActiveState --value containerd.service", "active", 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, code := output(t, conn, tc.script)
			if name == "Inside" {
				got = "" // what ls says depends on the host
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.code, code); diff != "" {
				t.Errorf("%s: exit code (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
	got, _ := output(t, conn, "getent hosts registry.lab | cut -d' ' -f1")
	if !strings.HasPrefix(got, "127.") {
		t.Errorf("the registry's address on the node: %q", got)
	}
}

// testKill closes a session and expects its command to end.
func testKill(t *testing.T, conn *ssh.Client) {
	session, err := conn.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	command := fmt.Sprintf("sleep 4242%d", os.Getpid())
	if err := session.Start(command); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the command runs", func(context.Context) (bool, error) { return sleeping(t, command), nil })
	_ = session.Close()
	eventually(t, "the command ends with its session", func(context.Context) (bool, error) { return !sleeping(t, command), nil })
}

// sleeping says whether the command itself, not the shell that is given it, is there.
func sleeping(t *testing.T, command string) bool {
	t.Helper()
	for _, p := range processes(t, strings.Fields(command)[1]) {
		if strings.HasSuffix(strings.TrimSpace(p), " "+command) && !strings.Contains(p, "enter-node") {
			return true
		}
	}
	return false
}

func testSFTP(t *testing.T, conn *ssh.Client, node lab.NodeState) {
	client, err := sftp.NewClient(conn)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	want := []byte("a note\n")
	file, err := client.Create("/tmp/note")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write(want); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(node.Root, "tmp/note"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the file in the node's root (-want, +got):\n%s", diff)
	}
}

// testDirectTCP makes the handshake through the node, by the name that only the node knows.
func testDirectTCP(t *testing.T, conn *ssh.Client, dir string, s lab.State) {
	if _, err := conn.Dial("tcp", "nowhere.lab:443"); err == nil || !strings.Contains(err.Error(), "no such host") {
		t.Errorf("a name that the node does not know: %v", err)
	}
	raw, err := conn.Dial("tcp", s.Registry)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	root, err := os.ReadFile(filepath.Join(dir, "ca", "root.pem"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(root)
	secure := tls.Client(raw, &tls.Config{RootCAs: pool, ServerName: "registry.lab"})
	if err := secure.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(secure, "GET /v2/ HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(io.LimitReader(secure, 1<<16))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(answer), "HTTP/1.0 200 OK") {
		t.Errorf("the registry answers:\n%s", answer)
	}
}

// testRestart asks the node to restart containerd, which its kubelet does at the next pull.
func testRestart(t *testing.T, conn *ssh.Client) {
	if got, code := output(t, conn, "sudo systemctl restart containerd && test ! -e /run/containerd.restart && echo restarted"); code != 0 {
		t.Errorf("restarting containerd: %q, exit code %d", got, code)
	}
}
