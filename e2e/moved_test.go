package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

const proxyPassword = "s3cr3t-of-the-proxy"

// TestMovedGround keeps a plan and lets the world move before it is carried out. What no step stands on (a status, a label of another's)
// voids nothing; a field that was read does, by name, and only at the gate that it touches.
func TestMovedGround(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://ann:"+proxyPassword+"@127.0.0.1:9") // nothing here is reached through it
	lab := up(t, "wrong-ca")
	lab.patch(t, tscs, "", "tkg-service-configuration", `{"spec":{"proxy":{"httpProxy":"http://ann:`+proxyPassword+`@10.0.0.9:3128","httpsProxy":"http://10.0.0.9:3128","noProxy":["10.0.0.0/8"]}}}`)
	platform := lab.kubeconfig("platform")
	file := filepath.Join(t.TempDir(), "dev1.plan")
	planned := lab.tkgfix(t, platform, append([]string{"plan", documentedFix, "-o", file}, lab.inputs("team-a/dev1", lab.ca("root"))...)...).wantCode(t, 0)

	lab.patch(t, tkcs, "team-a", "dev1", `{"status":{"phase":"updating"}}`, "status")
	waiting := lab.tkgfix(t, platform, "run", "--plan", file).wantCode(t, 3)
	id := waiting.runID(t)
	gates := lab.show(t, id).Plan.Gates
	for _, g := range gates {
		if !strings.Contains(planned.stdout, g.Digest) {
			t.Errorf("gate %s shows %s, which is not in the plan that was kept", g.Step, g.Digest)
		}
	}
	lab.approveAll(t, waiting)
	lab.patch(t, tscs, "", "tkg-service-configuration", `{"metadata":{"labels":{"example.com/seen":"yes"}}}`)

	// Somebody adds a CA of their own.
	trusted := lab.get(t, tscs, "", "tkg-service-configuration").Object["spec"].(map[string]any)["trust"].(map[string]any)["additionalTrustedCAs"].([]any)
	theirs := append(trusted, map[string]any{"name": "corp-c", "data": trusted[0].(map[string]any)["data"]})
	lab.patch(t, tscs, "", "tkg-service-configuration", string(encode(t, map[string]any{"spec": map[string]any{"trust": map[string]any{"additionalTrustedCAs": theirs}}})))
	voided := lab.tkgfix(t, platform, "resume", id).wantCode(t, 3)
	voided.wantSaid(t, "the approval is void", "spec.trust.additionalTrustedCAs moved from")
	if got := len(lab.writes(t, "tkgserviceconfigurations", "tkg-service-configuration")) + len(lab.writes(t, "tanzukubernetesclusters", "dev1")); got != 0 {
		t.Errorf("%d kinds of writes on an approval of other changes", got)
	}

	// They take it back. The gate still shows the ground with their CA: that is approved, is void in its turn, and then the gate shows
	// what was approved at first, which stands.
	lab.approveAll(t, voided)
	lab.patch(t, tscs, "", "tkg-service-configuration", string(encode(t, map[string]any{"spec": map[string]any{"trust": map[string]any{"additionalTrustedCAs": trusted}}})))
	lab.tkgfix(t, platform, "resume", id).wantCode(t, 0).wantSaid(t, "the approval is void", "spec.trust.additionalTrustedCAs moved from")
	lab.wantOneOfEach(t)

	t.Run("NoSecret", func(t *testing.T) {
		kept, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lab.said.Write(kept)
		noSecretIsWritten(t, lab, id)
	})
}

// patch changes an object of the Supervisor as an administrator would.
func (l *laboratory) patch(t *testing.T, r schema.GroupVersionResource, namespace, name, merge string, subresources ...string) {
	t.Helper()
	_, err := l.client(t).Resource(r).Namespace(namespace).Patch(t.Context(), name, types.MergePatchType, []byte(merge), metav1.PatchOptions{}, subresources...)
	if err != nil {
		t.Fatal(err)
	}
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
