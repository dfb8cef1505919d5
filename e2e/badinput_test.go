package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// badInput gives tkgfix what people give it by mistake. Each gets a clear error with the next thing to do, and nothing is
// changed.
func badInput(t *testing.T, lab *laboratory) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fix, err := os.ReadFile(documentedFix)
	if err != nil {
		t.Fatal(err)
	}
	root, platform := lab.ca("root"), lab.kubeconfig("platform")
	for name, tc := range map[string]struct {
		reason     string
		kubeconfig string
		workflow   string
		ca         string
		cluster    string
		said       []string
	}{
		"NoSuchKubeconfig": {"the path is named", filepath.Join(dir, "none.yaml"), documentedFix, root, "", []string{"none.yaml", "hint: "}},
		"ExpiredToken":     {"the way to log in again is named", lab.kubeconfig("expired"), documentedFix, root, "", []string{"nauthorized", "hint: ", "login"}},
		"Forbidden":        {"what is forbidden is named", lab.kubeconfig("viewer"), documentedFix, root, "", []string{"forbidden", "hint: ", "auth can-i"}},
		"NotAPEM":          {"the file is named", platform, documentedFix, file("not.pem", "this is no certificate\n"), "", []string{"not.pem", "hint: "}},
		"KeyInsteadOfCA":   {"a private key is refused", platform, documentedFix, file("key.pem", "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIPtUxyxlhjOWetjIYmc98dmB2GxpeaMPP64qBhZmG13r\n-----END PRIVATE KEY-----\n"), "", []string{"private key", "hint: "}},
		"OtherCA":          {"the missing certificate is named", platform, documentedFix, lab.ca("other-root"), "", []string{"blocked", "CN=", "hint: "}},
		"NoSuchCluster":    {"the cluster is named", platform, documentedFix, root, "team-a/none", []string{"team-a/none", "hint: "}},
		"UnknownStep":      {"the nearest name is given", platform, file("unknown.yaml", strings.Replace(string(fix), "uses: detect", "uses: detetc", 1)), root, "", []string{"unknown.yaml:", "detetc", `"detect"`, "^~"}},
		"BrokenYAML":       {"the place is given", platform, file("broken.yaml", strings.Replace(string(fix), "  steps:", "  steps: [", 1)), root, "", []string{"broken.yaml:", "^"}},
		"NoSuchFile":       {"the workflow is named", platform, filepath.Join(dir, "none-workflow.yaml"), root, "", []string{"none-workflow.yaml", "hint: "}},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := tc.cluster
			if cluster == "" {
				cluster = "team-a/dev1"
			}
			for _, verb := range []string{"plan", "run"} {
				r := lab.tkgfix(t, tc.kubeconfig, append([]string{verb, tc.workflow}, lab.inputs(cluster, tc.ca)...)...)
				t.Logf("%s:\n%s", tc.reason, r.stderr)
				r.wantCode(t, 1).wantSaid(t, tc.said...).wantSaid(t, "tkgfix: error: ")
				if name == "OtherCA" && !strings.Contains(r.stdout, "BLOCKED") {
					t.Errorf("the blocked plan is not shown:\n%s", r.stdout)
				}
			}
		})
	}
	t.Run("UnreachableNode", func(t *testing.T) {
		args := append([]string{"plan", documentedFix}, lab.inputs("team-a/dev1", root)...)
		// Port 1 of the nodes' own addresses: nobody listens there.
		lab.tkgfix(t, platform, append(args, "--input", "sshPort=1")...).wantCode(t, 1).wantSaid(t, "dev1-", ":1", "refused", "hint: ")
	})
	for _, a := range lab.audit(t, "supervisor", func(a audited) bool { return byTkgfix(a) && a.writes() }) {
		t.Errorf("bad input changed something: %s", a)
	}
}
