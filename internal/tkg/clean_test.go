package tkg_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

func load(t *testing.T, name string) *unstructured.Unstructured {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "clean", name))
	if err != nil {
		t.Fatal(err)
	}
	obj := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(data, &obj.Object); err != nil {
		t.Fatal(err)
	}
	return obj
}

// Each testdata/clean/NAME.yaml must become NAME.golden.yaml, and what was taken out is listed in NAME.removed.
func TestCleanManifest(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"v1alpha1", "v1alpha2", "v1alpha3"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			live := load(t, name+".yaml")
			before := live.DeepCopy()
			got, removed, err := tkg.CleanManifest(live)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(load(t, name+".golden.yaml").Object, got.Object); diff != "" {
				t.Errorf("cleaned (-want, +got):\n%s", diff)
			}
			want, err := os.ReadFile(filepath.Join("testdata", "clean", name+".removed"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Fields(string(want)), removed); diff != "" {
				t.Errorf("removed (-want, +got):\n%s", diff)
			}
			if diff := cmp.Diff(before.Object, live.Object); diff != "" {
				t.Errorf("the live object was changed (-want, +got):\n%s", diff)
			}
			again, more, err := tkg.CleanManifest(got)
			if err != nil || len(more) > 0 || cmp.Diff(got.Object, again.Object) != "" {
				t.Errorf("cleaning twice changes more: %v %v", more, err)
			}
		})
	}
}

func TestCleanManifestRefusesCredentials(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason, value string
		path          []string
		refused       bool
	}{
		"user and password":   {reason: "the ordinary case", value: "http://user:hunter2@proxy.corp.test:3128", path: []string{"spec", "settings", "network", "proxy", "httpProxy"}, refused: true},
		"without a scheme":    {reason: "proxies are written so too", value: "user:hunter2@proxy.corp.test:3128", path: []string{"spec", "settings", "network", "proxy", "httpsProxy"}, refused: true},
		"user alone":          {reason: "a token may stand as user", value: "http://hunter2@proxy.corp.test", path: []string{"spec", "settings", "network", "proxy", "httpProxy"}, refused: true},
		"not a URL":           {reason: "a password may make it unreadable", value: "http://user:hun%zzter2@proxy.corp.test", path: []string{"spec", "settings", "network", "proxy", "httpProxy"}, refused: true},
		"elsewhere":           {reason: "wherever a URL carries one", value: "https://user:hunter2@registry.corp.test/v2", path: []string{"metadata", "annotations", "mirror"}, refused: true},
		"elsewhere, not URL":  {reason: "nor there when it is unreadable", value: "https://user:hun%zzter2@registry.corp.test/v2", path: []string{"metadata", "annotations", "mirror"}, refused: true},
		"a proxy without any": {reason: "that is fine", value: "http://proxy.corp.test:3128", path: []string{"spec", "settings", "network", "proxy", "httpProxy"}},
		"an address":          {reason: "an @ makes no credential", value: "pki@corp.test", path: []string{"metadata", "annotations", "owner"}},
		"an @ in a path":      {reason: "nor in a URL's path", value: "https://wiki.corp.test/@pki", path: []string{"metadata", "annotations", "wiki"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			live := load(t, "v1alpha2.yaml")
			if err := unstructured.SetNestedField(live.Object, tc.value, tc.path...); err != nil {
				t.Fatal(err)
			}
			got, _, err := tkg.CleanManifest(live)
			if (err != nil) != tc.refused || tc.refused && got != nil {
				t.Fatalf("%s: error %v, want one is %v", tc.reason, err, tc.refused)
			}
			if err == nil {
				return
			}
			text := err.Error() + plugins.HintOf(err)
			if strings.Contains(text, "hunter2") || !strings.Contains(text, "give manifest:") || !strings.Contains(text, strings.Join(tc.path, ".")) {
				t.Errorf("%s: %q must name the path and the way out, and not the credential", tc.reason, text)
			}
		})
	}
}

func TestCleanManifestRefusesOtherKinds(t *testing.T) {
	t.Parallel()
	for _, obj := range []*unstructured.Unstructured{
		nil, {},
		{Object: map[string]any{"apiVersion": "cluster.x-k8s.io/v1beta1", "kind": "Cluster"}}, // without a class
		{Object: map[string]any{"apiVersion": "example.test/v1", "kind": "Cluster", "spec": map[string]any{"topology": map[string]any{"class": "x"}}}},
		{Object: map[string]any{"apiVersion": "example.test/v1", "kind": "TanzuKubernetesCluster"}},
	} {
		if _, _, err := tkg.CleanManifest(obj); err == nil {
			t.Errorf("%v is cleaned", obj)
		}
	}
}
