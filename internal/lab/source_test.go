package lab

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tkgfix/tkgfix/internal/lab/service"
)

func TestKeeperMarks(t *testing.T) {
	t.Parallel()
	source := func(annotations map[string]string) *unstructured.Unstructured {
		u := &unstructured.Unstructured{Object: map[string]any{}}
		u.SetAPIVersion("cluster.x-k8s.io/v1beta2")
		u.SetKind("Cluster")
		u.SetNamespace("team-a")
		u.SetName("dev1")
		u.SetAnnotations(annotations)
		return u
	}
	argo := map[string]string{"mine": "x", "argocd.argoproj.io/tracking-id": "clusters:cluster.x-k8s.io/Cluster:team-a/dev1"}
	cases := map[string]struct {
		reason      string
		fault       service.Fault
		before      map[string]string
		want        map[string]string
		kept, known bool
	}{
		"New":    {"marks are added", service.ArgoCD, map[string]string{"mine": "x"}, argo, true, false},
		"Same":   {"a manifest with the marks stays as it is", service.ArgoCD, argo, argo, true, true},
		"Other":  {"another's marks go", service.TMC, argo, map[string]string{"mine": "x", service.MissionControlMark: "true", "run.tanzu.vmware.com/vmware-system-tmc-cluster-group": "default"}, true, false},
		"Nobody": {"a fault without a keeper", service.AddonFinalizer, argo, argo, false, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := source(tc.before)
			k, kept := keeperOf([]service.Fault{tc.fault}, u)
			known := k.has(u)
			if kept {
				k.mark(u)
			}
			if diff := cmp.Diff([]bool{tc.kept, tc.known}, []bool{kept, known}); diff != "" {
				t.Errorf("%s: kept, marked before (-want, +got):\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.want, u.GetAnnotations()); diff != "" {
				t.Errorf("%s: annotations (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestFaultsOf(t *testing.T) {
	t.Parallel()
	config := configMap(service.FaultsName)
	config.Object["data"] = map[string]any{"team-a.dev1": " argocd  reused-address", "team-a.dev2": ""}
	want := map[types.NamespacedName][]service.Fault{{Namespace: "team-a", Name: "dev1"}: {service.ArgoCD, service.ReusedAddress}}
	if diff := cmp.Diff(want, service.FaultsOf(config)); diff != "" {
		t.Errorf("faults (-want, +got):\n%s", diff)
	}
	if got := service.FaultsOf(nil); len(got) != 0 {
		t.Errorf("faults of no ConfigMap: %v", got)
	}
}
