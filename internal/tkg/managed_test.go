package tkg

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestManagedBy(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason string
		marks  []string // the metadata of each object
		want   Managed
	}{
		"nobody": {reason: "marks of others say nothing", marks: []string{`labels: {team: a, app.kubernetes.io/instance: x}, annotations: {note: y}`}},
		"none":   {reason: "no object at all"},
		"argo label": {
			reason: "the label names the Application", marks: []string{`labels: {argocd.argoproj.io/instance: clusters}`},
			want: Managed{
				By: "argocd", Source: "Application clusters", See: "argocd app get clusters",
				Text: "Argo CD keeps it as its source says: Application clusters (argocd.argoproj.io/instance: clusters)",
			},
		},
		"argo id": {
			reason: "the tracking id begins with the Application's namespace and name", marks: []string{`annotations: {argocd.argoproj.io/tracking-id: "team-a_clusters:run.tanzu.vmware.com/TanzuKubernetesCluster:team-a/dev1"}`},
			want: Managed{
				By: "argocd", Source: "Application team-a/clusters", See: "argocd app get team-a/clusters",
				Text: "Argo CD keeps it as its source says: Application team-a/clusters (argocd.argoproj.io/tracking-id: " +
					"team-a_clusters:run.tanzu.vmware.com/TanzuKubernetesCluster:team-a/dev1)",
			},
		},
		"argo options": {reason: "an option does not say that Argo CD manages it", marks: []string{`annotations: {argocd.argoproj.io/sync-options: "Prune=false,Delete=false"}`}},
		"flux": {
			reason: "two labels name the Kustomization",
			marks:  []string{`labels: {kustomize.toolkit.fluxcd.io/name: clusters, kustomize.toolkit.fluxcd.io/namespace: flux-system}`},
			want: Managed{
				By: "flux", Source: "Kustomization flux-system/clusters",
				See:  "kubectl get kustomizations.kustomize.toolkit.fluxcd.io clusters -n flux-system -o jsonpath='{.spec}'",
				Text: "Flux keeps it as its source says: Kustomization flux-system/clusters (kustomize.toolkit.fluxcd.io/name: clusters)",
			},
		},
		"flux helm": {
			reason: "a HelmRelease marks with labels of its own, and Helm beside it is its tool",
			marks:  []string{`labels: {helm.toolkit.fluxcd.io/name: c, helm.toolkit.fluxcd.io/namespace: f, app.kubernetes.io/managed-by: Helm}, annotations: {meta.helm.sh/release-name: c}`},
			want: Managed{
				By: "flux", Source: "HelmRelease f/c", See: "kubectl get helmreleases.helm.toolkit.fluxcd.io c -n f -o jsonpath='{.spec}'",
				Text: "Flux keeps it as its source says: HelmRelease f/c (helm.toolkit.fluxcd.io/name: c)",
			},
		},
		"flux without a namespace": {
			reason: "then no command can name it", marks: []string{`labels: {kustomize.toolkit.fluxcd.io/name: clusters}`},
			want: Managed{By: "flux", Source: "Kustomization clusters", Text: "Flux keeps it as its source says: Kustomization clusters (kustomize.toolkit.fluxcd.io/name: clusters)"},
		},
		"helm": {
			reason: "the release is named by annotations",
			marks:  []string{`labels: {app.kubernetes.io/managed-by: Helm}, annotations: {meta.helm.sh/release-name: c, meta.helm.sh/release-namespace: team-a}`},
			want: Managed{
				By: "helm", Source: "release c in namespace team-a", See: "helm get values c -n team-a",
				Text: "Helm keeps it as its source says: release c in namespace team-a (meta.helm.sh/release-name: c)",
			},
		},
		"helm label alone": {
			reason: "a template renders the label by itself", marks: []string{`labels: {app.kubernetes.io/managed-by: helm}`},
			want: Managed{
				By: "helm", Source: "a release that the marks do not name", See: "helm list --all-namespaces",
				Text: "Helm keeps it as its source says: a release that the marks do not name (app.kubernetes.io/managed-by: helm)",
			},
		},
		"managed by another": {reason: "managed-by of anything else says nothing", marks: []string{`labels: {app.kubernetes.io/managed-by: me}`}},
		"tmc": {
			reason: "the annotations of a Cluster in Tanzu Mission Control",
			marks:  []string{`annotations: {run.tanzu.vmware.com/vmware-system-tmc-managed: "true", run.tanzu.vmware.com/vmware-system-tmc-cluster-group: prod}`},
			want: Managed{
				By: "tmc", Source: "cluster group prod",
				Text: "Tanzu Mission Control keeps it as its source says: cluster group prod (run.tanzu.vmware.com/vmware-system-tmc-managed: true)",
			},
		},
		"tmc label": {
			reason: "it labels what it makes with its creator", marks: []string{`labels: {tmc.cloud.vmware.com/creator: jo}`},
			want: Managed{
				By: "tmc", Source: "its own definition of the cluster",
				Text: "Tanzu Mission Control keeps it as its source says: its own definition of the cluster (tmc.cloud.vmware.com/creator: jo)",
			},
		},
		"tmc not":        {reason: "false is not managed", marks: []string{`annotations: {run.tanzu.vmware.com/vmware-system-tmc-managed: "false"}`}},
		"tmc registered": {reason: "a cluster that is only registered is not put back", marks: []string{`annotations: {run.tanzu.vmware.com/tmc-already-attached: "true", run.tanzu.vmware.com/agent-uid: c-1}`}},
		"kapp": {
			reason: "kapp's next deploy puts the old manifest back", marks: []string{`labels: {kapp.k14s.io/app: "17"}`},
			want: Managed{
				By: "kapp", Source: "application 17", See: "kapp list --all-namespaces; kubectl get apps.kappctrl.k14s.io --all-namespaces",
				Text: "kapp keeps it as its source says: application 17 (kapp.k14s.io/app: 17)",
			},
		},
		"the second": {
			reason: "a mark on the Cluster counts as one on its owner, and Argo CD acts of itself where Helm does not",
			marks:  []string{`labels: {app.kubernetes.io/managed-by: Helm}`, `labels: {argocd.argoproj.io/instance: c}`},
			want: Managed{
				By: "argocd", Source: "Application c", See: "argocd app get c",
				Text: "Argo CD keeps it as its source says: Application c (argocd.argoproj.io/instance: c)",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objs := []*unstructured.Unstructured{nil}
			for _, m := range tc.marks {
				objs = append(objs, object(t, "apiVersion: a/v1\nkind: K\nmetadata: {name: n, "+m+"}"))
			}
			if diff := cmp.Diff(tc.want, ManagedBy(objs...)); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// What a mark says may be anything; it must not become part of a command, nor flood a line.
func TestManagedByHostileMarks(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"$(reboot)", "a; rm -rf /", "-h", "x\ny", strings.Repeat("x", 1e5)} {
		for _, key := range []string{
			"argocd.argoproj.io/instance", "argocd.argoproj.io/tracking-id", "kustomize.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/name",
			"meta.helm.sh/release-name", "tmc.cloud.vmware.com/x", "kapp.k14s.io/app",
		} {
			obj := object(t, "apiVersion: a/v1\nkind: K\nmetadata: {name: n}")
			obj.SetAnnotations(map[string]string{
				key: value, "kustomize.toolkit.fluxcd.io/namespace": "f", "helm.toolkit.fluxcd.io/namespace": "f", "meta.helm.sh/release-namespace": "f",
			})
			m := ManagedBy(obj)
			if m.By == "" || strings.Contains(m.See, value) || strings.Contains(m.Text+m.Source+m.See, "\n") || len(m.Text) > 500 {
				t.Errorf("%s: %.20q gives %s", key, value, fmt.Sprintf("%.600v", m))
			}
		}
	}
}

func TestPaused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason, cluster string
		want            bool
	}{
		"no":               {reason: "most are not", cluster: "metadata: {name: n}"},
		"field":            {reason: "the field", cluster: "metadata: {name: n}\nspec: {paused: true}", want: true},
		"field false":      {reason: "false is not paused", cluster: "metadata: {name: n}\nspec: {paused: false}"},
		"field of nothing": {reason: "a hostile one", cluster: "metadata: {name: n}\nspec: {paused: [1]}"},
		"annotation":       {reason: "its value does not count", cluster: `metadata: {name: n, annotations: {cluster.x-k8s.io/paused: ""}}`, want: true},
		"annotation false": {reason: "not even this one: the Cluster API looks for the key alone", cluster: `metadata: {name: n, annotations: {cluster.x-k8s.io/paused: "false"}}`, want: true},
	} {
		if got := Paused(object(t, tc.cluster)); got != tc.want {
			t.Errorf("%s: %s: got %v", name, tc.reason, got)
		}
	}
	if Paused(nil) {
		t.Error("nothing is paused")
	}
}
