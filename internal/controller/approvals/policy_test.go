package approvals_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/controller/approvals"
)

var policyKind = admissionv1.SchemeGroupVersion.WithKind("ValidatingAdmissionPolicy")

// TestPolicy weakens the policy and its binding, for which the API server vouches for nobody then. It is not parallel: the other tests
// are under the policy.
func TestPolicy(t *testing.T) {
	admin := clientOf(t, "")
	a := made(func(a *v1alpha1.Approval) { a.Spec.Approver = alice })
	if err := clientOf(t, alice).Create(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		reason  string
		policy  func(*admissionv1.ValidatingAdmissionPolicySpec)
		binding func(*admissionv1.ValidatingAdmissionPolicyBindingSpec)
		want    string
	}{
		"Shipped": {reason: "as it is shipped"},
		"Words": {reason: "other words refuse the same", policy: func(s *admissionv1.ValidatingAdmissionPolicySpec) {
			s.Validations[0].Message, s.Validations[0].MessageExpression, s.Validations[0].Reason = "no", "", nil
			s.AuditAnnotations = []admissionv1.AuditAnnotation{{Key: "approver", ValueExpression: "string(object.spec.approver)"}}
		}},
		"Audited": {reason: "it refuses and is audited", binding: func(s *admissionv1.ValidatingAdmissionPolicyBindingSpec) {
			s.ValidationActions = append(s.ValidationActions, admissionv1.Audit)
		}},
		"Expression": {reason: "it asks for something else", want: "spec.validations", policy: func(s *admissionv1.ValidatingAdmissionPolicySpec) {
			s.Validations[0].Expression = "true"
		}},
		"Fewer": {reason: "it asks for less", want: "spec.validations", policy: func(s *admissionv1.ValidatingAdmissionPolicySpec) {
			s.Validations = s.Validations[:1]
		}},
		"Variable": {reason: "everything is called signed", want: "spec.variables", policy: func(s *admissionv1.ValidatingAdmissionPolicySpec) {
			s.Variables[0].Expression = "true"
		}},
		"Resources": {reason: "it looks at something else", want: "spec.matchConstraints", policy: func(s *admissionv1.ValidatingAdmissionPolicySpec) {
			s.MatchConstraints.ResourceRules[0].Resources = []string{"runs"}
		}},
		"Excluded": {reason: "it looks away", want: "spec.matchConstraints", policy: func(s *admissionv1.ValidatingAdmissionPolicySpec) {
			s.MatchConstraints.ExcludeResourceRules = s.MatchConstraints.ResourceRules
		}},
		"Namespaces": {reason: "it looks away in some namespaces", want: "spec.matchConstraints", policy: func(s *admissionv1.ValidatingAdmissionPolicySpec) {
			s.MatchConstraints.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"guarded": "yes"}}
		}},
		"Condition": {reason: "it looks at some", want: "spec.matchConditions", policy: func(s *admissionv1.ValidatingAdmissionPolicySpec) {
			s.MatchConditions = []admissionv1.MatchCondition{{Name: "some", Expression: "request.userInfo.username != 'alice'"}}
		}},
		"Ignore": {reason: "where it fails, all is let in", want: "spec.failurePolicy", policy: func(s *admissionv1.ValidatingAdmissionPolicySpec) {
			s.FailurePolicy = new(admissionv1.Ignore)
		}},
		"Parameters": {reason: "without its parameters it may do nothing", want: "spec.paramKind", policy: func(s *admissionv1.ValidatingAdmissionPolicySpec) {
			s.ParamKind = &admissionv1.ParamKind{APIVersion: "v1", Kind: "ConfigMap"}
		}},
		"Warn": {reason: "it only warns", want: "spec.validationActions", binding: func(s *admissionv1.ValidatingAdmissionPolicyBindingSpec) {
			s.ValidationActions = []admissionv1.ValidationAction{admissionv1.Warn}
		}},
		"OtherPolicy": {reason: "it binds another policy", want: "spec.policyName", binding: func(s *admissionv1.ValidatingAdmissionPolicyBindingSpec) {
			s.PolicyName = "tkgfix-requester"
		}},
		"Narrowed": {reason: "it binds in some namespaces", want: "spec.matchResources", binding: func(s *admissionv1.ValidatingAdmissionPolicyBindingSpec) {
			s.MatchResources = &admissionv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"guarded": "yes"}}}
		}},
		"ParamRef": {reason: "it binds to parameters that may not be there", want: "spec.paramRef", binding: func(s *admissionv1.ValidatingAdmissionPolicyBindingSpec) {
			s.ParamRef = &admissionv1.ParamRef{Name: "p", ParameterNotFoundAction: new(admissionv1.AllowAction)}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var policy admissionv1.ValidatingAdmissionPolicy
			var binding admissionv1.ValidatingAdmissionPolicyBinding
			for _, o := range []client.Object{&policy, &binding} {
				if err := admin.Get(t.Context(), client.ObjectKey{Name: "tkgfix-approver"}, o); err != nil {
					t.Fatal(err)
				}
			}
			shipped, bound := *policy.Spec.DeepCopy(), *binding.Spec.DeepCopy()
			if tc.policy != nil {
				tc.policy(&policy.Spec)
			}
			if tc.binding != nil {
				tc.binding(&binding.Spec)
			}
			update(t, admin, &policy, &binding)
			_, err := judge(t).Who(t.Context(), a)
			uncounted(t, tc.reason, err, tc.want, hint(tc.want))
			policy.Spec, binding.Spec = shipped, bound
			update(t, admin, &policy, &binding)
		})
	}
	for _, o := range []client.Object{&admissionv1.ValidatingAdmissionPolicyBinding{}, &admissionv1.ValidatingAdmissionPolicy{}} {
		if err := admin.Get(t.Context(), client.ObjectKey{Name: "tkgfix-approver"}, o); err != nil {
			t.Fatal(err)
		}
		if err := admin.Delete(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		_, err := judge(t).Who(t.Context(), a)
		uncounted(t, "nobody looked whose name it bears", err, "there is no ValidatingAdmissionPolicy", hint("x"))
		o.SetResourceVersion("")
		if err := admin.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	if err := enforced(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// hint is what is said where an unsigned Approval does not count.
func hint(refused string) string {
	if refused == "" {
		return ""
	}
	return "sign it: tkgfix approve --state kube:team-a"
}

func update(t *testing.T, c client.Client, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		if err := c.Update(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTooOld asks an API server that serves no policies, as those before Kubernetes 1.30: the real one, behind a transport that leaves them
// out of what it serves.
func TestTooOld(t *testing.T) {
	t.Parallel()
	config, err := configOf("")
	if err != nil {
		t.Fatal(err)
	}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return without{next} })
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	k := newKey(t)
	const team = "too-old"
	namespace(t, team, alice+" "+k.public+"\n")
	unsigned := made(func(a *v1alpha1.Approval) { a.Namespace = team })
	if err := clientOf(t, alice).Create(t.Context(), unsigned); err != nil {
		t.Fatal(err)
	}
	j := &approvals.Judge{Reader: c, Settle: -1}
	_, err = j.Who(t.Context(), unsigned)
	uncounted(t, "it forces nobody to their own name", err, "older than Kubernetes 1.30, has no ValidatingAdmissionPolicy", "sign it: tkgfix approve --state kube:too-old")
	signed := made(func(a *v1alpha1.Approval) { a.Namespace = team; k.sign(t, a) })
	if by, err := j.Who(t.Context(), signed); err != nil || by.Name != alice || by.Key == "" || !by.Verified {
		t.Errorf("a signature proves itself everywhere; got %v, %v", by, err)
	}
	rejected := made(func(a *v1alpha1.Approval) { a.Spec.Decision = v1alpha1.DecisionReject })
	if by, err := j.Who(t.Context(), rejected); err != nil || by != (approval.Identity{Name: alice}) {
		t.Errorf("anybody may reject, and nobody knows for sure who it was; got %v, %v", by, err)
	}
}

// without answers discovery without the policies.
type without struct{ next http.RoundTripper }

func (w without) RoundTrip(r *http.Request) (*http.Response, error) {
	group := "/apis/" + admissionv1.SchemeGroupVersion.String()
	switch {
	case strings.HasPrefix(r.URL.Path, group+"/validatingadmissionpolic"):
		return nil, errors.New("an old API server is asked for " + r.URL.Path)
	case r.URL.Path != "/apis" && r.URL.Path != group:
		return w.next.RoundTrip(r)
	}
	r = r.Clone(r.Context())
	r.Header.Set("Accept", "application/json") // the group's own list, in place of that of all groups
	if r.URL.Path == "/apis" {
		return w.next.RoundTrip(r)
	}
	resp, err := w.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	var list metav1.APIResourceList
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		return nil, err
	}
	var kept []metav1.APIResource
	for _, r := range list.APIResources {
		if !strings.HasPrefix(r.Name, "validatingadmissionpolic") {
			kept = append(kept, r)
		}
	}
	list.APIResources = kept
	data, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(data)), int64(len(data))
	return resp, nil
}
