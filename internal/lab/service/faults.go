package service

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

// LabNamespace is the namespace on the Supervisor in which the laboratory keeps what is its own. Nothing of TKG has it.
const LabNamespace = "lab-system"

// FaultsName is the ConfigMap in LabNamespace with which faults of the platform are planted: a key NAMESPACE.CLUSTER for each cluster,
// with the words of its faults, separated by spaces.
const FaultsName = "lab-faults"

// releasesName is the ConfigMap in LabNamespace whose keys are the releases that are gone.
const releasesName = "lab-releases"

// Fault is a fault of the platform, as it is planted in the ConfigMap FaultsName.
type Fault string

// The faults, all of tkg-facts.md §4.
const (
	// AddonFinalizer leaves the finalizer of the add-ons controller on the Cluster (TF #2847, #2848).
	AddonFinalizer Fault = "addon-finalizer"
	// LastControlPlane lets a deletion hang at the last member of etcd (KB 427318).
	LastControlPlane Fault = "last-control-plane"
	// SurvivingService lets the VirtualMachineService outlive its cluster.
	SurvivingService Fault = "surviving-service"
	// ReusedAddress gives a cluster that is created under a used name the endpoint of the earlier one (VCF 9.1.1, VKS 3.7).
	ReusedAddress Fault = "reused-address"
	// ArgoCD and Flux re-apply a manifest of the cluster that they keep.
	ArgoCD Fault = "argocd"
	Flux   Fault = "flux"
	// TMC marks the cluster as made by Tanzu Mission Control (tkg-facts.md §2).
	TMC Fault = "tmc"
)

// Faults returns all faults that can be planted.
func Faults() []Fault {
	return []Fault{AddonFinalizer, LastControlPlane, SurvivingService, ReusedAddress, ArgoCD, Flux, TMC}
}

// ConfigMaps is the kind of what the laboratory keeps in LabNamespace.
var ConfigMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

// addonFinalizer is that of the add-ons controller (tkg-facts.md §4).
const addonFinalizer = "tkg.tanzu.vmware.com/addon"

// FaultsOf reads the faults of all clusters out of the ConfigMap FaultsName, which may be nil. The policy of its name refuses other words.
func FaultsOf(config *unstructured.Unstructured) map[types.NamespacedName][]Fault {
	out := map[types.NamespacedName][]Fault{}
	if config == nil {
		return out
	}
	data, _, _ := unstructured.NestedStringMap(config.Object, "data")
	for key, value := range data {
		namespace, name, _ := strings.Cut(key, ".")
		ref := types.NamespacedName{Namespace: namespace, Name: name}
		for _, word := range strings.Fields(value) {
			out[ref] = append(out[ref], Fault(word))
		}
	}
	return out
}

// has says whether a fault is planted for a cluster.
func (s *Service) has(ctx context.Context, ref types.NamespacedName, fault Fault) (bool, error) {
	config, err := s.find(ctx, ConfigMaps, LabNamespace, FaultsName)
	return slices.Contains(FaultsOf(config)[ref], fault), err
}

// InstallFaults makes the ConfigMaps by which faults are planted, empty, and the policies that refuse what these faults let the platform
// refuse.
func InstallFaults(ctx context.Context, client dynamic.Interface, g Generation) error {
	for _, name := range []string{FaultsName, releasesName} {
		config := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": name, "namespace": LabNamespace},
		}}
		if err := putNew(ctx, client.Resource(ConfigMaps).Namespace(LabNamespace), config); err != nil {
			return err
		}
	}
	kinds := g.resources()
	for _, p := range []policy{faultWords(), releaseRule(kinds), missionControlRule(kinds)} {
		if err := p.install(ctx, client); err != nil {
			return err
		}
	}
	return nil
}

// syncAddonFinalizer puts the finalizer of the add-ons controller on the Cluster as long as the fault is planted, and takes it off after.
func (s *Service) syncAddonFinalizer(ctx context.Context, ref types.NamespacedName) error {
	capi, err := s.find(ctx, s.kinds.clusters, ref.Namespace, ref.Name)
	if err != nil || capi == nil {
		return err
	}
	want, err := s.has(ctx, ref, AddonFinalizer)
	if err != nil || want == slices.Contains(capi.GetFinalizers(), addonFinalizer) {
		return err
	}
	if want && capi.GetDeletionTimestamp() != nil {
		return nil // nothing can hold it any more
	}
	return s.finalizer(ctx, s.kinds.clusters, capi, addonFinalizer, want)
}

