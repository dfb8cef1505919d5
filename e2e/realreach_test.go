//go:build realnodes

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/wait"
)

// realNode is a node as lab.json tells of it.
type realNode struct{ Name, Address, Root string }

// nodesOf returns the nodes of a cluster.
func (l *laboratory) nodesOf(t *testing.T, cluster string) []realNode {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(l.dir, "lab.json"))
	if err != nil {
		t.Fatal(err)
	}
	var out []realNode
	for _, c := range decode[struct {
		Clusters []struct {
			Name  string
			Nodes []realNode
		}
	}](t, raw).Clusters {
		if c.Name == cluster {
			out = append(out, c.Nodes...)
		}
	}
	return out
}

// sickNodes returns dev1's node of the control plane and one of its workers.
func (l *laboratory) sickNodes(t *testing.T) (controlPlane, worker realNode) {
	t.Helper()
	for _, n := range l.nodesOf(t, "dev1") {
		if strings.Contains(n.Name, "-np1-") {
			worker = n
		} else {
			controlPlane = n
		}
	}
	if controlPlane.Name == "" || worker.Name == "" {
		t.Fatalf("dev1 has not both kinds of nodes: %v", l.nodesOf(t, "dev1"))
	}
	return controlPlane, worker
}

// secretFile writes what a Secret of dev1 holds into a file that only its owner reads.
func (l *laboratory) secretFile(t *testing.T, name, key string) string {
	t.Helper()
	data, ok := l.get(t, secrets, "team-a", name).Object["data"].(map[string]any)
	if !ok {
		t.Fatalf("the Secret %s holds nothing", name)
	}
	value, _ := data[key].(string)
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, unbase64(t, value), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// probeVia probes the registry from a node with more flags, and returns what sshd there said meanwhile.
func (l *laboratory) probeVia(t *testing.T, n realNode, flags ...string) (result, string) {
	t.Helper()
	log := filepath.Join(l.dir, "logs", n.Name+".log")
	before, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"probe", "registry.lab:5443", "--via", "team-a/dev1/" + n.Name, "--output", "json"}, flags...)
	r := l.tkgfix(t, l.kubeconfig("platform"), args...)
	after, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	return r, string(after[len(before):])
}

// wantUntrusted wants the answer that the node does not trust the registry's root.
func wantUntrusted(t *testing.T, r result, n realNode) {
	t.Helper()
	r.wantCode(t, 1)
	got := decode[struct{ From, Verdict, Remedy string }](t, []byte(r.stdout))
	want := struct{ From, Verdict, Remedy string }{"node/" + n.Name, "untrusted-root", "add-ca"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answer (-want, +got):\n%s", diff)
	}
}

// wantDiagnosed wants verify-node-cert and the probe to look at each worker of dev1, reached with these flags, and to find what is wrong.
func (l *laboratory) wantDiagnosed(t *testing.T, flags ...string) {
	t.Helper()
	args := append([]string{"diagnose", "team-a/dev1", "--ca", l.ca("root"), "--output", "json"}, flags...)
	got := decode[diagnosed](t, []byte(l.tkgfix(t, l.kubeconfig("platform"), args...).wantCode(t, 0).stdout)).Clusters
	if len(got) != 1 || got[0].Cause != "missing-ca" || got[0].Error != "" {
		t.Fatalf("diagnosed: %+v", got)
	}
	seen := map[string]int{}
	for _, e := range got[0].Evidence {
		seen[e.Check]++
	}
	for _, check := range []string{"node-facts", "node-candidate", "handshake", "handshake-with-candidate"} {
		if seen[check] != 2 {
			t.Errorf("%s: seen on %d workers, want 2: %v", check, seen[check], seen)
		}
	}
}

