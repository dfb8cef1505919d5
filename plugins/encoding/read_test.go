package encoding

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

type object = map[string]any

// supervisor serves objects by their path; a path with the answer nil may not be read.
func supervisor(t *testing.T, objects map[string]any) plugins.Connections {
	t.Helper()
	group := func(name, version string) object {
		return object{"kind": "APIGroup", "apiVersion": "v1", "name": name, "preferredVersion": object{"groupVersion": name + "/" + version, "version": version}}
	}
	kind := func(version, name, plural string, namespaced bool) object {
		return object{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": []any{
			object{"name": plural, "kind": name, "namespaced": namespaced, "verbs": []string{"get"}},
		}}
	}
	all := map[string]any{
		"/api/v1":                        kind("v1", "Secret", "secrets", true),
		"/apis/cluster.x-k8s.io":         group("cluster.x-k8s.io", "v1beta1"),
		"/apis/cluster.x-k8s.io/v1beta1": kind("cluster.x-k8s.io/v1beta1", "Cluster", "clusters", true),
	}
	for path, body := range objects {
		all[path] = body
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, code := all[r.URL.Path], http.StatusOK
		if _, known := all[r.URL.Path]; body == nil {
			code = http.StatusNotFound
			reason := "NotFound"
			if known {
				code, reason = http.StatusForbidden, "Forbidden"
			}
			body = object{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(body) // a client that went away is no matter
	}))
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	config := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: x, contexts: [{name: x, context: {cluster: x, user: x}}], users: [{name: x, user: {token: x}}],
clusters: [{name: x, cluster: {server: %q, certificate-authority-data: %s}}]}`, server.URL, base64.StdEncoding.EncodeToString(ca))
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return plugins.Connections{Supervisor: &plugins.Kube{Kubeconfig: path}}
}

func cluster(t *testing.T, variables string) object {
	t.Helper()
	var out object
	text := "{apiVersion: cluster.x-k8s.io/v1beta1, kind: Cluster, metadata: {name: dev2, namespace: team-a}, spec: {topology: {variables: [" + variables + "]}}}"
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// A Cluster with a class keeps its CAs in Secrets, which want base64 twice.
func TestClassCluster(t *testing.T) {
	t.Parallel()
	ca, key := newCA(t, "Corp Root CA")
	const (
		trust  = "{name: trust, value: {additionalTrustedCAs: [{name: corp}]}}"
		own    = "/api/v1/namespaces/team-a/secrets/dev2-user-trusted-ca-secret"
		where  = "Secret team-a/dev2-user-trusted-ca-secret"
		listed = "/apis/cluster.x-k8s.io/v1beta1/namespaces/team-a/clusters/dev2"
	)
	secret := func(values object) object {
		return object{"apiVersion": "v1", "kind": "Secret", "metadata": object{"name": "s", "namespace": "team-a"}, "data": values}
	}
	cases := map[string]struct {
		reason    string
		variables string
		objects   map[string]any
		ids       []string
		corrected string
		where     string
		path      string
		warning   string
	}{
		"right": {
			reason: "twice", variables: trust, objects: map[string]any{own: secret(object{"corp": tkg.Encode(ca, 2)})}, ids: []string{},
			where: where, path: "data.corp",
		},
		"once": {
			reason: "kubectl create secret --from-file", variables: trust, objects: map[string]any{own: secret(object{"corp": tkg.Encode(ca, 1)})},
			ids: []string{"too-few-layers"}, corrected: tkg.Encode(ca, 2), where: where, path: "data.corp", warning: "1 layer of base64, this place wants 2",
		},
		"three times": {
			reason: "base64 by hand, and again by stringData of a value that was right", variables: trust,
			objects: map[string]any{own: secret(object{"corp": tkg.Encode(ca, 3)})}, ids: []string{"too-many-layers"}, corrected: tkg.Encode(ca, 2), where: where, path: "data.corp",
			warning: "3 layers",
		},
		"private key": {
			reason: "the alarm, and not a byte of it", variables: trust, objects: map[string]any{own: secret(object{"corp": tkg.Encode(key, 2)})},
			ids: []string{"private-key"}, where: where, path: "data.corp", warning: "ake it for leaked",
		},
		"no such key":    {reason: "names and keys differ", variables: trust, objects: map[string]any{own: secret(object{"other": tkg.Encode(ca, 2)})}, ids: []string{"no-key"}, where: where, path: "data.corp", warning: "no such key"},
		"no such Secret": {reason: "in another namespace, or of another cluster's name", variables: trust, ids: []string{"no-secret"}, where: where, path: "data.corp", warning: "does not exist"},
		"forbidden":      {reason: "not judged, and said", variables: trust, objects: map[string]any{own: nil}, ids: []string{"unread"}, where: where, path: "data.corp", warning: "may not be read"},
		"any Secret": {
			reason: "builtin-generic", variables: "{name: osConfiguration, value: {trust: {additionalTrustedCAs: [{caCert: {secretRef: {name: mine, key: k}}}]}}}",
			objects: map[string]any{"/api/v1/namespaces/team-a/secrets/mine": secret(object{"k": tkg.Encode(ca, 2)})}, ids: []string{}, where: "Secret team-a/mine", path: "data.k",
		},
		"name with a path": {
			reason: "no Secret is called so", variables: `{name: osConfiguration, value: {trust: {additionalTrustedCAs: [{caCert: {secretRef: {name: "../../x\n", key: k}}}]}}}`,
			ids: []string{"no-secret"}, where: "Secret team-a/../../x", path: "data.k", warning: "does not exist",
		},
		"inline": {
			reason: "plain PEM", variables: "{name: osConfiguration, value: {trust: {additionalTrustedCAs: [{caCert: {content: " + tkg.Encode(ca, 1) + "}}]}}}",
			ids: []string{"too-many-layers"}, corrected: string(ca), where: "Cluster team-a/dev2",
			path: "spec.topology.variables[0].value.trust.additionalTrustedCAs[0].caCert.content", warning: "wants plain PEM",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objects := map[string]any{listed: cluster(t, c.variables)}
			for path, body := range c.objects {
				objects[path] = body
			}
			resp, err := New(sdk.Env{}).Plan(t.Context(), plugins.PlanRequest{Input: json.RawMessage(`{"cluster": "team-a/dev2"}`), Connections: supervisor(t, objects)})
			if err != nil {
				t.Fatal(err)
			}
			var out output
			if err := json.Unmarshal(resp.Outputs, &out); err != nil || len(out.Entries) != 1 {
				t.Fatalf("%v: %s", err, resp.Outputs)
			}
			e := out.Entries[0]
			ids := []string{}
			for _, f := range e.Findings {
				ids = append(ids, f.ID)
			}
			if diff := cmp.Diff([]any{c.ids, c.corrected, c.where, c.path}, []any{ids, e.Corrected, e.Where, e.Path}); diff != "" {
				t.Errorf("%s: forms, corrected value, place (-want, +got):\n%s", c.reason, diff)
			}
			warnings := strings.Join(resp.Warnings, "\n")
			if !strings.Contains(warnings, "TkgServiceConfiguration does not apply") || !strings.Contains(warnings, c.warning) {
				t.Errorf("%s: warnings %q, want %q", c.reason, warnings, c.warning)
			}
			all, err := json.Marshal(resp)
			if err != nil || strings.Contains(string(all), strings.Split(string(key), "\n")[1]) || strings.Contains(warnings, "\x1b") {
				t.Errorf("%s: the private key shows; %v", c.reason, err)
			}
		})
	}
}