// sweepService takes away a VirtualMachineService that has survived its cluster, unless it is to survive.
func (s *Service) sweepService(ctx context.Context, ref types.NamespacedName) error {
	lb, err := s.find(ctx, s.kinds.services, ref.Namespace, ref.Name)
	if err != nil || lb == nil || metav1.GetControllerOf(lb) != nil || lb.GetLabels()[clusterLabel] != ref.Name {
		return err
	}
	if survives, err := s.has(ctx, ref, SurvivingService); err != nil || survives {
		return err
	}
	if err := s.delete(ctx, s.kinds.services, lb); err != nil {
		return err
	}
	return s.finalizer(ctx, s.kinds.services, lb, serviceFinalizer, false)
}

// survives lets go of the VirtualMachineService of a cluster that is being deleted, if that is to survive.
func (s *Service) survives(ctx context.Context, c *cluster, lb *unstructured.Unstructured) (bool, error) {
	survives, err := s.has(ctx, c.ref, SurvivingService)
	if err != nil || !survives || lb.GetDeletionTimestamp() != nil {
		return false, err
	}
	return true, s.edit(ctx, s.kinds.services, lb, false, func(u *unstructured.Unstructured) { u.SetOwnerReferences(nil) })
}

// endpointOf returns the endpoint that a new Cluster gets: its own, unless it is to come up under that of an earlier one of its name.
func (s *Service) endpointOf(ctx context.Context, c *cluster) (map[string]any, error) {
	out := c.endpoint()
	s.mu.Lock()
	earlier := s.used[c.ref]
	s.mu.Unlock()
	if earlier == "" {
		return out, nil
	}
	reused, err := s.has(ctx, c.ref, ReusedAddress)
	if reused {
		out["host"] = earlier
	}
	return out, err
}

// Misplaced says whether the cluster of that name came up under an address that is not its own, and so never becomes available.
func (s *Service) Misplaced(ref types.NamespacedName) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.clusters {
		if c.ref == ref {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.misplaced
		}
	}
	return false
}

// misplace notes whether the Cluster's endpoint is another's.
func (c *cluster) misplace(capi *unstructured.Unstructured) bool {
	host, _, _ := unstructured.NestedString(capi.Object, "spec", "controlPlaneEndpoint", "host")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.misplaced = host != "" && host != c.guest.Address()
	return c.misplaced
}

// noteReleases writes down which releases of the catalog are gone: what needs one of them is refused from then on.
func (s *Service) noteReleases(ctx context.Context) error {
	config, err := s.find(ctx, ConfigMaps, LabNamespace, releasesName)
	if err != nil || config == nil {
		return err
	}
	gone := map[string]any{}
	for _, name := range catalogReleases() {
		live, err := s.find(ctx, s.kinds.releases, "", name)
		if err != nil {
			return err
		}
		if live == nil {
			gone[name] = "gone"
		}
	}
	return s.edit(ctx, ConfigMaps, config, false, func(u *unstructured.Unstructured) {
		if len(gone) == 0 {
			unstructured.RemoveNestedField(u.Object, "data")
			return
		}
		set(u, gone, "data")
	})
}

// tellRefusal says in the Cluster's condition that its deletion hangs since the platform refuses what it needs (tkg-facts.md §4, TF #2543).
func (s *Service) tellRefusal(ctx context.Context, c *cluster, o owner, refusal error) error {
	if !apierrors.IsForbidden(refusal) && !apierrors.IsInvalid(refusal) {
		return refusal
	}
	capi, err := s.find(ctx, s.kinds.clusters, c.ref.Namespace, c.ref.Name)
	if err != nil || capi == nil {
		return refusal
	}
	if err := s.removing(ctx, c, o, capi, progress{waitingForInfrastructure, refusal.Error()}); err != nil {
		return fmt.Errorf("telling of a refusal: %w", err)
	}
	return refusal
}
