package service

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/tkgfix/tkgfix/internal/lab/vm"
)

func parse(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	data, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(data); err != nil {
		t.Fatal(err)
	}
	return u
}

func TestPlanNodes(t *testing.T) {
	t.Parallel()
	head := "kind: TanzuKubernetesCluster\napiVersion: run.tanzu.vmware.com/v1alpha3\nmetadata: {name: dev1}\nspec:\n"
	cases := map[string]struct {
		reason, spec string
		// pools and versions of the nodes, in order
		pools   []string
		version string
	}{
		"V1alpha3": {
			"replicas and node pools",
			"  topology: {controlPlane: {replicas: 1, tkr: {reference: {name: v1.26.5---vmware.2-fips.1-tkg.1}}}, nodePools: [{name: np1, replicas: 2}]}",
			[]string{"control-plane", "np1", "np1"}, "v1.26.5+vmware.2-fips.1",
		},
		"V1alpha1": {
			"counts and one set of workers",
			"  distribution: {version: v1.20}\n  topology: {controlPlane: {count: 1}, workers: {count: 2}}",
			[]string{"control-plane", "workers", "workers"}, "v1.20",
		},
		"Capped": {
			"a laptop runs no fleet",
			"  topology: {controlPlane: {replicas: 3}, nodePools: [{name: a, replicas: 3}, {name: b, replicas: 30}]}",
			[]string{"control-plane", "a", "a", "a", "b"}, "",
		},
		"None": {"a cluster has a control plane", "  topology: {}", []string{"control-plane"}, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := tkcOwner{parse(t, head+tc.spec)}
			next, err := (target{cluster: "dev1", version: o.version(), pools: capped(o.pools()), revision: "abcdef"}).plan(nil)
			if err != nil {
				t.Fatal(err)
			}
			nodes := next.make
			names := map[string]bool{}
			var pools []string
			for _, n := range nodes {
				pools = append(pools, n.pool)
				names[n.name] = true
				if n.version != tc.version || n.controlPlane != (n.pool == "control-plane") || !strings.HasPrefix(n.name, "dev1-") {
					t.Errorf("%s: node %+v", tc.reason, n)
				}
			}
			if diff := cmp.Diff(tc.pools, pools); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
			if len(names) != len(nodes) {
				t.Errorf("%s: two nodes have one name", tc.reason)
			}
		})
	}
}

