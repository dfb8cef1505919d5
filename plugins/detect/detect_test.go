package detect

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/pull"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins/plugintest"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

const (
	image   = "reg.lab:5443/demo/web:1"
	head    = `failed to pull and unpack image "reg.lab:5443/demo/web:1": failed to resolve reference "reg.lab:5443/demo/web:1": failed to do request: Head "https://reg.lab:5443/v2/demo/web/manifests/1": `
	unknown = "tls: failed to verify certificate: x509: certificate signed by unknown authority"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	plugintest.Conformance(t, New(sdk.Env{}), plugintest.Cases{})
}

// pod makes a pod with one container in the list kind that waits.
func pod(name, kind, image, reason, message string) *unstructured.Unstructured {
	waiting := map[string]any{"reason": reason, "message": message}
	return &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"name": name, "namespace": "demo", "uid": "uid-" + name},
		"spec":     map[string]any{"nodeName": "np1-a", kind + "s": []any{map[string]any{"name": "web", "image": image}}},
		"status": map[string]any{kind + "Statuses": []any{
			map[string]any{"name": "web", "image": image, "state": map[string]any{"waiting": waiting}},
		}},
	}}
}

func event(podName, reason, message, last string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"involvedObject": map[string]any{"kind": "Pod", "uid": "uid-" + podName}, "reason": reason, "message": message, "lastTimestamp": last,
	}}
}

func TestPods(t *testing.T) {
	t.Parallel()
	deleted := pod("web", "container", image, "ErrImagePull", head+unknown)
	deleted.SetDeletionTimestamp(&metav1.Time{Time: time.Unix(1, 0)})
	type row struct{ Container, Registry, Reason, Class string }
	cases := map[string]struct {
		reason string
		pod    *unstructured.Unstructured
		events []*unstructured.Unstructured
		want   []row
	}{
		"StatusKnows": {reason: "the status has the cause", pod: pod("web", "container", image, "ErrImagePull", head+unknown), want: []row{{"web", "reg.lab:5443", "ErrImagePull", pull.Trust}}},
		"Init":        {reason: "init containers count", pod: pod("web", "initContainer", image, "ErrImagePull", head+unknown), want: []row{{"web", "reg.lab:5443", "ErrImagePull", pull.Trust}}},
		"Ephemeral":   {reason: "ephemeral containers count", pod: pod("web", "ephemeralContainer", image, "ErrImagePull", head+unknown), want: []row{{"web", "reg.lab:5443", "ErrImagePull", pull.Trust}}},
		"Crashing":    {reason: "a crash is no failed pull", pod: pod("web", "container", image, "CrashLoopBackOff", "back-off")},
		"Creating":    {reason: "a pod that starts does not fail", pod: pod("web", "container", image, "ContainerCreating", "")},
		"Deleted":     {reason: "a pod that goes does not count", pod: deleted},
		"InvalidName": {reason: "a malformed name is no matter of trust", pod: pod("web", "container", "::bad", "InvalidImageName", "Failed to apply default image tag"), want: []row{{"web", "", "InvalidImageName", pull.Reference}}},
		"LostNoEvent": {reason: "without Events the cause stays unknown", pod: pod("web", "container", image, "ImagePullBackOff", `Back-off pulling image "`+image+`"`), want: []row{{"web", "reg.lab:5443", "ImagePullBackOff", pull.Unknown}}},
		"LostEventHas": {
			reason: "older kubelets lose the cause and Events have it; the newest counts, and one of another image does not",
			pod:    pod("web", "container", image, "ImagePullBackOff", `Back-off pulling image "`+image+`"`),
			events: []*unstructured.Unstructured{
				event("web", "Failed", `Failed to pull image "`+image+`": `+head+unknown, "2026-01-01T00:02:00Z"),
				event("web", "Failed", `Failed to pull image "`+image+`": `+head+"EOF", "2026-01-01T00:01:00Z"),
				event("web", "Failed", `Failed to pull image "other.lab/x": dial tcp: lookup other.lab: no such host`, "2026-01-01T00:03:00Z"),
				event("web", "Failed", "Error: ImagePullBackOff", "2026-01-01T00:04:00Z"),
				event("other", "Failed", `Failed to pull image "`+image+`": 401 Unauthorized`, "2026-01-01T00:05:00Z"),
			},
			want: []row{{"web", "reg.lab:5443", "ImagePullBackOff", pull.Trust}},
		},
		"Sandbox": {
			reason: "the sandbox's image is pulled too",
			pod:    pod("web", "container", image, "ContainerCreating", ""),
			events: []*unstructured.Unstructured{event("web", "FailedCreatePodSandBox", `Failed to create pod sandbox: rpc error: code = Unknown desc = failed to get sandbox image "reg.lab:5443/pause:3": failed to pull image "reg.lab:5443/pause:3": failed to do request: Head "https://reg.lab:5443/v2/pause/manifests/3": `+unknown, "2026-01-01T00:00:00Z")},
			want:   []row{{"", "reg.lab:5443", "FailedCreatePodSandBox", pull.Trust}},
		},
		"SandboxOtherwise": {
			reason: "a sandbox fails for other reasons as well",
			pod:    pod("web", "container", image, "ContainerCreating", ""),
			events: []*unstructured.Unstructured{event("web", "FailedCreatePodSandBox", "failed to setup network for sandbox", "2026-01-01T00:00:00Z")},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, o := newFound(""), newOpen(scopeCluster)
			f.pod(c.pod, o)
			for _, e := range c.events {
				if e.Object["reason"] == "Failed" {
					o.cause(e)
				} else {
					o.sandbox(e)
				}
			}
			f.close(o)
			var got []row
			for _, x := range f.conclude().Failing {
				got = append(got, row{x.Container, x.Registry, x.Reason, x.Class})
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", c.reason, diff)
			}
		})
	}
}

