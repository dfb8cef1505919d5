package e2e

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// testRetire takes dev2's TanzuKubernetesCluster away and expects its Cluster to go on, with the same machines.
func (s supervisor) testRetire(t *testing.T) {
	t.Helper()
	if s.name != "v1alpha3" {
		return
	}
	before := machineNames(s.machinesOf(t, "dev2"))
	label := []byte(`{"metadata":{"labels":{"kubernetes.vmware.com/retire-tkc":""}}}`)
	tkcs := s.as(t, "editor").Resource(s.owners()).Namespace("team-a")
	if _, err := tkcs.Patch(t.Context(), "dev2", types.MergePatchType, label, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	s.eventually(t, "the Cluster has no owner and goes on", func() bool {
		_, err := tkcs.Get(t.Context(), "dev2", metav1.GetOptions{})
		left := s.get(t, s.clusters(), "team-a", "dev2")
		_, complete, _ := unstructured.NestedMap(left.Object, "spec", "controlPlaneRef")
		reconciled, _ := s.condition(left, "TopologyReconciled")
		return apierrors.IsNotFound(err) && len(left.GetOwnerReferences()) == 0 && complete && reconciled == "True"
	})
	class, _, _ := unstructured.NestedString(s.get(t, s.clusters(), "team-a", "dev2").Object, "spec", "topology", "classRef", "name")
	if diff := cmp.Diff("tanzukubernetescluster", class); diff != "" {
		t.Errorf("the class (-want, +got):\n%s", diff)
	}
	key, _, _ := unstructured.NestedString(s.get(t, secrets, "team-a", "dev2-user-trusted-ca-secret").Object, "data", "corp-root")
	if diff := cmp.Diff(s.root(t), string(unbase64(t, key))); diff != "" {
		t.Errorf("the trust in the Secret, but for the API's base64 (-want, +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, machineNames(s.machinesOf(t, "dev2"))); diff != "" {
		t.Errorf("the machines (-want, +got):\n%s", diff)
	}
	s.roll(t, "dev2")
	s.eventually(t, "the Cluster rolls", func() bool {
		now := s.machinesOf(t, "dev2")
		return len(now) == 3 && !slices.ContainsFunc(now, func(m unstructured.Unstructured) bool {
			return phaseOf(m) != "Running" || slices.Contains(before, m.GetName())
		})
	})
}
