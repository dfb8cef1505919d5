package install

import (
	"slices"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
)

// user is somebody whom an API server knows.
type user struct{ name, group string }

var (
	controller = user{"system:serviceaccount:" + systemNamespace + ":tkgfix-controller", "system:serviceaccounts"}
	runner     = user{"system:serviceaccount:team-a:tkgfix-runner", "system:serviceaccounts"}
	// These two are in the groups that the example of a namespace binds.
	requester = user{"alice@example.com", "platform-engineers"}
	approver  = user{"bob@example.com", "platform-leads"}
)

// TestRights asks an API server, on which config/install.yaml and the example of a namespace are, who may do what.
func TestRights(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.kubectl(t, "apply", "-f", installFile).ok(t)
	c.kubectl(t, "wait", "--for=condition=Established", "crd", "-l", "app.kubernetes.io/name=tkgfix").ok(t)
	c.kubectl(t, "apply", "-k", "examples/controller").ok(t)
	c.kubectl(t, "create", "namespace", "team-b").ok(t)

	t.Run("May", c.wantRights)
	t.Run("Everything", c.wantNothingMore)
	t.Run("Examples", c.wantExamples)
	t.Run("Restricted", c.wantRestricted)
}

// wantRights is what each of the roles is for, and what it is not for.
func (c *cluster) wantRights(t *testing.T) {
	for _, tc := range []struct {
		reason string
		user   user
		// what is a verb, a resource with its group and subresource, and if it counts, a name.
		what, namespace string
		want            bool
	}{
		{"every Run is seen", controller, "watch runs.tkgfix.dev", "", true},
		{"so are Approvals", controller, "list approvals.tkgfix.dev", "", true},
		{"what became of a Run is said everywhere, also that nothing can", controller, "patch runs.tkgfix.dev/status", "team-b", true},
		{"nobody's decision is the controller's", controller, "create approvals.tkgfix.dev", "team-a", false},
		{"nor is the approver", controller, "approve runs.tkgfix.dev", "team-a", false},
		{"nor who counts", controller, "vouch approvals.tkgfix.dev", "team-a", false},
		{"workflows are others'", controller, "update workflows.tkgfix.dev", "team-a", false},

		{"Secrets are read as the Run's account alone", controller, "get secrets", "team-a", false},
		{"not those of its own namespace either", controller, "get secrets", systemNamespace, false},
		{"not by lists", controller, "list secrets", "", false},
		{"where it is bound it is the runner", controller, "impersonate serviceaccounts tkgfix-runner", "team-a", true},
		{"where it is not, it is not", controller, "impersonate serviceaccounts tkgfix-runner", "team-b", false},
		{"and no other account", controller, "impersonate serviceaccounts default", "team-a", false},
		{"nor a user", controller, "impersonate users", "", false},
		{"nor a group", controller, "impersonate groups", "", false},
		{"a token is the runner's", controller, "create serviceaccounts/token tkgfix-runner", "team-a", true},
		{"and of no other account", controller, "create serviceaccounts/token default", "team-a", false},
		{"nor elsewhere", controller, "create serviceaccounts/token tkgfix-runner", "team-b", false},

		{"a journal is written", controller, "create journalentries.tkgfix.dev", "team-a", true},
		{"only where Runs are carried out", controller, "create journalentries.tkgfix.dev", "team-b", false},
		{"and never changed", controller, "update journalentries.tkgfix.dev", "team-a", false},
		{"nor taken away", controller, "delete journalentries.tkgfix.dev", "team-a", false},
		{"a Run is locked", controller, "delete leases.coordination.k8s.io", "team-a", true},
		{"Leases of others stay", controller, "delete leases.coordination.k8s.io", "kube-system", false},
		{"the leader's Lease", controller, "update leases.coordination.k8s.io tkgfix-controller", systemNamespace, true},
		{"and no other one beside it", controller, "update leases.coordination.k8s.io another", systemNamespace, false},
		{"whose signatures count is read", controller, "get configmaps tkgfix-allowed-signers", "team-a", true},
		{"and not said", controller, "update configmaps tkgfix-allowed-signers", "team-a", false},
		{"other ConfigMaps are not looked at", controller, "get configmaps corporate-ca", "team-a", false},
		{"host keys are kept", controller, "update configmaps tkgfix-known-hosts", "team-a", true},
		{"pods are others'", controller, "get pods", systemNamespace, false},
		{"the policy is known", controller, "get validatingadmissionpolicies.admissionregistration.k8s.io tkgfix-approver", "", true},
		{"and stays as it is", controller, "update validatingadmissionpolicies.admissionregistration.k8s.io tkgfix-approver", "", false},

		{"what a Run names", runner, "get secrets supervisor", "team-a", true},
		{"and no more", runner, "get secrets another", "team-a", false},
		{"nor all", runner, "list secrets", "team-a", false},
		{"its workflow", runner, "get workflows.tkgfix.dev", "team-a", true},
		{"no approval", runner, "create approvals.tkgfix.dev", "team-a", false},

		{"who asks", requester, "create runs.tkgfix.dev", "team-a", true},
		{"does not approve", requester, "approve runs.tkgfix.dev", "team-a", false},
		{"nor reject", requester, "create approvals.tkgfix.dev", "team-a", false},
		{"nor elsewhere", requester, "create runs.tkgfix.dev", "team-b", false},
		{"who approves", approver, "approve runs.tkgfix.dev", "team-a", true},
		{"reads the journal", approver, "list journalentries.tkgfix.dev", "team-a", true},
		{"asks for nothing", approver, "create runs.tkgfix.dev", "team-a", false},
		{"nor says who counts", approver, "vouch approvals.tkgfix.dev", "team-a", false},
		{"nor does any of them write a journal", approver, "create journalentries.tkgfix.dev", "team-a", false},
	} {
		if got := c.may(t, tc.user, tc.what, tc.namespace); got != tc.want {
			t.Errorf("%s: %s may %s in %q: %t, want %t", tc.reason, tc.user.name, tc.what, tc.namespace, got, tc.want)
		}
	}
}

// may asks the API server.
func (c *cluster) may(t *testing.T, u user, what, namespace string) bool {
	t.Helper()
	words := append(strings.Fields(what), "")
	resource, sub, _ := strings.Cut(words[1], "/")
	resource, group, _ := strings.Cut(resource, ".")
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: u.name, Groups: []string{u.group, "system:authenticated"},
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: namespace, Verb: words[0], Group: group, Resource: resource, Subresource: sub, Name: words[2],
		},
	}}
	if err := c.client.Create(t.Context(), review); err != nil {
		t.Fatal(err)
	}
	return review.Status.Allowed
}

// wantNothingMore looks at all that the controller may, in each kind of namespace.
func (c *cluster) wantNothingMore(t *testing.T) {
	for _, namespace := range []string{systemNamespace, "team-a", "team-b"} {
		review := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: namespace}}
		if err := c.as(t, controller).Create(t.Context(), review); err != nil {
			t.Fatal(err)
		}
		if review.Status.Incomplete || len(review.Status.ResourceRules) < 5 {
			t.Errorf("%s: these are not all rules: %+v", namespace, review.Status)
		}
		for _, rule := range review.Status.ResourceRules {
			for _, word := range slices.Concat(rule.Verbs, rule.APIGroups, rule.Resources, rule.ResourceNames) {
				if strings.Contains(word, "*") || word == "secrets" || word == "bind" || word == "escalate" {
					t.Errorf("%s: the controller has a right that is too wide: %+v", namespace, rule)
				}
			}
		}
	}
}
