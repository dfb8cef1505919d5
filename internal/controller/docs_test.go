package controller_test

import (
	"os"
	"regexp"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// TestDocumentedObjects has an API server check every object that the document shows. The requester and approver are made the tester's,
// whom the API server knows.
func TestDocumentedObjects(t *testing.T) {
	t.Parallel()
	ns := team(t)
	doc, err := os.ReadFile("../../docs/controller.md")
	must(t, err)
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(doc, -1)
	if len(blocks) < 3 {
		t.Fatalf("%d objects: the document shows more", len(blocks))
	}
	strict := client.WithFieldValidation(admin, "Strict")
	for _, b := range blocks {
		u := &unstructured.Unstructured{}
		must(t, yaml.Unmarshal(b[1], &u.Object))
		u.SetNamespace(ns)
		for _, who := range []string{"requester", "approver"} {
			if _, ok, _ := unstructured.NestedString(u.Object, "spec", who); ok {
				must(t, unstructured.SetNestedField(u.Object, "admin", "spec", who))
			}
		}
		if err := strict.Create(t.Context(), u, client.DryRunAll); err != nil {
			t.Errorf("%s %s: %v", u.GetKind(), u.GetName(), err)
		}
	}
}
