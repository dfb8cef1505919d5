package tkg

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/plugins"
)

type reply = map[string]any

// lists is what an API server serves of a group: names as namespace/name; nil means that the kind is not served.
type lists struct {
	tkcs, clusters []string
	forbidden      string // part of the paths that may not be listed
}

// ServeHTTP answers as an API server does, two objects a page.
func (l lists) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	code, body := http.StatusNotFound, reply{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound"}
	for _, k := range []struct {
		group, kind, plural string
		names               []string
	}{{RunGroup, TKCKind, "tanzukubernetesclusters", l.tkcs}, {ClusterGroup, ClusterKind, "clusters", l.clusters}} {
		version := reply{"groupVersion": k.group + "/v1", "version": "v1"}
		base := "/apis/" + k.group
		switch {
		case k.names == nil || !strings.HasPrefix(r.URL.Path, base):
			continue
		case l.forbidden != "" && strings.Contains(r.URL.Path, l.forbidden):
			code, body = http.StatusForbidden, reply{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "reason": "Forbidden"}
			continue
		case r.URL.Path == base:
			body = reply{"kind": "APIGroup", "apiVersion": "v1", "name": k.group, "versions": []any{version}, "preferredVersion": version}
		case r.URL.Path == base+"/v1":
			body = reply{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": k.group + "/v1", "resources": []any{
				reply{"name": k.plural, "kind": k.kind, "namespaced": true, "verbs": []string{"list"}},
			}}
		default:
			body = page(k.group, k.kind, k.names, r)
		}
		code = http.StatusOK
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // a client that went away is no matter
}

func page(group, kind string, names []string, r *http.Request) reply {
	_, rest, _ := strings.Cut(r.URL.Path, "/namespaces/")
	namespace, _, _ := strings.Cut(rest, "/")
	var items []any
	for _, full := range names {
		ns, name, _ := strings.Cut(full, "/")
		if namespace == "" || ns == namespace {
			items = append(items, reply{"apiVersion": group + "/v1", "kind": kind, "metadata": reply{"namespace": ns, "name": name}})
		}
	}
	from, _ := strconv.Atoi(r.URL.Query().Get("continue"))
	size, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	if len(names) < 10 {
		size = 2
	}
	to, next := min(len(items), from+size), ""
	if to < len(items) {
		next = strconv.Itoa(to)
	}
	return reply{"apiVersion": group + "/v1", "kind": kind + "List", "metadata": reply{"continue": next, "resourceVersion": "1"}, "items": items[min(from, to):to]}
}

func clientOf(t *testing.T, h http.Handler) *kube.Client {
	t.Helper()
	server := httptest.NewTLSServer(h)
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	config := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: x, contexts: [{name: x, context: {cluster: x, user: x}}], users: [{name: x, user: {token: x}}],
clusters: [{name: x, cluster: {server: %q, certificate-authority-data: %s}}]}`, server.URL, base64.StdEncoding.EncodeToString(ca))
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := kube.New(plugins.Kube{Kubeconfig: path})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestList(t *testing.T) {
	t.Parallel()
	many := make([]string, MaxClusters+1)
	for i := range many {
		many[i] = fmt.Sprintf("team-a/c%d", i)
	}
	cases := map[string]struct {
		reason    string
		server    lists
		namespace string
		want      []string
		hidden    string
		err, hint string
		forbidden bool
	}{
		"All": {
			reason: "each cluster once and in order, over several pages; a Cluster has a TanzuKubernetesCluster of its name or none",
			server: lists{tkcs: []string{"team-b/dev9", "team-a/dev2", "team-a/dev1"}, clusters: []string{"team-a/dev1", "team-a/dev2", "team-a/new", "team-b/dev9", "team-b/dev1"}},
			want:   []string{"TanzuKubernetesCluster team-a/dev1", "TanzuKubernetesCluster team-a/dev2", "Cluster team-a/new", "Cluster team-b/dev1", "TanzuKubernetesCluster team-b/dev9"},
		},
		"Namespace": {
			reason: "no other is looked at", namespace: "team-b", server: lists{tkcs: []string{"team-a/dev1", "team-b/dev9"}, clusters: []string{"team-a/dev1", "team-b/dev9"}},
			want: []string{"TanzuKubernetesCluster team-b/dev9"},
		},
		"None":       {reason: "a Supervisor without clusters is no fault", server: lists{tkcs: []string{}, clusters: []string{}}},
		"NewService": {reason: "VKS may serve Clusters only", server: lists{clusters: []string{"team-a/new"}}, want: []string{"Cluster team-a/new"}},
		"OldService": {reason: "only the owners are needed", server: lists{tkcs: []string{"team-a/dev1"}}, want: []string{"TanzuKubernetesCluster team-a/dev1"}},
		"Workload":   {reason: "the context of a workload cluster", err: "is not a Supervisor", hint: "kubectl config get-contexts"},
		"Hidden": {
			reason: "who may list the owners sees those", server: lists{tkcs: []string{"team-a/dev1"}, clusters: []string{"team-a/dev1"}, forbidden: "/v1/clusters"},
			want: []string{"TanzuKubernetesCluster team-a/dev1"}, hidden: "may not list Clusters",
		},
		"Forbidden": {
			reason: "the caller may know a namespace that may be listed", server: lists{tkcs: []string{"team-a/dev1"}, clusters: []string{}, forbidden: "/v1/tanzu"},
			err: "list tanzukubernetesclusters.run.tanzu.vmware.com", forbidden: true,
		},
		"TooMany": {reason: "nothing is left out in silence", server: lists{tkcs: many, clusters: []string{}}, err: "more than 1000 clusters", hint: "-n NAMESPACE"},
		"Hostile": {reason: "a name ends up in a command that a person is told to type", server: lists{tkcs: []string{"team-a/x;reboot"}, clusters: []string{}}, err: "cluster"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found, hidden, err := List(t.Context(), clientOf(t, tc.server), tc.namespace)
			if (tc.err == "") != (err == nil) || err != nil && (!strings.Contains(err.Error(), tc.err) || !strings.Contains(plugins.HintOf(err), tc.hint)) {
				t.Fatalf("%s: want the error %q, got %v; %s", tc.reason, tc.err, err, plugins.HintOf(err))
			}
			if apierrors.IsForbidden(err) != tc.forbidden {
				t.Errorf("%s: forbidden: want %v, got %v", tc.reason, tc.forbidden, err)
			}
			var got []string
			for _, f := range found {
				got = append(got, f.Kind+" "+f.String())
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
			if !strings.Contains(hidden, tc.hidden) || (tc.hidden == "") != (hidden == "") {
				t.Errorf("%s: hidden: want %q, got %q", tc.reason, tc.hidden, hidden)
			}
		})
	}
}
