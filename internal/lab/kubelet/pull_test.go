package kubelet

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/flowcontrol"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/tkgfix/tkgfix/internal/lab/ca"
	"github.com/tkgfix/tkgfix/internal/lab/registry"
	"github.com/tkgfix/tkgfix/internal/lab/vm"
)

const testImage = "registry.lab:5443/demo/web:1"

// testNode reaches the registry at one address and trusts what it is told to.
type testNode struct {
	address     string
	roots       *x509.CertPool
	environment []string
	clock       time.Duration
	files       fstest.MapFS
}

func (n *testNode) Containerd() vm.Containerd {
	return vm.Containerd{Roots: n.roots, Environment: n.environment, SandboxImage: vm.SandboxImage}
}
func (n *testNode) Now() time.Time { return time.Now().Add(n.clock) }
func (n *testNode) FS() fs.FS      { return n.files }
func (n *testNode) Dial(ctx context.Context, network, hostport string) (net.Conn, error) {
	if !strings.HasPrefix(hostport, "registry.lab:") {
		return nil, &net.DNSError{Err: "no such host", Name: hostport}
	}
	return new(net.Dialer).DialContext(ctx, network, n.address)
}

// newRegistry serves the test image.
func newRegistry(t *testing.T) (*testNode, *ca.Corporate) {
	t.Helper()
	pki, err := ca.NewCorporate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := pki.Server(ca.Good, "registry.lab")
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	store := registry.New(t.Context())
	if err := store.Seed(t.Context(), "demo/web", "1", nil); err != nil {
		t.Fatal(err)
	}
	certificate, err := pair.TLS()
	if err != nil {
		t.Fatal(err)
	}
	server := registry.NewServer(address)
	t.Cleanup(func() { _, _ = server.Close(), store.Close() })
	if err := server.Serve(t.Context(), registry.Front{Certificate: certificate, Handler: store}); err != nil {
		t.Fatal(err)
	}
	return &testNode{address: address, roots: x509.NewCertPool()}, pki
}

func TestPull(t *testing.T) {
	t.Parallel()
	node, pki := newRegistry(t)
	wrapped := `failed to pull and unpack image "%[1]s": failed to resolve reference "%[1]s": failed to do request: Head "https://registry.lab:5443/v2/demo/web/manifests/1": `
	x509Text := "tls: failed to verify certificate: x509: certificate signed by unknown authority"
	cases := map[string]struct {
		reason, image string
		roots         []*ca.Authority
		want          string
	}{
		"Trusted": {"the root is there", testImage, []*ca.Authority{pki.CorpA, pki.Root}, ""},
		"Missing": {"other roots only", testImage, []*ca.Authority{pki.CorpA}, fmt.Sprintf(wrapped, testImage) + x509Text},
		"Same": {
			"a root of the same name", testImage, []*ca.Authority{pki.OldRoot},
			fmt.Sprintf(wrapped, testImage) + x509Text +
				` (possibly because of "crypto/rsa: verification error" while trying to verify candidate authority certificate "` + ca.RootName + `")`,
		},
		"NoTag": {
			"trusted, but no such image", "registry.lab:5443/demo/web:2", []*ca.Authority{pki.Root},
			`failed to pull and unpack image "registry.lab:5443/demo/web:2": failed to resolve reference "registry.lab:5443/demo/web:2": registry.lab:5443/demo/web:2: not found`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			roots := x509.NewCertPool()
			for _, a := range tc.roots {
				roots.AppendCertsFromPEM(a.PEM())
			}
			image, err := Pull(t.Context(), &testNode{address: node.address, roots: roots}, tc.image)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
			if err == nil && (!strings.HasPrefix(image.ID, "registry.lab:5443/demo/web@sha256:") || image.Size == 0) {
				t.Errorf("%s: pulled %+v", tc.reason, image)
			}
		})
	}
}

