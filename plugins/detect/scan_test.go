package detect

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/pull"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

type object = map[string]any

// apiServer answers as the Supervisor and as the workload cluster at once: pods of all namespaces are the cluster's, those of team-a the
// Supervisor's.
type apiServer struct {
	// pods are the cluster's, in pages; page makes those of one page, pages is how many there are.
	page      func(n int) []any
	pages     int
	vsphere   []any
	events    []any
	packages  []any
	forbidden string // part of the path that may not be read
	onPage    func()
	asked     atomic.Int64 // lists of Events
}

// connect starts the server and returns the connection to it.
func (s *apiServer) connect(t *testing.T) plugins.Connections {
	t.Helper()
	server := httptest.NewUnstartedServer(s)
	server.StartTLS()
	t.Cleanup(server.Close)
	ca := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	config := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: x
contexts: [{name: x, context: {cluster: x, user: x}}]
clusters: [{name: x, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: x, user: {token: x}}]
`, server.URL, ca)
	server.Config.Handler = s.with(config)
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return plugins.Connections{Supervisor: &plugins.Kube{Kubeconfig: path}}
}

// with answers for the Secret that holds the way into the workload cluster as well.
func (s *apiServer) with(kubeconfig string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/v1/namespaces/team-a/secrets/dev1-kubeconfig" {
			answer(w, http.StatusOK, object{
				"apiVersion": "v1", "kind": "Secret", "metadata": object{"name": "dev1-kubeconfig", "namespace": "team-a"},
				"data": object{"value": base64.StdEncoding.EncodeToString([]byte(kubeconfig))},
			})
			return
		}
		s.ServeHTTP(w, r)
	})
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status := func(code int, reason string) {
		answer(w, code, object{"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason})
	}
	path := r.URL.Path
	switch {
	case s.forbidden != "" && strings.Contains(path, s.forbidden):
		status(http.StatusForbidden, "Forbidden")
	case path == "/api/v1":
		resources(w, "v1", "Pod", "Event", "Secret")
	case path == "/apis/packaging.carvel.dev" && s.packages != nil:
		answer(w, http.StatusOK, object{
			"kind": "APIGroup", "apiVersion": "v1", "name": "packaging.carvel.dev",
			"preferredVersion": object{"groupVersion": "packaging.carvel.dev/v1alpha1", "version": "v1alpha1"},
		})
	case path == "/apis/packaging.carvel.dev/v1alpha1":
		resources(w, "packaging.carvel.dev/v1alpha1", "PackageInstall", "PackageRepository")
	case strings.HasSuffix(path, "/packageinstalls"):
		list(w, s.packages, "")
	case strings.HasSuffix(path, "/packagerepositories"):
		list(w, nil, "")
	case strings.HasSuffix(path, "/events"):
		s.asked.Add(1)
		reason := ""
		for part := range strings.SplitSeq(r.URL.Query().Get("fieldSelector"), ",") {
			if value, ok := strings.CutPrefix(part, "reason="); ok {
				reason = value
			}
		}
		list(w, slices.DeleteFunc(slices.Clone(s.events), func(e any) bool { return reason != "" && e.(object)["reason"] != reason }), "")
	case path == "/api/v1/namespaces/team-a/pods":
		list(w, s.vsphere, "")
	case path == "/api/v1/pods":
		if s.onPage != nil {
			s.onPage()
		}
		n, _ := strconv.Atoi(r.URL.Query().Get("continue"))
		next := ""
		if n+1 < s.pages {
			next = strconv.Itoa(n + 1)
		}
		list(w, s.page(n), next)
	default:
		status(http.StatusNotFound, "NotFound")
	}
}

func answer(w http.ResponseWriter, code int, body object) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // a client that went away is no matter
}

func resources(w http.ResponseWriter, version string, kinds ...string) {
	var out []any
	for _, kind := range kinds {
		plural := strings.ToLower(kind) + "s"
		if before, ok := strings.CutSuffix(plural, "ys"); ok {
			plural = before + "ies"
		}
		out = append(out, object{"name": plural, "kind": kind, "namespaced": true, "verbs": []string{"list", "get"}})
	}
	answer(w, http.StatusOK, object{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": out})
}

func list(w http.ResponseWriter, items []any, next string) {
	if items == nil {
		items = []any{}
	}
	answer(w, http.StatusOK, object{"kind": "List", "apiVersion": "v1", "metadata": object{"continue": next}, "items": items})
}

func items(list ...*unstructured.Unstructured) []any {
	out := []any{}
	for _, u := range list {
		u.Object["apiVersion"], u.Object["kind"] = "v1", "Pod"
		if u.Object["involvedObject"] != nil {
			u.Object["kind"] = "Event"
		}
		out = append(out, u.Object)
	}
	return out
}

func run(t *testing.T, s *apiServer) (output, plugins.PlanResponse) {
	t.Helper()
	resp, err := New(sdk.Env{}).Plan(t.Context(), plugins.PlanRequest{Input: json.RawMessage(`{"cluster": "team-a/dev1"}`), Connections: s.connect(t)})
	if err != nil {
		t.Fatal(err)
	}
	var out output
	if err := json.Unmarshal(resp.Outputs, &out); err != nil {
		t.Fatal(err)
	}
	return out, resp
}

func onePage(list ...*unstructured.Unstructured) (func(int) []any, int) {
	return func(int) []any { return items(list...) }, 1
}

func backOff(name string) *unstructured.Unstructured {
	return pod(name, "container", image, "ImagePullBackOff", `Back-off pulling image "`+image+`"`)
}

func TestScan(t *testing.T) {
	t.Parallel()
	failed := func(of, message string) *unstructured.Unstructured {
		return event(of, "Failed", message, "2026-01-01T00:00:00Z")
	}
	pkg := &unstructured.Unstructured{Object: object{
		"metadata": object{"name": "antrea", "namespace": "vmware-system-tkg", "uid": "p"},
		"status": object{
			"conditions":         []any{object{"type": "ReconcileFailed", "status": "True"}},
			"usefulErrorMessage": "vendir: Error: Syncing directory '0':\n  Fetching image: Error while preparing a transport to talk with the registry: Unable to create round tripper: Get \"https://pkg.lab/v2/\": x509: certificate signed by unknown authority",
		},
	}}
	well := &unstructured.Unstructured{Object: object{
		"metadata": object{"name": "well", "uid": "q"}, "status": object{"conditions": []any{object{"type": "ReconcileSucceeded", "status": "True"}}},
	}}
	static := backOff("etcd")
	static.SetAnnotations(map[string]string{"kubernetes.io/config.hash": "hash-of-a-file"})
	staticEvent := event("x", "Failed", `Failed to pull image "`+image+`": `+head+unknown, "2026-01-01T00:00:00Z")
	staticEvent.Object["involvedObject"].(object)["uid"] = "hash-of-a-file"
	nobody := failed("x", `Failed to pull image "`+image+`": `+head+"EOF")
	delete(nobody.Object["involvedObject"].(object), "uid")

	type row struct{ Scope, Pod, Class, Registry string }
	cases := map[string]struct {
		reason    string
		pods      []*unstructured.Unstructured
		events    []*unstructured.Unstructured
		packages  []*unstructured.Unstructured
		forbidden string
		want      []row
		warning   string
	}{
		"healthy": {reason: "no Event is asked for", pods: []*unstructured.Unstructured{pod("a", "container", image, "CrashLoopBackOff", "x")}},
		"Events expired": {
			reason: "the status of the container is enough to know that it fails", pods: []*unstructured.Unstructured{backOff("a")},
			want: []row{{"cluster", "a", pull.Unknown, "reg.lab:5443"}},
		},
		"Events expired, new kubelet": {
			reason: "and for the cause, when the kubelet keeps it",
			pods:   []*unstructured.Unstructured{pod("a", "container", image, "ImagePullBackOff", `Back-off pulling image "`+image+`": ErrImagePull: `+head+unknown)},
			want:   []row{{"cluster", "a", pull.Trust, "reg.lab:5443"}},
		},
		"Events forbidden": {
			reason: "as much as is known is said", pods: []*unstructured.Unstructured{backOff("a")}, forbidden: "/events",
			want: []row{{"cluster", "a", pull.Unknown, "reg.lab:5443"}}, warning: "Events of the cluster may not be read",
		},
		"joined by UID": {
			reason: "a pod of the same name that was there before is another, and an Event of none is none's",
			pods:   []*unstructured.Unstructured{backOff("a"), backOff("b")},
			events: []*unstructured.Unstructured{failed("a-before", `Failed to pull image "`+image+`": `+head+"EOF"), nobody, failed("b", `Failed to pull image "`+image+`": `+head+unknown)},
			want:   []row{{"cluster", "b", pull.Trust, "reg.lab:5443"}, {"cluster", "a", pull.Unknown, "reg.lab:5443"}},
		},
		"static pod": {
			reason: "the kubelet knows it by the hash of its file", pods: []*unstructured.Unstructured{static}, events: []*unstructured.Unstructured{staticEvent},
			want: []row{{"cluster", "etcd", pull.Trust, "reg.lab:5443"}},
		},
		"an Event knows more than the reason": {
			reason: "RegistryUnavailable alone would be the network",
			pods:   []*unstructured.Unstructured{pod("a", "container", image, "RegistryUnavailable", "")},
			events: []*unstructured.Unstructured{failed("a", `Failed to pull image "`+image+`": `+head+unknown)},
			want:   []row{{"cluster", "a", pull.Trust, "reg.lab:5443"}},
		},
		"packages": {
			reason: "kapp-controller fails by itself", packages: []*unstructured.Unstructured{well, pkg},
			want: []row{{"package", "antrea", pull.KappController, "pkg.lab"}},
		},
		"packages beside pods": {
			reason: "the pods come first", pods: []*unstructured.Unstructured{backOff("a")}, packages: []*unstructured.Unstructured{pkg},
			want: []row{{"cluster", "a", pull.Unknown, "reg.lab:5443"}, {"package", "antrea", pull.KappController, "pkg.lab"}},
		},
		"packages forbidden": {reason: "said, and no failure", packages: []*unstructured.Unstructured{pkg}, forbidden: "/packageinstalls", warning: "PackageInstall objects may not be read"},
		"public registry": {
			reason: "system roots are enough for it, unless somebody stands in between",
			pods:   []*unstructured.Unstructured{pod("a", "container", "docker.io/library/nginx:1", "ErrImagePull", `Head "https://registry-1.docker.io/v2/library/nginx/manifests/1": `+unknown)},
			want:   []row{{"cluster", "a", pull.Trust, "registry-1.docker.io"}}, warning: "proxy's CA",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &apiServer{events: items(c.events...), forbidden: c.forbidden}
			s.page, s.pages = onePage(c.pods...)
			if c.packages != nil {
				s.packages = items(c.packages...)
			}
			out, resp := run(t, s)
			var got []row
			for _, f := range out.Failing {
				got = append(got, row{f.Scope, f.Pod, f.Class, f.Registry})
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", c.reason, diff)
			}
			if all := strings.Join(resp.Warnings, "\n"); !strings.Contains(all, c.warning) || (c.warning == "") != (all == "") {
				t.Errorf("%s: warnings %q, want %q", c.reason, all, c.warning)
			}
			if name == "healthy" && s.asked.Load() > 0 {
				t.Errorf("%s: %d lists of Events", c.reason, s.asked.Load())
			}
		})
	}
}

// What others name is shown on its line, bounded, and never more than that.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	const evil = "../../etc\n\x1b[2Jok: healthy\r"
	p := pod("a", "container", evil+image, "ErrImagePull", strings.Repeat("x\n", 1<<20)+" "+head+unknown)
	p.SetName(evil + strings.Repeat("n", 1<<16))
	p.SetNamespace(evil)
	p.Object["spec"].(object)["nodeName"] = evil
	s := &apiServer{}
	s.page, s.pages = onePage(p)
	out, resp := run(t, s)
	if len(out.Failing) != 1 || out.Failing[0].Class != pull.Trust || out.Failing[0].Registry != "reg.lab:5443" {
		t.Fatalf("the cause is lost: class %s, %d failing", out.Class, len(out.Failing))
	}
	texts := []string{resp.Summary}
	for _, e := range resp.Evidence {
		texts = append(texts, e.Subject, e.Text)
	}
	f := out.Failing[0]
	texts = append(append(texts, resp.Warnings...), f.Namespace, f.Pod, f.Container, f.Node, f.Image, f.Registry, f.ImageRegistry, f.Reason, f.Message)
	for _, text := range texts {
		if len(text) > 4<<10 || strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
			t.Errorf("%d bytes, not on one line: %.100q", len(text), text)
		}
	}
}

// Thousands of pods that fail are counted, and not all kept.
func TestManyFail(t *testing.T) {
	t.Parallel()
	f, o := newFound(""), newOpen(scopeCluster)
	for i := range maxOpen + 7 {
		f.pod(pod(strconv.Itoa(i), "container", image, "ErrImagePull", ""), o)
	}
	f.close(o)
	out := f.conclude()
	if len(o.failing) != maxOpen || len(out.Failing) != maxFailing || out.FailingCount != maxOpen+7 {
		t.Errorf("%d kept, %d listed, %d counted", len(o.failing), len(out.Failing), out.FailingCount)
	}
	if all := strings.Join(f.warnings(), "\n"); !strings.Contains(all, "7 more failing containers") {
		t.Errorf("warnings: %s", all)
	}
}

// Memory does not grow with the pods that are well: at no page of twelve is more alive than at one of two, but for half of what the
// pods themselves would take. It is alone, so that no other test's memory is counted.
func TestMemoryIsThatOfOnePage(t *testing.T) { //nolint:paralleltest // measures the heap
	const perPage = 500
	var size int
	peak := func(pages int) uint64 {
		var most atomic.Uint64
		page := make([]any, 0, perPage)
		for i := range perPage {
			p := pod(fmt.Sprintf("well-%d", i), "container", image, "", "")
			p.Object["status"].(object)["containerStatuses"].([]any)[0].(object)["state"] = object{"running": object{"startedAt": "2026-01-01T00:00:00Z"}}
			p.SetAnnotations(map[string]string{"filler": strings.Repeat("x", 2<<10)})
			page = append(page, items(p)...)
		}
		raw, err := json.Marshal(page)
		if err != nil {
			t.Fatal(err)
		}
		size = len(raw)
		s := &apiServer{pages: pages, page: func(int) []any { return page }, onPage: func() {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most.Store(max(most.Load(), m.HeapAlloc))
		}}
		out, _ := run(t, s)
		if out.Scanned != pages*perPage || out.Affected {
			t.Fatalf("%d scanned, affected %v", out.Scanned, out.Affected)
		}
		return most.Load()
	}
	few := peak(2)
	many := peak(12)
	if grown, all := int64(many)-int64(few), int64(10*size); grown > all/2 {
		t.Errorf("%d KiB more for 5,000 pods of %d KiB", grown>>10, all>>10)
	}
}
