package e2e

import (
	"encoding/base64"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestRecreateOfAClusterThatNeverCameUp is about the wedge that no roll mends: the CA is encoded once, so that not even the control plane
// boots (tkg-facts.md §1.0). The cluster's machines prove the cure, and it comes up with the CA under a new key, encoded twice.
func TestRecreateOfAClusterThatNeverCameUp(t *testing.T) {
	t.Parallel()
	s := supervisor{laboratory: upOf(t, "tanzukubernetescluster", "healthy")}
	for _, g := range generations() {
		if g.name == "tanzukubernetescluster" {
			s.generation = g
		}
	}
	before := s.makeWedged(t)
	platform := s.kubeconfig("platform")
	r := s.tkgfix(t, platform, "diagnose", "team-a/new1", "--registry", "registry.lab:5443", "--ssh-port", s.ssh).wantCode(t, 0)
	for _, want := range []string{
		"never-up", "remedy   recreate", "entry corp is stored in a form that keeps machines from joining",
		"tkgfix init recreate.yaml, then: tkgfix plan recreate.yaml --input cluster=team-a/new1 --input registry=registry.lab:5443 --input ca=FILE",
	} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("the diagnosis does not say %q:\n%s", want, r.stdout)
		}
	}

	inputs := append(s.inputs("team-a/new1", s.ca("root")), "--input", "registry=registry.lab:5443")
	s.wantUnproved(t, append(inputs, "--input", "sshPort=1"), "none of its machines answers", "refused")
	s.wantUnproved(t, append(inputs, "--input", "ca="+s.ca("other-root")), "as seen from new1-", "the candidate CA does not make the certificate of registry.lab:5443 valid")

	r = s.tkgfix(t, platform, append([]string{"run", recreateWorkflow, "--auto-approve=destroy"}, inputs...)...).wantCode(t, 0)
	r.wantSaid(t, "2 workers trust registry.lab:5443")
	lost := strings.Join(s.show(t, r.runID(t)).Plan.step(t, "recreate").Changes[0].Lost, "\n")
	if !strings.Contains(lost, "nothing in the cluster: its control plane has never come up") {
		t.Errorf("what is lost:\n%s", lost)
	}
	if after := s.get(t, s.clusters(), "team-a", "new1"); after.GetUID() == before.GetUID() {
		t.Error("it is the same cluster as before")
	}
	data, _, _ := unstructured.NestedStringMap(s.get(t, secrets, "team-a", "new1-user-trusted-ca-secret").Object, "data")
	ca, err := os.ReadFile(s.ca("root"))
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range data {
		pem := unbase64(t, string(unbase64(t, value)))
		if key == "corp" || strings.TrimSpace(string(pem)) != strings.TrimSpace(string(ca)) {
			t.Errorf("the key %s holds %.40q…", key, pem)
		}
	}
	if len(data) != 1 {
		t.Errorf("%d keys in the Secret, want the CA's alone", len(data))
	}
	if diff := cmp.Diff(map[string]int{"Running": 6}, s.phases(t, "new1")); diff != "" {
		t.Errorf("pods of the workload, by the new cluster's own API (-want, +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{"delete": 1, "create": 1}, s.writes(t, "clusters", "new1")); diff != "" {
		t.Errorf("writes on new1 (-want, +got):\n%s", diff)
	}
	s.tkgfix(t, platform, append([]string{"plan", recreateWorkflow, "--detailed-exitcode"}, inputs...)...).wantCode(t, 0)
}

// makeWedged makes the cluster new1 as dev1 is, with a Secret in which the CA is encoded once, and waits until its machines are there.
func (s supervisor) makeWedged(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	ca, err := os.ReadFile(s.ca("root"))
	if err != nil {
		t.Fatal(err)
	}
	c := s.client(t)
	// Under data the API's own layer is the only one.
	applyTo(t, c, secrets, "team-a", "{apiVersion: v1, kind: Secret, metadata: {name: new1-user-trusted-ca-secret, namespace: team-a}, type: Opaque, data: {corp: "+base64.StdEncoding.EncodeToString(ca)+"}}")
	model := s.get(t, s.clusters(), "team-a", "dev1")
	made := &unstructured.Unstructured{Object: map[string]any{"apiVersion": model.GetAPIVersion(), "kind": "Cluster"}}
	made.SetName("new1")
	made.SetNamespace("team-a")
	topology, _, _ := unstructured.NestedMap(model.Object, "spec", "topology")
	variables, _, _ := unstructured.NestedSlice(topology, "variables")
	kept := []any{map[string]any{"name": "trust", "value": map[string]any{"additionalTrustedCAs": []any{map[string]any{"name": "corp"}}}}}
	for _, v := range variables {
		if v.(map[string]any)["name"] != "trust" {
			kept = append(kept, v)
		}
	}
	topology["variables"] = kept
	network, _, _ := unstructured.NestedMap(model.Object, "spec", "clusterNetwork")
	made.Object["spec"] = map[string]any{"topology": topology, "clusterNetwork": network}
	if made, err = c.Resource(s.clusters()).Namespace("team-a").Create(t.Context(), made, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	s.eventually(t, "the login of new1's machines", func() bool {
		_, err := c.Resource(secrets).Namespace("team-a").Get(t.Context(), "new1-ssh", metav1.GetOptions{})
		return err == nil
	})
	return made
}

// wantUnproved expects a plan that is blocked once, with words.
func (s supervisor) wantUnproved(t *testing.T, inputs []string, words ...string) {
	t.Helper()
	r := s.tkgfix(t, s.kubeconfig("platform"), append([]string{"plan", recreateWorkflow, "--output", "json"}, inputs...)...)
	step := decodePlan(t, r).step(t, "recreate")
	var said []string
	for _, b := range step.Blocks {
		said = append(said, b.Reason)
	}
	if len(said) != 1 {
		t.Errorf("%d blocks, want 1: %q", len(said), said)
	}
	for _, w := range words {
		if !strings.Contains(strings.Join(said, "\n"), w) {
			t.Errorf("blocked by %q, want %q", said, w)
		}
	}
}
