package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/node"
	"github.com/tkgfix/tkgfix/internal/node/debugpod"
	"github.com/tkgfix/tkgfix/internal/nodelook"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/nodecert"
	"github.com/tkgfix/tkgfix/plugins/probe"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// dev1 is the sick cluster of the laboratory.
var dev1 = tkg.Ref{Namespace: "team-a", Name: "dev1"}

// TestDebugPod looks at nodes by debug pods and by SSH, kills a process that holds a pod, and meets what can be in the way.
func TestDebugPod(t *testing.T) {
	t.Parallel() // most of it is waiting
	lab := up(t, "missing-ca")
	guest := lab.guest(t)
	late := lateOnGhost(t, lab, guest)
	t.Run("SameAsBySSH", func(t *testing.T) { sameAsBySSH(t, lab, guest) })
	t.Run("Killed", func(t *testing.T) { holderIsKilled(t, lab, guest) })
	t.Run("Cancelled", func(t *testing.T) { cancelledInTheMiddle(t, lab, guest) })
	t.Run("Refused", func(t *testing.T) { podIsRefused(t, lab, guest) })
	t.Run("Late", func(t *testing.T) {
		err := <-late
		if err == nil || !strings.Contains(err.Error(), "has not taken notice") || !strings.Contains(plugins.HintOf(err), "kubectl describe node "+ghost) ||
			plugins.KindOf(err) != plugins.KindTransient {
			t.Errorf("got %v; hint: %s", err, plugins.HintOf(err))
		}
		if pods := podsOn(t, guest, ghost); len(pods) != 0 {
			t.Errorf("%d pods are left", len(pods))
		}
	})
}

// ghost is a node that nobody runs.
const ghost = "ghost"

