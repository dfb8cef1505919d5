package debugpod

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/plugins"
)

var update = flag.Bool("update", false, "write testdata/pod.yaml again")

// TestShape holds the pod against the file that docs/adr/0012-debug-pods.md describes: no change of it goes unseen.
func TestShape(t *testing.T) {
	t.Parallel()
	golden := filepath.Join("testdata", "pod.yaml")
	got, err := yaml.Marshal(newPod("dev1-np1-x", "localhost:5000/vmware.io/kube-proxy:v1.26.5"))
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("the pod (-want, +got):\n%s", diff)
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	image := func(bytes int64, names ...string) corev1.ContainerImage {
		return corev1.ContainerImage{Names: names, SizeBytes: bytes}
	}
	digest := "@sha256:" + strings.Repeat("ab", 32)
	var many []corev1.ContainerImage
	for i := range 5000 {
		many = append(many, image(int64(i), fmt.Sprintf("reg.lab/app-%d:1", i)))
	}
	cases := map[string]struct {
		reason string
		have   []corev1.ContainerImage
		want   []string
	}{
		"TKG": {
			reason: "what each node has comes first, the pause image never",
			have: []corev1.ContainerImage{
				image(900, "reg.lab/shop/web:1"), image(184, "localhost:5000/vmware.io/antrea/antrea-advanced-debian:v1"), image(1, "localhost:5000/vmware.io/pause:3.9"),
				image(96, "localhost:5000/vmware.io/csi/vsphere-csi-driver:v2"), image(67, "localhost:5000/vmware.io/kube-proxy:v1.26.5"),
			},
			want: []string{
				"localhost:5000/vmware.io/kube-proxy:v1.26.5", "localhost:5000/vmware.io/antrea/antrea-advanced-debian:v1",
				"localhost:5000/vmware.io/csi/vsphere-csi-driver:v2", "reg.lab/shop/web:1",
			},
		},
		"TagBeforeDigest": {reason: "people know the tag", have: []corev1.ContainerImage{image(1, "reg.lab/kube-proxy"+digest, "reg.lab/kube-proxy:v1")}, want: []string{"reg.lab/kube-proxy:v1"}},
		"DigestOnly":      {reason: "the tag has moved on", have: []corev1.ContainerImage{image(1, "reg.lab/kube-proxy"+digest)}, want: []string{"reg.lab/kube-proxy" + digest}},
		"RegistryNamed":   {reason: "a registry named kube-proxy makes no image likely", have: []corev1.ContainerImage{image(1, "kube-proxy.lab/app:1"), image(2, "reg.lab/app:1")}, want: []string{"reg.lab/app:1", "kube-proxy.lab/app:1"}},
		"Largest":         {reason: "of unknown ones, and a bounded number of them", have: many[:10], want: []string{"reg.lab/app-9:1", "reg.lab/app-8:1", "reg.lab/app-7:1", "reg.lab/app-6:1", "reg.lab/app-5:1", "reg.lab/app-4:1"}},
		"Endless":         {reason: "a list that no kubelet reports is read in part", have: many, want: []string{"reg.lab/app-999:1", "reg.lab/app-998:1", "reg.lab/app-997:1", "reg.lab/app-996:1", "reg.lab/app-995:1", "reg.lab/app-994:1"}},
		"Hostile": {
			reason: "what is no name is passed over",
			have: []corev1.ContainerImage{
				image(9), image(9, ""), image(9, "<none>:<none>"), image(9, "kube-proxy"), image(9, "reg.lab/kube-proxy:v1\n--flag"), image(9, "../../kube-proxy:v1"),
				image(9, strings.Repeat("a/", 5000)+"kube-proxy:v1"), image(9, "\x00", "reg.lab/good:1"),
			},
			want: []string{"reg.lab/good:1"},
		},
		"None": {reason: "a kubelet that reports none"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, choose(c.have)); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", c.reason, diff)
			}
		})
	}
}

func FuzzChoose(f *testing.F) {
	f.Add("localhost:5000/vmware.io/kube-proxy:v1", int64(1))
	f.Add("reg.lab/a@sha256:"+strings.Repeat("ab", 32), int64(-1))
	f.Add("<none>@<none>", int64(0))
	f.Fuzz(func(t *testing.T, name string, bytes int64) {
		for _, got := range choose([]corev1.ContainerImage{{Names: []string{name, name + "x"}, SizeBytes: bytes}}) {
			if got != name && got != name+"x" || strings.ContainsAny(got, " \n\x00<>") {
				t.Errorf("%q came out of %q", got, name)
			}
		}
	})
}