func TestVSpherePods(t *testing.T) {
	t.Parallel()
	f, o := newFound("reg.lab:5443"), newOpen(scopeSupervisor)
	silent := pod("vm", "container", image, "", "")
	unstructured.RemoveNestedField(silent.Object, "status")
	f.pod(silent, o)
	f.pod(pod("healthy", "container", image, "ContainerCreating", ""), o)
	if !o.wantsSandboxes() {
		t.Fatal("want the Events of a vSphere Pod that shows nothing")
	}
	o.supervisor(event("vm", "Failed", `failed to get images: Image demo has failed. Error: Get "https://reg.lab:5443/v2/": x509: certificate signed by unknown authority`, "2026-01-01T00:00:00Z"))
	o.supervisor(event("healthy", "FailedMount", "no such volume", "2026-01-01T00:00:00Z"))
	f.close(o)
	got := f.conclude()
	if !got.Affected || got.Class != pull.VSpherePod || got.FailingCount != 1 || got.Failing[0].Scope != scopeSupervisor || got.Failing[0].Pod != "vm" {
		t.Errorf("want one vSphere Pod, got %+v", got)
	}
}

func TestConclude(t *testing.T) {
	t.Parallel()
	fill := func(f *found) {
		o := newOpen(scopeCluster)
		f.pod(pod("a-tag", "container", "reg.lab:5443/demo/x:9", "ErrImagePull", `failed to resolve reference "reg.lab:5443/demo/x:9": reg.lab:5443/demo/x:9: not found`), o)
		for i := range 300 {
			f.pod(pod(fmt.Sprintf("z-%03d", i), "container", image, "ErrImagePull", head+unknown), o)
		}
		f.pod(pod("mirrored", "container", "docker.io/library/nginx:1", "ErrImagePull", `Head "https://mirror.lab/v2/library/nginx/manifests/1?ns=docker.io": x509: certificate signed by unknown authority`), o)
		f.close(o)
	}
	cases := map[string]struct {
		reason   string
		registry string
		class    string
		dialled  string
		count    int
		listed   int
		warning  string
	}{
		"All":     {reason: "trust is graver than a wrong tag, and the commonest host is named; the list is bounded", class: pull.Trust, dialled: "reg.lab:5443", count: 302, listed: 200, warning: "mirror.lab"},
		"One":     {reason: "others do not count", registry: "reg.lab:5443", class: pull.Trust, dialled: "reg.lab:5443", count: 301, listed: 200, warning: "1 failing containers pull from other registries"},
		"Mirror":  {reason: "the mirror is a registry", registry: "mirror.lab", class: pull.Trust, dialled: "mirror.lab", count: 1, listed: 1, warning: "mirror.lab"},
		"Behind":  {reason: "the image's own registry counts too, under whatever name", registry: "docker.io", class: pull.Trust, dialled: "docker.io", count: 1, listed: 1, warning: "mirror.lab"},
		"Another": {reason: "none concerns this one", registry: "other.lab", dialled: "other.lab", warning: "302 failing"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFound(c.registry)
			fill(f)
			got := f.conclude()
			want := output{Affected: c.count > 0, Class: c.class, Registry: c.dialled, Failing: got.Failing, FailingCount: c.count}
			if diff := cmp.Diff(want, got); diff != "" || len(got.Failing) != c.listed {
				t.Errorf("%s: %d listed, want %d; -want, +got:\n%s", c.reason, len(got.Failing), c.listed, diff)
			}
			if !strings.Contains(strings.Join(f.warnings(), "\n"), c.warning) {
				t.Errorf("%s: want the warning %q, got %q", c.reason, c.warning, f.warnings())
			}
			if evidence(got, tkg.Ref{Namespace: "team-a", Name: "dev1"})[0].Text == "" || summary(got, tkg.Ref{}) == "" {
				t.Errorf("%s: want evidence and a summary", c.reason)
			}
		})
	}
}

func TestShort(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 2000) + unknown
	if got := short(long); len(got) > 1100 || !strings.HasSuffix(got, unknown) || strings.ToValidUTF8(got, "") != got {
		t.Errorf("want the cause kept in valid text, got %d bytes", len(got))
	}
}
