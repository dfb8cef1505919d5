package main

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

type answer = map[string]any

// apiserver FILE NAMESPACE [KIND:NAMESPACE/NAME...] starts an API server on loopback and writes a kubeconfig for it. It serves the kinds
// that are named, lists clusters in that namespace only, and lets nobody read a Secret. Without a kind it is no Supervisor.
func apiserver(ts *testscript.TestScript, _ bool, args []string) {
	server := httptest.NewTLSServer(supervisor{namespace: args[1], clusters: args[2:]})
	ts.Defer(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	config := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: x, contexts: [{name: x, context: {cluster: x, user: x, namespace: %s}}],
users: [{name: x, user: {token: hunter2}}], clusters: [{name: x, cluster: {server: %q, certificate-authority-data: %s}}]}`,
		args[1], server.URL, base64.StdEncoding.EncodeToString(ca))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(config), 0o600))
}

type supervisor struct {
	namespace string
	clusters  []string
}

func (s supervisor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	code, body := s.answer(r.URL.Path)
	if r.Method != http.MethodGet {
		code, body = http.StatusMethodNotAllowed, answer{}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // a client that went away is no matter
}

func (s supervisor) answer(path string) (int, answer) {
	for kind, k := range map[string]struct{ group, plural string }{
		"TanzuKubernetesCluster": {"run.tanzu.vmware.com", "tanzukubernetesclusters"}, "Cluster": {"cluster.x-k8s.io", "clusters"},
	} {
		base, version := "/apis/"+k.group, answer{"groupVersion": k.group + "/v1", "version": "v1"}
		served := false
		items := []any{}
		for _, c := range s.clusters {
			of, full, _ := strings.Cut(c, ":")
			namespace, name, _ := strings.Cut(full, "/")
			if of != kind {
				continue
			}
			served = true
			object := answer{"apiVersion": k.group + "/v1", "kind": kind, "metadata": answer{"namespace": namespace, "name": name, "uid": "u"}, "spec": answer{}}
			if items = append(items, object); path == base+"/v1/namespaces/"+namespace+"/"+k.plural+"/"+name {
				return http.StatusOK, object
			}
		}
		switch {
		case !served:
		case path == base:
			return http.StatusOK, answer{"kind": "APIGroup", "apiVersion": "v1", "name": k.group, "versions": []any{version}, "preferredVersion": version}
		case path == base+"/v1":
			return http.StatusOK, answer{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": k.group + "/v1", "resources": []any{
				answer{"name": k.plural, "kind": kind, "namespaced": true, "verbs": []string{"get", "list"}},
			}}
		case path == base+"/v1/namespaces/"+s.namespace+"/"+k.plural:
			return http.StatusOK, answer{"apiVersion": k.group + "/v1", "kind": kind + "List", "metadata": answer{"resourceVersion": "1"}, "items": items}
		case path == base+"/v1/"+k.plural:
			return status(http.StatusForbidden, "Forbidden", k.plural+` is forbidden: User "x" cannot list resource "`+k.plural+`" in API group "`+k.group+`" at the cluster scope`)
		}
	}
	switch {
	case path == "/api/v1":
		return http.StatusOK, answer{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "v1", "resources": []any{
			answer{"name": "secrets", "kind": "Secret", "namespaced": true, "verbs": []string{"get"}},
		}}
	case strings.Contains(path, "/secrets/"):
		return status(http.StatusForbidden, "Forbidden", `secrets is forbidden: User "x" cannot get resource "secrets" in API group "" in the namespace "`+s.namespace+`"`)
	}
	return status(http.StatusNotFound, "NotFound", "not found")
}

func status(code int, reason, message string) (int, answer) {
	return code, answer{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message}
}
