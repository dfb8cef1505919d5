package main

import (
	"bytes"
	"context"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/tkgfix/tkgfix/internal/lab"
)

// TestPlant goes with one laboratory through a few scenarios, is interrupted on the way, and in the end kills it in the middle of one.
func TestPlant(t *testing.T) {
	dir, before := up(t, lab.Healthy)
	uid := clusterUID(t, dir)
	t.Run("Interrupted", func(t *testing.T) { testInterrupted(t, dir) })
	t.Run("ClockBehind", func(t *testing.T) {
		conn := plantAndEnter(t, dir, "clock-behind")
		told, _ := output(t, conn, "date -u +%s")
		seconds, err := strconv.ParseInt(told, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if behind := time.Since(time.Unix(seconds, 0)); behind < 47*time.Hour || behind > 49*time.Hour {
			t.Errorf("the node's clock is %s behind", behind)
		}
	})
	t.Run("Ubuntu", func(t *testing.T) {
		conn := plantAndEnter(t, dir, "missing-ca-ubuntu")
		got, _ := output(t, conn, ". /etc/os-release; echo $ID; readlink /etc/ssl/certs/tkg-corp-a.pem; head -c 27 /etc/ssl/certs/tkg-corp-a.pem")
		if diff := cmp.Diff("ubuntu\n/usr/local/share/ca-certificates/tkg-corp-a.crt\n-----BEGIN CERTIFICATE-----", got); diff != "" {
			t.Errorf("a trust file on Ubuntu (-want, +got):\n%s", diff)
		}
	})
	t.Run("Proxy", func(t *testing.T) {
		conn := plantAndEnter(t, dir, "proxy-refuses")
		if got, _ := output(t, conn, "systemctl show containerd -p Environment"); !strings.Contains(got, "HTTPS_PROXY=http://proxy.lab:3128") {
			t.Errorf("containerd's environment: %q", got)
		}
	})
	t.Run("OnlyDev1", func(t *testing.T) {
		now := state(t, dir)
		if diff := cmp.Diff(before.Clusters[1], now.Clusters[1]); diff != "" {
			t.Errorf("dev2 (-before, +now):\n%s", diff)
		}
		if diff := cmp.Diff(uid, clusterUID(t, dir)); diff != "" {
			t.Errorf("dev1 is another cluster (-before, +now):\n%s", diff)
		}
		if cmp.Equal(before.Clusters[0].Nodes, now.Clusters[0].Nodes) {
			t.Error("dev1's nodes were not made anew")
		}
		testRunning(t, cluster(t, now, "dev2"))
	})
	t.Run("Killed", func(t *testing.T) {
		s := state(t, dir)
		err := lab.Plant(t.Context(), dir, lab.MissingCA, onFirstLine(func() { _ = syscall.Kill(s.PID, syscall.SIGKILL) }))
		if err == nil || !strings.Contains(err.Error(), "broke off") {
			t.Errorf("planting in a laboratory that was killed: %v", err)
		}
		eventually(t, "nothing outlives a killed daemon", func(context.Context) (bool, error) { return len(processes(t, dir)) == 0, nil })
	})
	testDown(t, dir)
}

// onFirstLine is a writer that calls do with the first thing that is written.
type onFirstLine func()

func (do onFirstLine) Write(b []byte) (int, error) {
	do()
	return len(b), nil
}

// testInterrupted gives up a planting at its first sign of life and expects the laboratory to be ready for the next.
func testInterrupted(t *testing.T, dir string) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := lab.Plant(ctx, dir, "expired-leaf", onFirstLine(cancel)); err == nil {
		t.Fatal("a planting that was interrupted has no error")
	}
	s := state(t, dir)
	if diff := cmp.Diff([]string{"expired-leaf", string(lab.Planting)}, []string{s.Scenario, string(s.Phase)}); diff != "" {
		t.Errorf("state of an interrupted laboratory (-want, +got):\n%s", diff)
	}
}

