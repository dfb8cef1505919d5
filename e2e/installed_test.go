//go:build realnodes

package e2e

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	installed = "tkgfix-system"
	// serviceAddress is the API server's as pods know it.
	serviceAddress = "10.96.0.1"
)

// TestInstalled installs the controller on a cluster of real kubelets, in a namespace of restricted pods, from an image that no node
// can pull, and lets it plan a Run.
func TestInstalled(t *testing.T) {
	archive := filepath.Join(t.TempDir(), "image.tar")
	command(t, nil, "../hack/image.sh", "tkgfix.dev/tkgfix:dev", archive, "linux/amd64").wantCode(t, 0)
	lab := upWith(t, "real", "missing-ca")
	cluster := lab.installInto(t, archive)
	cluster.kubectl(t, "apply", "-f", "../config/install.yaml")
	cluster.giveRoot(t)
	cluster.kubectl(t, "rollout", "status", "deployment/tkgfix-controller", "-n", installed, "--timeout=2m")

	t.Run("Runs", cluster.wantRestricted)
	t.Run("Plans", cluster.wantPlan)
}

// host is dev1 as a cluster on which the controller runs.
type host struct {
	*laboratory
	// key is the file of the key that opens its nodes.
	deploy, kubeconfig, key string
	config                  *rest.Config
	client                  kubernetes.Interface
}

// installInto takes the image to the workers of dev1, by hand, and lets their pods reach the API server, which elsewhere kube-proxy does.
func (l *laboratory) installInto(t *testing.T, archive string) *host {
	t.Helper()
	deploy, err := exec.CommandContext(t.Context(), "../hack/deploy/build.sh").Output()
	if err != nil {
		t.Fatal(err)
	}
	h := &host{laboratory: l, deploy: strings.TrimSpace(string(deploy)), kubeconfig: l.kubeconfig("team-a-dev1"), client: l.sick(t)}
	if h.config, err = clientcmd.BuildConfigFromFlags("", h.kubeconfig); err != nil {
		t.Fatal(err)
	}
	server, err := url.Parse(h.config.Host)
	if err != nil {
		t.Fatal(err)
	}
	h.key = l.secretFile(t, "dev1-ssh", "ssh-privatekey")
	for _, n := range l.nodesOf(t, "dev1") {
		if !strings.Contains(n.Name, "-np1-") {
			continue
		}
		n.ssh(t, h.key, archive, "sudo ctr -n k8s.io images import -")
		n.ssh(t, h.key, os.DevNull, "sudo busybox ip addr add "+serviceAddress+"/32 dev lo && "+
			"{ sudo setsid socat TCP-LISTEN:443,bind="+serviceAddress+",fork,reuseaddr TCP:"+server.Host+" >/dev/null 2>&1 & }")
	}
	return h
}

// ssh runs a command on a node as somebody who logs in does, with a file as its input.
func (n realNode) ssh(t *testing.T, key, input, script string) {
	t.Helper()
	hostKey := command(t, nil, "ssh-keygen", "-y", "-f", filepath.Join(n.Root, "etc/ssh/ssh_host_ed25519_key")).wantCode(t, 0).stdout
	known := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(known, []byte(n.Address+" "+hostKey), 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(input)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	cmd := exec.CommandContext(t.Context(), "ssh", "-F", "none", "-i", key, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
		"-o", "UserKnownHostsFile="+known, "vmware-system-user@"+n.Address, script)
	cmd.Stdin = in
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s on %s: %v\n%s", script, n.Name, err, out)
	}
}

func (h *host) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	r := command(t, []string{"KUBECONFIG=" + h.kubeconfig, "HOME=" + t.TempDir()}, h.deploy, append([]string{"kubectl"}, args...)...)
	if r.code != 0 {
		t.Logf("pods and events:\n%s", h.events(t))
	}
	return r.wantCode(t, 0).stdout
}

// giveRoot puts the API server's CA where pods look for it. A controller does elsewhere, which the laboratory lacks.
func (h *host) giveRoot(t *testing.T) {
	t.Helper()
	root := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "kube-root-ca.crt"}, Data: map[string]string{"ca.crt": string(h.config.CAData)}}
	if _, err := h.client.CoreV1().ConfigMaps(installed).Create(t.Context(), root, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// pods returns the controller's.
func (h *host) pods(t *testing.T) []corev1.Pod {
	t.Helper()
	list, err := h.client.CoreV1().Pods(installed).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=controller"})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// events tells what happened to the pods, and what they said.
func (h *host) events(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	events, err := h.client.CoreV1().Events(installed).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		return err.Error()
	}
	for _, e := range events.Items {
		fmt.Fprintf(&out, "%s %s: %s\n", e.InvolvedObject.Name, e.Reason, e.Message)
	}
	for _, p := range h.pods(t) {
		log, err := h.client.CoreV1().Pods(installed).GetLogs(p.Name, &corev1.PodLogOptions{}).DoRaw(t.Context())
		fmt.Fprintf(&out, "%s %s: %s (%v)\n", p.Name, p.Status.Phase, log, err)
	}
	return out.String()
}

// wantRestricted wants three replicas on both workers, and looks at what the kernel lets their processes do.
func (h *host) wantRestricted(t *testing.T) {
	nodes := map[string]bool{}
	for _, p := range h.pods(t) {
		nodes[p.Spec.NodeName] = true
		for _, c := range p.Status.ContainerStatuses {
			if c.State.Running == nil || !c.Ready || c.RestartCount > 0 {
				t.Errorf("%s: %+v", p.Name, c)
			}
		}
	}
	if len(nodes) != 2 {
		t.Errorf("replicas are on %v, want both workers", nodes)
	}
	want := map[string]string{"Uid": "65532 65532 65532 65532", "Gid": "65532 65532 65532 65532", "NoNewPrivs": "1", "Seccomp": "2", "CapEff": "0000000000000000", "CapBnd": "0000000000000000"}
	statuses := h.processes(t)
	if len(statuses) != 3 {
		t.Errorf("there are %d processes of the controller, want 3", len(statuses))
	}
	for _, got := range statuses {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("what a replica's process may (-want, +got):\n%s", diff)
		}
	}
}