// TestPullGoesByTheNode pulls with what a node's containerd goes by besides roots: hosts.toml, a proxy, the clock.
func TestPullGoesByTheNode(t *testing.T) {
	t.Parallel()
	node, pki := newRegistry(t)
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	host := func(toml string) fstest.MapFS {
		return fstest.MapFS{
			"etc/containerd/certs.d/registry.lab:5443/hosts.toml": file(toml),
			"etc/containerd/certs.d/registry.lab:5443/root.pem":   file(string(pki.Root.PEM())),
			"etc/ssl/root.pem": file(string(pki.Root.PEM())),
		}
	}
	const itself = "[host.\"https://registry.lab:5443\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
	cases := map[string]struct {
		reason string
		files  fstest.MapFS
		env    []string
		clock  time.Duration
		roots  []*ca.Authority
		image  string
		want   string // part of the error; empty for none
	}{
		"CA":        {"a CA of the host's own", host(itself + "  ca = \"root.pem\"\n"), nil, 0, nil, testImage, ""},
		"Absolute":  {"by its path on the node", host(itself + "  ca = [\"/etc/ssl/root.pem\"]\n"), nil, 0, nil, testImage, ""},
		"MissingCA": {"a path of the node that is not there", host(itself + "  ca = \"/etc/ssl/other.pem\"\n"), nil, 0, nil, testImage, `unable to read CA cert "/etc/ssl/other.pem"`},
		"RelativeMissing": {
			"a file that is not there is named as on the node", host(itself + "  ca = \"other.pem\"\n"), nil, 0, nil, testImage,
			`"/etc/containerd/certs.d/registry.lab:5443/other.pem"`,
		},
		"OneHostOnly": {
			"the CA of one host is not that of another",
			host("server = \"https://mirror.lab\"\nca = \"root.pem\"\n[host.\"https://registry.lab:5444\"]\n  capabilities = [\"pull\", \"resolve\"]\n"),
			nil, 0, nil, testImage, `Head "https://registry.lab:5444/v2/demo/web/manifests/1?ns=registry.lab%3A5443": tls: failed to verify certificate: x509: certificate signed by unknown authority`,
		},
		"Mirror": {"what is dialled is the mirror", host("server = \"https://mirror.lab\"\n"), nil, 0, []*ca.Authority{pki.Root}, testImage, `Head "https://mirror.lab/v2/demo/web/manifests/1?ns=registry.lab%3A5443": lookup mirror.lab:443: no such host`},
		"Proxy":  {"a proxy that is not there", nil, []string{"HTTPS_PROXY=http://proxy.lab:3128"}, 0, []*ca.Authority{pki.Root}, testImage, "proxyconnect tcp: lookup proxy.lab:3128: no such host"},
		"NoProxy": {
			"the registry is in NO_PROXY", nil, []string{"HTTPS_PROXY=http://proxy.lab:3128", "NO_PROXY=.lab"}, 0, []*ca.Authority{pki.Root}, testImage, "",
		},
		"Clock": {"the node's clock is behind", nil, nil, -48 * time.Hour, []*ca.Authority{pki.Root}, testImage, "x509: certificate has expired or is not yet valid"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			roots := x509.NewCertPool()
			for _, a := range tc.roots {
				roots.AppendCertsFromPEM(a.PEM())
			}
			before := roots.Clone()
			_, err := Pull(t.Context(), &testNode{address: node.address, roots: roots, files: tc.files, environment: tc.env, clock: tc.clock}, tc.image)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if !strings.Contains(got, tc.want) || (got == "") != (tc.want == "") {
				t.Errorf("%s: want %q, got %q", tc.reason, tc.want, got)
			}
			if !before.Equal(roots) {
				t.Errorf("%s: the pull changed what the node trusts", tc.reason)
			}
		})
	}
}

func TestBackOff(t *testing.T) {
	t.Parallel()
	clock := clocktesting.NewFakeClock(time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC))
	var events []string
	p := &puller{
		runtime: newRuntime(newFailingNode()),
		backOff: flowcontrol.NewFakeBackOff(backOffFirst, backOffMax, clock),
		last:    map[string]string{},
		emit:    func(eventType, reason, message string) { events = append(events, eventType+" "+reason+" "+message) },
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "1"}}
	container := &corev1.Container{Name: "web", Image: testImage}

	// After each pull that fails, count the seconds for which kubelet only waits.
	var waits []int
	for range 7 {
		_, why := p.ensure(t.Context(), pod, container)
		if diff := cmp.Diff(reasonPull, why.reason); diff != "" {
			t.Fatalf("a pull was due (-want, +got):\n%s", diff)
		}
		text := why.message
		waited := 0
		for {
			clock.Step(time.Second)
			if !p.backOff.IsInBackOffSinceUpdate("1_"+testImage, clock.Now()) {
				break
			}
			waited++
		}
		clock.Step(-time.Second)
		_, why = p.ensure(t.Context(), pod, container)
		want := waiting{reasonBackOff, `Back-off pulling image "` + testImage + `": ErrImagePull: ` + text}
		if diff := cmp.Diff(want, *why, cmp.AllowUnexported(waiting{})); diff != "" {
			t.Fatalf("while it waits (-want, +got):\n%s", diff)
		}
		clock.Step(time.Second)
		waits = append(waits, waited+1)
	}
	if diff := cmp.Diff([]int{10, 20, 40, 80, 160, 300, 300}, waits); diff != "" {
		t.Errorf("seconds between pulls (-want, +got):\n%s", diff)
	}
	want := []string{
		`Normal Pulling Pulling image "` + testImage + `"`,
		`Warning Failed Failed to pull image "` + testImage + `": failed to pull and unpack image "` + testImage + `": failed to resolve reference "` + testImage +
			`": failed to do request: Head "https://registry.lab:5443/v2/demo/web/manifests/1": boom`,
		`Normal BackOff Back-off pulling image "` + testImage + `"`,
	}
	if diff := cmp.Diff(want, events[:3]); diff != "" {
		t.Errorf("events of one turn (-want, +got):\n%s", diff)
	}
}