// TestRealReach reaches a node's real sshd in each way: by key, by password, through a jump host, after a roll, and not when its host
// key has changed.
func TestRealReach(t *testing.T) {
	lab := upWith(t, "real", "missing-ca")
	jump, worker := lab.sickNodes(t)
	key := lab.secretFile(t, "dev1-ssh", "ssh-privatekey")
	password := lab.secretFile(t, "dev1-ssh-password", "ssh-passwordkey")
	// A key that opens nothing, so that the password has to.
	useless := filepath.Join(t.TempDir(), "useless")
	command(t, nil, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", useless).wantCode(t, 0)
	const accepted = "Accepted %s for vmware-system-user from %s "
	gateway := worker.Address[:strings.LastIndexByte(worker.Address, '.')] + ".1"
	for _, tc := range []struct {
		name, reason string
		flags        []string
		said         string
	}{
		{"Key", "the key in the cluster's Secret", nil, fmt.Sprintf(accepted, "publickey", gateway)},
		{"Password", "the password that is named", []string{"--ssh-key", useless, "--ssh-password-file", password}, fmt.Sprintf(accepted, "password", gateway)},
		{
			"Jump", "through a host whose sshd forwards", []string{"--ssh-key", key, "--jump", "vmware-system-user@" + jump.Address},
			fmt.Sprintf(accepted, "publickey", jump.Address),
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, said := lab.probeVia(t, worker, tc.flags...)
			wantUntrusted(t, r, worker)
			lab.wantDiagnosed(t, tc.flags...)
			if !strings.Contains(said, tc.said) {
				t.Errorf("%s: sshd does not say %q:\n%s", tc.reason, tc.said, said)
			}
		})
	}
	t.Run("Rolled", func(t *testing.T) {
		lab.plant(t, "missing-ca")
		_, rolled := lab.sickNodes(t)
		if rolled.Name == worker.Name {
			t.Fatal("the node is the same as before")
		}
		r, _ := lab.probeVia(t, rolled)
		wantUntrusted(t, r, rolled)
		lab.wantDiagnosed(t)
	})
	t.Run("OtherHostKey", func(t *testing.T) { otherHostKeyIsRefused(t, lab) })
}

// otherHostKeyIsRefused gives a node that has been reached another host key, which is what another machine at its address has.
func otherHostKeyIsRefused(t *testing.T, lab *laboratory) {
	_, n := lab.sickNodes(t)
	hostKey := filepath.Join(n.Root, "etc/ssh/ssh_host_ed25519_key")
	if err := os.Remove(hostKey); err != nil {
		t.Fatal(err)
	}
	command(t, nil, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", hostKey).wantCode(t, 0)
	// What serves the node in place of this sshd has read the new key.
	kill(t, sshdOf(t, n))
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		scan := command(t, nil, "ssh-keyscan", "-t", "ed25519", n.Address)
		return scan.code == 0 && strings.Contains(scan.stdout, "ssh-ed25519"), nil
	})
	if err != nil {
		t.Fatalf("sshd does not come back: %v", err)
	}
	r, _ := lab.probeVia(t, n)
	if r.code == 0 || r.code == 1 && strings.Contains(r.stdout, `"verdict"`) {
		t.Errorf("exit %d: it was asked all the same:\n%s", r.code, r.stdout)
	}
	r.wantSaid(t, "host key changed", "hint: ")
}

// sshdOf returns the process of the node's sshd that listens.
func sshdOf(t *testing.T, n realNode) int {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		words, err := os.ReadFile(filepath.Join(p, "cmdline"))
		if err != nil || !strings.HasPrefix(string(words), "sshd: /usr/sbin/sshd -D") {
			continue
		}
		if mounts, err := os.ReadFile(filepath.Join(p, "mountinfo")); err == nil && strings.Contains(string(mounts), n.Root) {
			var pid int
			if _, err := fmt.Sscan(filepath.Base(p), &pid); err == nil && syscall.Kill(pid, 0) == nil {
				return pid
			}
		}
	}
	t.Fatalf("no sshd serves %s", n.Name)
	return 0
}
