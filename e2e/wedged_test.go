package e2e

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestRecreateOfAClusterThatNeverCameUp is about the wedge that no roll mends: the CA is encoded once, so that not even the control plane
// boots. No node can look at the registry and nothing is in the cluster: this machine looks, and the plan has the Secret made again as it must be.
func TestRecreateOfAClusterThatNeverCameUp(t *testing.T) {
	t.Parallel()
	s := supervisor{laboratory: upOf(t, "tanzukubernetescluster", "healthy")}
	for _, g := range generations() {
		if g.name == "tanzukubernetescluster" {
			s.generation = g
		}
	}
	ca, err := os.ReadFile(s.ca("root"))
	if err != nil {
		t.Fatal(err)
	}
	c := s.client(t)
	// Under data the API's own layer is the only one.
	applyTo(t, c, secrets, "team-a", "{apiVersion: v1, kind: Secret, metadata: {name: new1-user-trusted-ca-secret, namespace: team-a}, type: Opaque, data: {corp: "+base64.StdEncoding.EncodeToString(ca)+"}}")
	wedged := s.get(t, s.clusters(), "team-a", "dev1").DeepCopy()
	made := &unstructured.Unstructured{Object: map[string]any{"apiVersion": wedged.GetAPIVersion(), "kind": "Cluster"}}
	made.SetName("new1")
	made.SetNamespace("team-a")
	topology, _, _ := unstructured.NestedMap(wedged.Object, "spec", "topology")
	variables, _, _ := unstructured.NestedSlice(topology, "variables")
	variables = append(variables, map[string]any{"name": "trust", "value": map[string]any{"additionalTrustedCAs": []any{map[string]any{"name": "corp"}}}})
	kept := map[string]any{}
	for _, v := range variables {
		kept[v.(map[string]any)["name"].(string)] = v
	}
	variables = nil
	for _, v := range kept {
		variables = append(variables, v)
	}
	topology["variables"] = variables
	network, _, _ := unstructured.NestedMap(wedged.Object, "spec", "clusterNetwork")
	made.Object["spec"] = map[string]any{"topology": topology, "clusterNetwork": network}
	if _, err := c.Resource(s.clusters()).Namespace("team-a").Create(t.Context(), made, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "recreate.yaml")
	text := strings.ReplaceAll(priceWorkflow, "team-a/dev1", "team-a/new1")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	platform := s.kubeconfig("platform")
	args := []string{file, "--input", "ca=" + s.ca("root"), "--input", "sshPort=" + s.ssh}
	plan := decodePlan(t, s.tkgfix(t, platform, append([]string{"plan", "--output", "json"}, args...)...)).step(t, "recreate")
	lost := strings.Join(plan.Changes[0].Lost, "\n")
	if !strings.Contains(lost, "nothing else: the cluster's control plane has never come up") {
		t.Errorf("what is lost:\n%s", lost)
	}
	want := []string{"delete Cluster new1", "create Secret new1-user-trusted-ca-secret", "create Cluster new1"}
	var got []string
	for _, c := range plan.Changes {
		got = append(got, c.Action+" "+c.Target.Kind+" "+c.Target.Name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("planned (-want, +got):\n%s", diff)
	}
	// The name of the laboratory's registry is known to its nodes alone, so that here nothing can be proved, and nothing is deleted.
	if len(plan.Blocks) != 1 || !strings.Contains(plan.Blocks[0].Reason, "as seen from this machine, the candidate CA does not make the certificate of registry.lab:5443 valid") {
		t.Errorf("blocks: %+v", plan.Blocks)
	}
}
