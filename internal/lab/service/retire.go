package service

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// retireLabel asks for a TanzuKubernetesCluster to go and to leave its Cluster, which is its own owner from then on (tkg-facts.md §1.2).
const retireLabel = "kubernetes.vmware.com/retire-tkc"

// retireOwner carries the label out on a settled TanzuKubernetesCluster, and says whether it is gone. Its nodes stay as they are: nobody
// has said that they are replaced. One that is held by Mission Control stays (tkg-facts.md §1.2).
func (s *Service) retireOwner(ctx context.Context, c *cluster, o owner) (bool, error) {
	t, ok := o.(tkcOwner)
	if !ok || !s.generation.hasClasses() {
		return false, nil
	}
	_, asked := t.tkc.GetLabels()[retireLabel]
	if _, held := t.tkc.GetAnnotations()[MissionControlMark]; !asked || held {
		return false, nil
	}
	capi, err := s.find(ctx, s.kinds.clusters, c.ref.Namespace, c.ref.Name)
	if err != nil || capi == nil {
		return false, err
	}
	if err := s.moveTrust(ctx, c, capi, t); err != nil {
		return false, err
	}
	err = s.edit(ctx, s.kinds.clusters, capi, false, func(u *unstructured.Unstructured) {
		set(u, t.topology(s.kinds), "spec", "topology")
		u.SetOwnerReferences(nil)
	})
	if err != nil {
		return false, err
	}
	if capi, err = s.find(ctx, s.kinds.clusters, c.ref.Namespace, c.ref.Name); err != nil || capi == nil {
		return false, err
	}
	if err := s.inherit(c, classOwner{capi}); err != nil {
		return false, err
	}
	if err := s.delete(ctx, s.kinds.tkcs, t.tkc); err != nil {
		return false, err
	}
	return true, s.finalizer(ctx, s.kinds.tkcs, t.tkc, tkcFinalizer, false)
}

// inherit makes the Cluster the owner of what was the TanzuKubernetesCluster's.
func (s *Service) inherit(c *cluster, o classOwner) error {
	revision, err := revision(o)
	if err != nil {
		return err
	}
	for _, n := range c.nodes {
		n.revision = revision
	}
	c.unsettle() // the Cluster's spec and status are still to be completed
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clusters, c.uid)
	c.uid = o.capi.GetUID()
	s.clusters[c.uid] = c
	return nil
}

// topology is what the class tanzukubernetescluster needs to know of a TanzuKubernetesCluster (tkg-facts.md §1.3).
func (o tkcOwner) topology(kinds resources) map[string]any {
	name, _, _ := unstructured.NestedString(o.tkc.Object, "spec", "topology", "controlPlane", "tkr", "reference", "name")
	controlPlane, _, _ := unstructured.NestedMap(o.tkc.Object, "spec", "topology", "controlPlane")
	out := map[string]any{"version": name, "controlPlane": map[string]any{"replicas": int64(max(1, number(controlPlane, "replicas")))}}
	var workers, entries []any
	for _, p := range o.pools()[1:] {
		workers = append(workers, map[string]any{"class": "node-pool", "name": p.name, "replicas": int64(p.replicas)})
	}
	out["workers"] = map[string]any{"machineDeployments": workers}
	variables := []any{
		map[string]any{"name": "vmClass", "value": text(controlPlane, "vmClass")}, map[string]any{"name": "storageClass", "value": text(controlPlane, "storageClass")},
	}
	for _, t := range trustOf(o.tkc, "spec", "settings", "network") {
		entries = append(entries, map[string]any{"name": t.Name})
	}
	if len(entries) > 0 {
		variables = append(variables, map[string]any{"name": trustVariable, "value": map[string]any{"additionalTrustedCAs": entries}})
	}
	out["variables"] = variables
	if kinds.clusters.Version == "v1beta1" {
		out["class"] = TanzuClassName
	} else {
		out["classRef"] = map[string]any{"name": TanzuClassName}
	}
	return out
}

// moveTrust writes the trust of a TanzuKubernetesCluster into the Secret that its class reads, with the layer of base64 that it has
// besides that of the API (tkg-facts.md §1.0).
func (s *Service) moveTrust(ctx context.Context, c *cluster, capi *unstructured.Unstructured, o tkcOwner) error {
	data := map[string][]byte{}
	for _, t := range trustOf(o.tkc, "spec", "settings", "network") {
		data[t.Name] = []byte(t.Data)
	}
	if len(data) == 0 {
		return nil
	}
	secret := c.secret(capi, trustSecret, "Opaque", data)
	refs := secret.GetOwnerReferences()
	refs[0].Controller = nil
	secret.SetOwnerReferences(refs)
	_, err := s.ensure(ctx, s.kinds.secrets, secret)
	return err
}
