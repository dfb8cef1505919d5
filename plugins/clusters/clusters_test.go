package clusters

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/plugintest"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// supervisor serves two TanzuKubernetesClusters with a Cluster each, and a Cluster of its own, with labels.
func supervisor(t *testing.T, forbidden string) plugins.Kube {
	t.Helper()
	type m = map[string]any
	object := func(group, kind, namespace, name, team string) m {
		return m{"apiVersion": group + "/v1", "kind": kind, "metadata": m{"namespace": namespace, "name": name, "labels": m{"team": team}}}
	}
	const run, capi = "run.tanzu.vmware.com", "cluster.x-k8s.io"
	lists := map[string][]m{
		run:  {object(run, "TanzuKubernetesCluster", "a", "old", "red"), object(run, "TanzuKubernetesCluster", "b", "old", "blue")},
		capi: {object(capi, "Cluster", "a", "old", "blue"), object(capi, "Cluster", "b", "old", "blue"), object(capi, "Cluster", "a", "new", "blue")},
	}
	plurals := map[string][2]string{run: {"tanzukubernetesclusters", "TanzuKubernetesCluster"}, capi: {"clusters", "Cluster"}}
	mux := http.NewServeMux()
	reply := func(path string, code int, body any) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			_ = json.NewEncoder(w).Encode(body)
		})
	}
	for group, p := range plurals {
		version := m{"groupVersion": group + "/v1", "version": "v1"}
		reply("/apis/"+group, 200, m{"kind": "APIGroup", "apiVersion": "v1", "name": group, "versions": []any{version}, "preferredVersion": version})
		reply("/apis/"+group+"/v1", 200, m{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group + "/v1", "resources": []any{m{"name": p[0], "kind": p[1], "namespaced": true, "verbs": []string{"list"}}}})
		list := func(namespace string) m {
			items := []m{}
			for _, o := range lists[group] {
				if namespace == "" || o["metadata"].(m)["namespace"] == namespace {
					items = append(items, o)
				}
			}
			return m{"apiVersion": group + "/v1", "kind": p[1] + "List", "metadata": m{"resourceVersion": "1"}, "items": items}
		}
		for _, namespace := range []string{"", "a", "b"} {
			path := "/apis/" + group + "/v1/namespaces/" + namespace + "/" + p[0]
			if namespace == "" {
				path = "/apis/" + group + "/v1/" + p[0]
			}
			if forbidden != "" && forbidden == path {
				reply(path, 403, m{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "reason": "Forbidden"})
				continue
			}
			reply(path, 200, list(namespace))
		}
	}
	server := httptest.NewTLSServer(mux)
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	path := filepath.Join(t.TempDir(), "config")
	config := `{apiVersion: v1, kind: Config, current-context: x, contexts: [{name: x, context: {cluster: x, user: x, namespace: b}}], users: [{name: x, user: {}}],
clusters: [{name: x, cluster: {server: "` + server.URL + `", certificate-authority-data: ` + base64.StdEncoding.EncodeToString(ca) + `}}]}`
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return plugins.Kube{Kubeconfig: path, Context: "x"}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	conns := plugins.Connections{}
	conn := supervisor(t, "")
	conns.Supervisor = &conn
	plugintest.Conformance(t, New(sdk.Env{}), plugintest.Cases{
		Samples: map[string]plugintest.Sample{"all": {Reason: "what every login can ask for", Input: json.RawMessage(`{}`), Connections: conns}},
	})
}

func TestPlan(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason, input, forbidden string
		want                     []string
		warning, err, hint       string
	}{
		"All":       {reason: "of all namespaces, each once and in order", input: `{}`, want: []string{"Cluster a/new", "TanzuKubernetesCluster a/old", "TanzuKubernetesCluster b/old"}},
		"Namespace": {reason: "of one", input: `{"namespace":"a"}`, want: []string{"Cluster a/new", "TanzuKubernetesCluster a/old"}},
		"Selector": {
			reason: "the labels of the owner count, not those of the Cluster that it made", input: `{"selector":"team=blue"}`,
			want: []string{"Cluster a/new", "TanzuKubernetesCluster b/old"},
		},
		"Only":      {reason: "those that were named", input: `{"only":["b/old","b/old"]}`, want: []string{"TanzuKubernetesCluster b/old"}},
		"Nothing":   {reason: "no cluster is no fault", input: `{"selector":"team=green"}`, want: nil},
		"Missing":   {reason: "a slip in a name must not leave a cluster out", input: `{"only":["b/old","b/odl"]}`, err: "not among the clusters of this Supervisor, namespace and selector: b/odl", hint: "tkgfix diagnose"},
		"Shape":     {reason: "a name has its namespace", input: `{"only":["old"]}`, err: "namespace/name"},
		"Syntax":    {reason: "a selector as kubectl takes it", input: `{"selector":"team in"}`, err: `selector "team in"`, hint: "kubectl -l"},
		"Name":      {reason: "it becomes part of a path", input: `{"namespace":"../x"}`, err: `namespace "../x"`},
		"Forbidden": {reason: "the context's own namespace is listed", input: `{}`, forbidden: "/apis/run.tanzu.vmware.com/v1/tanzukubernetesclusters", want: []string{"TanzuKubernetesCluster b/old"}, warning: "those of b are listed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := supervisor(t, tc.forbidden)
			resp, err := New(sdk.Env{}).Plan(t.Context(), plugins.PlanRequest{Input: json.RawMessage(tc.input), Connections: plugins.Connections{Supervisor: &conn}})
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) || !strings.Contains(plugins.HintOf(err), tc.hint) {
					t.Fatalf("%s: want %q, got %v; %s", tc.reason, tc.err, err, plugins.HintOf(err))
				}
				return
			}
			if err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			var out output
			if err := json.Unmarshal(resp.Outputs, &out); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range out.Clusters {
				got = append(got, c.Kind+" "+c.Ref)
				if c.Kubeconfig != conn.Kubeconfig || c.Context != "x" || c.Ref != c.Namespace+"/"+c.Name {
					t.Errorf("%s: %+v", tc.reason, c)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
			if warnings := strings.Join(resp.Warnings, "\n"); !strings.Contains(warnings, tc.warning) || (tc.warning == "") != (warnings == "") {
				t.Errorf("%s: warnings %q", tc.reason, warnings)
			}
		})
	}
}
