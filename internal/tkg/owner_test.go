package tkg

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestClassOf(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason, cluster string
		want            Class
	}{
		"v1beta1": {
			reason:  "the class is a string, and without a namespace it is the Cluster's own",
			cluster: "metadata: {namespace: team-a}\nspec: {topology: {class: tanzukubernetescluster}}",
			want:    Class{Namespace: "team-a", Name: "tanzukubernetescluster"},
		},
		"v1beta1 central": {
			reason:  "VKS 3.4 and later keep classes in a namespace of their own",
			cluster: "metadata: {namespace: team-a}\nspec: {topology: {class: builtin-generic-v3.4.0, classNamespace: vmware-system-vks-public}}",
			want:    Class{Namespace: "vmware-system-vks-public", Name: "builtin-generic-v3.4.0"},
		},
		"v1beta2": {
			reason:  "the class is a reference",
			cluster: "metadata: {namespace: team-a}\nspec: {topology: {classRef: {name: builtin-generic-v3.6.0, namespace: vmware-system-vks-public}}}",
			want:    Class{Namespace: "vmware-system-vks-public", Name: "builtin-generic-v3.6.0"},
		},
		"none":    {reason: "a Cluster of infrastructure alone has no class", cluster: "metadata: {namespace: team-a}\nspec: {controlPlaneEndpoint: {host: h}}"},
		"hostile": {reason: "what is no string is no class", cluster: "metadata: {namespace: team-a}\nspec: {topology: {class: [x], classRef: 3}}"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, ClassOf(object(t, tc.cluster))); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestWay(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason, class string
		byVariables   Way
	}{
		"status": {
			reason:      "what the class discovered counts",
			class:       "metadata: {name: x}\nstatus: {variables: [{name: vmClass}, {name: osConfiguration}]}",
			byVariables: WayOSConfiguration,
		},
		"spec":  {reason: "a class that has discovered nothing yet", class: "metadata: {name: x}\nspec: {variables: [{name: trust}]}", byVariables: WayTrust},
		"both":  {reason: "a class that still has the old variable beside the new one is of the new kind", class: "metadata: {name: x}\nstatus: {variables: [{name: trust}, {name: osConfiguration}]}", byVariables: WayOSConfiguration},
		"none":  {reason: "a class of somebody else", class: "metadata: {name: x}\nspec: {variables: [{name: imageRepository}]}", byVariables: WayNone},
		"empty": {reason: "a hostile one", class: "metadata: {name: x}\nspec: {variables: [3, {name: 4}]}", byVariables: WayNone},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.byVariables, wayOfVariables(ClassVariables(object(t, tc.class)))); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
	for class, want := range map[string]Way{
		"tanzukubernetescluster": WayTrust, "builtin-generic-v3.3.0": WayOSConfiguration, "builtin-generic-v": WayNone, "quick-start": WayNone,
	} {
		if got := wayOfName(class); got != want {
			t.Errorf("class %s that may not be read: want %s, got %s", class, want, got)
		}
	}
}