// TestStanding has the statuses as kubelet and containerd write them.
func TestStanding(t *testing.T) {
	t.Parallel()
	waits := func(reason, message string) corev1.PodStatus {
		return corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{{
			Name: container, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
		}}}
	}
	ended := func(code int32, reason, message string) corev1.PodStatus {
		return corev1.PodStatus{Phase: corev1.PodFailed, ContainerStatuses: []corev1.ContainerStatus{{
			Name: container, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, Message: message}},
		}}}
	}
	const noSh = `failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "sh": executable file not found in $PATH: unknown`
	over := ended(137, "Error", "")
	over.Reason, over.Message = "DeadlineExceeded", "Pod was active on the node longer than the specified deadline"
	cases := map[string]struct {
		reason  string
		status  corev1.PodStatus
		running bool
		unfit   string
		err     string
	}{
		"New":      {reason: "kubelet has not looked yet", status: corev1.PodStatus{Phase: corev1.PodPending}},
		"Creating": {reason: "it comes", status: waits("ContainerCreating", "")},
		"Running": {reason: "it is there", running: true, status: corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{
			Name: container, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
		}}}},
		"Sidecar": {reason: "a container that a webhook put in says nothing of ours", status: corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{{
			Name: "proxy", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
		}}}},
		"NeverPull":  {reason: "the image is not there after all", status: waits("ErrImageNeverPull", `Container image "x" is not present with pull policy of Never`), unfit: "not on the node"},
		"NoName":     {reason: "kubelet's parser is the strictest", status: waits("InvalidImageName", `Failed to apply default image tag "A//": couldn't parse image name`), unfit: "its name is none"},
		"NoShell":    {reason: "containerd 1.6 and later", status: ended(128, "StartError", noSh), unfit: "no shell"},
		"NoShellYet": {reason: "before kubelet writes that it ended", status: waits("RunContainerError", noSh), unfit: "no shell"},
		"NoSleep":    {reason: "the shell is all there is", status: ended(127, "Error", ""), unfit: "code 127"},
		"Pulls":      {reason: "policy Never is not kept", status: waits("ImagePullBackOff", `Back-off pulling image "x"`), err: "though the pod says Never"},
		"Busy":       {reason: "a mount that is late comes by itself", status: waits("CreateContainerError", "context deadline exceeded")},
		"Full":       {reason: "kubelet's admission", status: corev1.PodStatus{Phase: corev1.PodFailed, Reason: "OutOfpods", Message: "Node didn't have enough resource: pods"}, err: "OutOfpods"},
		"Evicted":    {reason: "the node is short of disk", status: corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", Message: "The node was low on resource: ephemeral-storage."}, err: "ephemeral-storage"},
		"Deadline":   {reason: "its time was over before it ran", status: over, err: "DeadlineExceeded"},
		"Hostile":    {reason: "a message is bounded and quoted", status: corev1.PodStatus{Phase: corev1.PodFailed, Message: "\x1b[31m" + strings.Repeat("x", 1<<20)}, err: `\x1b[31m`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			running, err := standing(&corev1.Pod{Spec: corev1.PodSpec{NodeName: "n"}, Status: c.status})
			unfit, next := errors.AsType[*unfitError](err)
			switch {
			case running != c.running, next != (c.unfit != ""), (err != nil) != (c.unfit != "" || c.err != ""):
				t.Errorf("%s: got %v, %v", c.reason, running, err)
			case next && !strings.Contains(unfit.why, c.unfit), err != nil && !strings.Contains(err.Error(), c.err):
				t.Errorf("%s: got %v", c.reason, err)
			case err != nil && len(err.Error()) > 1000:
				t.Errorf("%s: an error of %d bytes", c.reason, len(err.Error()))
			}
		})
	}
}

func TestStale(t *testing.T) {
	t.Parallel()
	made := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	pod := func(uid, nodeName string, age time.Duration, phase corev1.PodPhase) *corev1.Pod {
		p := &corev1.Pod{Spec: corev1.PodSpec{NodeName: nodeName}, Status: corev1.PodStatus{Phase: phase}}
		p.UID, p.CreationTimestamp = types.UID(uid), metav1.NewTime(made.Add(-age))
		return p
	}
	ours := pod("ours", "n", 0, corev1.PodPending)
	cases := map[string]struct {
		reason string
		pod    *corev1.Pod
		want   bool
	}{
		"Ours":      {"it is the one that is needed", ours, false},
		"Other":     {"another run looks at this moment", pod("a", "n", time.Minute, corev1.PodRunning), false},
		"Over":      {"its time is over, whatever its kubelet says", pod("a", "n", deadline+time.Second, corev1.PodRunning), true},
		"Ended":     {"nobody needs it", pod("a", "n", time.Minute, corev1.PodFailed), true},
		"Succeeded": {"nobody needs it", pod("a", "n", time.Minute, corev1.PodSucceeded), true},
		"Elsewhere": {"its label lies", pod("a", "m", time.Hour, corev1.PodFailed), false},
		"Future":    {"it came after ours", pod("a", "n", -time.Hour, corev1.PodRunning), false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := isStale(c.pod, ours); got != c.want {
				t.Errorf("%s: got %v", c.reason, got)
			}
		})
	}
}