func TestOldKubeletForgets(t *testing.T) {
	t.Parallel()
	clock := clocktesting.NewFakeClock(time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC))
	p := &puller{
		runtime: newRuntime(newFailingNode()), backOff: flowcontrol.NewFakeBackOff(backOffFirst, backOffMax, clock),
		old: true, last: map[string]string{}, emit: func(string, string, string) {},
	}
	pod, container := &corev1.Pod{}, &corev1.Container{Image: testImage}
	_, why := p.ensure(t.Context(), pod, container)
	if why.reason != reasonPull || !strings.HasPrefix(why.message, "rpc error: code = Unknown desc = failed to pull and unpack image") || !strings.HasSuffix(why.message, "boom") {
		t.Errorf("when the pull fails: %+v", *why)
	}
	_, why = p.ensure(t.Context(), pod, container)
	if diff := cmp.Diff(waiting{reasonBackOff, `Back-off pulling image "` + testImage + `"`}, *why, cmp.AllowUnexported(waiting{})); diff != "" {
		t.Errorf("while it waits (-want, +got):\n%s", diff)
	}
}

func TestPodStatusWithoutSandbox(t *testing.T) {
	t.Parallel()
	pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: "x"}}}}
	status := podStatus(pod, []outcome{{waiting: &waiting{reason: reasonCreating}}}, place{"10.0.0.1", "192.168.0.2"}, time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC))
	if diff := cmp.Diff([]string{"", "ContainerCreating", "False"}, []string{
		status.PodIP, status.ContainerStatuses[0].State.Waiting.Reason, string(status.Conditions[0].Status),
	}); diff != "" {
		t.Errorf("a pod whose sandbox is not there (-want, +got):\n%s", diff)
	}
}

// failingNode reaches nothing.
type failingNode struct{ testNode }

func newFailingNode() *failingNode { return &failingNode{testNode{roots: x509.NewCertPool()}} }

func (n *failingNode) Dial(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("boom")
}

func TestPullPolicy(t *testing.T) {
	t.Parallel()
	here := Image{ID: "x@sha256:1", Size: 1}
	cases := map[string]struct {
		reason string
		policy corev1.PullPolicy
		images map[string]Image
		want   string // the reason of waiting
	}{
		"Present":      {"an image that is there is not pulled", corev1.PullIfNotPresent, map[string]Image{testImage: here}, ""},
		"Always":       {"unless it always is", corev1.PullAlways, map[string]Image{testImage: here}, reasonPull},
		"Never":        {"nor one that must not be", corev1.PullNever, nil, reasonNever},
		"NeverPresent": {"which may be there", corev1.PullNever, map[string]Image{testImage: here}, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			images := map[string]Image{}
			for k, v := range tc.images {
				images[k] = v
			}
			p := &puller{
				runtime: &runtime{node: newFailingNode(), images: images}, backOff: flowcontrol.NewBackOff(backOffFirst, backOffMax),
				last: map[string]string{}, emit: func(string, string, string) {},
			}
			_, why := p.ensure(t.Context(), &corev1.Pod{}, &corev1.Container{Image: testImage, ImagePullPolicy: tc.policy})
			got := ""
			if why != nil {
				got = why.reason
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestPodStatus(t *testing.T) {
	t.Parallel()
	first := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "1"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: "x"}, {Name: "b", Image: "y"}}}}
	ok := outcome{image: Image{ID: "x@sha256:1"}}
	bad := outcome{waiting: &waiting{reasonPull, "no"}}

	pod.Status = podStatus(pod, []outcome{ok, bad}, place{"10.0.0.1", "192.168.0.2"}, first)
	if diff := cmp.Diff(corev1.PodPending, pod.Status.Phase); diff != "" {
		t.Errorf("phase with one container waiting (-want, +got):\n%s", diff)
	}
	if diff := cmp.Diff(&corev1.ContainerStateWaiting{Reason: reasonPull, Message: "no"}, pod.Status.ContainerStatuses[1].State.Waiting); diff != "" {
		t.Errorf("the container that waits (-want, +got):\n%s", diff)
	}
	wantReady := corev1.PodCondition{
		Type: corev1.PodReady, Status: corev1.ConditionFalse, Reason: "ContainersNotReady", Message: "containers with unready status: [b]", LastTransitionTime: metav1.NewTime(first),
	}
	if diff := cmp.Diff(wantReady, pod.Status.Conditions[3]); diff != "" {
		t.Errorf("condition Ready (-want, +got):\n%s", diff)
	}

	pod.Status = podStatus(pod, []outcome{ok, ok}, place{"10.0.0.1", "192.168.0.2"}, first.Add(time.Minute))
	if diff := cmp.Diff(corev1.PodRunning, pod.Status.Phase); diff != "" {
		t.Errorf("phase with all running (-want, +got):\n%s", diff)
	}
	got := []metav1.Time{
		pod.Status.ContainerStatuses[0].State.Running.StartedAt, pod.Status.ContainerStatuses[1].State.Running.StartedAt,
		*pod.Status.StartTime, pod.Status.Conditions[1].LastTransitionTime, pod.Status.Conditions[3].LastTransitionTime,
	}
	then, now := metav1.NewTime(first), metav1.NewTime(first.Add(time.Minute))
	if diff := cmp.Diff([]metav1.Time{then, now, then, then, now}, got); diff != "" {
		t.Errorf("times of what has and has not changed (-want, +got):\n%s", diff)
	}
}
