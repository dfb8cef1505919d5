package controller

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// tokenLife is how long a token lives that a run gets for this cluster. It is renewed before each attempt, and while one lasts.
const tokenLife = 2 * time.Hour

// impersonated reaches this cluster with the rights of the service accounts of runs.
type impersonated struct {
	config *rest.Config
	scheme *runtime.Scheme
	mapper meta.RESTMapper
}

// reader returns a reader, without a cache, that may what the service account may.
func (i impersonated) reader(namespace, serviceAccount string) (client.Reader, error) {
	c, err := client.New(i.as(namespace, serviceAccount), client.Options{Scheme: i.scheme, Mapper: i.mapper})
	if err != nil {
		return nil, fmt.Errorf("reach this cluster as service account %s/%s: %w", namespace, serviceAccount, err)
	}
	return c, nil
}

func (i impersonated) as(namespace, serviceAccount string) *rest.Config {
	config := rest.CopyConfig(i.config)
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:" + namespace + ":" + serviceAccount}
	return config
}

// kubeconfig writes a kubeconfig of this cluster to path, whose token is the service account's own and lies beside it. It blocks on the API
// server.
func (i impersonated) kubeconfig(ctx context.Context, namespace, serviceAccount, path string) error {
	if err := i.token(ctx, namespace, serviceAccount, path); err != nil {
		return err
	}
	ca := i.config.CAData
	if len(ca) == 0 && i.config.CAFile != "" {
		var err error
		if ca, err = os.ReadFile(i.config.CAFile); err != nil {
			return fmt.Errorf("read the CA of this cluster: %w", err)
		}
	}
	c := clientcmdapi.NewConfig()
	c.Clusters["cluster"] = &clientcmdapi.Cluster{Server: i.config.Host, CertificateAuthorityData: ca}
	c.AuthInfos["run"] = &clientcmdapi.AuthInfo{TokenFile: tokenFile(path)}
	c.Contexts["run"] = &clientcmdapi.Context{Cluster: "cluster", AuthInfo: "run", Namespace: namespace}
	c.CurrentContext = "run"
	data, err := clientcmd.Write(*c)
	if err == nil {
		err = renameio.WriteFile(path, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write the kubeconfig of this cluster: %w", err)
	}
	return nil
}

// token writes a fresh token beside the kubeconfig at path. Clients read it again by themselves.
func (i impersonated) token(ctx context.Context, namespace, serviceAccount, path string) error {
	c, err := client.New(i.config, client.Options{Scheme: i.scheme, Mapper: i.mapper})
	if err != nil {
		return err
	}
	life := int64(tokenLife / time.Second)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: serviceAccount}}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &life}}
	if err := c.SubResource("token").Create(ctx, account, request); err != nil {
		return fmt.Errorf("get a token of service account %s/%s: %w", namespace, serviceAccount, err)
	}
	if err := renameio.WriteFile(tokenFile(path), []byte(request.Status.Token), 0o600); err != nil {
		return fmt.Errorf("write a token: %w", err)
	}
	return nil
}

func tokenFile(kubeconfig string) string { return filepath.Join(filepath.Dir(kubeconfig), "token") }
