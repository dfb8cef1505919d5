package install

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/internal/kube/planetest"
)

const installFile = "config/install.yaml"

// cluster is a real API server on which nothing of tkgfix is.
type cluster struct {
	*planetest.Plane
	client client.Client
	env    []string
}

func start(t *testing.T) *cluster {
	t.Helper()
	p, err := planetest.Start(planetest.Options{Bare: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	data, err := p.Admin("admin")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	admin, err := p.Client("admin")
	if err != nil {
		t.Fatal(err)
	}
	// Both programs keep what they learn of an API server in the home.
	return &cluster{Plane: p, client: admin, env: []string{"KUBECONFIG=" + path, "HOME=" + t.TempDir()}}
}

// as returns a client of somebody else.
func (c *cluster) as(t *testing.T, u user) client.Client {
	t.Helper()
	config, err := c.Config("admin")
	if err != nil {
		t.Fatal(err)
	}
	config.Impersonate = rest.ImpersonationConfig{UserName: u.name, Groups: []string{u.group, "system:authenticated"}}
	other, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return other
}

func (c *cluster) kubectl(t *testing.T, args ...string) result {
	t.Helper()
	return command(t, nil, c.env, deploy, append([]string{"kubectl"}, args...)...)
}

func (c *cluster) helm(t *testing.T, args ...string) result {
	t.Helper()
	return command(t, nil, c.env, deploy, append([]string{"helm"}, args...)...)
}

// lines returns what a command prints, by line and sorted.
func lines(r string) []string {
	return slices.Sorted(strings.FieldsFuncSeq(r, func(r rune) bool { return r == '\n' }))
}

// TestInstall goes the ways to install, one after the other, on one API server.
func TestInstall(t *testing.T) {
	t.Parallel()
	c := start(t)
	there := func(t *testing.T) []string {
		t.Helper()
		return lines(c.kubectl(t, "get", "crd,clusterrole,clusterrolebinding,validatingadmissionpolicy,validatingadmissionpolicybinding,deployment,pdb,service,serviceaccount,role,rolebinding",
			"-A", "-l", "app.kubernetes.io/name=tkgfix", "-o", "name").ok(t))
	}
	t.Run("DryRun", func(t *testing.T) {
		// The API server forgets what it only tried, so the namespace has to be there for what is in it.
		c.kubectl(t, "create", "namespace", systemNamespace).ok(t)
		out := lines(c.kubectl(t, "apply", "--dry-run=server", "-f", installFile).ok(t))
		file, err := os.ReadFile(filepath.Join(root, installFile))
		if err != nil {
			t.Fatal(err)
		}
		if want := len(objects(t, string(file))); len(out) != want || slices.ContainsFunc(out, func(line string) bool { return !strings.HasSuffix(line, "(server dry run)") }) {
			t.Errorf("taken are %d objects, want %d:\n%s", len(out), want, strings.Join(out, "\n"))
		}
		c.helm(t, "install", "tkgfix", "charts/tkgfix", "--namespace", systemNamespace, "--dry-run=server").ok(t)
		if got := there(t); len(got) > 0 {
			t.Errorf("a dry run has made %v", got)
		}
		c.kubectl(t, "delete", "namespace", systemNamespace, "--wait=false").ok(t)
	})
	var all []string
	t.Run("Helm", func(t *testing.T) {
		const namespace = "tkgfix-helm" // nothing here ends the deletion of the one before
		c.helm(t, "install", "tkgfix", "charts/tkgfix", "--namespace", namespace, "--create-namespace").ok(t)
		all = there(t)
		c.helm(t, "upgrade", "tkgfix", "charts/tkgfix", "--namespace", namespace, "--set", "replicas=2").ok(t)
		if got := c.kubectl(t, "get", "deployment", "-n", namespace, "tkgfix-controller", "-o", "jsonpath={.spec.replicas}").ok(t); got != "2" {
			t.Errorf("the upgrade leaves %s replicas", got)
		}
		if diff := cmp.Diff(all, there(t)); diff != "" {
			t.Errorf("the upgrade changes what there is (-before, +after):\n%s", diff)
		}
		c.helm(t, "uninstall", "tkgfix", "--namespace", namespace).ok(t)
		kept := slices.DeleteFunc(slices.Clone(all), func(name string) bool { return !strings.HasPrefix(name, "customresourcedefinition") })
		if len(kept) != 5 {
			t.Fatalf("of kinds there are %v, want five", kept)
		}
		if diff := cmp.Diff(kept, there(t)); diff != "" {
			t.Errorf("left after helm uninstall, which is to keep the kinds and with them the journals (-want, +got):\n%s", diff)
		}
		c.kubectl(t, "get", "namespace", namespace).ok(t)
	})
	t.Run("File", func(t *testing.T) {
		// With what was planned to go still there, under another name of the namespace.
		other := strings.ReplaceAll(c.kubectl(t, "kustomize", "config/default").ok(t), "namespace: "+systemNamespace, "namespace: tkgfix-file")
		other = strings.ReplaceAll(other, "name: "+systemNamespace, "name: tkgfix-file")
		command(t, []byte(other), c.env, deploy, "kubectl", "apply", "-f", "-").ok(t)
		if diff := cmp.Diff(all, there(t)); diff != "" {
			t.Errorf("Helm and kubectl leave different things (-helm, +kubectl):\n%s", diff)
		}
	})
}