// lateOnGhost reaches for a node whose kubelet never starts the pod, which takes a minute, and passes on what comes of it.
func lateOnGhost(t *testing.T, lab *laboratory, guest kubernetes.Interface) <-chan error {
	t.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: ghost}}
	n, err := guest.CoreV1().Nodes().Create(t.Context(), n, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n.Status.Images = []corev1.ContainerImage{{Names: []string{"localhost:5000/vmware.io/kube-proxy:v1"}}}
	if _, err := guest.CoreV1().Nodes().UpdateStatus(t.Context(), n, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	cluster, out := lab.workload(t), make(chan error, 1)
	go func() {
		_, err := debugpod.Dial(t.Context(), cluster, plugins.Nodes{Via: "debug-pod"}, node.Target{Name: ghost})
		out <- err
	}()
	return out
}

// nodes is the connection to the nodes, by a way.
func (l *laboratory) nodes(via string) plugins.Nodes {
	port := 0
	_, _ = fmt.Sscan(l.ssh, &port)
	return plugins.Nodes{Via: via, User: "vmware-system-user", Port: port, HostKeys: "accept-new", KnownHosts: filepath.Join(l.state, "known_hosts")}
}

// supervisor returns tkgfix's own client of the Supervisor.
func (l *laboratory) supervisor(t *testing.T) *kube.Client {
	t.Helper()
	c, err := kube.New(plugins.Kube{Kubeconfig: l.kubeconfig("platform")})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// workload returns tkgfix's own client of dev1.
func (l *laboratory) workload(t *testing.T) *kube.Client {
	t.Helper()
	c, err := tkg.WorkloadClient(t.Context(), l.supervisor(t), dev1)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// guest returns an administrator's client of dev1 that is not tkgfix's.
func (l *laboratory) guest(t *testing.T) kubernetes.Interface {
	t.Helper()
	s, err := l.client(t).Resource(secrets).Namespace("team-a").Get(t.Context(), "dev1-kubeconfig", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(unbase64(t, s.Object["data"].(map[string]any)["value"].(string)))
	if err != nil {
		t.Fatal(err)
	}
	config.UserAgent = "e2e"
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// debugPods returns tkgfix's pods on the workers of dev1.
func debugPods(t *testing.T, guest kubernetes.Interface) []corev1.Pod {
	t.Helper()
	return slices.DeleteFunc(podsOn(t, guest, ""), func(p corev1.Pod) bool { return p.Spec.NodeName == ghost })
}

// podsOn returns tkgfix's pods on a node, or on all.
func podsOn(t *testing.T, guest kubernetes.Interface, name string) []corev1.Pod {
	t.Helper()
	opts := metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=tkgfix"}
	if name != "" {
		opts.FieldSelector = "spec.nodeName=" + name
	}
	list, err := guest.CoreV1().Pods("").List(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

func wantNoDebugPods(t *testing.T, guest kubernetes.Interface) {
	t.Helper()
	for _, p := range debugPods(t, guest) {
		t.Errorf("debug pod %s is left, %s", p.Name, p.Status.Phase)
	}
}

// sameAsBySSH compares what is found by the two ways, and holds the pods' traces against the audit log and the nodes' files.
func sameAsBySSH(t *testing.T, lab *laboratory, guest kubernetes.Interface) {
	files := lab.files(t)
	bySSH, byPod := looks(t, lab, "ssh"), looks(t, lab, "debug-pod")
	if len(bySSH) == 0 {
		t.Fatal("no worker was looked at")
	}
	for name, want := range bySSH {
		got := byPod[name]
		if len(want.Files) == 0 || !got.Root {
			t.Errorf("%s: %d files by SSH; by the pod as root: %v", name, len(want.Files), got.Root)
		}
		if got.Time.Sub(want.Time).Abs() > time.Minute {
			t.Errorf("%s: the clock shows %s by SSH and %s by the pod", name, want.Time, got.Time)
		}
		want.Time, got.Time = time.Time{}, time.Time{}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(nodelook.Look{})); diff != "" {
			t.Errorf("%s (-by SSH, +by a debug pod):\n%s", name, diff)
		}
	}
	input := map[string]any{"cluster": dev1.String(), "ca": lab.ca("root")}
	if diff := cmp.Diff(stepOutput(t, lab, nodecert.New, "ssh", input), stepOutput(t, lab, nodecert.New, "debug-pod", input)); diff != "" {
		t.Errorf("verify-node-cert (-by SSH, +by a debug pod):\n%s", diff)
	}
	input["registry"] = "registry.lab:5443"
	if diff := cmp.Diff(stepOutput(t, lab, probe.New, "ssh", input), stepOutput(t, lab, probe.New, "debug-pod", input)); diff != "" {
		t.Errorf("probe (-by SSH, +by a debug pod):\n%s", diff)
	}
	wantNoDebugPods(t, guest)
	if diff := cmp.Diff(files, lab.files(t)); diff != "" {
		t.Errorf("files of nodes (-before, +after):\n%s", diff)
	}
	wrote := map[string]int{}
	for _, a := range lab.audit(t, "team-a-dev1", func(a audited) bool { return byTkgfix(a) && a.writes() }) {
		if a.ObjectRef.Resource != "pods" || a.ObjectRef.Namespace != "kube-system" {
			t.Errorf("more than debug pods was written: %s", a)
		}
		wrote[a.Verb+" "+a.ObjectRef.Subresource]++
	}
	wrote["create "]-- // on the ghost, whose pod still waits
	if wrote["create "] <= 0 || wrote["create "] != wrote["delete "] {
		t.Errorf("pods made and deleted: %v", wrote)
	}
	events, err := guest.CoreV1().Events("kube-system").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	present := 0
	for _, e := range events.Items {
		if strings.Contains(e.Reason, "Pulling") || strings.Contains(e.Message, "Successfully pulled") {
			t.Errorf("an image was pulled: %s", e.Message)
		}
		if strings.Contains(e.Message, "already present on machine") {
			present++
		}
	}
	if present == 0 {
		t.Error("no event says that an image was on the node: this test looks at the wrong thing")
	}
}

func looks(t *testing.T, lab *laboratory, via string) map[string]nodelook.Look {
	t.Helper()
	workers, err := nodelook.FindWorkers(t.Context(), lab.supervisor(t), lab.nodes(via), dev1)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]nodelook.Look, len(workers.Nodes))
	err = workers.Each(t.Context(), func(ctx context.Context, i int, conn *node.Conn) error {
		look, err := nodelook.Take(ctx, conn, nodelook.LookRequest{Registry: "registry.lab:5443", Now: time.Now})
		out[i] = look
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]nodelook.Look{}
	for i, n := range workers.Nodes {
		named[n.Name] = out[i]
	}
	return named
}

// stepOutput runs a step that reads and returns its output.
func stepOutput(t *testing.T, lab *laboratory, step func(sdk.Env) plugins.Step, via string, input map[string]any) map[string]any {
	t.Helper()
	raw, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	nodes := lab.nodes(via)
	resp, err := step(sdk.Env{Now: time.Now}).Plan(t.Context(), plugins.PlanRequest{
		StepID: "look", Effect: plugins.Read, Input: raw,
		Connections: plugins.Connections{Supervisor: &plugins.Kube{Kubeconfig: lab.kubeconfig("platform")}, Nodes: &nodes},
	})
	if err != nil {
		t.Fatal(err)
	}
	out := decode[map[string]any](t, resp.Outputs)
	for _, n := range out["nodes"].([]any) {
		delete(n.(map[string]any), "clock") // a second may have passed
		delete(n.(map[string]any), "note")  // it may tell by which way the chain came
	}
	return out
}

// hold is what this binary does when holdEnv is set: it reaches the node of that name by a debug pod, says so, and holds on to it.
func hold(ctx context.Context, kubeconfig, name string) error {
	supervisor, err := kube.New(plugins.Kube{Kubeconfig: kubeconfig})
	if err != nil {
		return err
	}
	cluster, err := tkg.WorkloadClient(ctx, supervisor, dev1)
	if err != nil {
		return err
	}
	conn, err := debugpod.Dial(ctx, cluster, plugins.Nodes{Via: "debug-pod"}, node.Target{Name: name})
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_, err = conn.Run(ctx, "echo held >&2; sleep 1000")
	return err
}

const holdEnv = "TKGFIX_E2E_HOLD"

// holderIsKilled kills the process that holds a pod with SIGKILL. The pod then stays, ends at its deadline, and is deleted by the next look at
// this node; a pod whose time is not over is another run's and stays.
func holderIsKilled(t *testing.T, lab *laboratory, guest kubernetes.Interface) {
	name := worker(t, lab)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), holdEnv+"="+name, "KUBECONFIG="+lab.kubeconfig("platform"))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	held := waitForPod(t, guest, "a pod that runs", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGKILL {
		t.Fatalf("the holder was not killed: %v", err)
	}
	dialAndClose(t, lab, name)
	if pods := debugPods(t, guest); len(pods) != 1 || pods[0].UID != held.UID {
		t.Fatalf("the pod's time is not over, so it has to stay: %d pods", len(pods))
	}
	if held.Spec.ActiveDeadlineSeconds == nil || *held.Spec.ActiveDeadlineSeconds > 3600 {
		t.Fatal("nothing would ever end the pod")
	}
	// A quarter of an hour passes: Kubernetes lets the deadline be made shorter.
	_, err = guest.CoreV1().Pods(held.Namespace).Patch(t.Context(), held.Name, types.MergePatchType, []byte(`{"spec":{"activeDeadlineSeconds":1}}`), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	waitForPod(t, guest, "a pod that its deadline ended", func(p *corev1.Pod) bool {
		return p.UID == held.UID && p.Status.Phase == corev1.PodFailed && p.Status.Reason == "DeadlineExceeded"
	})
	dialAndClose(t, lab, name)
	wantNoDebugPods(t, guest)
}

// worker returns the name of a worker of dev1.
func worker(t *testing.T, lab *laboratory) string {
	t.Helper()
	workers, err := tkg.Workers(t.Context(), lab.supervisor(t), dev1)
	if err != nil {
		t.Fatal(err)
	}
	return workers[0].Name
}

func dialAndClose(t *testing.T, lab *laboratory, name string) {
	t.Helper()
	conn, err := debugpod.Dial(t.Context(), lab.workload(t), plugins.Nodes{Via: "debug-pod"}, node.Target{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := conn.Run(t.Context(), "hostname"); err != nil || strings.TrimSpace(string(out)) != name {
		t.Errorf("the node %s calls itself %q, %v", name, out, err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
}

func waitForPod(t *testing.T, guest kubernetes.Interface, what string, is func(*corev1.Pod) bool) corev1.Pod {
	t.Helper()
	var found corev1.Pod
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		for _, p := range debugPods(t, guest) {
			if is(&p) {
				found = p
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil {
		t.Fatalf("waiting for %s: %v", what, err)
	}
	return found
}

// cancelledInTheMiddle gives up while a command runs, which leaves neither the command nor the pod.
func cancelledInTheMiddle(t *testing.T, lab *laboratory, guest kubernetes.Interface) {
	conn, err := debugpod.Dial(t.Context(), lab.workload(t), plugins.Nodes{Via: "debug-pod"}, node.Target{Name: worker(t, lab)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := conn.Run(ctx, "sleep 86401")
		done <- err
	}()
	running := func(want bool) {
		t.Helper()
		is := func(context.Context) (bool, error) { return sleeps(t, "86401") == want, nil }
		if err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, is); err != nil {
			t.Fatalf("waiting until the command on the node runs (%v): %v", want, err)
		}
	}
	running(true)
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("want that it was cancelled, got %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the connection waits for the command")
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	wantNoDebugPods(t, guest)
	running(false)
}

// sleeps says whether a process of this machine sleeps for that long.
func sleeps(t *testing.T, seconds string) bool {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if line, err := os.ReadFile(file); err == nil && string(line) == "sleep\x00"+seconds+"\x00" {
			return true
		}
	}
	return false
}

// podIsRefused meets what can be in the way, each with an error that says so, and leaves no pod.
func podIsRefused(t *testing.T, lab *laboratory, guest kubernetes.Interface) {
	name := worker(t, lab)
	label := func(t *testing.T, value string) {
		patch := fmt.Appendf(nil, `{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":%s}}}`, value)
		if _, err := guest.CoreV1().Namespaces().Patch(t.Context(), "kube-system", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	condition := func(t *testing.T, status corev1.ConditionStatus) {
		patch := fmt.Appendf(nil, `{"status":{"conditions":[{"type":"Ready","status":%q,"message":"Kubelet stopped posting node status."}]}}`, status)
		if _, err := guest.CoreV1().Nodes().Patch(t.Context(), name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status"); err != nil {
			t.Fatal(err)
		}
	}
	for what, c := range map[string]struct {
		reason, node, image string
		before, after       func(*testing.T)
		err, hint           string
		kind                plugins.ErrorKind
	}{
		"NotOnTheNode": {reason: "the image is named and not there", node: name, image: "registry.lab:5443/demo/web:1", err: "it is not on the node", hint: "connections.nodes.image", kind: plugins.KindFailed},
		"NoImageName":  {reason: "the image is no name", node: name, image: "UPPER//", err: "will do", hint: "connections.nodes.image", kind: plugins.KindFailed},
		"NoNode":       {reason: "the machine has not joined", node: "dev1-np1-none", err: "has not joined", hint: "via: ssh", kind: plugins.KindFailed},
		"PodSecurity": {
			reason: "the API server's own admission refuses", node: name, err: "violates PodSecurity", hint: "via: ssh", kind: plugins.KindFailed,
			before: func(t *testing.T) { label(t, `"restricted"`) }, after: func(t *testing.T) { label(t, "null") },
		},
		"Silent": {
			reason: "kubelet stopped reporting", node: name, err: "does not report", hint: "kubectl describe node", kind: plugins.KindTransient,
			before: func(t *testing.T) { condition(t, corev1.ConditionUnknown) }, after: func(t *testing.T) { condition(t, corev1.ConditionTrue) },
		},
	} {
		t.Run(what, func(t *testing.T) {
			if c.before != nil {
				c.before(t)
				defer c.after(t)
			}
			conn, err := debugpod.Dial(t.Context(), lab.workload(t), plugins.Nodes{Via: "debug-pod", Image: c.image}, node.Target{Name: c.node})
			if err == nil {
				_ = conn.Close()
				t.Fatalf("%s: no error", c.reason)
			}
			if !strings.Contains(err.Error(), c.err) || !strings.Contains(plugins.HintOf(err), c.hint) || plugins.KindOf(err) != c.kind {
				t.Errorf("%s: got %v (%s); hint: %s", c.reason, err, plugins.KindOf(err), plugins.HintOf(err))
			}
			wantNoDebugPods(t, guest)
		})
	}
}
