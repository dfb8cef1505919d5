package controller_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/controller"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/kube/planetest"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/workflow"
)

const tokens = "alice-token,alice,1\nbob-token,bob,2\n"

var (
	management *planetest.Plane
	scheme     = runtime.NewScheme()
	admin      client.Client
	// watching is the same, and watches.
	watching client.WithWatch
	registry = prometheus.NewRegistry()
)

func TestMain(m *testing.M) {
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	os.Exit(planetest.Main(m, planetest.Options{Tokens: tokens, Controllers: []string{"garbage-collector-controller"}}, func(p *planetest.Plane) {
		management = p
		if err := prepare(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			p.Stop()
			os.Exit(1)
		}
	}))
}

// prepare installs the policies and starts one controller for all tests.
func prepare(ctx context.Context) error {
	config, err := management.Config("admin")
	if err != nil {
		return err
	}
	if watching, err = client.NewWithWatch(config, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	admin = watching
	root, err := planetest.Root()
	if err != nil {
		return err
	}
	if err := management.Apply(ctx, filepath.Join(root, "config", "admission")); err != nil {
		return err
	}
	if err := enforced(ctx); err != nil {
		return err
	}
	go func() {
		if err := start(ctx, "replica-1"); err != nil {
			fmt.Fprintln(os.Stderr, err) // the tests wait in vain, and say for what
		}
	}()
	return nil
}

// enforced waits until the API server heeds the policies: an Approval in another's name is refused. Then it waits for the second after, as
// times of objects are in whole seconds.
func enforced(ctx context.Context) error {
	a := &v1alpha1.Approval{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "forged"}}
	a.Spec = v1alpha1.ApprovalSpec{Run: "r", Gate: "g", Digest: "sha256:" + strings.Repeat("0", 64), Decision: v1alpha1.DecisionReject, Approver: "nobody"}
	var since time.Time
	return wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		err := admin.Create(ctx, a.DeepCopy(), client.DryRunAll)
		if !apierrors.IsForbidden(err) {
			return false, err
		}
		if since.IsZero() {
			since = time.Now()
		}
		return time.Since(since) > 2*time.Second, nil
	})
}

// start runs a replica until ctx ends.
func start(ctx context.Context, host string) error {
	config, err := management.Config(host)
	if err != nil {
		return err
	}
	// As a service account, as it is in a cluster: a person could not name a Trigger as the requester.
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:default:" + host, Groups: []string{"system:masters"}}
	return controller.Run(ctx, config, controller.Options{
		Engine: engine.Engine{
			Now: time.Now, Version: "test", Catalog: steps{},
			Launch: func(plugins.Connections, func(context.Context, engine.Process) error) engine.Plugins {
				return launched{}
			},
			End:  func(context.Context, engine.Process) error { return nil },
			File: func(path string) (string, error) { data, err := os.ReadFile(path); return string(data), err },
		},
		Host: host, LeaderNamespace: "default", WorkDir: filepath.Join(management.Dir, "work"), Concurrent: 8, Grace: 5 * time.Second, Lease: 2 * time.Second,
		Settle: time.Second, Health: "0", Metrics: "0", Registry: registry, Refused: map[string]string{"exec": "it would run here"},
	})
}

// team makes a namespace in which a lamp is dark and runs may look and turn, and returns its name.
func team(t *testing.T) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "team-"}}
	must(t, admin.Create(t.Context(), ns))
	supervisor, err := management.Admin("supervisor")
	must(t, err)
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: ns.Name, Name: name} }
	for _, o := range []client.Object{
		&corev1.ConfigMap{ObjectMeta: meta("lamp"), Data: map[string]string{"lit": "no"}},
		&corev1.Secret{ObjectMeta: meta("supervisor"), Data: map[string][]byte{"kubeconfig": supervisor}},
		&corev1.ServiceAccount{ObjectMeta: meta(v1alpha1.DefaultServiceAccount)},
		&rbacv1.Role{ObjectMeta: meta("runner"), Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"secrets", "configmaps"}, Verbs: []string{"get", "patch"}},
			{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"workflows"}, Verbs: []string{"get"}},
		}},
		&rbacv1.RoleBinding{ObjectMeta: meta("runner"), RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "runner"},
			Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: ns.Name, Name: v1alpha1.DefaultServiceAccount}}},
		&rbacv1.RoleBinding{ObjectMeta: meta("people"), RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "alice"}, {APIGroup: rbacv1.GroupName, Kind: "User", Name: "bob"}}},
	} {
		must(t, admin.Create(t.Context(), o))
	}
	return ns.Name
}

// as returns a client of a user.
func as(t *testing.T, user string) client.Client {
	t.Helper()
	config, err := management.As(user, user+"-token")
	must(t, err)
	c, err := client.New(config, client.Options{Scheme: scheme})
	must(t, err)
	return c
}

