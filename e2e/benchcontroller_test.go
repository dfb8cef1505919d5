//go:build benchcontroller

package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/kube/planetest"
	"github.com/tkgfix/tkgfix/internal/lab/ca"
)

var (
	benchRuns  = flag.Int("runs", 1000, "how many Runs are at rest")
	benchFor   = flag.Duration("for", 10*time.Minute, "for how long they are looked at")
	benchIdle  = flag.Duration("idle", 3*time.Minute, "for how long the controller is looked at without Runs, and started anew with them")
	benchEvery = flag.Duration("every", 15*time.Second, "the pause between two scrapes, as Prometheus would make")
)

// benchUser is whom the API server's audit log knows the controller by.
const benchUser = "tkgfix-controller"

// TestBenchController gives a real controller Runs that come to wait at a gate, and reports what they cost it while nothing happens. It fails
// if something grows. make bench-controller runs it.
func TestBenchController(t *testing.T) {
	b := newBench(t)
	b.start(t)
	idle := b.look(t, "without Runs", *benchIdle)
	began := time.Now()
	b.create(t)
	b.rest(t)
	planned := time.Since(began)
	resting := b.look(t, fmt.Sprintf("%d Runs at rest", *benchRuns), *benchFor)
	b.stop(t)
	b.start(t)
	anew := b.look(t, "the same, started anew", *benchIdle)
	b.stop(t)

	fmt.Printf("\n%d Runs planned in %s, %.0f ms each; the metrics are scraped every %s\n\n", *benchRuns, planned.Round(time.Second),
		float64(planned.Milliseconds())/float64(*benchRuns), *benchEvery)
	printTable(*benchRuns, idle, resting, anew)
	resting.judge(t)
	resting.settled(t, anew, *benchRuns)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// freeAddress returns a loopback address that nobody listened on a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}

// bench is an API server with a controller.
type bench struct {
	plane   *planetest.Plane
	admin   client.Client
	dir     string
	config  string // the controller's kubeconfig
	metrics string // where it serves them
	cmd     *exec.Cmd
}

const benchNamespace = "team-a"

func newBench(t *testing.T) *bench {
	t.Helper()
	p, err := planetest.Start(planetest.Options{Controllers: []string{"garbage-collector-controller"}})
	must(t, err)
	t.Cleanup(p.Stop)
	b := &bench{plane: p, dir: t.TempDir()}
	config, err := p.Config("admin")
	must(t, err)
	scheme := runtime.NewScheme()
	must(t, errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)))
	b.admin, err = client.New(config, client.Options{Scheme: scheme})
	must(t, err)
	for _, path := range []string{"../config/admission", "../internal/lab/service/crds/run.yaml"} {
		must(t, p.Apply(t.Context(), path))
	}
	kubeconfig, err := p.Admin(benchUser)
	must(t, err)
	b.config = filepath.Join(b.dir, "kubeconfig")
	must(t, os.WriteFile(b.config, kubeconfig, 0o600))
	b.objects(t)
	return b
}

// objects makes what the Runs name: a workflow with one change, which waits for an approval.
func (b *bench) objects(t *testing.T) {
	t.Helper()
	supervisor, err := b.plane.Admin("supervisor")
	must(t, err)
	root, err := ca.NewRoot("corp", ca.ECDSA, time.Now())
	must(t, err)
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: benchNamespace, Name: name} }
	w := &v1alpha1.Workflow{ObjectMeta: meta("trust")}
	w.Spec.Raw = []byte(`{"inputs": {"ca": {"type": "file", "description": "the CA"}}, "connections": {"supervisor": {}},
		"steps": [{"id": "trust", "uses": "patch-tkgserviceconfiguration", "with": {"cluster": "team-a/dev1", "ca": "${{ inputs.ca }}"},
			"approval": {"message": "puts the CA into TkgServiceConfiguration"}}]}`)
	tsc := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "run.tanzu.vmware.com/v1alpha3", "kind": "TkgServiceConfiguration",
		"metadata": map[string]any{"name": "tkg-service-configuration"}, "spec": map[string]any{"defaultCNI": "antrea"},
	}}
	for _, o := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: benchNamespace}}, tsc, w,
		&corev1.Secret{ObjectMeta: meta("supervisor"), Data: map[string][]byte{"kubeconfig": supervisor}},
		&corev1.ConfigMap{ObjectMeta: meta("ca"), Data: map[string]string{"ca.pem": string(root.PEM())}},
		&corev1.ServiceAccount{ObjectMeta: meta(v1alpha1.DefaultServiceAccount)},
		&rbacv1.RoleBinding{ObjectMeta: meta("runner"), RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
			Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: benchNamespace, Name: v1alpha1.DefaultServiceAccount}}},
	} {
		must(t, b.admin.Create(t.Context(), o))
	}
}

