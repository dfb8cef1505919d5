package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"
)

const recreateWorkflow = "../examples/workflows/recreate.yaml"

var crds = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// TestRecreate recreates a cluster of generations that differ in how they do it, by the last resort alone, and kills tkgfix once on the way.
// The CA comes by the cluster's own trust, other CAs stay, and each effect happens once.
func TestRecreate(t *testing.T) {
	t.Parallel()
	const clusters, secrets = "/namespaces/team-a/clusters", "/namespaces/team-a/secrets"
	for name, tc := range map[string]struct {
		reason, generation, scenario string
		strike                       *moment
	}{
		"TKC":       {"the oldest TanzuKubernetesCluster has a phase and no conditions", "v1alpha1", "own-wrong-ca", nil},
		"Trust":     {"a Secret that is encoded once is made again as the nodes want it; killed after it was made", "tanzukubernetescluster", "own-encoding", &moment{"POST", secrets, true}},
		"OSConf":    {"the variable osConfiguration, in the newest API; killed while the old cluster goes", "builtin-generic-v1beta2", "own-wrong-ca", &moment{"DELETE", clusters + "/dev1", true}},
		"NotBefore": {"killed before the new cluster was made", "builtin-generic-v1beta1", "own-wrong-ca", &moment{"POST", clusters, false}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Log(tc.reason)
			recreated(t, tc.generation, tc.scenario, tc.strike)
		})
	}
}

func recreated(t *testing.T, name, scenario string, strike *moment) {
	s := supervisor{laboratory: upOf(t, name, scenario)}
	for _, g := range generations() {
		if g.name == name {
			s.generation = g
		}
	}
	companion := s.withCompanions(t)
	config := s.kubeconfig("platform")
	kill := make(chan *os.Process, 1)
	if strike != nil {
		config = s.interpose(t, *strike, func() {
			if err := (<-kill).Kill(); err != nil {
				t.Errorf("kill: %v", err)
			}
		})
	}
	before := s.get(t, s.owners(), "team-a", "dev1")
	waiting := s.tkgfix(t, config, append([]string{"run", recreateWorkflow}, s.inputs("team-a/dev1", s.ca("root"))...)...).wantCode(t, 3)
	id := waiting.runID(t)
	s.approveAll(t, waiting)
	if strike != nil {
		s.resumeAndDie(t, id, kill)
	}
	s.tkgfix(t, config, "resume", id).wantCode(t, 0)

	after := s.get(t, s.owners(), "team-a", "dev1")
	if after.GetUID() == before.GetUID() {
		t.Error("it is the same cluster as before")
	}
	if diff := cmp.Diff(map[string]int{"Running": 6}, s.phases(t, "dev1")); diff != "" {
		t.Errorf("pods of the workload (-want, +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{"delete": 1, "create": 1}, s.writes(t, s.owners().Resource, "dev1")); diff != "" {
		t.Errorf("writes on dev1 (-want, +got):\n%s", diff)
	}
	if s.class != nil {
		if diff := cmp.Diff(map[string]int{"create": 1}, s.writes(t, "secrets", "dev1-user-trusted-ca-secret")); diff != "" {
			t.Errorf("writes on the trust Secret (-want, +got):\n%s", diff)
		}
	}
	if n := len(s.writes(t, "tkgserviceconfigurations", "tkg-service-configuration")); n > 0 {
		t.Errorf("%d writes on TkgServiceConfiguration", n)
	}
	s.wantCompanion(t, companion, id)
	s.tkgfix(t, config, append([]string{"plan", recreateWorkflow, "--detailed-exitcode"}, s.inputs("team-a/dev1", s.ca("root"))...)...).wantCode(t, 0)
}

// resumeAndDie resumes a run whose process the moment kills.
func (l *laboratory) resumeAndDie(t *testing.T, id string, kill chan<- *os.Process) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "tkgfix"), "resume", id)
	cmd.Env = append(os.Environ(), "TKGFIX_STATE="+l.state)
	var stderr bytes.Buffer
	cmd.Stderr, cmd.WaitDelay = &stderr, time.Minute
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill <- cmd.Process
	err := cmd.Wait()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGKILL {
		t.Fatalf("tkgfix was not killed: %v\n%s", err, stderr.String())
	}
}

