//go:build replicas

// Package replicas lets several replicas of the controller, in real processes, share work at a real API server, while they are killed,
// frozen and cut off.
package replicas

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/kube/planetest"
	"github.com/tkgfix/tkgfix/internal/lab/proc"
)

// maxReplicas is how many processes may be replicas in all tests together; each logs in as another.
const maxReplicas = 100

// settle is how long the policies must have been in force for an Approval to count, and a second for times that are in whole ones.
const settle = 11 * time.Second

var (
	management *planetest.Plane
	scheme     = runtime.NewScheme()
	admin      client.WithWatch
	// group has the replicas die with the tests.
	group *proc.Group
	// bin holds the binaries under test, beside the folder plugins and the lock file.
	bin string
	// inForce is when the policies were seen to be.
	inForce time.Time
)

func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "each replica has a file system of its own, as a pod has, which takes root: sudo make e2e-replicas")
		os.Exit(1)
	}
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	ctx, cancel := context.WithCancel(context.Background())
	opts := planetest.Options{Tokens: tokens(), Controllers: []string{"garbage-collector-controller"}}
	code := planetest.Main(m, opts, func(p *planetest.Plane) {
		management = p
		if err := prepare(ctx); err != nil {
			fmt.Fprintln(os.Stderr, err)
			p.Stop()
			os.Exit(1)
		}
	})
	cancel()
	os.Exit(code)
}

// tokens are the logins of people, replicas and plugins.
func tokens() string {
	var out strings.Builder
	out.WriteString("alice-token,alice,alice,platform-engineers\nbob-token,bob,bob,platform-leads\neraser-token,eraser,eraser\n")
	for n := range maxReplicas {
		fmt.Fprintf(&out, "%[1]s-token,%[1]s,%[1]s,replicas\n", replicaName(n))
	}
	return out.String()
}

func replicaName(n int) string { return fmt.Sprintf("replica-%02d", n) }

// prepare installs what an installation installs, and builds what is tested.
func prepare(ctx context.Context) error {
	root, err := planetest.Root()
	if err != nil {
		return err
	}
	config, err := management.Config("admin")
	if err != nil {
		return err
	}
	if admin, err = client.NewWithWatch(config, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	if group, err = proc.NewGroup(ctx, filepath.Join(management.Dir, "replicas")); err != nil {
		return err
	}
	for _, path := range []string{"config/admission", "config/manager/namespace.yaml", "config/rbac", "e2e/replicas/testdata/relics.yaml"} {
		if err := management.Apply(ctx, filepath.Join(root, path)); err != nil {
			return err
		}
	}
	for _, b := range []client.Object{
		&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "replicas"}, RoleRef: role("ClusterRole", "tkgfix-controller"), Subjects: replicas()},
		&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "tkgfix-system", Name: "replicas"}, RoleRef: role("Role", "tkgfix-controller"), Subjects: replicas()},
	} {
		if err := admin.Create(ctx, b); err != nil {
			return err
		}
	}
	if err := enforced(ctx); err != nil {
		return err
	}
	return build(ctx, root)
}

func role(kind, name string) rbacv1.RoleRef {
	return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: name}
}

// replicas are who replicas log in as. Where an installation has one account for all of them, each has one here, so that the audit log tells
// them apart.
func replicas() []rbacv1.Subject {
	return []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "replicas"}}
}

// enforced waits until the API server heeds the policies: an Approval in another's name is refused.
func enforced(ctx context.Context) error {
	a := &v1alpha1.Approval{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "forged"}}
	a.Spec = v1alpha1.ApprovalSpec{Run: "r", Gate: "g", Digest: "sha256:" + strings.Repeat("0", 64), Decision: v1alpha1.DecisionReject, Approver: "nobody"}
	return wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		err := admin.Create(ctx, a.DeepCopy(), client.DryRunAll)
		inForce = time.Now()
		if apierrors.IsForbidden(err) {
			return true, nil
		}
		return false, err
	})
}

// build builds tkgfix and the plugins, and locks those.
func build(ctx context.Context, root string) error {
	bin = filepath.Join(management.Dir, "bin")
	raze := "./e2e/replicas/testdata/raze"
	for _, args := range [][]string{
		{"-o", bin + "/", "./cmd/tkgfix"},
		{"-ldflags", "-s -w -X main.name=look", "-o", filepath.Join(bin, "plugins", "tkgfix-plugin-look"), raze},
		{"-ldflags", "-s -w -X main.name=raze", "-o", filepath.Join(bin, "plugins", "tkgfix-plugin-raze"), raze},
	} {
		cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-trimpath"}, args...)...)
		cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build: %w\n%s", err, out)
		}
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "tkgfix"), "plugins", "lock")
	cmd.Env = append(os.Environ(), pluginEnv()...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("lock the plugins: %w\n%s", err, out)
	}
	return nil
}

// pluginEnv says where the plugins are, and what locks them.
func pluginEnv() []string {
	return []string{"TKGFIX_PLUGIN_PATH=" + filepath.Join(bin, "plugins"), "TKGFIX_LOCKFILE=" + filepath.Join(bin, "tkgfix.lock.yaml")}
}

// team makes a namespace as the example of one has it, in which replicas may carry out Runs that delete relics by that kubeconfig.
func team(t *testing.T, name string, kubeconfig []byte) {
	t.Helper()
	root, err := planetest.Root()
	must(t, err)
	example, err := os.ReadFile(filepath.Join(root, "examples/controller/namespace.yaml"))
	must(t, err)
	path := filepath.Join(t.TempDir(), "namespace.yaml")
	must(t, os.WriteFile(path, bytes.ReplaceAll(example, []byte("team-a"), []byte(name)), 0o600))
	must(t, management.Apply(t.Context(), path))
	meta := func(object string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: name, Name: object} }
	for _, o := range []client.Object{
		&rbacv1.RoleBinding{ObjectMeta: meta("replicas"), RoleRef: role("ClusterRole", "tkgfix-namespace"), Subjects: replicas()},
		&rbacv1.Role{ObjectMeta: meta("eraser"), Rules: []rbacv1.PolicyRule{{APIGroups: []string{relicGroup}, Resources: []string{"relics"}, Verbs: []string{"get", "delete"}}}},
		&rbacv1.RoleBinding{ObjectMeta: meta("eraser"), RoleRef: role("Role", "eraser"), Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "eraser"}}},
		secret(name, kubeconfig), workflow(name),
	} {
		must(t, admin.Create(t.Context(), o))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// poll polls for a condition, for at most that long.
func poll(t *testing.T, atMost time.Duration, is func(context.Context) (bool, error)) error {
	t.Helper()
	return wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, atMost, true, is)
}
