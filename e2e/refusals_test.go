package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

var (
	roles    = schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"}
	classes  = schema.GroupVersionResource{Group: "cluster.x-k8s.io", Version: "v1beta1", Resource: "clusterclasses"}
	releases = schema.GroupVersionResource{Group: "run.tanzu.vmware.com", Version: "v1alpha3", Resource: "tanzukubernetesreleases"}
)

// TestRecreateRefuses plans the recreate of a cluster that must not be deleted, for one reason after the other, on a real API server. Each is
// a blocked plan with a next command, and nothing is written.
func TestRecreateRefuses(t *testing.T) {
	t.Parallel()
	s := supervisor{laboratory: upOf(t, "tanzukubernetescluster", "missing-ca")}
	for _, g := range generations() {
		if g.name == "tanzukubernetescluster" {
			s.generation = g
		}
	}
	c := s.client(t)
	clusters := c.Resource(s.clusters()).Namespace("team-a")
	// patch changes an object and gives back the patch that undoes it.
	patch := func(r dynamic.ResourceInterface, name, change, undo string, sub ...string) func() {
		edit := func(text string) {
			if _, err := r.Patch(t.Context(), name, types.MergePatchType, []byte(text), metav1.PatchOptions{}, sub...); err != nil {
				t.Fatalf("patch %s: %v", name, err)
			}
		}
		edit(change)
		return func() { edit(undo) }
	}
	for _, tc := range []struct {
		name, reason, want string
		make               func() (undo func())
	}{
		{"GitOps", "Argo CD would put the old manifest back", "would get its old manifest back: Argo CD keeps it as its source says: Application clusters", func() func() {
			return patch(clusters, "dev1", `{"metadata":{"labels":{"argocd.argoproj.io/instance":"clusters"}}}`, `{"metadata":{"labels":{"argocd.argoproj.io/instance":null}}}`)
		}},
		{"TMC", "Tanzu Mission Control would too", "cluster group prod", func() func() {
			return patch(clusters, "dev1", `{"metadata":{"annotations":{"run.tanzu.vmware.com/vmware-system-tmc-managed":"true","run.tanzu.vmware.com/vmware-system-tmc-cluster-group":"prod"}}}`,
				`{"metadata":{"annotations":{"run.tanzu.vmware.com/vmware-system-tmc-managed":null,"run.tanzu.vmware.com/vmware-system-tmc-cluster-group":null}}}`)
		}},
		{"Paused", "a paused cluster is never torn down", "Cluster team-a/dev1 is paused", func() func() {
			return patch(clusters, "dev1", `{"metadata":{"annotations":{"cluster.x-k8s.io/paused":""}}}`, `{"metadata":{"annotations":{"cluster.x-k8s.io/paused":null}}}`)
		}},
		{"VKS37", "a class of VKS 3.7 is there", "with VKS 3.7 (the class builtin-generic-v3.7.0 is there)", func() func() {
			name := "builtin-generic-v3.7.0"
			applyTo(t, c, classes, "team-a", "{apiVersion: cluster.x-k8s.io/v1beta1, kind: ClusterClass, metadata: {name: "+name+", namespace: team-a}}")
			return func() {
				if err := c.Resource(classes).Namespace("team-a").Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
					t.Fatal(err)
				}
			}
		}},
		{"Release", "the release that it asks for is gone", "is gone, which spec.topology.version asks for", func() func() {
			list, err := c.Resource(releases).List(t.Context(), metav1.ListOptions{})
			if err != nil || len(list.Items) == 0 {
				t.Fatalf("the laboratory has no releases: %v", err)
			}
			for _, r := range list.Items {
				if err := c.Resource(releases).Delete(t.Context(), r.GetName(), metav1.DeleteOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			return func() {
				for _, r := range list.Items {
					r.SetResourceVersion("")
					r.SetUID("")
					if _, err := c.Resource(releases).Create(t.Context(), &r, metav1.CreateOptions{}); err != nil {
						t.Fatal(err)
					}
				}
			}
		}},
		{"MayNot", "the login may not delete clusters", "this login may not delete Cluster team-a/dev1", func() func() {
			role, err := c.Resource(roles).Get(t.Context(), "lab:platform", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			before, err := json.Marshal(map[string]any{"rules": role.Object["rules"]})
			if err != nil {
				t.Fatal(err)
			}
			return patch(c.Resource(roles), "lab:platform", strings.ReplaceAll(string(before), `"delete"`, `"none"`), string(before))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			undo := tc.make()
			defer undo()
			var plan shownStep
			eventually(t, "see the block of "+tc.name, func() error { // rights take a moment
				plan = s.recreatePlan(t)
				for _, b := range plan.Blocks {
					if strings.Contains(b.Reason, tc.want) && b.Hint != "" {
						return nil
					}
				}
				return &missing{tc.want, plan.Blocks}
			})
			if len(plan.Changes) == 0 {
				t.Errorf("%s: the plan is not shown", tc.reason)
			}
		})
	}
	if blocks := s.recreatePlan(t).Blocks; len(blocks) > 0 {
		t.Errorf("with all that undone the plan is blocked: %+v", blocks)
	}
	if n := len(s.writes(t, "clusters", "dev1")); n > 0 {
		t.Errorf("%d writes", n)
	}
}

type missing struct {
	want   string
	blocks any
}

func (m *missing) Error() string {
	raw, err := json.Marshal(m.blocks)
	if err != nil {
		return err.Error()
	}
	return "no block says " + m.want + ": " + string(raw)
}

func (l *laboratory) recreatePlan(t *testing.T) shownStep {
	t.Helper()
	r := l.tkgfix(t, l.kubeconfig("platform"), append([]string{"plan", recreateWorkflow, "--output", "json"}, l.inputs("team-a/dev1", l.ca("root"))...)...)
	return decodePlan(t, r).step(t, "recreate")
}

const veleroDefinitions = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: PLURAL.velero.io}
spec:
  group: velero.io
  names: {kind: KIND, plural: PLURAL, singular: SINGULAR, listKind: KINDList}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`

const backupWorkflow = `
apiVersion: tkgfix.dev/v1alpha1
kind: Workflow
metadata: {name: backup}
spec:
  connections: {supervisor: {}}
  steps:
    - id: backup
      uses: backup-cluster
      timeout: 2m
      with: {cluster: team-a/dev1}
      approval: {message: back dev1 up}
`

// TestBackup backs up a cluster with the kinds of Velero, whose part the test plays: a Backup that ends whole, one that does not, and a
// cluster without Velero.
func TestBackup(t *testing.T) {
	t.Parallel()
	lab := up(t, "missing-ca")
	platform := lab.kubeconfig("platform")
	file := filepath.Join(t.TempDir(), "backup.yaml")
	if err := os.WriteFile(file, []byte(backupWorkflow), 0o600); err != nil {
		t.Fatal(err)
	}
	without := decodePlan(t, lab.tkgfix(t, platform, "plan", file, "--output", "json").wantCode(t, 0)).step(t, "backup")
	if without.Status != "unchanged" || without.outputs(t)["installed"] != false || !strings.Contains(without.Summary, "its volumes are a price") {
		t.Errorf("without Velero: %+v", without)
	}

	c := lab.workloadClient(t, "dev1")
	for plural, kind := range map[string]string{"backups": "Backup", "backupstoragelocations": "BackupStorageLocation"} {
		applyTo(t, c, crds, "", strings.NewReplacer("PLURAL", plural, "KIND", kind, "SINGULAR", strings.ToLower(kind)).Replace(veleroDefinitions))
	}
	applyTo(t, c, namespaces, "", "{apiVersion: v1, kind: Namespace, metadata: {name: velero}}")
	velero := func(r string) schema.GroupVersionResource {
		return schema.GroupVersionResource{Group: "velero.io", Version: "v1", Resource: r}
	}
	blocked := func() shownStep {
		return decodePlan(t, lab.tkgfix(t, platform, "plan", file, "--output", "json")).step(t, "backup")
	}
	if b := blocked().Blocks; len(b) != 1 || !strings.Contains(b[0].Reason, "has nowhere to back up to") {
		t.Errorf("without a place for backups: %+v", b)
	}
	applyTo(t, c, velero("backupstoragelocations"), "velero", "{apiVersion: velero.io/v1, kind: BackupStorageLocation, metadata: {name: default, namespace: velero}, status: {phase: Available}}")

	for _, tc := range []struct {
		name, phase string
		code        int
	}{{"tkgfix-dev1-1", "Completed", 0}, {"tkgfix-dev1-2", "PartiallyFailed", 1}} {
		waiting := lab.tkgfix(t, platform, "run", file).wantCode(t, 3)
		lab.approveAll(t, waiting)
		ended := make(chan error, 1)
		go func() { ended <- end(t, c.Resource(velero("backups")).Namespace("velero"), tc.name, tc.phase) }()
		r := lab.tkgfix(t, platform, "resume", waiting.runID(t)).wantCode(t, tc.code)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if tc.code != 0 {
			r.wantSaid(t, "the Backup "+tc.name+" is PartiallyFailed: 2 errors", "velero backup describe "+tc.name)
		}
	}
}

// end is Velero: it waits for a Backup and ends it.
func end(t *testing.T, r dynamic.ResourceInterface, name, phase string) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := r.Patch(t.Context(), name, types.MergePatchType, []byte(`{"status":{"phase":"`+phase+`","errors":2}}`), metav1.PatchOptions{})
		if err == nil || t.Context().Err() != nil {
			return err
		}
		<-tick.C
	}
}
