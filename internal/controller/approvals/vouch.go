package approvals

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/kube"
)

// Ref returns what a journal calls an Approval: Approval NAMESPACE/NAME UID.
func Ref(a *v1alpha1.Approval) string {
	return fmt.Sprintf("Approval %s/%s %s", a.Namespace, a.Name, a.UID)
}

// ParseRef takes apart what Ref returns.
func ParseRef(ref string) (types.NamespacedName, types.UID, error) {
	words := strings.Split(ref, " ")
	if len(words) == 3 && words[0] == "Approval" && words[2] != "" {
		namespace, name, ok := strings.Cut(words[1], "/")
		if ok && namespace != "" && name != "" && !strings.Contains(name, "/") {
			return types.NamespacedName{Namespace: namespace, Name: name}, types.UID(words[2]), nil
		}
	}
	return types.NamespacedName{}, "", fmt.Errorf("%q names no Approval", ref)
}

// Decision returns the decision in an Approval, as given by somebody when the API server took it.
func Decision(a *v1alpha1.Approval, by approval.Identity) approval.Decision {
	return approval.Decision{
		Gate: a.Spec.Gate, Digest: a.Spec.Digest, Approved: a.Spec.Decision == v1alpha1.DecisionApprove, By: by, Reason: a.Spec.Reason,
		Signature: a.Spec.Signature, Ref: Ref(a), At: a.CreationTimestamp.UTC(),
	}
}

// Vouch returns the engine's Vouch for the runs of a namespace: it finds the Approval that a decision refers to, refuses one that is gone, is
// another's or says something else, and judges it again. What it returns blocks on the network, and its errors are those of Who.
func (j *Judge) Vouch(namespace string) func(ctx context.Context, run string, d approval.Decision) (approval.Identity, error) {
	return func(ctx context.Context, run string, d approval.Decision) (approval.Identity, error) {
		a, err := j.find(ctx, namespace, run, d)
		if err != nil {
			return approval.Identity{}, fmt.Errorf("look up the Approval: %w", err)
		}
		return j.Who(ctx, a)
	}
}

func (j *Judge) find(ctx context.Context, namespace, run string, d approval.Decision) (*v1alpha1.Approval, error) {
	at, uid, err := ParseRef(d.Ref)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotCounted, err)
	}
	if at.Namespace != namespace {
		return nil, refuse("%s is in another namespace than its run, %s", d.Ref, namespace)
	}
	a := &v1alpha1.Approval{}
	err = j.Reader.Get(ctx, at, a)
	switch {
	case apierrors.IsNotFound(err):
		return nil, refuse("%s is not there any more", d.Ref)
	case err != nil:
		return nil, kube.Explain(fmt.Errorf("read %s: %w", d.Ref, err))
	case a.UID != uid:
		return nil, refuse("%s is not there any more, and another has its name", d.Ref)
	}
	now := Decision(a, d.By)
	now.At, now.Auto = d.At, d.Auto
	if a.Spec.Run != run || now != d {
		return nil, refuse("%s says something else than the journal", d.Ref)
	}
	return a, nil
}
