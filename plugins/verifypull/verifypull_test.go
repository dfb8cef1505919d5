package verifypull

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/probe"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/plugintest"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	plugintest.Conformance(t, New(sdk.Env{}), plugintest.Cases{})
}

const registry = "registry.lab:5443"

func podFrom(t *testing.T, text string) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{}
	if err := yaml.UnmarshalStrict([]byte(text), pod); err != nil {
		t.Fatal(err)
	}
	return pod
}

const x509Message = `failed to pull and unpack image "registry.lab:5443/demo/web:1": failed to resolve reference "registry.lab:5443/demo/web:1": ` +
	`failed to do request: Head "https://registry.lab:5443/v2/demo/web/manifests/1": tls: failed to verify certificate: x509: certificate signed by unknown authority`

func TestJudge(t *testing.T) {
	t.Parallel()
	pod := func(status string) string {
		return `{metadata: {name: web, namespace: demo}, spec: {nodeName: w1, containers: [{name: web, image: "registry.lab:5443/demo/web:1"}]}, status: ` + status + `}`
	}
	cases := map[string]struct {
		reason   string
		pod      string
		registry string
		want     state
		why      string
		started  string
	}{
		"running": {
			reason: "what runs was pulled", pod: pod(`{containerStatuses: [{name: web, state: {running: {startedAt: "2026-10-01T10:00:00Z"}}}]}`),
			want: pulled, started: "2026-10-01T10:00:00Z",
		},
		"crashing": {
			reason: "an application that crashes was pulled all the same",
			pod:    pod(`{containerStatuses: [{name: web, state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {startedAt: "2026-10-01T10:00:00Z"}}}]}`),
			want:   pulled, started: "2026-10-01T10:00:00Z",
		},
		"done": {
			reason: "a job that is done was pulled", pod: pod(`{phase: Succeeded, containerStatuses: [{name: web, state: {terminated: {startedAt: "2026-10-01T10:00:00Z"}}}]}`),
			want: pulled, started: "2026-10-01T10:00:00Z",
		},
		"failing": {
			reason: "the kubelet's reason and the cause, without the wrapping", pod: pod(`{containerStatuses: [{name: web, state: {waiting: {reason: ErrImagePull, message: '` + x509Message + `'}}}]}`),
			want: failing, why: "ErrImagePull (trust: x509: certificate signed by unknown authority)",
		},
		"backing off": {
			reason: "while it backs off the kubelet may name no cause", pod: pod(`{containerStatuses: [{name: web, state: {waiting: {reason: ImagePullBackOff, message: 'Back-off pulling image "x"'}}}]}`),
			want: failing, why: "ImagePullBackOff",
		},
		"creating":   {reason: "a container that is being made", pod: pod(`{containerStatuses: [{name: web, state: {waiting: {reason: ContainerCreating}}}]}`), want: starting},
		"no status":  {reason: "the kubelet has not spoken yet", pod: pod(`{phase: Pending}`), want: starting},
		"no node":    {reason: "no pull helps a pod without a node", pod: pod(`{phase: Pending, conditions: [{type: PodScheduled, status: "False", reason: Unschedulable}]}`), want: unplaced},
		"evicted":    {reason: "a pod that failed for good says nothing about now", pod: pod(`{phase: Failed}`), want: other},
		"going":      {reason: "a pod on its way out does not count", pod: `{metadata: {name: web, deletionTimestamp: "2026-10-01T10:00:00Z"}, spec: {containers: [{name: web, image: "registry.lab:5443/demo/web:1"}]}, status: {}}`, want: other},
		"elsewhere":  {reason: "another registry's pod does not count", pod: strings.Replace(pod(`{phase: Pending}`), "registry.lab:5443", "docker.io", 1), want: other},
		"other port": {reason: "another port is another registry", pod: strings.Replace(pod(`{phase: Pending}`), ":5443", ":5444", 1), want: other},
		"443":        {reason: "no port is 443", registry: "registry.lab:443", pod: strings.Replace(pod(`{phase: Pending}`), ":5443", "", 1), want: starting},
		"any":        {reason: "without a registry every image counts", registry: "-", pod: strings.Replace(pod(`{phase: Pending}`), "registry.lab:5443", "docker.io", 1), want: starting},
		"mirror": {
			reason: "a failure tells the host that was really dialled",
			pod: strings.Replace(pod(`{containerStatuses: [{name: web, state: {waiting: {reason: ErrImagePull, message: 'failed to do request: Head "https://registry.lab:5443/v2/library/nginx/manifests/1?ns=docker.io": x509: certificate signed by unknown authority'}}}]}`),
				"registry.lab:5443/demo/web:1", "docker.io/library/nginx:1", 1),
			want: failing, why: "ErrImagePull (trust: x509: certificate signed by unknown authority)",
		},
		"init container": {
			reason: "an init container that runs does not hide the one that is still to be pulled",
			pod: `{metadata: {name: web}, spec: {nodeName: w1, initContainers: [{name: i, image: "registry.lab:5443/demo/i:1"}], containers: [{name: web, image: "registry.lab:5443/demo/web:1"}]}, ` +
				`status: {initContainerStatuses: [{name: i, state: {running: {startedAt: "2026-10-01T10:00:00Z"}}}], containerStatuses: [{name: web, state: {waiting: {reason: PodInitializing}}}]}}`,
			want: starting, started: "2026-10-01T10:00:00Z",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			of := registry
			if tc.registry != "" {
				of = strings.Trim(tc.registry, "-")
			}
			is, why, started := judge(podFrom(t, tc.pod), of)
			got := []string{"", why}
			if !started.IsZero() {
				got[0] = started.UTC().Format(time.RFC3339)
			}
			if diff := cmp.Diff(tc.want, is); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff([]string{tc.started, tc.why}, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestFreshPulls(t *testing.T) {
	t.Parallel()
	made := time.Date(2026, 10, 1, 10, 0, 0, 0, time.UTC)
	cases := map[string]struct {
		reason  string
		node    string
		started string
		want    int
	}{
		"after":   {reason: "started after the node was made: the image was pulled there", node: "w1", started: "2026-10-01T10:00:01Z", want: 1},
		"at once": {reason: "times are in whole seconds", node: "w1", started: "2026-10-01T10:00:00Z", want: 1},
		"before":  {reason: "a start before the node was made is no proof of a pull on it", node: "w1", started: "2026-10-01T09:59:59Z"},
		"unknown": {reason: "a pod on another node than a worker proves nothing about workers", node: "cp", started: "2026-10-01T10:00:01Z"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := newTally(registry, []tkg.Node{{Name: "w1", Created: made}})
			got.add(podFrom(t, `{metadata: {name: web}, spec: {nodeName: `+tc.node+`, containers: [{name: web, image: "registry.lab:5443/demo/web:1"}]}, `+
				`status: {containerStatuses: [{name: web, state: {running: {startedAt: "`+tc.started+`"}}}]}}`))
			if diff := cmp.Diff([]int{1, tc.want}, []int{got.pulled, got.fresh}); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestWaitingFor(t *testing.T) {
	t.Parallel()
	candidate, err := certs.ParseCandidate([]byte(testCA))
	if err != nil {
		t.Fatal(err)
	}
	good := probe.Report{Accepted: true}
	bad := probe.Report{Verdict: probe.VerdictOf("untrusted-root"), GoError: "x509: certificate signed by unknown authority"}
	node := func(name string, carries bool, r probe.Report) seen {
		return seen{node: tkg.Node{Name: name, Address: "10.0.0.1"}, carries: carries, report: r}
	}
	full := request{ref: tkg.Ref{Namespace: "team-a", Name: "dev1"}, registry: registry, candidate: candidate}
	fine := tally{pulled: 6, fresh: 6}
	cases := map[string]struct {
		reason string
		req    request
		nodes  []seen
		pods   tally
		want   []string
	}{
		"done": {reason: "each worker and the pods agree", req: full, nodes: []seen{node("a", true, good)}, pods: fine},
		"old node": {
			reason: "a node that is not new yet is told with Go's words", req: full, nodes: []seen{node("a", true, good), node("b", false, bad)}, pods: fine,
			want: []string{"1 of 2 workers do not carry the CA", "1 of 2 workers do not trust registry.lab:5443: b (untrusted-root: x509: certificate signed by unknown authority)"},
		},
		"trusted otherwise": {reason: "a valid handshake does not make up for the CA that was asked for", req: full, nodes: []seen{node("a", false, good)}, pods: fine, want: []string{"1 of 1 workers do not carry the CA"}},
		"no CA given":       {reason: "what was not asked for is not waited for", req: request{registry: registry}, nodes: []seen{node("a", false, good)}, pods: fine},
		"no registry given": {reason: "without a registry the pods alone tell", req: request{}, nodes: []seen{node("a", false, probe.Report{})}, pods: fine},
		"pods failing": {
			reason: "one pod that fails is enough", req: full, nodes: []seen{node("a", true, good)}, pods: tally{pulled: 3, fresh: 3, failing: 2, starting: 1, why: "demo/web: ImagePullBackOff"},
			want: []string{"2 of 6 pods: demo/web: ImagePullBackOff", "1 of 6 pods are starting"},
		},
		"no pods":       {reason: "without a pod nothing was pulled", req: full, nodes: []seen{node("a", true, good)}, want: []string{"there is no pod with an image from registry.lab:5443"}},
		"no node found": {reason: "pods without a node pull nothing", req: full, nodes: []seen{node("a", true, good)}, pods: tally{unplaced: 2}, want: []string{"none of 2 pods has found a node"}},
		"some unplaced": {reason: "a pod without a node does not hold up the proof by the others", req: full, nodes: []seen{node("a", true, good)}, pods: tally{pulled: 2, fresh: 1, unplaced: 1}},
		"nothing fresh": {
			reason: "pods that ran before prove no pull", req: full, nodes: []seen{node("a", true, good)}, pods: tally{pulled: 2},
			want: []string{"2 pods run, but none of them has pulled its image on one of the workers"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, waitingFor(tc.req, tc.nodes, tc.pods)); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestRespond(t *testing.T) {
	t.Parallel()
	r := request{ref: tkg.Ref{Namespace: "team-a", Name: "dev1"}, registry: registry}
	nodes := []seen{{node: tkg.Node{Name: "a", Address: "10.0.0.1"}, report: probe.Report{Accepted: true}}}
	resp, err := respond(r, nodes, tally{pulled: 6, fresh: 6, unplaced: 1})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"ok":true,"nodes":[{"name":"a","address":"10.0.0.1","candidate":false,"handshake":"ok"}],"pods":{"running":6,"failing":0,"pending":1}}`
	if diff := cmp.Diff(want, string(resp.Outputs)); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
	_, err = respond(r, nodes, tally{pulled: 4, fresh: 4, failing: 2, why: "demo/web: ImagePullBackOff"})
	if diff := cmp.Diff(plugins.KindNotYet, plugins.KindOf(err)); diff != "" {
		t.Errorf("what is not so yet is waited for: -want, +got:\n%s", diff)
	}
	if diff := cmp.Diff("2 of 6 pods: demo/web: ImagePullBackOff", err.Error()); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}

func TestCarries(t *testing.T) {
	t.Parallel()
	candidate, err := certs.ParseCandidate([]byte(testCA))
	if err != nil {
		t.Fatal(err)
	}
	with := certs.NewRoots(map[string][]byte{"/etc/ssl/certs/tkg-lab.pem": []byte(testCA)})
	if !carries(with, candidate) {
		t.Error("a node with the certificate among its trust files carries it")
	}
	if carries(certs.NewRoots(nil), candidate) || carries(with, nil) {
		t.Error("a node without the certificate, or no certificate at all, is taken for carrying it")
	}
}
