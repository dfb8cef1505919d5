//go:build gitops

package gitops

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/tkgfix/tkgfix/internal/lab/proc"
)

// reads is what the engine needs to know what there is: it keeps a copy of everything in the namespace.
func reads() rbacv1.PolicyRule { return rule("*", "*", "get list watch") }

// watches gives an account of the namespace of Runs what the engine needs.
func watches(t *testing.T, name string) {
	t.Helper()
	create(t, &rbacv1.Role{ObjectMeta: named(remedies, name+"-cache"), Rules: []rbacv1.PolicyRule{reads()}}, &rbacv1.RoleBinding{
		ObjectMeta: named(remedies, name+"-cache"),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name + "-cache"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: remedies, Name: name}},
	})
}

// agent starts Argo CD's engine as a service account. It applies what is in the folder path of a checkout to the namespace, once a second,
// and takes away what is no longer there.
func agent(t *testing.T, namespace, account, checkout, path string) {
	t.Helper()
	start(t, account, filepath.Join(engine, "agent"), checkout, "--path", path,
		"--kubeconfig", accountFile(t, namespace, account), "--namespaced", "--default-namespace", namespace,
		"--resync-seconds", "1", "--port", "0") // whose port is not used
}

// sweep removes what agents that were ended in the middle of something have left in memory: a copy of their kubeconfig, or of a manifest.
func sweep(since time.Time) error {
	const dir = "/dev/shm"
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || info.ModTime().Before(since) || info.Size() > 1<<20 {
			continue
		}
		path := filepath.Join(dir, e.Name())
		data, err := os.ReadFile(path)
		if err == nil && (bytes.Contains(data, []byte(management.URL())) || bytes.Contains(data, []byte("gitops-agent.argoproj.io/gc-mark"))) {
			err = os.Remove(path)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// child is a program that runs for a test.
type child struct {
	*proc.Process
	log    string
	killed bool
}

// start starts a program that ends with the test, and not before it. The end of its log is told if the test fails.
func start(t *testing.T, name string, program string, args ...string) *child {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, name+".log")
	cmd := exec.Command(program, args...)
	cmd.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p, err := children.Watch(t.Context(), log, cmd)
	if err != nil {
		t.Fatal(err)
	}
	c := &child{Process: p, log: log}
	t.Cleanup(func() {
		select {
		case <-p.Done():
			if !c.killed {
				t.Error(p.Err())
			}
		default:
			p.Stop(10 * time.Second)
		}
		if data, err := os.ReadFile(log); t.Failed() {
			t.Logf("the end of %s (%v):\n%s", filepath.Base(log), err, data[max(0, len(data)-3000):])
		}
	})
	return c
}

// kill ends a program as a machine that loses its power does.
func (c *child) kill(t *testing.T) {
	t.Helper()
	c.killed = true
	if err := syscall.Kill(c.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-c.Done()
}
