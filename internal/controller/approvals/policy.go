package approvals

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/tkgfix/tkgfix/config/admission"
	"github.com/tkgfix/tkgfix/internal/kube"
)

// unheeded says why the policy that vouches for unsigned Approvals is not in force or was not at a time; nothing if it is and was.
func (j *Judge) unheeded(ctx context.Context, at time.Time) (string, error) {
	const policyKind, bindingKind = "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"
	var policy admissionv1.ValidatingAdmissionPolicy
	var binding admissionv1.ValidatingAdmissionPolicyBinding
	if why, err := j.read(ctx, policyKind, &policy, at); why != "" || err != nil {
		return why, err
	}
	if why, err := j.read(ctx, bindingKind, &binding, at); why != "" || err != nil {
		return why, err
	}
	shipped, err := shipped()
	if err != nil {
		return "", err
	}
	if part := weakened(shipped, policy.Spec); part != "" {
		return fmt.Sprintf("%s %s is not as it is shipped (%s)", policyKind, admission.ApproverPolicy, part), nil
	}
	if part := narrowed(binding.Spec); part != "" {
		return fmt.Sprintf("%s %s is not as it is shipped (%s)", bindingKind, admission.ApproverPolicy, part), nil
	}
	return "", nil
}

// read reads the policy or its binding, and says why it cannot have been in force at a time.
func (j *Judge) read(ctx context.Context, kind string, into client.Object, at time.Time) (string, error) {
	const name = admission.ApproverPolicy
	err := j.Reader.Get(ctx, client.ObjectKey{Name: name}, into)
	switch {
	case meta.IsNoMatchError(err):
		return fmt.Sprintf("this API server, older than Kubernetes 1.30, has no %s", kind), nil
	case apierrors.IsNotFound(err):
		return fmt.Sprintf("there is no %s %s, by which the API server would vouch for who created it", kind, name), nil
	case err != nil:
		return "", kube.Explain(fmt.Errorf("read %s %s: %w", kind, name, err))
	}
	wait := j.Settle
	if wait == 0 {
		wait = settle
	}
	if made := into.GetCreationTimestamp().Time; at.Sub(made) < wait {
		return fmt.Sprintf("it was made at %s, not yet %s after %s %s, which was made at %s",
			at.UTC().Format(time.RFC3339), wait, kind, name, made.UTC().Format(time.RFC3339)), nil
	}
	return "", nil
}

// shipped returns the policy that tkgfix ships.
var shipped = sync.OnceValues(func() (admissionv1.ValidatingAdmissionPolicySpec, error) {
	var p admissionv1.ValidatingAdmissionPolicy
	document, _, _ := bytes.Cut(admission.Approver, []byte("\n---\n"))
	if err := yaml.UnmarshalStrict(document, &p); err != nil {
		return p.Spec, fmt.Errorf("read the policy that is shipped: %w", err)
	}
	return p.Spec, nil
})

// weakened names the part of a policy that is not as it is shipped. Its words and what it writes to the audit log are left out.
func weakened(shipped, found admissionv1.ValidatingAdmissionPolicySpec) string {
	for _, part := range []struct {
		name      string
		want, got any
	}{
		{"validations", conditions(shipped), conditions(found)},
		{"variables", shipped.Variables, found.Variables},
		{"matchConstraints", shipped.MatchConstraints, found.MatchConstraints},
		{"matchConditions", shipped.MatchConditions, found.MatchConditions},
		{"failurePolicy", shipped.FailurePolicy, found.FailurePolicy},
		{"paramKind", shipped.ParamKind, found.ParamKind},
	} {
		if !equality.Semantic.DeepEqual(part.want, part.got) {
			return "spec." + part.name
		}
	}
	return ""
}

func conditions(s admissionv1.ValidatingAdmissionPolicySpec) []string {
	var out []string
	for _, v := range s.Validations {
		out = append(out, v.Expression)
	}
	return out
}

// narrowed names the part of a binding by which it does not refuse all that the policy refuses.
func narrowed(s admissionv1.ValidatingAdmissionPolicyBindingSpec) string {
	switch {
	case s.PolicyName != admission.ApproverPolicy:
		return "spec.policyName"
	case !slices.Contains(s.ValidationActions, admissionv1.Deny):
		return "spec.validationActions"
	case s.MatchResources != nil:
		return "spec.matchResources"
	case s.ParamRef != nil:
		return "spec.paramRef"
	}
	return ""
}