// start starts the controller and waits until it is ready.
func (b *bench) start(t *testing.T) {
	t.Helper()
	b.metrics = freeAddress(t)
	health := freeAddress(t)
	log, err := os.OpenFile(filepath.Join(b.dir, "controller.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(t, err)
	defer log.Close()
	b.cmd = exec.Command(filepath.Join(bin, "tkgfix"), "controller", "--kubeconfig", b.config, "--work-dir", filepath.Join(b.dir, "work"),
		"--leader-elect-namespace", "default", "--metrics-address", b.metrics, "--health-address", health)
	b.cmd.Stderr = log
	must(t, b.cmd.Start())
	t.Cleanup(func() {
		if b.cmd.ProcessState == nil {
			_ = b.cmd.Process.Kill()
			_ = b.cmd.Wait()
		}
		if t.Failed() {
			said, _ := os.ReadFile(log.Name())
			t.Logf("the controller says:\n%s", said[max(0, len(said)-4096):])
		}
	})
	must(t, wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		_, err := get(ctx, "http://"+health+"/readyz")
		return err == nil, nil
	}))
}

func (b *bench) stop(t *testing.T) {
	t.Helper()
	must(t, b.cmd.Process.Signal(syscall.SIGTERM))
	must(t, b.cmd.Wait())
}

// create makes the Runs.
func (b *bench) create(t *testing.T) {
	t.Helper()
	for i := range *benchRuns {
		r := &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Namespace: benchNamespace, Name: fmt.Sprintf("run-%04d", i)}}
		r.Spec.Requester, r.Spec.Workflow = "admin", &v1alpha1.WorkflowReference{Name: "trust"}
		r.Spec.Connections = &v1alpha1.Connections{Supervisor: &v1alpha1.SupervisorConnection{SecretRef: &v1alpha1.KeyReference{Name: "supervisor", Key: "kubeconfig"}}}
		r.Spec.InputsFrom = map[string]v1alpha1.KeySource{"ca": {ConfigMapKeyRef: &v1alpha1.KeyReference{Name: "ca", Key: "ca.pem"}}}
		must(t, b.admin.Create(t.Context(), r))
	}
}

// rest waits until all Runs wait at their gate.
func (b *bench) rest(t *testing.T) {
	t.Helper()
	var last map[string]float64
	err := wait.PollUntilContextTimeout(t.Context(), 2*time.Second, time.Duration(*benchRuns)*5*time.Second, true, func(ctx context.Context) (bool, error) {
		var err error
		if last, err = b.scrape(ctx); err != nil {
			return false, err
		}
		if n := last[`tkgfix_runs{phase="Failed"}`] + last[`tkgfix_runs{phase="Blocked"}`]; n > 0 {
			return false, fmt.Errorf("%.0f Runs failed", n)
		}
		return int(last[`tkgfix_runs{phase="WaitingForApproval"}`]) == *benchRuns, nil
	})
	if err != nil {
		var list v1alpha1.RunList
		_ = b.admin.List(t.Context(), &list, client.Limit(1))
		t.Fatalf("wait for the Runs to wait: %v; attempts: %v; the first Run: %+v", err, last, list.Items)
	}
}
