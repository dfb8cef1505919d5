package recreate

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

// newCluster is all that is made after the deletion, except for the workloads.
type newCluster struct {
	manifest *unstructured.Unstructured
	// removed is what was taken out of the manifest, and how says how the candidate came into it.
	removed []string
	how     string
	// source is where new nodes get the candidate from, and service the TkgServiceConfiguration if it is that.
	source     string
	service    *plugins.Target
	secrets    map[string]*trustSecret
	companions []companion
	addonsLost []string
	blocks     []plugins.Block
	warnings   []string
}

// newCluster puts together what is to be made: the manifest, cleaned, with the candidate in the cluster's own trust unless
// TkgServiceConfiguration is to bring it, the Secrets that this names, and the companions.
func (r request) newCluster(ctx context.Context, sup supervisor, owner tkg.Owner, w world) (newCluster, error) {
	var n newCluster
	var err error
	if n.manifest, n.removed, err = r.cleaned(owner.Object); err != nil {
		return n, err
	}
	if n.manifest.GetKind() != owner.Kind {
		return n, fmt.Errorf("manifest: %s: it is of a %s, and %s is made from a %s", r.Manifest, n.manifest.GetKind(), r.ref, owner.Kind)
	}
	have, err := sup.releases(ctx)
	if err != nil {
		return n, err
	}
	if have.served {
		var dropped bool
		if n.manifest, dropped = tkg.DropGoneRelease(n.manifest, have.names); dropped {
			n.removed = append(n.removed, "spec.distribution.fullVersion (a release that is gone)")
		}
	}
	n.blocks = append(n.blocks, releaseBlocks(n.manifest, have)...)
	if err := r.trust(ctx, sup, owner, w, &n); err != nil {
		return n, err
	}
	companions, err := sup.findCompanions(ctx)
	if err != nil {
		return n, err
	}
	n.companions, n.addonsLost, err = sup.saved(ctx, companions)
	return n, err
}

// trust gives the new cluster the candidate. TkgServiceConfiguration reaches TanzuKubernetesClusters alone (tkg-facts.md §1.3).
func (r request) trust(ctx context.Context, sup supervisor, owner tkg.Owner, w world, n *newCluster) error {
	if owner.Kind == tkg.TKCKind && r.Trust != nil {
		return r.serviceTrust(ctx, sup, n)
	}
	if r.Trust != nil {
		n.warnings = append(n.warnings, "trust: is left aside, for TkgServiceConfiguration does not reach this cluster")
	}
	way := owner.Way
	if r.manifest != nil && owner.Kind == tkg.ClusterKind {
		var err error
		if way, err = tkg.WayOfClass(ctx, sup.c, tkg.ClassOf(n.manifest)); err != nil {
			return err
		}
	}
	n.source = "the new cluster's own trust"
	var err error
	if n.secrets, err = sup.trustSecrets(ctx, w, n.manifest); err != nil {
		return err
	}
	before := tkg.TrustRefs(n.manifest)
	d, err := declare(n.manifest, way, n.secrets, r.candidate)
	if err != nil {
		return err
	}
	n.manifest, n.how = d.manifest, d.text
	n.blocks = slices.Concat(n.blocks, d.blocks, save(n.secrets, before, tkg.TrustRefs(n.manifest)))
	if way == tkg.WayTKC {
		n.secrets = nil // such a cluster has none
	}
	return nil
}

// serviceTrust holds what TkgServiceConfiguration will hold against the candidate.
func (r request) serviceTrust(ctx context.Context, sup supervisor, n *newCluster) error {
	service, err := sup.c.Resource(ctx, tkg.RunGroup, "TkgServiceConfiguration")
	if err != nil {
		return err
	}
	own, err := tkg.ClusterTrust(n.manifest)
	if err != nil {
		return err
	}
	gvk := service.GVK
	n.service = &plugins.Target{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind, Name: tkg.ServiceConfigurationName}
	n.source = "TkgServiceConfiguration"
	n.blocks = append(n.blocks, trustBlocks(r.Trust, r.candidate)...)
	n.warnings = append(n.warnings, ownTrustWarning(own, r.candidate)...)
	return nil
}

// cleaned returns the manifest of the new cluster: the user's file, else the live object.
func (r request) cleaned(live *unstructured.Unstructured) (*unstructured.Unstructured, []string, error) {
	if r.manifest == nil {
		return tkg.CleanManifest(live)
	}
	manifest, removed, err := tkg.CleanManifest(r.manifest)
	if err != nil {
		return nil, nil, plugins.Hint(fmt.Errorf("manifest: %s: %w", r.Manifest, err),
			"plans and journals hold the manifest: take credentials out of it")
	}
	return manifest, removed, nil
}

// keysLost are lines about what is in the Secrets and not saved.
func (n newCluster) keysLost() []string {
	var out []string
	for _, s := range n.secrets {
		for _, key := range s.lost {
			out = append(out, fmt.Sprintf("the key %s of Secret %s: it holds no certificate, and nothing of the cluster's names it", key, s.name))
		}
	}
	return out
}

func (n newCluster) evidence() []plugins.Evidence {
	out := []plugins.Evidence{{
		Subject: describe(n.manifest), Check: "manifest", Verdict: plugins.Info, Text: "taken out of the manifest: " + listOr(n.removed, "nothing"),
	}}
	if n.how != "" {
		out = append(out, plugins.Evidence{Subject: describe(n.manifest), Check: "own-trust", Verdict: plugins.Info, Text: n.how})
	}
	return out
}
