package lab

import (
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strings"

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
	// wrong is the layer of base64 that people get wrong: one too many where one is right, one too few where two are (tkg-facts.md §1.0).
	wrong form = "wrong"
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
	case once, wrong:
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

// besides adds the CAs of other registries that TkgServiceConfiguration always holds.
func besides(entries []entry) []entry {
	return append([]entry{{name: "corp-a", of: "corp-a"}, {name: "corp-b", of: "corp-b"}}, entries...)
}

// trustList encodes entries as TkgServiceConfiguration and TanzuKubernetesCluster have them.
func trustList(pki *ca.Corporate, earlier ca.Pair, entries []entry) ([]any, error) {
	out := make([]any, 0, len(entries))
	for _, e := range entries {
		data, err := material(pki, earlier, e.of)
		if err != nil {
			return nil, err
		}
		as := e.as
		if as == wrong {
			as = doubled
		}
		out = append(out, map[string]any{"name": e.name, "data": as.encode(data, pki.CorpA.PEM())})
	}
	return out, nil
}

// secretList encodes entries as the Secret of a Cluster of a class has them. What an entry of TkgServiceConfiguration holds as text is the
// content of a key there: the API's own layer of base64 comes on top.
func secretList(pki *ca.Corporate, earlier ca.Pair, entries []entry) (map[string]string, error) {
	out := map[string]string{}
	for _, e := range entries {
		data, err := material(pki, earlier, e.of)
		if err != nil {
			return nil, err
		}
		as := e.as
		if as == wrong {
			as = plain
		}
		out[e.name] = as.encode(data, pki.CorpA.PEM())
	}
	return out, nil
}
