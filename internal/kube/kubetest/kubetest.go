// Package kubetest is an API server for tests: it serves the objects that it is given, over TLS, and answers what may be done with them.
//
// It is for tests of what is made of objects. What an API server does with writes is tested in the laboratory, on a real one.
package kubetest

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/tkgfix/tkgfix/plugins"
)

// Server is what is served.
type Server struct {
	// Kinds are served, as group/version/Kind, v1/Kind for the core group; those of Objects need not be named.
	Kinds []string
	// Objects are in YAML or JSON. Each can be read in every version of its group and keeps the form that it has here.
	Objects []string
	// Forbidden are the resources, as kubectl names them, that this login may not read: tkgserviceconfigurations.
	Forbidden []string
	// MayNot is what a SelfSubjectAccessReview denies, as "verb resource"; all else is allowed.
	MayNot []string
	// NoReviews forbids to ask what may be done.
	NoReviews bool

	objects []*unstructured.Unstructured
	kinds   []schema.GroupVersionKind
}

type reply = map[string]any

// Start serves until the test ends, and returns the way there.
func (s Server) Start(t testing.TB) plugins.Kube {
	t.Helper()
	for _, name := range s.Kinds {
		parts := strings.Split(name, "/")
		if len(parts) == 2 {
			parts = append([]string{""}, parts...)
		}
		s.kinds = append(s.kinds, schema.GroupVersionKind{Group: parts[0], Version: parts[1], Kind: parts[2]})
	}
	for _, text := range s.Objects {
		u := &unstructured.Unstructured{}
		data, err := yaml.YAMLToJSON([]byte(text))
		if err == nil {
			err = u.UnmarshalJSON(data)
		}
		if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		s.objects = append(s.objects, u)
		if gvk := u.GroupVersionKind(); !slices.Contains(s.kinds, gvk) {
			s.kinds = append(s.kinds, gvk)
		}
	}
	server := httptest.NewTLSServer(&s)
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	config := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: x, contexts: [{name: x, context: {cluster: x, user: x}}], users: [{name: x, user: {token: x}}],
clusters: [{name: x, cluster: {server: %q, certificate-authority-data: %s}}]}`, server.URL, base64.StdEncoding.EncodeToString(ca))
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return plugins.Kube{Kubeconfig: path}
}

// ServeHTTP answers as an API server does.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	code, body := s.answer(r)
	if body == nil {
		reason := map[int]string{http.StatusNotFound: "NotFound", http.StatusForbidden: "Forbidden", http.StatusInternalServerError: "InternalError"}[code]
		body = reply{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": reason}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // a client that went away is no matter
}

func (s *Server) answer(r *http.Request) (int, any) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if parts[0] == "api" {
		parts = append([]string{"apis", ""}, parts[1:]...)
	}
	switch {
	case r.Method == http.MethodPost && parts[len(parts)-1] == "selfsubjectaccessreviews":
		return s.review(r)
	case len(parts) == 2:
		return s.group(parts[1])
	case len(parts) == 3:
		return s.version(schema.GroupVersion{Group: parts[1], Version: parts[2]})
	case len(parts) > 3 && r.Method == http.MethodGet:
		return s.read(schema.GroupVersion{Group: parts[1], Version: parts[2]}, parts[3:], r)
	}
	return http.StatusNotFound, nil
}

// group answers with the versions of a group, the first that was named as the preferred one.
func (s *Server) group(name string) (int, any) {
	var versions []any
	for _, k := range s.kinds {
		if k.Group == name {
			versions = append(versions, reply{"groupVersion": k.GroupVersion().String(), "version": k.Version})
		}
	}
	if versions == nil {
		return http.StatusNotFound, nil
	}
	return http.StatusOK, reply{"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": versions, "preferredVersion": versions[0]}
}

func (s *Server) version(gv schema.GroupVersion) (int, any) {
	resources := []any{}
	for _, k := range s.kinds {
		if k.GroupVersion() == gv {
			resources = append(resources, reply{"name": plural(k.Kind), "kind": k.Kind, "namespaced": k.Kind != "TkgServiceConfiguration", "verbs": []string{"get"}})
		}
	}
	if len(resources) == 0 && gv.Group != "" {
		return http.StatusNotFound, nil
	}
	return http.StatusOK, reply{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": gv.String(), "resources": resources}
}

func plural(kind string) string {
	name := strings.ToLower(kind)
	if strings.HasSuffix(name, "s") {
		return name + "es"
	}
	return name + "s"
}

// read answers with one object, or with a list.
func (s *Server) read(gv schema.GroupVersion, path []string, r *http.Request) (int, any) {
	namespace := ""
	if path[0] == "namespaces" && len(path) > 2 {
		namespace, path = path[1], path[2:]
	}
	if slices.Contains(s.Forbidden, path[0]) {
		return http.StatusForbidden, nil
	}
	selector, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		return http.StatusInternalServerError, nil
	}
	items := []any{}
	for _, u := range s.objects {
		if gvk := u.GroupVersionKind(); gvk.Group != gv.Group || plural(gvk.Kind) != path[0] || namespace != "" && u.GetNamespace() != namespace {
			continue
		}
		if len(path) == 2 && u.GetName() == path[1] {
			return http.StatusOK, u.Object
		}
		if selector.Matches(labels.Set(u.GetLabels())) {
			items = append(items, u.Object)
		}
	}
	if len(path) != 1 {
		return http.StatusNotFound, nil
	}
	return http.StatusOK, reply{"kind": "List", "apiVersion": gv.String(), "metadata": reply{}, "items": items}
}

func (s *Server) review(r *http.Request) (int, any) {
	var review struct {
		Spec struct {
			ResourceAttributes struct{ Verb, Resource string } `json:"resourceAttributes"`
		} `json:"spec"`
	}
	if s.NoReviews {
		return http.StatusForbidden, nil
	}
	if json.NewDecoder(r.Body).Decode(&review) != nil {
		return http.StatusInternalServerError, nil
	}
	asked := review.Spec.ResourceAttributes
	allowed := !slices.Contains(s.MayNot, asked.Verb+" "+asked.Resource)
	return http.StatusCreated, reply{
		"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": reply{}, "status": reply{"allowed": allowed},
	}
}
