package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

// patient is a cluster to be diagnosed.
type patient struct {
	ref tkg.Ref
	// kind is that of the object that it is made from, empty if it is not known.
	kind string
	// err says that there is no such cluster, and that nothing needs to be looked at.
	err error
}

// patients returns the clusters that the command line names, or all that the login may see.
func (a *app) patients(c *cli.Context, conn plugins.Kube) ([]patient, error) {
	client, err := kube.New(conn)
	if err != nil {
		return nil, err
	}
	if c.NArg() == 0 {
		return a.allPatients(c, client, conn)
	}
	if c.NArg() > tkg.MaxClusters {
		return nil, fmt.Errorf("%d clusters are named: %d are the most at a time", c.NArg(), tkg.MaxClusters)
	}
	refs, err := named(c, conn)
	if err != nil {
		return nil, err
	}
	var out []patient
	for _, ref := range refs {
		p, err := meet(c.Context, client, ref)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// named reads the arguments, each cluster once and in their order.
func named(c *cli.Context, conn plugins.Kube) ([]tkg.Ref, error) {
	namespace, err := namespaceOf(c, conn)
	if err != nil {
		return nil, err
	}
	var out []tkg.Ref
	for _, arg := range c.Args().Slice() {
		full := arg
		if !strings.Contains(arg, "/") {
			if namespace == "" {
				return nil, plugins.Hint(fmt.Errorf("cluster %.80q has no namespace, and the kubeconfig's context names none", arg),
					"write it as namespace/name, or give -n NAMESPACE")
			}
			full = namespace + "/" + arg
		}
		ref, err := tkg.ParseRef(full)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(out, ref) {
			out = append(out, ref)
		}
	}
	return out, nil
}

// namespaceOf returns the namespace of -n, else of the context; empty if neither names one.
func namespaceOf(c *cli.Context, conn plugins.Kube) (string, error) {
	if namespace := c.String("namespace"); namespace != "" {
		return namespace, checkNamespace(namespace)
	}
	return kube.ContextNamespace(conn)
}

// checkNamespace refuses what cannot be one.
func checkNamespace(name string) error {
	if _, err := tkg.ParseRef(name + "/x"); err != nil {
		return plugins.Hint(fmt.Errorf("-n %.80q is not the name of a namespace", name), "kubectl config get-contexts shows those of your login")
	}
	return nil
}

// meet finds out what a named cluster is made from. The error is one of the Supervisor, which is the same for every cluster.
func meet(ctx context.Context, client *kube.Client, ref tkg.Ref) (patient, error) {
	p := patient{ref: ref}
	owner, err := tkg.FindOwner(ctx, client, ref)
	switch {
	case err == nil:
		p.kind = owner.Kind
	case apierrors.IsNotFound(err):
		p.err = err
	case apierrors.IsForbidden(err): // the steps say what else may not be read
	default:
		return p, err
	}
	return p, nil
}

// allPatients lists the clusters of the namespace that was asked for, else of all; who may not list these gets those of the context's.
func (a *app) allPatients(c *cli.Context, client *kube.Client, conn plugins.Kube) ([]patient, error) {
	namespace := c.String("namespace")
	if namespace != "" {
		if err := checkNamespace(namespace); err != nil {
			return nil, err
		}
	}
	found, hidden, err := tkg.List(c.Context, client, namespace)
	if namespace == "" && apierrors.IsForbidden(err) {
		var own error
		if namespace, own = kube.ContextNamespace(conn); own != nil {
			return nil, own
		}
		if namespace == "" {
			return nil, plugins.Hint(fmt.Errorf("list the clusters of all namespaces: %w", err), "name one: -n NAMESPACE; kubectl config get-contexts shows those of your login")
		}
		a.ui.Say("this login may not list the clusters of all namespaces: those of %s are diagnosed, the context's own", namespace)
		found, hidden, err = tkg.List(c.Context, client, namespace)
	}
	if err != nil {
		return nil, err
	}
	if hidden != "" {
		a.ui.Say("%s", hidden)
	}
	if len(found) == 0 {
		where := "any namespace that this login may see"
		if namespace != "" {
			where = "namespace " + namespace
		}
		a.ui.Say("there is no cluster in %s", where)
	}
	out := make([]patient, 0, len(found))
	for _, f := range found {
		out = append(out, patient{ref: f.Ref, kind: f.Kind})
	}
	return out, nil
}
