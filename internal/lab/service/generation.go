package service

import (
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Generation is a generation of the TKG Service, by what its Supervisor serves and its clusters are made from (tkg-facts.md §1).
type Generation string

// The generations.
const (
	// V1alpha1 is vSphere 7.0 U2: TanzuKubernetesCluster v1alpha1 alone.
	V1alpha1 Generation = "v1alpha1"
	// V1alpha2 is vSphere 7.0 U3: TanzuKubernetesCluster v1alpha2, and v1alpha1.
	V1alpha2 Generation = "v1alpha2"
	// V1alpha3 is vSphere 8 with TanzuKubernetesClusters, and everything that is served anywhere.
	V1alpha3 Generation = "v1alpha3"
	// TanzuClass is vSphere 8 with Clusters v1beta1 of the class tanzukubernetescluster.
	TanzuClass Generation = "tanzukubernetescluster"
	// GenericV1beta1 is VKS 3 with Clusters v1beta1 of a class builtin-generic.
	GenericV1beta1 Generation = "builtin-generic-v1beta1"
	// GenericV1beta2 is VKS 3 with Clusters v1beta2 of a class builtin-generic.
	GenericV1beta2 Generation = "builtin-generic-v1beta2"
)

// Generations returns all generations, the oldest first.
func Generations() []Generation {
	return []Generation{V1alpha1, V1alpha2, V1alpha3, TanzuClass, GenericV1beta1, GenericV1beta2}
}

// Known says whether there is such a generation.
func (g Generation) Known() bool { return slices.Contains(Generations(), g) }

// Classes says whether clusters of the generation are Clusters of a ClusterClass, and not TanzuKubernetesClusters.
func (g Generation) Classes() bool {
	return g == TanzuClass || g == GenericV1beta1 || g == GenericV1beta2
}

// The API groups of which a generation serves some versions.
const (
	runGroup  = "run.tanzu.vmware.com"
	capiGroup = "cluster.x-k8s.io"
	vmopGroup = "vmoperator.vmware.com"
)

// served returns the versions of a group that the generation's Supervisor serves, the preferred one first; none for other groups.
func (g Generation) served(group string) []string {
	switch group {
	case runGroup:
		switch g {
		case V1alpha1:
			return []string{"v1alpha1"}
		case V1alpha2:
			return []string{"v1alpha2", "v1alpha1"}
		}
		return []string{"v1alpha3", "v1alpha2", "v1alpha1"}
	case capiGroup:
		if g == V1alpha3 || g == GenericV1beta2 {
			return []string{"v1beta2", "v1beta1"}
		}
		return []string{"v1beta1"}
	case vmopGroup:
		if g == V1alpha1 || g == V1alpha2 {
			return []string{"v1alpha1"}
		}
		return []string{"v1alpha3", "v1alpha1"}
	}
	return nil
}

// hasClasses says whether the generation's Supervisor knows ClusterClass: vSphere 7 does not.
func (g Generation) hasClasses() bool { return g != V1alpha1 && g != V1alpha2 }

// newConditions says whether Clusters and Machines have the conditions of v1beta2 of the Cluster API, wherever they hold them. Those of
// vSphere 7.0 U2 are older.
func (g Generation) newConditions() bool { return g != V1alpha1 }

// Resource returns a kind of TKG in the version that the generation's Supervisor prefers. Nothing converts objects, so this is the
// version in which the laboratory writes them.
func (g Generation) Resource(group, name string) schema.GroupVersionResource {
	r := schema.GroupVersionResource{Group: group, Resource: name}
	if versions := g.served(group); len(versions) > 0 {
		r.Version = versions[0]
	}
	return r
}

// resources are the kinds that the service works with.
type resources struct {
	tkcs, releases, clusters, machines, classes, vms, services, secrets schema.GroupVersionResource
}

func (g Generation) resources() resources {
	return resources{
		tkcs:     g.Resource(runGroup, "tanzukubernetesclusters"),
		releases: g.Resource(runGroup, "tanzukubernetesreleases"),
		clusters: g.Resource(capiGroup, "clusters"), machines: g.Resource(capiGroup, "machines"), classes: g.Resource(capiGroup, "clusterclasses"),
		vms: g.Resource(vmopGroup, "virtualmachines"), services: g.Resource(vmopGroup, "virtualmachineservices"),
		secrets: schema.GroupVersionResource{Version: "v1", Resource: "secrets"},
	}
}
