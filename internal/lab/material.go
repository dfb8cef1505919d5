package lab

import (
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/lab/ca"
)

// form is how a certificate is written into an entry.
type form string

const (
	once    form = "" // base64 of PEM, as it should be (tkg-facts.md §1.0)
	doubled form = "base64 twice"
	plain   form = "plain PEM"
	glued   form = "glued"
	withBOM form = "byte order mark"
	der     form = "DER"
)

// encode returns the entry's data. other is a certificate to glue to it.
func (f form) encode(data, other []byte) string {
	base := base64.StdEncoding.EncodeToString
	switch f {
	case plain:
		return string(data)
	case doubled:
		return base([]byte(base(data)))
	case glued:
		return base([]byte(strings.TrimSpace(string(data)) + string(other)))
	case withBOM:
		return base(append([]byte("\xef\xbb\xbf"), data...))
	case der:
		if block, _ := pem.Decode(data); block != nil {
			return base(block.Bytes)
		}
	case once:
	}
	return base(data)
}

// material returns what entries name. earlier is the certificate that the registry had before.
func material(pki *ca.Corporate, earlier ca.Pair, name string) ([]byte, error) {
	of := map[string][]byte{
		"root": pki.Root.PEM(), "old-root": pki.OldRoot.PEM(), "expired-root": pki.ExpiredRoot, "intermediate": pki.Intermediate.PEM(),
		"corp-a": pki.CorpA.PEM(), "corp-b": pki.CorpB.PEM(), "earlier-leaf": earlier.Leaf(), "private-key": earlier.Key,
	}
	if data, ok := of[name]; ok {
		return data, nil
	}
	return nil, fmt.Errorf("no certificate %q to configure", name)
}

// trustList encodes entries as TkgServiceConfiguration and TanzuKubernetesCluster have them.
func trustList(pki *ca.Corporate, earlier ca.Pair, entries []entry) ([]any, error) {
	out := make([]any, 0, len(entries))
	for _, e := range entries {
		data, err := material(pki, earlier, e.of)
		if err != nil {
			return nil, err
		}
		out = append(out, map[string]any{"name": e.name, "data": e.as.encode(data, pki.CorpA.PEM())})
	}
	return out, nil
}

// besides adds the CAs of other registries that TkgServiceConfiguration always holds.
func besides(entries []entry) []entry {
	return append([]entry{{name: "corp-a", of: "corp-a"}, {name: "corp-b", of: "corp-b"}}, entries...)
}

func serviceConfiguration(trust []any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "run.tanzu.vmware.com/v1alpha3", "kind": "TkgServiceConfiguration",
		"metadata": map[string]any{"name": configurationName},
		"spec":     map[string]any{"defaultCNI": "antrea", "trust": map[string]any{"additionalTrustedCAs": trust}},
	}}
}

// workloadCluster is the manifest of dev1 or dev2 with its own trust. made is a label of its pool: a new value is an edit of the spec,
// which replaces the nodes.
func workloadCluster(name, made string, own []any) *unstructured.Unstructured {
	pool := func(replicas int64) map[string]any {
		return map[string]any{
			"replicas": replicas, "vmClass": "guaranteed-medium", "storageClass": "gold",
			"tkr": map[string]any{"reference": map[string]any{"name": release}},
		}
	}
	workers := pool(2)
	workers["name"] = "np1"
	workers["labels"] = map[string]any{"made-for": made}
	network := map[string]any{
		"cni":           map[string]any{"name": "antrea"},
		"services":      map[string]any{"cidrBlocks": []any{"10.96.0.0/16"}},
		"pods":          map[string]any{"cidrBlocks": []any{"192.168.0.0/16"}},
		"serviceDomain": "cluster.local",
	}
	if len(own) > 0 {
		network["trust"] = map[string]any{"additionalTrustedCAs": own}
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "run.tanzu.vmware.com/v1alpha3", "kind": "TanzuKubernetesCluster",
		"metadata": map[string]any{"name": name, "namespace": namespace},
		"spec": map[string]any{
			"topology": map[string]any{"controlPlane": pool(1), "nodePools": []any{workers}},
			"settings": map[string]any{"storage": map[string]any{"defaultClass": "gold"}, "network": network},
		},
	}}
}
