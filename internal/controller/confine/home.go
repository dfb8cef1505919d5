package confine

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/plugins"
)

// Home is the cluster on which the controller runs, known by the CA of its API server: each workload cluster has one of its own, and its
// kubeconfig in the Supervisor holds it (tkg-facts.md §3). So it is told apart without reaching it.
type Home struct{ cas [][]byte }

// NewHome returns the cluster that config reaches.
func NewHome(config *rest.Config) (*Home, error) {
	data := config.CAData
	if len(data) == 0 && config.CAFile != "" {
		var err error
		if data, err = os.ReadFile(config.CAFile); err != nil {
			return nil, fmt.Errorf("read the CA of this cluster: %w", err)
		}
	}
	return &Home{cas: blocks(data)}, nil
}

// Is says whether a workload cluster of a Supervisor is this one. It blocks on the Supervisor's API server.
func (h *Home) Is(ctx context.Context, supervisor plugins.Kube, namespace, name string) (bool, error) {
	if len(h.cas) == 0 {
		return false, errors.New("the CA of the cluster on which the controller runs is not known: its kubeconfig has no certificate-authority-data")
	}
	c, err := kube.New(supervisor)
	if err != nil {
		return false, err
	}
	secrets, err := c.Resource(ctx, "", "Secret")
	if err != nil {
		return false, err
	}
	secret, err := c.Get(ctx, secrets, namespace, name+"-kubeconfig")
	if apierrors.IsNotFound(err) {
		return false, nil // it has no API server yet, so nothing runs on it
	}
	if err != nil {
		return false, err
	}
	cas, err := authority(secret)
	if err != nil {
		return false, err
	}
	for _, theirs := range cas {
		for _, ours := range h.cas {
			if bytes.Equal(theirs, ours) {
				return true, nil
			}
		}
	}
	return false, nil
}

// authority returns the CAs in a cluster's kubeconfig Secret.
func authority(secret *unstructured.Unstructured) ([][]byte, error) {
	text, _, err := unstructured.NestedString(secret.Object, "data", "value")
	if err != nil {
		return nil, fmt.Errorf("read Secret %s: %w", secret.GetName(), err)
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("read Secret %s: its value is not base64", secret.GetName())
	}
	config, err := clientcmd.Load(data)
	if err != nil {
		return nil, fmt.Errorf("read Secret %s: it holds no kubeconfig", secret.GetName()) // the cause may quote credentials
	}
	var out [][]byte
	for _, c := range config.Clusters {
		out = append(out, blocks(c.CertificateAuthorityData)...)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("read Secret %s: its kubeconfig names no CA", secret.GetName())
	}
	return out, nil
}

// blocks returns the certificates of a PEM file, in DER.
func blocks(data []byte) [][]byte {
	var out [][]byte
	for {
		var b *pem.Block
		if b, data = pem.Decode(data); b == nil {
			return out
		}
		if b.Type == "CERTIFICATE" {
			out = append(out, b.Bytes)
		}
	}
}