// plantAndEnter plants a scenario by the command and logs in to one of dev1's workers.
func plantAndEnter(t *testing.T, dir, scenario string) *ssh.Client {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), &stdout, &stderr, []string{"tkgfix-lab", "plant", "--dir", dir, scenario}); code != 0 {
		t.Fatalf("plant: exit code %d\n%s", code, stderr.String())
	}
	s := state(t, dir)
	if diff := cmp.Diff([]string{scenario, string(lab.Ready)}, []string{s.Scenario, string(s.Phase)}); diff != "" {
		t.Fatalf("state (-want, +got):\n%s", diff)
	}
	client, err := kubernetes.NewForConfig(config(t, filepath.Join(dir, "kubeconfig", "platform.yaml")))
	if err != nil {
		t.Fatal(err)
	}
	secret, err := client.CoreV1().Secrets("team-a").Get(t.Context(), "dev1-ssh", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.ParsePrivateKey(secret.Data["ssh-privatekey"])
	if err != nil {
		t.Fatal(err)
	}
	nodes := s.Clusters[0].Nodes
	conn, err := ssh.Dial("tcp", net.JoinHostPort(nodes[len(nodes)-1].Address, strconv.Itoa(s.SSHPort)), &ssh.ClientConfig{
		User: "vmware-system-user", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func clusterUID(t *testing.T, dir string) string {
	t.Helper()
	client, err := dynamic.NewForConfig(config(t, filepath.Join(dir, "kubeconfig", "admin.yaml")))
	if err != nil {
		t.Fatal(err)
	}
	tkc, err := client.Resource(tkcs()).Namespace("team-a").Get(t.Context(), "dev1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return string(tkc.GetUID())
}

// Not in parallel: the command line's library has flags that all of its programs share.
func TestScenariosCommand(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), &stdout, &stderr, []string{"tkgfix-lab", "scenarios"}); code != 0 {
		t.Fatalf("exit code %d\n%s", code, stderr.String())
	}
	if diff := cmp.Diff(len(lab.Scenarios()), strings.Count(stdout.String(), "\n")); diff != "" {
		t.Errorf("lines (-want, +got):\n%s", diff)
	}
	for line := range strings.Lines(stdout.String()) {
		if len(line) > 120 || len(strings.Fields(line)) < 3 {
			t.Errorf("a line that is not for reading: %q", line)
		}
	}
}

// Not in parallel: the command line's library has flags that all of its programs share.
func TestScenariosOfAGeneration(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), &stdout, &stderr, []string{"tkgfix-lab", "scenarios", "--generation", "tanzukubernetescluster"}); code != 0 {
		t.Fatalf("exit code %d\n%s", code, stderr.String())
	}
	got := map[string]bool{}
	for line := range strings.Lines(stdout.String()) {
		name, _, _ := strings.Cut(line, " ")
		got[name] = true
	}
	for name, want := range map[string]bool{
		"missing-ca": true, "wrong-ca": true, "own-encoding": true, "stale-node": true, "expired-leaf": true, "over-encoded": false, "duplicate-names": false,
	} {
		if got[name] != want {
			t.Errorf("%s is listed: %v", name, got[name])
		}
	}
	stderr.Reset()
	if code := run(t.Context(), &stdout, &stderr, []string{"tkgfix-lab", "scenarios", "--generation", "v2"}); code != 1 || !strings.Contains(stderr.String(), "there are: v1alpha1") {
		t.Errorf("exit code %d\n%s", code, stderr.String())
	}
}

// Not in parallel: the command line's library has flags that all of its programs share.
func TestPlantNeedsOneScenario(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), &stdout, &stderr, []string{"tkgfix-lab", "plant", "--dir", t.TempDir()}); code != 1 || !strings.Contains(stderr.String(), "hint: tkgfix-lab scenarios") {
		t.Errorf("exit code %d\n%s", code, stderr.String())
	}
}
