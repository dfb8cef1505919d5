package tkg

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/node"
	"github.com/tkgfix/tkgfix/plugins"
)

// WorkloadClient returns a client of the workload cluster as its administrator, from the Secret CLUSTER-kubeconfig of the
// vSphere Namespace (tkg-facts.md §3). apierrors.IsNotFound holds for the error if there is no such cluster, or if its control plane has
// never been up, for until then there is no such Secret; the error says which. It blocks on the network of the Supervisor and does not reach
// the cluster yet.
func WorkloadClient(ctx context.Context, c *kube.Client, ref Ref) (*kube.Client, error) {
	secret, err := secret(ctx, c, ref, "-kubeconfig")
	if apierrors.IsNotFound(err) {
		return nil, noWayIn(ctx, c, ref, err)
	}
	if err != nil {
		return nil, fmt.Errorf("find the way into cluster %s: %w", ref, err)
	}
	data := secret.Data["value"]
	if len(data) == 0 {
		return nil, plugins.Hint(fmt.Errorf("the Secret %s/%s has no key value", secret.Namespace, secret.Name),
			"the cluster is not up yet, or not made by the Cluster API: kubectl describe cluster %s -n %s", ref.Name, ref.Namespace)
	}
	return kube.FromKubeconfig(data, "Secret "+secret.Namespace+"/"+secret.Name)
}

// NeverUp says more of an error with which a workload cluster does not answer, if its control plane has never been up: its kubeconfig is made
// before that. Any other error is returned as it is. It blocks on the network of the Supervisor.
func NeverUp(ctx context.Context, c *kube.Client, ref Ref, err error) error {
	if plugins.KindOf(err) != plugins.KindTransient || ctx.Err() != nil {
		return err
	}
	owner, findErr := FindOwner(ctx, c, ref)
	if findErr != nil {
		return err
	}
	if up, askErr := Initialized(ctx, c, owner); askErr != nil || up {
		return err
	}
	return notUp(owner.Resource(), ref, err)
}

func notUp(resource string, ref Ref, err error) error {
	return plugins.Hint(fmt.Errorf("the control plane of cluster %s has never been up, so that nothing is to be seen in it: %w", ref, err),
		"see what it waits for: kubectl describe %s %s -n %s", resource, ref.Name, ref.Namespace)
}

// noWayIn tells a cluster that is not there from one whose control plane has never been up.
func noWayIn(ctx context.Context, c *kube.Client, ref Ref, missing error) error {
	owner, err := FindOwner(ctx, c, ref)
	if apierrors.IsNotFound(err) {
		return err
	}
	resource := "cluster"
	if err == nil {
		resource = owner.Resource()
	}
	return notUp(resource, ref, missing)
}

// NodeCredentials returns what opens the nodes of a cluster, from the Secrets CLUSTER-ssh (key ssh-privatekey) and
// CLUSTER-ssh-password (key ssh-passwordkey) of the vSphere Namespace (tkg-facts.md §3). One of the two is enough. It blocks on
// the network.
func NodeCredentials(ctx context.Context, c *kube.Client, ref Ref) (node.Credentials, error) {
	var out node.Credentials
	key, err := optional(secret(ctx, c, ref, "-ssh"))
	if err != nil {
		return out, fmt.Errorf("find the login of the nodes of %s: %w", ref, err)
	}
	password, err := optional(secret(ctx, c, ref, "-ssh-password"))
	if err != nil {
		return out, fmt.Errorf("find the login of the nodes of %s: %w", ref, err)
	}
	out = node.Credentials{PrivateKey: key.Data["ssh-privatekey"], Password: string(password.Data["ssh-passwordkey"])}
	if len(out.PrivateKey) == 0 && out.Password == "" {
		return out, plugins.Hint(fmt.Errorf("no login for the nodes of %s: neither Secret %s-ssh nor %s-ssh-password holds one", ref, ref.Name, ref.Name),
			"see what is there: kubectl get secrets -n %s", ref.Namespace)
	}
	return out, nil
}

func secret(ctx context.Context, c *kube.Client, ref Ref, suffix string) (*corev1.Secret, error) {
	obj, err := get(ctx, c, "", "Secret", Ref{Namespace: ref.Namespace, Name: ref.Name + suffix})
	if err != nil {
		return nil, err
	}
	return kube.As[corev1.Secret](obj)
}

// optional makes an empty Secret of one that does not exist.
func optional(s *corev1.Secret, err error) (*corev1.Secret, error) {
	if apierrors.IsNotFound(err) {
		return &corev1.Secret{}, nil
	}
	return s, err
}
