package encoding_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/encoding"
	"github.com/tkgfix/tkgfix/plugins/plugintest"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// The read itself is covered by the end-to-end test: it needs a real Supervisor.
func TestConformance(t *testing.T) {
	t.Parallel()
	plugintest.Conformance(t, encoding.New(sdk.Env{}), plugintest.Cases{})
}

func TestPlanRefuses(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	kubeconfig := filepath.Join(folder, "none.yaml")
	big := filepath.Join(folder, "big.pem")
	if err := os.WriteFile(big, make([]byte, 1<<20+1), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		reason string
		input  map[string]string
		conn   plugins.Connections
		err    string
	}{
		"no namespace":  {reason: "a cluster is named with its namespace", input: map[string]string{"cluster": "dev1"}, err: "namespace/name"},
		"no such file":  {reason: "the path is the user's", input: map[string]string{"cluster": "a/b", "ca": filepath.Join(folder, "no.pem")}, err: "no such file"},
		"too large":     {reason: "bounded", input: map[string]string{"cluster": "a/b", "ca": big}, err: "larger than"},
		"no connection": {reason: "the engine gives it", input: map[string]string{"cluster": "a/b"}, err: "Supervisor"},
		"no kubeconfig": {
			reason: "named with what to do", input: map[string]string{"cluster": "a/b"},
			conn: plugins.Connections{Supervisor: &plugins.Kube{Kubeconfig: kubeconfig}}, err: kubeconfig,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw, err := json.Marshal(tc.input)
			if err != nil {
				t.Fatal(err)
			}
			_, err = encoding.New(sdk.Env{}).Plan(t.Context(), plugins.PlanRequest{Input: raw, Connections: tc.conn})
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s: error %v, want %q in it", tc.reason, err, tc.err)
			}
		})
	}
}
