package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// site is a Supervisor under the name of its context.
type site struct {
	supervisor
	context string
	// wants is what tkgfix has to write there, in order.
	wants []string
}

// TestFleetOfTwoSupervisors mends dev1 of two Supervisors of different generations in one run of fleet.yaml, by one kubeconfig with two
// contexts. The clusters have the same name, so that whatever goes to the wrong Supervisor shows.
func TestFleetOfTwoSupervisors(t *testing.T) {
	t.Parallel()
	var sites []site
	for _, each := range []struct {
		context, generation string
		wants               []string
	}{
		{"north", "v1alpha2", []string{"patch tanzukubernetesclusters dev1"}},
		{"south", "builtin-generic-v1beta2", []string{"create secrets dev1-user-trusted-ca-secret", "patch clusters dev1"}},
	} {
		i := slices.IndexFunc(generations(), func(g generation) bool { return g.name == each.generation })
		sites = append(sites, site{supervisor{upOf(t, each.generation, "missing-ca"), generations()[i]}, each.context, each.wants})
	}
	lab := sites[0].laboratory // whose folder of runs is used
	kubeconfig, ca := merged(t, sites), bundle(t, sites)
	inputs := []string{
		"--input", "ca=" + ca, "--input", "sshPort=" + lab.ssh, "--input", "supervisors=north,south", "--input", "clusters=team-a/dev1",
	}

	waiting := lab.tkgfix(t, kubeconfig, append([]string{"run", fleetWorkflow}, inputs...)...).wantCode(t, 3)
	id := waiting.runID(t)
	gates := lab.show(t, id).Plan.Gates
	if len(gates) != 1 || gates[0].Step != "trust" {
		t.Fatalf("gates: %+v", gates)
	}
	for _, want := range []string{"in the own trust of 2 clusters", "trust[0] team-a/dev1 on north:\n", "trust[1] team-a/dev1 on south:\n"} {
		if !strings.Contains(waiting.stdout, want) {
			t.Fatalf("what is to be approved does not say %q:\n%s", want, waiting.stdout)
		}
	}
	for _, s := range sites {
		if wrote := s.wrote(t); len(wrote) > 0 {
			t.Errorf("written to %s before the gate was opened: %q", s.context, wrote)
		}
	}
	lab.approveAll(t, waiting)
	lab.tkgfix(t, kubeconfig, "resume", id).wantCode(t, 0)

	for _, s := range sites {
		for _, cluster := range []string{"dev1", "dev2"} {
			if diff := cmp.Diff(map[string]int{"Running": 6}, s.phases(t, cluster)); diff != "" {
				t.Errorf("pods of %s of %s (-want, +got):\n%s", cluster, s.context, diff)
			}
		}
		if diff := cmp.Diff(s.wants, s.wrote(t)); diff != "" {
			t.Errorf("written to %s (-want, +got):\n%s", s.context, diff)
		}
	}
	again := lab.tkgfix(t, kubeconfig, append([]string{"plan", "--detailed-exitcode", fleetWorkflow}, inputs...)...).wantCode(t, 0)
	if !strings.Contains(again.stdout, "No changes.") {
		t.Errorf("a second plan has something to do:\n%s", again.stdout)
	}
}

// merged writes one kubeconfig with a context for each Supervisor. The current one is the first.
func merged(t *testing.T, sites []site) string {
	t.Helper()
	out := clientcmdapi.NewConfig()
	for _, s := range sites {
		one, err := clientcmd.LoadFromFile(s.kubeconfig("platform"))
		if err != nil {
			t.Fatal(err)
		}
		context := one.Contexts[one.CurrentContext]
		out.Clusters[s.context], out.AuthInfos[s.context] = one.Clusters[context.Cluster], one.AuthInfos[context.AuthInfo]
		context.Cluster, context.AuthInfo = s.context, s.context
		out.Contexts[s.context] = context
	}
	out.CurrentContext = sites[0].context
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*out, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// bundle writes the roots of all laboratories' registries into one file: each has its own.
func bundle(t *testing.T, sites []site) string {
	t.Helper()
	var out []byte
	for _, s := range sites {
		root, err := os.ReadFile(s.ca("root"))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, root...)
	}
	path := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(path, out, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