func TestTrust(t *testing.T) {
	t.Parallel()
	tsc := parse(t, "kind: X\nspec: {trust: {additionalTrustedCAs: [{name: a, data: YQ==}, {name: b, data: Yg==}]}}")
	tkc := parse(t, "kind: X\nspec: {settings: {network: {trust: {additionalTrustedCAs: [{name: b, data: Qg==}, {name: c, data: Yw==}]}}}}")
	own := trustOf(tkc, "spec", "settings", "network")
	cases := map[string]struct {
		reason string
		got    []vm.Trust
		want   []vm.Trust
	}{
		"Joined":   {"the cluster's own entry wins", joinTrust(trustOf(tsc, "spec"), own), []vm.Trust{{Name: "a", Data: "YQ=="}, {Name: "b", Data: "Qg=="}, {Name: "c", Data: "Yw=="}}},
		"NoObject": {"no TkgServiceConfiguration at all", joinTrust(trustOf(nil, "spec"), own), own},
		"NoTrust":  {"an object without trust", trustOf(parse(t, "kind: X\nspec: {}"), "spec"), nil},
		"Odd":      {"entries that are no entries", trustOf(parse(t, "kind: X\nspec: {trust: {additionalTrustedCAs: [1, {name: 2}]}}"), "spec"), []vm.Trust{{}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, tc.got); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestSetConditionsKeepsTimes(t *testing.T) {
	t.Parallel()
	first := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	u := &unstructured.Unstructured{Object: map[string]any{}}
	setConditions(u, first, tkcConditions(true, false, "NodePoolsUpdating", "one node is missing"))
	setConditions(u, first.Add(time.Minute), tkcConditions(true, true, "", ""))
	conditions, _, err := unstructured.NestedSlice(u.Object, "status", "conditions")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, c := range conditions {
		m := c.(map[string]any)
		got[text(m, "type")] = text(m, "status") + " " + text(m, "lastTransitionTime") + text(m, "reason")
	}
	want := map[string]string{"Ready": "True 2026-10-01T00:01:00Z", "ControlPlaneReady": "True 2026-10-01T00:00:00Z", "NodePoolsReady": "True 2026-10-01T00:01:00Z"}
	for kind, value := range want {
		if diff := cmp.Diff(value, got[kind]); diff != "" {
			t.Errorf("condition %s (-want, +got):\n%s", kind, diff)
		}
	}
}

func TestCRDsServeWhatTheGenerationDoes(t *testing.T) {
	t.Parallel()
	cases := map[Generation]struct{ reason, run, capi, vmop string }{
		V1alpha1:       {"vSphere 7.0 U2", "v1alpha1", "v1beta1", "v1alpha1"},
		V1alpha2:       {"vSphere 7.0 U3", "v1alpha2 v1alpha1", "v1beta1", "v1alpha1"},
		V1alpha3:       {"all that is served anywhere", "v1alpha3 v1alpha2 v1alpha1", "v1beta2 v1beta1", "v1alpha3 v1alpha1"},
		TanzuClass:     {"vSphere 8", "v1alpha3 v1alpha2 v1alpha1", "v1beta1", "v1alpha3 v1alpha1"},
		GenericV1beta1: {"VKS 3.3", "v1alpha3 v1alpha2 v1alpha1", "v1beta1", "v1alpha3 v1alpha1"},
		GenericV1beta2: {"VKS 3.6", "v1alpha3 v1alpha2 v1alpha1", "v1beta2 v1beta1", "v1alpha3 v1alpha1"},
	}
	for g, tc := range cases {
		t.Run(string(g), func(t *testing.T) {
			t.Parallel()
			want := map[string]string{
				"tkgserviceconfigurations.run.tanzu.vmware.com": "Cluster " + tc.run,
				"tanzukubernetesclusters.run.tanzu.vmware.com":  "Namespaced " + tc.run,
				"tanzukubernetesreleases.run.tanzu.vmware.com":  "Cluster " + tc.run,
				"clusters.cluster.x-k8s.io":                     "Namespaced " + tc.capi,
				"machines.cluster.x-k8s.io":                     "Namespaced " + tc.capi,
				"virtualmachines.vmoperator.vmware.com":         "Namespaced " + tc.vmop,
				"virtualmachineservices.vmoperator.vmware.com":  "Namespaced " + tc.vmop,
			}
			if g.hasClasses() {
				want["clusterclasses.cluster.x-k8s.io"] = "Namespaced " + tc.capi
			}
			if diff := cmp.Diff(want, servedVersions(t, g)); diff != "" {
				t.Errorf("%s: CRDs (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// servedVersions returns the scope and the served versions of each CRD, the stored one first.
func servedVersions(t *testing.T, g Generation) map[string]string {
	t.Helper()
	crds, err := readCRDs(crdFiles, g)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, crd := range crds {
		data, err := json.Marshal(crd.Object["spec"])
		if err != nil {
			t.Fatal(err)
		}
		var spec struct {
			Scope    string
			Versions []struct {
				Name            string
				Served, Storage bool
			}
		}
		if err := json.Unmarshal(data, &spec); err != nil {
			t.Fatal(err)
		}
		var stored, others []string
		for _, v := range spec.Versions {
			switch {
			case v.Storage && v.Served:
				stored = append(stored, v.Name)
			case v.Storage:
				t.Errorf("%s stores %s and does not serve it", crd.GetName(), v.Name)
			case v.Served:
				others = append(others, v.Name)
			}
		}
		if len(stored) != 1 {
			t.Errorf("%s stores %v", crd.GetName(), stored)
		}
		out[crd.GetName()] = strings.Join(append(append([]string{spec.Scope}, stored...), others...), " ")
	}
	return out
}
