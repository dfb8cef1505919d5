package lab

import (
	"encoding/base64"
	"encoding/pem"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/lab/ca"
	"github.com/tkgfix/tkgfix/internal/lab/service"
)

func TestMatrixInEachGeneration(t *testing.T) {
	t.Parallel()
	for _, g := range Generations() {
		for _, name := range []string{MissingCA, WrongCA, "own-wrong-ca", "own-encoding", "stale-node", "expired-leaf", Healthy} {
			if _, err := findScenarioOn(name, ImitatedNodes, service.Generation(g)); err != nil {
				t.Errorf("%s in generation %s: %v", name, g, err)
			}
		}
	}
	for _, s := range Scenarios() {
		if err := s.On(ImitatedNodes, DefaultGeneration); err != nil {
			t.Errorf("%s in the generation that a laboratory has: %v", s.Name, err)
		}
	}
	if _, err := findScenarioOn("over-encoded", ImitatedNodes, service.TanzuClass); err == nil {
		t.Error("a scenario of TkgServiceConfiguration was planted for Clusters")
	}
}

// TestOwnEncoding holds the one layer that is wrong: a Secret needs one more than TkgServiceConfiguration (tkg-facts.md §1.0).
func TestOwnEncoding(t *testing.T) {
	t.Parallel()
	pki, err := ca.NewCorporate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	layers := func(s string) int {
		for n := range 4 {
			if block, _ := pem.Decode([]byte(s)); block != nil {
				return n
			}
			decoded, err := base64.StdEncoding.DecodeString(s)
			if err != nil {
				break
			}
			s = string(decoded)
		}
		return -1
	}
	cases := map[string]struct {
		reason  string
		entries []entry
		// text is how many layers a text of a list has, and key those of a Secret's key without the API's own.
		text, key int
		wedges    bool
	}{
		"Right": {"once as a text, and once more in a Secret", roots(), 1, 1, false},
		"Wrong": {"one too many as a text, one too few in a Secret", in(wrong), 2, 0, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list, err := trustList(pki, ca.Pair{}, tc.entries)
			if err != nil {
				t.Fatal(err)
			}
			keys, err := secretList(pki, ca.Pair{}, tc.entries)
			if err != nil {
				t.Fatal(err)
			}
			got := []int{layers(list[0].(map[string]any)["data"].(string)), layers(keys[rootEntry])}
			if diff := cmp.Diff([]int{tc.text, tc.key}, got); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.wedges, Scenario{own: tc.entries}.wedges()); diff != "" {
				t.Errorf("%s: no node can join (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestBlueprint(t *testing.T) {
	t.Parallel()
	at := func(u *unstructured.Unstructured, path ...string) string {
		s, _, _ := unstructured.NestedString(u.Object, append([]string{"spec", "topology"}, path...)...)
		return s
	}
	cases := map[service.Generation]struct {
		reason, apiVersion, class string
		variables                 []string
	}{
		service.TanzuClass:     {"names keys of its Secret", "cluster.x-k8s.io/v1beta1", "tanzukubernetescluster", []string{"vmClass", "storageClass", "trust"}},
		service.GenericV1beta1: {"has its trust besides ntp", "cluster.x-k8s.io/v1beta1", "builtin-generic-v3.3.0", []string{"vmClass", "storageClass", "osConfiguration"}},
		service.GenericV1beta2: {"refers to its class", "cluster.x-k8s.io/v1beta2", "builtin-generic-v3.6.0", []string{"vmClass", "storageClass", "osConfiguration"}},
	}
	for g, tc := range cases {
		t.Run(string(g), func(t *testing.T) {
			t.Parallel()
			u := blueprint{g}.cluster("dev1", []string{rootEntry})
			variables, _, err := unstructured.NestedSlice(u.Object, "spec", "topology", "variables")
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, v := range variables {
				names = append(names, v.(map[string]any)["name"].(string))
			}
			class := slices.DeleteFunc([]string{at(u, "class"), at(u, "classRef", "name")}, func(s string) bool { return s == "" })
			want := [][]string{{tc.apiVersion}, {tc.class}, tc.variables}
			if diff := cmp.Diff(want, [][]string{{u.GetAPIVersion()}, class, names}); diff != "" {
				t.Errorf("a Cluster that %s (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}
