package approvals_test

import (
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
)

// TestAdmission holds what the API server lets people say, and how it words a refusal.
func TestAdmission(t *testing.T) {
	t.Parallel()
	by := func(approver string) func(*v1alpha1.Approval) {
		return func(a *v1alpha1.Approval) { a.Spec.Approver = approver }
	}
	for name, tc := range map[string]struct {
		reason, user string
		object       client.Object
		want         string
	}{
		"Own":   {"who may approve, in their own name", alice, made(nil), ""},
		"Other": {"nobody decides in another's name", alice, made(by(bob)), "spec.approver is bob@example.com and this Approval is created by alice@example.com: write spec.approver: alice@example.com, or let bob@example.com sign it: tkgfix approve --state kube:team-a trust-0123abcd recreate"},
		"Admin": {"not even who may do everything", "", made(nil), "created by admin"},
		"OtherReject": {"nor rejects", alice, made(func(a *v1alpha1.Approval) {
			a.Spec.Approver, a.Spec.Decision = bob, v1alpha1.DecisionReject
		}), "tkgfix reject --state kube:team-a"},
		"EmptySignature": {"an empty signature is none", alice, made(func(a *v1alpha1.Approval) {
			a.Spec.Approver, a.Spec.Signature = bob, ""
		}), "spec.approver is bob"},
		"NoVerb": {"who may create Approvals may not approve yet", bob, made(by(bob)), "bob@example.com may not approve run trust-0123abcd in namespace team-a, which takes the verb approve on runs.tkgfix.dev: bind the ClusterRole tkgfix-approver to bob@example.com there, and see: kubectl auth can-i approve runs.tkgfix.dev/trust -n team-a"},
		"NoVerbSigned": {"nor with a signature", bob, made(func(a *v1alpha1.Approval) {
			a.Spec.Signature = "x"
		}), "may not approve"},
		"NoVerbRejects": {"who may create Approvals may reject", bob, made(func(a *v1alpha1.Approval) {
			a.Spec.Approver, a.Spec.Decision = bob, v1alpha1.DecisionReject
		}), ""},
		"NoRight":     {"who may not create Approvals may nothing", carol, made(by(carol)), `User "carol@example.com" cannot create resource "approvals"`},
		"OneRun":      {"who may approve one Run approves that", dave, made(by(dave)), ""},
		"OtherRun":    {"and no other", dave, made(func(a *v1alpha1.Approval) { a.Spec.Approver, a.Spec.Run = dave, "other-0123abcd" }), "kubectl auth can-i approve runs.tkgfix.dev/other -n"},
		"NoRun":       {"nor what is the id of no Run", dave, made(func(a *v1alpha1.Approval) { a.Spec.Approver, a.Spec.Run = dave, "trust" }), "kubectl auth can-i approve runs.tkgfix.dev -n"},
		"GitOps":      {"a service account in its own name is taken: it does not count", gitops, made(by(gitops)), ""},
		"GitOpsOther": {"it names nobody without their signature", gitops, made(nil), "created by system:serviceaccount:argocd:gitops: let alice@example.com sign it"},
		"GitOpsSigned": {"it carries the signature of another, which is judged later", gitops, made(func(a *v1alpha1.Approval) {
			a.Spec.Signature = "x"
		}), ""},
		"Lines": {"a gate whose name breaks the words is refused all the same", alice, made(func(a *v1alpha1.Approval) {
			a.Spec.Approver, a.Spec.Gate = bob, "re\ncreate"
		}), "spec.approver must be who creates the Approval"},

		"Run":       {"who asks is who creates", alice, asked("own", alice), ""},
		"RunOther":  {"nobody asks in another's name, to approve it then", bob, asked("other", alice), "spec.requester is alice@example.com and this Run is created by bob@example.com: write spec.requester: bob@example.com"},
		"RunGitOps": {"who wrote what it applies, the service account knows", gitops, asked("gitops", alice), ""},

		"Signers":      {"who may write ConfigMaps does not put their own key on the list", erin, listed(v1alpha1.SignersConfigMap), "erin@example.com may not say whose signatures count in namespace team-a, which takes the verb vouch on approvals.tkgfix.dev"},
		"OtherMap":     {"any other is theirs", erin, listed("settings"), ""},
		"SignersVouch": {"who keeps the list", frank, listed(v1alpha1.SignersConfigMap), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := clientOf(t, tc.user).Create(t.Context(), tc.object)
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("%s: %v", tc.reason, err)
			case tc.want != "" && (!apierrors.IsForbidden(err) || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("%s: got %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}

// TestAdmissionOfChanges puts a key on a list that is there already.
func TestAdmissionOfChanges(t *testing.T) {
	t.Parallel()
	const team = "changes"
	namespace(t, team, alice+" "+newKey(t).public)
	for user, allowed := range map[string]bool{erin: false, frank: true} {
		list := listed(v1alpha1.SignersConfigMap)
		list.Namespace = team
		if err := clientOf(t, user).Update(t.Context(), list); (err == nil) != allowed || err != nil && !strings.Contains(err.Error(), "may not say whose signatures count") {
			t.Errorf("%s changes the list: %v", user, err)
		}
	}
}
