package approvals_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/cli"
	"github.com/tkgfix/tkgfix/internal/kube/kubetest"
	"github.com/tkgfix/tkgfix/internal/sshsig"
)

// login lets the command line go by a user's kubeconfig.
func login(t *testing.T, user string) {
	t.Helper()
	data, err := management.Bearer(user, user+"-token")
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig(t, data)
}

func kubeconfig(t *testing.T, data []byte) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", file)
}

// tkgfix runs a command line and returns its exit code, its results and its talk.
func tkgfix(t *testing.T, args ...string) (int, string, string) {
	t.Helper()
	var out, said bytes.Buffer
	code := cli.Main(t.Context(), cli.IO{In: strings.NewReader(""), Out: &out, Err: &said}, append([]string{"tkgfix"}, args...))
	return code, out.String(), said.String()
}

// cluster makes a namespace with a list of signers that alice may read.
func cluster(t *testing.T, name, signers string) {
	t.Helper()
	namespace(t, name, signers)
	admin := clientOf(t, "")
	meta := metav1.ObjectMeta{Namespace: name, Name: "signers"}
	for _, o := range []client.Object{
		&rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get"}, ResourceNames: []string{v1alpha1.SignersConfigMap}}}},
		&rbacv1.RoleBinding{
			ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "signers"},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: alice}},
		},
	} {
		if err := admin.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	readable(t, name)
}

