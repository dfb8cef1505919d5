package controller

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/controller/runfiles"
	"github.com/tkgfix/tkgfix/internal/kube"
)

// supervisor returns a client of the Supervisor that a template of Runs names, with the rights of the Runs' service account. It blocks on
// this cluster's API server.
func (i impersonated) supervisor(ctx context.Context, namespace string, run *v1alpha1.RunTemplate) (*kube.Client, error) {
	if run.Connections == nil || run.Connections.Supervisor == nil {
		return nil, errors.New("find the Supervisor: run.connections.supervisor is not given")
	}
	account, c := run.ServiceAccountName, run.Connections.Supervisor
	if account == "" {
		account = v1alpha1.DefaultServiceAccount
	}
	if c.InCluster {
		return kube.ForConfig(i.as(namespace, account))
	}
	reader, err := i.reader(namespace, account)
	if err != nil {
		return nil, err
	}
	data, err := runfiles.Kubeconfig(ctx, reader, namespace, c)
	if err != nil {
		return nil, err
	}
	name := "Secret " + namespace + "/" + c.SecretRef.Name
	if c.Context == "" {
		return kube.FromKubeconfig(data, name)
	}
	config, err := clientcmd.Load(data)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig of %s cannot be read as one", name) // the cause may quote credentials
	}
	config.CurrentContext = c.Context
	if data, err = clientcmd.Write(*config); err != nil {
		return nil, fmt.Errorf("pick context %q of %s: %w", c.Context, name, err)
	}
	return kube.FromKubeconfig(data, name)
}
