package install

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
)

const systemNamespace = "tkgfix-system"

// objects reads YAML and returns its objects by kind, namespace and name.
func objects(t *testing.T, data string) map[string]map[string]any {
	t.Helper()
	out := map[string]map[string]any{}
	for decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader([]byte(data)), 4096); ; {
		u := unstructured.Unstructured{}
		err := decoder.Decode(&u.Object)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(u.Object) == 0 {
			continue
		}
		key := u.GetAPIVersion() + " " + u.GetKind() + " " + u.GetNamespace() + "/" + u.GetName()
		if _, ok := out[key]; ok {
			t.Errorf("%s is there twice", key)
		}
		out[key] = u.Object
	}
}

// TestSame wants Helm, kustomize and the one file to make the same objects, to the last field.
func TestSame(t *testing.T) {
	t.Parallel()
	want := objects(t, command(t, nil, nil, deploy, "kubectl", "kustomize", "config/default").ok(t))
	if len(want) < 20 {
		t.Fatalf("kustomize makes %v: that is not all", slices.Sorted(maps.Keys(want)))
	}
	file, err := os.ReadFile(filepath.Join(root, "config", "install.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{
		"config/install.yaml": string(file),
		"charts/tkgfix":       command(t, nil, nil, deploy, "helm", "template", "tkgfix", "charts/tkgfix", "--namespace", systemNamespace).ok(t),
	} {
		if diff := cmp.Diff(want, objects(t, data)); diff != "" {
			t.Errorf("%s differs from config/default; run make manifests, and see to the chart's templates (-kustomize, +it):\n%s", name, diff)
		}
	}
}

// TestChart looks at what values change.
func TestChart(t *testing.T) {
	t.Parallel()
	type pod struct {
		Image             string
		Args, Env, Mounts []string
		Namespace         string
		Replicas          any
	}
	plain := pod{
		Image: "tkgfix.dev/tkgfix:dev", Args: []string{"controller", "--leader-elect-namespace=$(POD_NAMESPACE)"}, Env: []string{"POD_NAMESPACE"},
		Mounts: []string{"/tmp", "/run/tkgfix"}, Namespace: systemNamespace, Replicas: 3.0,
	}
	with := func(change func(*pod)) pod {
		out := plain
		out.Args, out.Env, out.Mounts = slices.Clone(plain.Args), slices.Clone(plain.Env), slices.Clone(plain.Mounts)
		change(&out)
		return out
	}
	const digest = "sha256:0123456789012345678901234567890123456789012345678901234567890123"
	for _, tc := range []struct {
		name, reason string
		args         []string
		want         pod
	}{
		{"Plain", "no value is given", nil, plain},
		{
			"Image", "a registry of one's own", []string{"--set", "image.repository=registry.corp/tkgfix", "--set", "image.tag=v1"},
			with(func(p *pod) { p.Image = "registry.corp/tkgfix:v1" }),
		},
		{"Digest", "it is more exact than a tag", []string{"--set", "image.tag=v1", "--set", "image.digest=" + digest}, with(func(p *pod) { p.Image = "tkgfix.dev/tkgfix@" + digest })},
		{"Replicas", "one", []string{"--set", "replicas=1"}, with(func(p *pod) { p.Replicas = 1.0 })},
		{
			"Flags", "more flags and variables", []string{"--set", "extraArgs={--namespace=team-a}", "--set-json", `extraEnv=[{"name":"A","value":"b"}]`},
			with(func(p *pod) { p.Args, p.Env = append(p.Args, "--namespace=team-a"), append(p.Env, "A") }),
		},
		{"CAs", "a company's own", []string{"--set", "trustedCAs=corp"}, with(func(p *pod) { p.Mounts = append(p.Mounts, "/etc/pki/tls/certs") })},
		{"Namespace", "another one", []string{"--namespace", "elsewhere"}, with(func(p *pod) { p.Namespace = "elsewhere" })},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"helm", "template", "tkgfix", "charts/tkgfix", "--namespace", systemNamespace}, tc.args...)
			made := objects(t, command(t, nil, nil, deploy, args...).ok(t))
			key := "apps/v1 Deployment " + tc.want.Namespace + "/tkgfix-controller"
			u := unstructured.Unstructured{Object: made[key]}
			if u.Object == nil {
				t.Fatalf("there is no %s", key)
			}
			containers, _, err := unstructured.NestedSlice(u.Object, "spec", "template", "spec", "containers")
			if err != nil || len(containers) != 1 {
				t.Fatalf("containers: %v, %v", containers, err)
			}
			c := containers[0].(map[string]any)
			got := pod{Namespace: u.GetNamespace(), Env: names(c["env"], "name"), Mounts: names(c["volumeMounts"], "mountPath")}
			got.Image, _ = c["image"].(string)
			got.Args, _, _ = unstructured.NestedStringSlice(c, "args")
			got.Replicas, _, _ = unstructured.NestedFieldNoCopy(u.Object, "spec", "replicas")
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
	t.Run("Typo", func(t *testing.T) {
		t.Parallel()
		command(t, nil, nil, deploy, "helm", "template", "tkgfix", "charts/tkgfix", "--set", "replicaCount=1").refused(t, "replicaCount")
	})
}

// names returns a field of each item of a list.
func names(list any, field string) []string {
	var out []string
	items, _ := list.([]any)
	for _, item := range items {
		m, _ := item.(map[string]any)
		name, _ := m[field].(string)
		out = append(out, name)
	}
	return out
}
