//go:build gitops

package gitops

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// laboratory is the patient: a Supervisor with team-a/dev1, whose pods cannot pull.
type laboratory struct {
	dir string
	// ready is closed when it is up, or never will be.
	ready chan struct{}
	said  []byte
	err   error
}

// startLaboratory begins to start a laboratory that ends with the test; up waits for it.
func startLaboratory(t *testing.T, scenario string) *laboratory {
	t.Helper()
	l := &laboratory{dir: filepath.Join(t.TempDir(), "lab"), ready: make(chan struct{})}
	up := exec.CommandContext(t.Context(), filepath.Join(bin, "tkgfix-lab"), "up", "--dir", l.dir, "--scenario", scenario)
	go func() {
		defer close(l.ready)
		l.said, l.err = up.CombinedOutput()
	}()
	t.Cleanup(func() {
		<-l.ready
		if log, err := os.ReadFile(filepath.Join(l.dir, "lab.log")); t.Failed() {
			t.Logf("the end of lab.log (%v):\n%s", err, log[max(0, len(log)-4000):])
		}
		// t.Context ends before clean-ups run.
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if out, err := exec.CommandContext(ctx, filepath.Join(bin, "tkgfix-lab"), "down", "--dir", l.dir).CombinedOutput(); err != nil {
			t.Errorf("tkgfix-lab down: %v\n%s", err, out)
		}
	})
	return l
}

func (l *laboratory) up(t *testing.T) {
	t.Helper()
	<-l.ready
	if l.err != nil {
		t.Fatalf("tkgfix-lab up: %v\n%s", l.err, l.said)
	}
}

// read returns a file of the laboratory.
func (l *laboratory) read(t *testing.T, elements ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(l.dir, filepath.Join(elements...)))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// pods counts the pods of dev1's workload by phase.
func (l *laboratory) pods(t *testing.T) map[string]int {
	t.Helper()
	var pods corev1.PodList
	if err := reach(t, l.secret(t, "dev1-kubeconfig")["value"]).List(t.Context(), &pods, client.InNamespace("demo")); err != nil {
		t.Fatal(err)
	}
	out := map[string]int{}
	for _, p := range pods.Items {
		out[string(p.Status.Phase)]++
	}
	return out
}

// secret returns the data of a Secret of the Supervisor.
func (l *laboratory) secret(t *testing.T, name string) map[string][]byte {
	t.Helper()
	var held corev1.Secret
	if err := reach(t, l.read(t, "kubeconfig", "admin.yaml")).Get(t.Context(), client.ObjectKey{Namespace: "team-a", Name: name}, &held); err != nil {
		t.Fatal(err)
	}
	return held.Data
}

// secrets returns what a run uses and must not write: a part of it each that nothing else holds.
func (l *laboratory) secrets(t *testing.T) []string {
	t.Helper()
	_, token, found := strings.Cut(string(l.read(t, "kubeconfig", "platform.yaml")), "token: ")
	if !found {
		t.Fatal("the kubeconfig holds no token")
	}
	out := []string{strings.TrimSpace(token)}
	for _, name := range []string{"dev1-ssh", "dev1-ssh-password", "dev1-kubeconfig"} {
		for _, value := range l.secret(t, name) {
			lines := strings.Split(strings.TrimSpace(string(value)), "\n")
			out = append(out, lines[len(lines)/2])
		}
	}
	for i, s := range out {
		if len(s) < 8 {
			t.Fatalf("secret %d is too short to look for", i)
		}
	}
	return out
}

func reach(t *testing.T, kubeconfig []byte) client.Client {
	t.Helper()
	config, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// wrote counts what tkgfix has changed on the Supervisor and on dev1.
func (l *laboratory) wrote(t *testing.T) map[string]int {
	t.Helper()
	out := map[string]int{}
	for _, server := range []string{"supervisor", "team-a-dev1"} {
		asked := 0
		for _, a := range auditOf(t, filepath.Join(l.dir, "audit", server+".log"), func(a audited) bool { return strings.HasPrefix(a.UserAgent, "tkgfix/") }) {
			asked++
			question := a.ObjectRef.Resource == "selfsubjectaccessreviews" || strings.Contains(a.RequestURI, "dryRun=All")
			if a.writes() && !question {
				out[fmt.Sprintf("%s %s %s", a.Verb, a.ObjectRef.Resource, a.ObjectRef.Name)]++
			}
		}
		if asked == 0 {
			t.Errorf("the audit log of %s holds nothing of tkgfix: this test looks at the wrong thing", server)
		}
	}
	return out
}

// wantWrote wants these changes of the patient, and no other.
func (l *laboratory) wantWrote(t *testing.T, when string, want map[string]int) {
	t.Helper()
	if got := l.wrote(t); !maps.Equal(want, got) {
		wantSame(t, "what tkgfix changed "+when, want, got)
	}
}

// sshPort returns the port of the nodes' SSH servers.
func (l *laboratory) sshPort(t *testing.T) int {
	t.Helper()
	var state struct{ SSHPort int }
	if err := json.Unmarshal(l.read(t, "lab.json"), &state); err != nil {
		t.Fatal(err)
	}
	return state.SSHPort
}