// processes returns what the kernel says of each of the controller's processes.
func (h *host) processes(t *testing.T) []map[string]string {
	t.Helper()
	found, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var out []map[string]string
	for _, p := range found {
		words, err := os.ReadFile(filepath.Join(p, "cmdline"))
		if err != nil || !strings.HasPrefix(string(words), "/tkgfix\x00controller\x00") || !belongs(p, h.dir) {
			continue // it may have ended meanwhile
		}
		status, err := os.ReadFile(filepath.Join(p, "status"))
		if err != nil {
			t.Fatal(err)
		}
		one := map[string]string{}
		for line := range strings.Lines(string(status)) {
			name, value, _ := strings.Cut(line, ":")
			if slices.Contains([]string{"Uid", "Gid", "NoNewPrivs", "Seccomp", "CapEff", "CapBnd"}, name) {
				one[name] = strings.Join(strings.Fields(value), " ")
			}
		}
		out = append(out, one)
	}
	return out
}

// installedRun is a Run of the documented fix for the cluster on which the controller itself is.
const installedRun = `apiVersion: tkgfix.dev/v1alpha1
kind: Run
metadata: {name: fix, namespace: team-a}
spec:
  requester: alice@example.com
  workflow: {name: documented-fix}
  inputs: {cluster: team-a/dev1, sshPort: "22"}
  inputsFrom: {ca: {configMapKeyRef: {name: corporate-ca, key: ca.pem}}}
  connections: {supervisor: {secretRef: {name: supervisor, key: kubeconfig}}}
  planOnly: true
`

// wantPlan lets the controller plan the documented fix: its plugins start in its pods, and reach another API server and nodes. It finds
// that it would delete its own cluster.
func (h *host) wantPlan(t *testing.T) {
	h.routePods(t)
	h.kubectl(t, "apply", "-f", "../examples/controller/namespace.yaml")
	h.kubectl(t, "delete", "configmap", "corporate-ca", "-n", "team-a") // the example has none that is one
	h.kubectl(t, "create", "configmap", "corporate-ca", "-n", "team-a", "--from-file=ca.pem="+h.ca("root"))
	h.kubectl(t, "create", "secret", "generic", "supervisor", "-n", "team-a", "--from-file=kubeconfig="+h.laboratory.kubeconfig("platform"))
	h.kubectl(t, "apply", "-n", "team-a", "-f", documentedFix)
	file := filepath.Join(t.TempDir(), "run.yaml")
	if err := os.WriteFile(file, []byte(installedRun), 0o600); err != nil {
		t.Fatal(err)
	}
	h.kubectl(t, "apply", "-f", file, "--as=alice@example.com", "--as-group=platform-engineers")
	h.kubectl(t, "wait", "run/fix", "-n", "team-a", "--for=condition=Stalled", "--timeout=2m")
	got := decode[struct {
		Status struct {
			Phase, Error string
			Plan         struct{ Steps, Changes, Destroys int }
			Gates        []struct{ Name string }
		}
	}](t, []byte(h.kubectl(t, "get", "run/fix", "-n", "team-a", "-o", "json"))).Status
	var gates []string
	for _, g := range got.Gates {
		gates = append(gates, g.Name)
	}
	if diff := cmp.Diff([]string{"trust", "recreate"}, gates); diff != "" || got.Phase != "Blocked" || got.Plan.Destroys == 0 ||
		!strings.Contains(got.Error, "TanzuKubernetesCluster team-a/dev1 is the cluster on which this controller runs") {
		t.Errorf("the Run stands at %+v (gates: -want, +got):\n%s\n%s", got, diff, h.events(t))
	}
	if book := h.kubectl(t, "get", "configmap", "tkgfix-known-hosts", "-n", "team-a", "-o", "jsonpath={.data.known_hosts}"); strings.Count(book, "\n") < 2 {
		t.Errorf("of the two workers' host keys there are: %s", book)
	}
}

// routePods lets what the machine serves, the Supervisor for one, and the nodes answer the controller's pods. Elsewhere a network does.
func (h *host) routePods(t *testing.T) {
	t.Helper()
	at := map[string]net.IP{}
	for _, n := range h.nodesOf(t, "dev1") {
		at[n.Name] = net.ParseIP(n.Address)
	}
	for _, p := range h.pods(t) {
		via, err := netlink.RouteGet(at[p.Spec.NodeName])
		if err != nil || len(via) == 0 {
			t.Fatalf("the way to node %s: %v", p.Spec.NodeName, err)
		}
		// It goes with the laboratory's bridge.
		route := &netlink.Route{LinkIndex: via[0].LinkIndex, Gw: at[p.Spec.NodeName], Dst: &net.IPNet{IP: net.ParseIP(p.Status.PodIP), Mask: net.CIDRMask(32, 32)}}
		if err := netlink.RouteAdd(route); err != nil {
			t.Fatalf("a way to pod %s: %v", p.Name, err)
		}
		for _, n := range h.nodesOf(t, "dev1") {
			if n.Name != p.Spec.NodeName {
				n.ssh(t, h.key, os.DevNull, fmt.Sprintf("sudo busybox ip route add %s via %s", p.Status.PodIP, at[p.Spec.NodeName]))
			}
		}
	}
}
