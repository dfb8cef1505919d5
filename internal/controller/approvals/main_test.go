package approvals_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
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
	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/controller/approvals"
	"github.com/tkgfix/tkgfix/internal/kube/planetest"
	"github.com/tkgfix/tkgfix/internal/sshsig"
)

// The users. Alice may decide; bob may create Approvals and not approve; carol may nothing; dave may approve the Run that is named trust. Erin
// may write ConfigMaps, and frank may also say whose signatures count. The service account of a GitOps controller may do what alice may.
const (
	alice  = "alice@example.com"
	bob    = "bob@example.com"
	carol  = "carol@example.com"
	dave   = "dave@example.com"
	erin   = "erin@example.com"
	frank  = "frank@example.com"
	gitops = "system:serviceaccount:argocd:gitops"
)

// tokens lets each of them log in by a token of their own.
func tokens() string {
	var out strings.Builder
	for _, user := range []string{alice, bob, carol, dave, erin, frank} {
		fmt.Fprintf(&out, "%[1]s-token,%[1]s,%[1]s\n", user)
	}
	return out.String()
}

const (
	team   = "team-a"
	run    = "trust-0123abcd"
	digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
)

var (
	management *planetest.Plane
	scheme     = runtime.NewScheme()
	// before is an Approval that was made before there was a policy.
	before *v1alpha1.Approval
)

func TestMain(m *testing.M) {
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	os.Exit(planetest.Main(m, planetest.Options{Tokens: tokens()}, func(p *planetest.Plane) {
		management = p
		if err := prepare(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			p.Stop()
			os.Exit(1)
		}
	}))
}

// prepare makes namespaces and roles, an Approval before there is a policy, and then the policies.
func prepare(ctx context.Context) error {
	admin, err := as("")
	if err != nil {
		return err
	}
	objects := []client.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: team}}}
	for name, rules := range map[string]map[string][]string{
		"decide": {"approvals": {"create"}, "runs": {"create", "approve"}},
		"reject": {"approvals": {"create"}, "runs": {"create"}},
		"one":    {"approvals": {"create"}, "runs/trust": {"approve"}},
		"write":  {"configmaps": {"create", "update"}},
		"keep":   {"configmaps": {"create", "update"}, "approvals": {"vouch"}},
	} {
		r := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}}
		for what, verbs := range rules {
			resource, object, named := strings.Cut(what, "/")
			rule := rbacv1.PolicyRule{APIGroups: []string{v1alpha1.GroupVersion.Group, ""}, Resources: []string{resource}, Verbs: verbs}
			if named {
				rule.ResourceNames = []string{object}
			}
			r.Rules = append(r.Rules, rule)
		}
		objects = append(objects, r)
	}
	for user, role := range map[string]string{alice: "decide", gitops: "decide", bob: "reject", dave: "one", erin: "write", frank: "keep"} {
		objects = append(objects, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: strings.ReplaceAll(user, "@", "-")},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
		})
	}
	before = made(func(a *v1alpha1.Approval) { a.Name = "before" })
	for _, o := range append(objects, before) {
		if err := admin.Create(ctx, o); err != nil {
			return fmt.Errorf("create %s: %w", o.GetName(), err)
		}
	}
	root, err := planetest.Root()
	if err != nil {
		return err
	}
	if err := management.Apply(ctx, filepath.Join(root, "config", "admission")); err != nil {
		return err
	}
	return enforced(ctx)
}

// enforced waits until the API server refuses what the policies and nothing else refuse, and knows the roles.
func enforced(ctx context.Context) error {
	for user, o := range map[string]client.Object{
		"": made(nil), bob: made(func(a *v1alpha1.Approval) { a.Spec.Approver = bob }), carol: asked("r", carol),
		gitops: made(func(a *v1alpha1.Approval) { a.Spec.Approver = bob }),
	} {
		if err := until(ctx, user, o, apierrors.IsForbidden); err != nil {
			return err
		}
	}
	for user, o := range map[string]client.Object{"": asked("r", carol), erin: listed(v1alpha1.SignersConfigMap)} {
		if err := until(ctx, user, o, func(err error) bool {
			return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "ValidatingAdmissionPolicy")
		}); err != nil {
			return err
		}
	}
	for _, user := range []string{alice, gitops, dave} {
		if err := until(ctx, user, made(func(a *v1alpha1.Approval) { a.Spec.Approver = user }), func(err error) bool { return err == nil }); err != nil {
			return err
		}
	}
	return until(ctx, frank, listed(v1alpha1.SignersConfigMap), func(err error) bool { return err == nil })
}

