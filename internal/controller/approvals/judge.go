package approvals

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/sshsig"
	"github.com/tkgfix/tkgfix/plugins"
)

// ErrNotCounted is for an Approval that does not count, as opposed to one that cannot be judged now. What it waits for may still come: a
// line in the allowed signers.
var ErrNotCounted = approval.ErrNotCounted

// settle is how long an API server may go on without a new policy. Each reads them once a second; the rest is for one that lags behind.
const settle = 10 * time.Second

// system begins the names of users who are no persons: service accounts, nodes, the control plane, nobody in particular.
const system = "system:"

// Judge finds out who decided. It keeps nothing, so what it says is true when it says it. It is safe for use by several goroutines.
type Judge struct {
	// Reader reads Approvals, the ConfigMap of allowed signers, and the policy with its binding. It must ask the API server and no cache,
	// and know the types of k8s.io/client-go/kubernetes/scheme and v1alpha1.
	Reader client.Reader
	// Settle is how much older than an Approval the policy must be, for each API server to have heeded it; 0 means 10 s.
	Settle time.Duration
}

// Who returns who gave the decision in an Approval, which must be as an API server returned it. The error is ErrNotCounted if nobody is
// known to have given it, and any other if that cannot be found out now. It blocks on the network.
//
// A rejection stops a run, so it is taken from whoever may create it: from a service account, and without a signature also where no policy is
// in force; then the name is not verified. One that carries a signature counts by that alone, as an approval does.
func (j *Judge) Who(ctx context.Context, a *v1alpha1.Approval) (approval.Identity, error) {
	by, err := j.who(ctx, a)
	if err != nil {
		return approval.Identity{}, fmt.Errorf("judge Approval %s/%s: %w", a.Namespace, a.Name, err)
	}
	return by, nil
}

func (j *Judge) who(ctx context.Context, a *v1alpha1.Approval) (approval.Identity, error) {
	rejects := a.Spec.Decision == v1alpha1.DecisionReject
	switch {
	case !rejects && a.Spec.Decision != v1alpha1.DecisionApprove:
		return approval.Identity{}, refuse("its decision is %q", a.Spec.Decision)
	case a.DeletionTimestamp != nil:
		return approval.Identity{}, refuse("it is being deleted")
	case a.Spec.Signature != "":
		return j.signer(ctx, a)
	}
	why, err := j.unheeded(ctx, a.CreationTimestamp.Time)
	switch {
	case err != nil:
		return approval.Identity{}, err
	case why != "" && rejects:
		return approval.Identity{Name: a.Spec.Approver}, nil
	case why != "":
		return approval.Identity{}, plugins.Hint(refuse("it is not signed, and must be, since %s", why), "%s", signHint(a))
	case !rejects && strings.HasPrefix(a.Spec.Approver, system):
		return approval.Identity{}, plugins.Hint(refuse("it is not signed, and %s is no person", a.Spec.Approver), "%s", signHint(a))
	}
	return approval.Identity{Name: a.Spec.Approver, Verified: true}, nil
}

// signer judges the signature by the allowed signers of the Approval's namespace.
func (j *Judge) signer(ctx context.Context, a *v1alpha1.Approval) (approval.Identity, error) {
	allowed, err := j.signers(ctx, a.Namespace)
	if err != nil {
		return approval.Identity{}, err
	}
	by, err := allowed.Identify(a.Spec.Run, Decision(a, approval.Identity{}))
	if err != nil {
		return approval.Identity{}, fmt.Errorf("%w: %w", ErrNotCounted, err)
	}
	if by.Name != a.Spec.Approver {
		err := refuse("it is signed by %s, and spec.approver is %s", by.Name, a.Spec.Approver)
		return approval.Identity{}, plugins.Hint(err, "spec.approver: %s", by.Name)
	}
	return by, nil
}

func (j *Judge) signers(ctx context.Context, namespace string) (*sshsig.AllowedSigners, error) {
	const name, key = v1alpha1.SignersConfigMap, v1alpha1.SignersKey
	where := fmt.Sprintf("ConfigMap %s/%s", namespace, name)
	var held corev1.ConfigMap
	err := j.Reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &held)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, kube.Explain(fmt.Errorf("read %s: %w", where, err))
	}
	text, ok := held.Data[key]
	if err != nil || !ok {
		return nil, plugins.Hint(refuse("it is signed, and there is no %s with the key %s that says whose signatures count", where, key),
			"kubectl create configmap %s -n %s --from-file=%s=FILE", name, namespace, key)
	}
	allowed, err := sshsig.ParseAllowedSigners(where, []byte(text))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotCounted, err)
	}
	return allowed, nil
}

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrNotCounted, fmt.Errorf(format, args...))
}

// signHint returns the command that makes the same Approval with a signature.
func signHint(a *v1alpha1.Approval) string {
	return fmt.Sprintf("sign it: tkgfix %s --state kube:%s %s %s --digest %s --key ~/.ssh/id_ed25519",
		a.Spec.Decision, a.Namespace, a.Spec.Run, a.Spec.Gate, a.Spec.Digest)
}