func TestAdmission(t *testing.T) {
	t.Parallel()
	changed := func(change func(*corev1.Pod)) *corev1.Pod {
		p := newPod("n", "reg.lab/a:1")
		change(p)
		return p
	}
	cases := map[string]struct {
		reason string
		pod    *corev1.Pod
		err    string
	}{
		"AsAsked": {"as it was sent", changed(func(*corev1.Pod) {}), ""},
		"Pulls":   {"the admission plugin AlwaysPullImages", changed(func(p *corev1.Pod) { p.Spec.Containers[0].ImagePullPolicy = corev1.PullAlways }), `from Never to "Always"`},
		"Sidecar": {"a webhook puts in a container that has to be pulled", changed(func(p *corev1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "proxy", ImagePullPolicy: corev1.PullIfNotPresent})
		}), "IfNotPresent"},
		"Moved": {"a webhook takes the node away", changed(func(p *corev1.Pod) { p.Spec.NodeName = "" }), "would not run there"},
		"Empty": {"an answer that makes no sense", &corev1.Pod{Spec: corev1.PodSpec{NodeName: "n"}}, "would not run there"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := checkMade(c.pod, "n")
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: got %v", c.reason, err)
			}
		})
	}
}

func TestExplainCreate(t *testing.T) {
	t.Parallel()
	forbidden := func(text string) error {
		return apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "p", errors.New(text))
	}
	cases := map[string]struct {
		reason string
		err    error
		hint   string
	}{
		"PodSecurity": {"the namespace is not exempt", forbidden(`violates PodSecurity "restricted:latest": host namespaces`), "connections.nodes.via: ssh"},
		"Webhook":     {"a policy engine says no", forbidden(`admission webhook "validation.gatekeeper.sh" denied the request: privileged`), "app.kubernetes.io/managed-by=tkgfix"},
		"RBAC":        {"the login is too weak, which is told already", kube.Explain(forbidden(`User "v" cannot create resource "pods" in API group "" in the namespace "kube-system"`)), "can-i create pods"},
		"Other":       {"nothing to add", errors.New("boom"), ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := explainCreate(c.err)
			if hint := plugins.HintOf(err); !strings.Contains(hint, c.hint) || (hint == "") != (c.hint == "") {
				t.Errorf("%s: got the hint %q", c.reason, hint)
			}
			if !errors.Is(err, c.err) {
				t.Errorf("%s: the error is no longer what it was: %v", c.reason, err)
			}
		})
	}
}

func TestCheckNode(t *testing.T) {
	t.Parallel()
	ready := func(status corev1.ConditionStatus) *corev1.Node {
		return &corev1.Node{Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: status, Message: "Kubelet stopped posting node status."}}}}
	}
	windows := ready(corev1.ConditionTrue)
	windows.Labels = map[string]string{corev1.LabelOSStable: "windows"}
	cases := map[string]struct {
		reason string
		node   *corev1.Node
		err    string
		kind   plugins.ErrorKind
	}{
		"Ready":    {"as it should be", ready(corev1.ConditionTrue), "", plugins.KindFailed},
		"NotReady": {"its kubelet is up, and pods in the host's network start", ready(corev1.ConditionFalse), "", plugins.KindFailed},
		"Unknown":  {"its kubelet is gone", ready(corev1.ConditionUnknown), "does not report", plugins.KindTransient},
		"Windows":  {"there is no chroot", windows, "needs Linux", plugins.KindFailed},
		"Blank":    {"no condition yet", &corev1.Node{}, "", plugins.KindFailed},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := checkNode(c.node)
			if (err == nil) != (c.err == "") || err != nil && (!strings.Contains(err.Error(), c.err) || plugins.KindOf(err) != c.kind || plugins.HintOf(err) == "") {
				t.Errorf("%s: got %v", c.reason, err)
			}
		})
	}
}
