package recreate

import (
	"crypto/x509"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

// declared is how the new cluster gets the candidate.
type declared struct {
	manifest *unstructured.Unstructured
	// text says how, in a few words.
	text   string
	blocks []plugins.Block
}

// declare puts the candidate into the manifest in the cluster's own way, and into the Secret that this names: under a new key, since a
// value under an old one changes no node's mind (tkg-facts.md §2). What the manifest holds already is left as it is.
func declare(manifest *unstructured.Unstructured, way tkg.Way, all map[string]*trustSecret, candidate []*x509.Certificate) (declared, error) {
	out := declared{manifest: manifest}
	if way == tkg.WayNone {
		out.blocks = []plugins.Block{{
			Reason: "the cluster's class has no variable for trusted CAs, so that a new cluster would trust no more than this one",
			Hint:   "ask whoever made the class for one; the known ones are trust and osConfiguration",
		}}
		return out, nil
	}
	own, err := tkg.OwnTrust(manifest, way, func(secret, key string) (string, bool) {
		if s := all[secret]; s != nil {
			return tkg.SecretKey(s.live, key)
		}
		return "", false
	})
	if err != nil {
		return out, err
	}
	secret := tkg.TrustSecret(manifest.GetName())
	held := make([]tkg.Held, len(own))
	var taken []string
	for i, e := range own {
		held[i] = e.Held
	}
	if way != tkg.WayTKC {
		taken = tkg.SecretKeys(all[secret].live)
	}
	ch := tkg.Choose(held, candidate, tkg.Naming{Fresh: way != tkg.WayTKC, Taken: taken})
	if ch.Act == tkg.Keep {
		out.text = fmt.Sprintf("the manifest trusts the candidate already, by the entry %s", ch.Name)
		return out, nil
	}
	d := tkg.Declaration{Way: way, Index: ch.Index, Name: ch.Name, Secret: secret, Data: tkg.Encode(certs.Normalize(candidate), tkg.LayersService)}
	if out.manifest, err = tkg.Declare(manifest, d); err != nil {
		return out, err
	}
	if way != tkg.WayTKC {
		all[secret].data[ch.Name] = tkg.SecretValue(candidate)
	}
	out.text = fmt.Sprintf("the candidate is declared in the cluster's own trust: %s entry %q, as %s", ch.Act, ch.Name, ch.Why)
	if pools := tkg.Overrides(manifest, way); way != tkg.WayTKC && len(pools) > 0 {
		out.blocks = append(out.blocks, plugins.Block{
			Reason: "these have trusted CAs of their own, which the candidate is not among: " + strings.Join(pools, ", "),
			Hint:   "give manifest: with the CA in their overrides too, or without the overrides",
		})
	}
	return out, nil
}