func until(ctx context.Context, user string, o client.Object, want func(error) bool) error {
	c, err := as(user)
	if err != nil {
		return err
	}
	var last error
	err = wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		last = c.Create(ctx, o.DeepCopyObject().(client.Object), client.DryRunAll)
		return want(last), nil
	})
	if err != nil {
		return fmt.Errorf("wait for what %q may: %w, last %w", user, err, last)
	}
	return nil
}

// readable waits until alice may read the allowed signers of a namespace.
func readable(t *testing.T, namespace string) {
	t.Helper()
	c := clientOf(t, alice)
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: v1alpha1.SignersConfigMap}, &corev1.ConfigMap{})
		return err == nil, nil
	})
	if err != nil {
		t.Fatalf("wait until %s may read the allowed signers: %v", alice, err)
	}
}

// as returns a client of a user: a person by token, a service account by impersonation, the administrator for an empty name.
func as(user string) (client.Client, error) {
	config, err := configOf(user)
	if err != nil {
		return nil, err
	}
	return client.New(config, client.Options{Scheme: scheme})
}

func configOf(user string) (*rest.Config, error) {
	switch {
	case user == "":
		return management.Config("admin")
	case strings.HasPrefix(user, "system:"):
		config, err := management.Config("admin")
		if err == nil {
			config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:serviceaccounts", "system:authenticated"}}
		}
		return config, err
	}
	return management.As(user, user+"-token")
}

func clientOf(t *testing.T, user string) client.Client {
	t.Helper()
	c, err := as(user)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// made returns an approval by alice of a gate of run, changed.
func made(change func(*v1alpha1.Approval)) *v1alpha1.Approval {
	a := &v1alpha1.Approval{
		ObjectMeta: metav1.ObjectMeta{Namespace: team, GenerateName: "a-"},
		Spec:       v1alpha1.ApprovalSpec{Run: run, Gate: "recreate", Digest: digest, Decision: v1alpha1.DecisionApprove, Approver: alice},
	}
	if change != nil {
		change(a)
	}
	return a
}

// listed returns a list of signers by a name, which may be another than that of the list that counts.
func listed(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: team, Name: name}, Data: map[string]string{v1alpha1.SignersKey: ""}}
}

func asked(name, requester string) *v1alpha1.Run {
	r := &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Namespace: team, GenerateName: name + "-"}}
	r.Spec.Requester, r.Spec.Workflow = requester, &v1alpha1.WorkflowReference{Name: "w"}
	return r
}

// key is an SSH key: its private half's file, and its public half as a line of allowed signers has it.
type key struct{ file, public string }

func newKey(t *testing.T) key {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	listed, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	k := key{file: filepath.Join(t.TempDir(), "key"), public: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(listed)))}
	if err := os.WriteFile(k.file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return k
}

// sign signs what an Approval says.
func (k key) sign(t *testing.T, a *v1alpha1.Approval) {
	t.Helper()
	text, err := sshsig.Of(a.Spec.Run, approvals.Decision(a, approval.Identity{})).Message()
	if err != nil {
		t.Fatal(err)
	}
	armored, err := sshsig.Sign(t.Context(), sshsig.KeySource{File: k.file}, text)
	if err != nil {
		t.Fatal(err)
	}
	a.Spec.Signature = string(armored)
}

// namespace makes a namespace with a list of allowed signers, if there is a text.
func namespace(t *testing.T, name, signers string) {
	t.Helper()
	admin := clientOf(t, "")
	objects := []client.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}}
	if signers != "" {
		objects = append(objects, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: v1alpha1.SignersConfigMap}, Data: map[string]string{v1alpha1.SignersKey: signers},
		})
	}
	for _, o := range objects {
		if err := admin.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
}