// approvalOf returns the only Approval of a namespace, and takes it away.
func approvalOf(t *testing.T, namespace string) *v1alpha1.Approval {
	t.Helper()
	admin := clientOf(t, "")
	var all v1alpha1.ApprovalList
	if err := admin.List(t.Context(), &all, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	if len(all.Items) == 0 {
		return nil
	}
	if len(all.Items) > 1 {
		t.Fatalf("there are %d Approvals, want one", len(all.Items))
	}
	if err := admin.Delete(t.Context(), all.Items[0].DeepCopy()); err != nil {
		t.Fatal(err)
	}
	return &all.Items[0]
}

// TestCommand decides on the command line. It is not parallel, as no test of the command line is: urfave/cli keeps its help flag in a
// variable that each command line writes.
func TestCommand(t *testing.T) {
	const team = "command"
	hers, eves := newKey(t), newKey(t)
	cluster(t, team, alice+" "+hers.public+"\n")
	state := "--state=kube:" + team
	long := append([]string{"--digest", digest}, state)
	withKey := approval.Identity{Name: alice, Verified: true, Key: "SHA256:"}
	for name, tc := range map[string]struct {
		reason, user, verb string
		args               []string
		want               approval.Identity
		// says are on standard error, and refused that nothing was created.
		says    []string
		refused bool
	}{
		"Approve": {reason: "in her own name", user: alice, verb: "approve", want: approval.Identity{Name: alice, Verified: true}, says: []string{
			": alice@example.com says approve to gate recreate of run trust-0123abcd", "tkgfix: whether it counts: kubectl get approval trust-0123abcd-recreate-", " -n command\n",
		}},
		"Context": {
			reason: "by a context that is named", user: alice, verb: "approve", args: []string{"--state=kube:alice@example.com@management/" + team},
			want: approval.Identity{Name: alice, Verified: true}, says: []string{"kubectl --context alice@example.com@management get approval"},
		},
		"Reject": {reason: "who may not approve may reject", user: bob, verb: "reject", args: []string{"--reason", "freeze"}, want: approval.Identity{Name: bob, Verified: true}, says: []string{"says reject"}},
		"NoVerb": {reason: "the API server's own words, and what to do", user: bob, verb: "approve", refused: true, says: []string{
			"bob@example.com may not approve run trust-0123abcd in namespace command", "hint: ask who may give you the ClusterRole tkgfix-approver there, and check with: kubectl auth can-i approve runs.tkgfix.dev/trust -n command",
		}},
		"NoRight":   {reason: "as with any other object", user: carol, verb: "reject", refused: true, says: []string{"cannot create resource", "kubectl auth can-i create approvals.tkgfix.dev -n command"}},
		"OtherName": {reason: "nobody decides in another's name", user: alice, verb: "approve", args: []string{"--approver", bob}, refused: true, says: []string{"spec.approver is bob@example.com", "hint: leave out --approver"}},
		"Signed":    {reason: "in the name that the list gives to the key", user: alice, verb: "approve", args: []string{"--key", hers.file, "--reason", "change 4711"}, want: withKey},
		"Unlisted":  {reason: "what would not count is not created", user: alice, verb: "approve", args: []string{"--key", eves.file}, refused: true, says: []string{"the key is not listed in ConfigMap command/tkgfix-allowed-signers", "hint: whoever keeps"}},
		"Unread":    {reason: "who may not read the list says the name", user: bob, verb: "reject", args: []string{"--key", hers.file}, refused: true, says: []string{"cannot get resource", "--approver NAME"}},
		"Named":     {reason: "the signature says who it is", user: bob, verb: "reject", args: []string{"--key", hers.file, "--approver", alice}, want: withKey},
		"Prefix":    {reason: "a part of the digest", user: alice, verb: "approve", args: []string{"--digest", "sha256:00"}, refused: true, says: []string{`"sha256:00" is not a whole digest`, "kubectl get runs.tkgfix.dev trust -o yaml -n command"}},
		"Unseen":    {reason: "a reason that paints the terminal", user: alice, verb: "approve", args: []string{"--reason", "\x1b[2J"}, refused: true, says: []string{"the reason holds U+001B"}},
		"NoSpace":   {reason: "no name of a namespace", user: alice, verb: "approve", args: []string{"--state=kube:Team_A"}, refused: true, says: []string{"--state kube:Team_A names no namespace", "kube:CONTEXT/NAMESPACE"}},
		"NoContext": {reason: "no context", user: alice, verb: "approve", args: []string{"--state=kube:/a"}, refused: true, says: []string{"names no context"}},
		"NoSuch":    {reason: "no such context", user: alice, verb: "approve", args: []string{"--state=kube:x/a"}, refused: true, says: []string{`has no context "x"`}},
		"Folder":    {reason: "a run on this machine has no manifest", user: alice, verb: "approve", args: []string{"--state=" + t.TempDir(), "--manifest"}, refused: true, says: []string{"--approver and --manifest are for runs in a cluster"}},
	} {
		t.Run(name, func(t *testing.T) {
			login(t, tc.user)
			code, _, said := tkgfix(t, append(append([]string{tc.verb, run, "recreate"}, long...), tc.args...)...)
			if (code != cli.ExitDone) != tc.refused {
				t.Errorf("%s: exit %d", tc.reason, code)
			}
			for _, want := range tc.says {
				if !strings.Contains(said, want) {
					t.Errorf("%s: it does not say %q:\n%s", tc.reason, want, said)
				}
			}
			a := approvalOf(t, team)
			if a == nil || tc.refused {
				if (a == nil) != tc.refused {
					t.Errorf("%s: an Approval was made: %t\n%s", tc.reason, a != nil, said)
				}
				return
			}
			by, err := judge(t).Who(t.Context(), a)
			if by.Key != "" {
				by.Key = "SHA256:"
			}
			if err != nil || by != tc.want || a.Spec.Decision != tc.verb || a.Spec.Digest != digest {
				t.Errorf("%s: %s by %v, %v, want %v", tc.reason, a.Spec.Decision, by, err, tc.want)
			}
		})
	}
}

// TestManifest prints Approvals without a cluster, and has a GitOps controller's service account apply them.
func TestManifest(t *testing.T) {
	const team = "manifest"
	k := newKey(t)
	namespace(t, team, alice+" "+k.public+"\n")
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	args := []string{"approve", run, "recreate[team-a/dev1]", "--state", "kube:" + team, "--digest", digest, "--manifest", "--approver", alice, "--reason", "change: 4711"}
	code, first, said := tkgfix(t, append(args, "--key", k.file)...)
	if code != cli.ExitDone || said != "" {
		t.Fatalf("exit %d: %s", code, said)
	}
	var a v1alpha1.Approval
	if err := yaml.UnmarshalStrict([]byte(first), &a); err != nil {
		t.Fatalf("%v:\n%s", err, first)
	}
	want := v1alpha1.ApprovalSpec{Run: run, Gate: "recreate[team-a/dev1]", Digest: digest, Decision: "approve", Approver: alice, Reason: "change: 4711", Signature: a.Spec.Signature}
	if diff := cmp.Diff(want, a.Spec); diff != "" || !regexp.MustCompile(`^trust-0123abcd-recreate-team-a-dev1-[0-9a-f]{10}$`).MatchString(a.Name) {
		t.Errorf("%s (-want, +got):\n%s", a.Name, diff)
	}
	if err := clientOf(t, gitops).Create(t.Context(), &a); err != nil {
		t.Fatal(err)
	}
	if by, err := judge(t).Who(t.Context(), &a); err != nil || by.Name != alice || by.Key == "" {
		t.Errorf("it counts for %v, %v", by, err)
	}
	// The same by stock ssh-keygen's way: the statement, its signature, the manifest.
	code, text, said := tkgfix(t, append(args, "--print-statement")...)
	signed, err := sshsig.Sign(t.Context(), sshsig.KeySource{File: k.file}, []byte(text))
	if code != cli.ExitDone || err != nil {
		t.Fatalf("exit %d, %v: %s", code, err, said)
	}
	file := filepath.Join(t.TempDir(), "statement.sig")
	if err := os.WriteFile(file, signed, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, again, said := tkgfix(t, append(args, "--signature", file)...); again != first {
		t.Errorf("the same decision is another manifest (-first, +again):\n%s%s", cmp.Diff(first, again), said)
	}
	if err := os.WriteFile(file, bytes.Repeat([]byte("x"), 16385), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, said := tkgfix(t, append(args, "--signature", file)...); code != cli.ExitFailed || !strings.Contains(said, "16385 bytes") {
		t.Errorf("exit %d of a signature that no API server takes: %s", code, said)
	}
	if code, out, said := tkgfix(t, args...); code != cli.ExitDone || strings.Contains(out, "signature") || !strings.Contains(said, "hint: it is not signed and counts only if alice@example.com creates it: kubectl create -f FILE -n manifest") {
		t.Errorf("exit %d, printed:\n%s\nsaid: %s", code, out, said)
	}
	if code, _, said := tkgfix(t, args[:len(args)-4]...); code != cli.ExitFailed || !strings.Contains(said, "no such kubeconfig") {
		t.Errorf("exit %d without a name and a cluster to ask for one: %s", code, said)
	}
	if code, _, said := tkgfix(t, append([]string{"approve", "Trust_1"}, args[2:]...)...); code != cli.ExitFailed || !strings.Contains(said, `"Trust_1" is no id of a run in a cluster`) {
		t.Errorf("exit %d for what is no run: %s", code, said)
	}
}

// TestUnverified does not talk to an API server that it cannot verify.
func TestUnverified(t *testing.T) {
	data, err := management.Bearer(alice, alice+"-token")
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig(t, regexp.MustCompile(`certificate-authority-data: \S+`).ReplaceAll(data, []byte("insecure-skip-tls-verify: true")))
	code, _, said := tkgfix(t, "approve", run, "recreate", "--state", "kube:"+team, "--digest", digest)
	if code != cli.ExitFailed || !strings.Contains(said, "insecure-skip-tls-verify is set") {
		t.Errorf("exit %d: %s", code, said)
	}
}

// TestElsewhere names a cluster that is too old to say whose login it is, and that has no controller.
func TestElsewhere(t *testing.T) {
	t.Setenv("KUBECONFIG", kubetest.Server{}.Start(t).Kubeconfig)
	args := []string{"approve", run, "recreate", "--state", "kube:" + team, "--digest", digest}
	for want, args := range map[string][]string{
		"hint: --approver NAME, by which the API server knows you": args,
		"hint: there is no controller of tkgfix":                   append(args, "--approver", alice),
	} {
		if code, _, said := tkgfix(t, args...); code != cli.ExitFailed || !strings.Contains(said, want) {
			t.Errorf("exit %d, want %q:\n%s", code, want, said)
		}
	}
}