// workflowOf makes a Workflow of a spec in YAML.
func workflowOf(t *testing.T, namespace, name, spec string) *v1alpha1.Workflow {
	t.Helper()
	w := &v1alpha1.Workflow{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	w.Spec.Raw = toJSON(t, spec)
	must(t, admin.Create(t.Context(), w))
	return w
}

// runOf makes a Run of a Workflow, as alice.
func runOf(t *testing.T, namespace, name, workflow string, change func(*v1alpha1.RunSpec)) *v1alpha1.Run {
	t.Helper()
	r := &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	r.Spec.Requester, r.Spec.Workflow = "alice", &v1alpha1.WorkflowReference{Name: workflow}
	r.Spec.Connections = &v1alpha1.Connections{Supervisor: &v1alpha1.SupervisorConnection{SecretRef: &v1alpha1.KeyReference{Name: "supervisor", Key: "kubeconfig"}}}
	if change != nil {
		change(&r.Spec)
	}
	must(t, eventually(t.Context(), func() error { return as(t, "alice").Create(t.Context(), r) }))
	return r
}

// eventually tries until it is no longer refused: roles take effect a moment after they are made.
func eventually(ctx context.Context, try func() error) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 20*time.Second, true, func(context.Context) (bool, error) {
		last = try()
		return !apierrors.IsForbidden(last), nil
	})
	return errors.Join(last, err)
}

// until returns the Run when it is in the phase, and fails with what it says if it does not come to it.
func until(t *testing.T, run *v1alpha1.Run, phase v1alpha1.Phase) *v1alpha1.Run {
	t.Helper()
	return untilRun(t, run, "phase "+string(phase), func(r *v1alpha1.Run) bool {
		return r.Status.Phase == phase && r.Status.ObservedGeneration == r.Generation
	})
}

func untilRun(t *testing.T, run *v1alpha1.Run, what string, is func(*v1alpha1.Run) bool) *v1alpha1.Run {
	t.Helper()
	got := &v1alpha1.Run{}
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 45*time.Second, true, func(ctx context.Context) (bool, error) {
		if err := admin.Get(ctx, client.ObjectKeyFromObject(run), got); err != nil {
			return false, err
		}
		return is(got), nil
	})
	if err != nil {
		status, _ := json.MarshalIndent(got.Status, "", " ")
		t.Fatalf("wait for %s of Run %s: %v; it is\n%s", what, run.Name, err, status)
	}
	return got
}

// approve makes an Approval of the first gate, as a user.
func approve(t *testing.T, run *v1alpha1.Run, user string, change func(*v1alpha1.ApprovalSpec)) *v1alpha1.Approval {
	t.Helper()
	a := &v1alpha1.Approval{ObjectMeta: metav1.ObjectMeta{Namespace: run.Namespace, GenerateName: run.Name + "-"}}
	a.Spec = v1alpha1.ApprovalSpec{
		Run: run.Status.RunID, Gate: run.Status.Gates[0].Name, Digest: run.Status.Gates[0].Digest, Decision: v1alpha1.DecisionApprove, Approver: user,
	}
	if change != nil {
		change(&a.Spec)
	}
	must(t, eventually(t.Context(), func() error { return as(t, user).Create(t.Context(), a) }))
	return a
}

// poll polls for a condition.
func poll(t *testing.T, is func() (bool, error)) error {
	t.Helper()
	return wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) { return is() })
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// steps are both the catalog and the plugins: look sees whether the lamp of a namespace is lit, turn turns it on.
type steps struct{}

func (steps) all() map[string]plugins.Step {
	return map[string]plugins.Step{"look": look{}, "turn": turn{}, "raze": raze{}}
}

func (s steps) Step(uses string) (workflow.StepInfo, bool) {
	st, ok := s.all()[uses]
	if !ok {
		return workflow.StepInfo{}, false
	}
	d := st.Describe()
	return workflow.StepInfo{Effect: string(d.Effect), Input: d.Input, Output: d.Output, Connections: d.Connections}, true
}

func (steps) Names() []string { return []string{"look", "turn", "raze"} }

func (steps) Plugin(uses string) (plan.Plugin, error) {
	return plan.Plugin{Name: uses, Version: "1.0.0", SHA256: "d1"}, nil
}

// launched gives steps to the engine, where Step has another meaning.
type launched struct{ steps }

func (l launched) Step(_ context.Context, uses string) (plugins.Step, error) {
	if s, ok := l.all()[uses]; ok {
		return s, nil
	}
	return nil, fmt.Errorf("no step %q", uses)
}

func (launched) Close(context.Context) error { return nil }