// companionDefinition is a kind beside clusters that the laboratory does not have of itself.
const companionDefinition = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: antreaconfigs.cni.tanzu.vmware.com}
spec:
  group: cni.tanzu.vmware.com
  names: {kind: AntreaConfig, plural: antreaconfigs, singular: antreaconfig, listKind: AntreaConfigList}
  scope: Namespaced
  versions:
  - name: v1alpha1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`

// secretWord is a credential in a companion, which must be nowhere in what tkgfix writes.
const secretWord = "hunter2-in-a-companion"

// withCompanions gives the Supervisor a kind of companions, and dev1 two of them: one that goes with it, and one with a credential.
func (s supervisor) withCompanions(t *testing.T) schema.GroupVersionResource {
	t.Helper()
	c := s.client(t)
	applyTo(t, c, crds, "", companionDefinition)
	applyTo(t, c, schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"}, "",
		"{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: companions}, rules: [{apiGroups: [cni.tanzu.vmware.com], resources: ['*'], verbs: ['*']}]}")
	applyTo(t, c, schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"}, "",
		"{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: companions}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: companions}, "+
			"subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: platform}]}")
	r := schema.GroupVersionResource{Group: "cni.tanzu.vmware.com", Version: "v1alpha1", Resource: "antreaconfigs"}
	cluster := s.get(t, s.clusters(), "team-a", "dev1")
	applyTo(t, c, r, "team-a", "{apiVersion: cni.tanzu.vmware.com/v1alpha1, kind: AntreaConfig, metadata: {name: dev1-antrea-package, namespace: team-a, "+
		"ownerReferences: [{apiVersion: "+cluster.GetAPIVersion()+", kind: Cluster, name: dev1, uid: "+string(cluster.GetUID())+"}]}, spec: {antrea: {config: {trafficEncapMode: encap}}}}")
	applyTo(t, c, r, "team-a", "{apiVersion: cni.tanzu.vmware.com/v1alpha1, kind: AntreaConfig, metadata: {name: dev1, namespace: team-a}, spec: {adminPassword: "+secretWord+"}}")
	return r
}

// wantCompanion expects the companion as it was, made by this run, and nothing of the other's credential.
func (s supervisor) wantCompanion(t *testing.T, r schema.GroupVersionResource, id string) {
	t.Helper()
	got := s.get(t, r, "team-a", "dev1-antrea-package")
	mode, _, _ := unstructured.NestedString(got.Object, "spec", "antrea", "config", "trafficEncapMode")
	if mode != "encap" || len(got.GetOwnerReferences()) > 0 || got.GetAnnotations()["tkgfix.dev/run"] != id {
		t.Errorf("the companion was not made again: %v", got.Object)
	}
	lost := strings.Join(s.show(t, id).Plan.step(t, "recreate").Changes[0].Lost, "\n")
	if !strings.Contains(lost, "AntreaConfig team-a/dev1 on the Supervisor: not saved, because it holds a credential") {
		t.Errorf("the companion with a credential is not named as lost:\n%s", lost)
	}
	err := filepath.WalkDir(s.state, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(secretWord)) {
			t.Errorf("%s holds the credential", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(s.said.String(), secretWord) {
		t.Error("the credential was printed")
	}
}

// applyTo creates an object, which may be of a kind that was defined a moment ago.
func applyTo(t *testing.T, c dynamic.Interface, r schema.GroupVersionResource, namespace, text string) *unstructured.Unstructured {
	t.Helper()
	obj := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &obj.Object); err != nil {
		t.Fatal(err)
	}
	var made *unstructured.Unstructured
	eventually(t, "create "+obj.GetKind()+" "+obj.GetName(), func() (err error) {
		made, err = c.Resource(r).Namespace(namespace).Create(t.Context(), obj, metav1.CreateOptions{})
		return err
	})
	return made
}

// eventually tries until it works, for half a minute.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("%s: %v", what, err)
		case <-t.Context().Done():
			t.Fatalf("%s: %v", what, err)
		case <-tick.C:
		}
	}
}
