package service

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

// The classes, and where those of VKS 3.4 and later are (tkg-facts.md §1.3, §1.4).
const (
	TanzuClassName   = "tanzukubernetescluster"
	GenericClassName = "builtin-generic-v3.3.0"
	PublicClassName  = "builtin-generic-v3.6.0"
	PublicNamespace  = "vmware-system-vks-public"
)

// The releases that the laboratory's clusters use, and their Kubernetes versions.
const (
	// OldRelease is of vSphere 7, Release of vSphere 8 (tkg-facts.md §1.2), and PublicRelease of VKS 3 (tkg-facts.md §1.4).
	OldRelease    = "v1.20.12---vmware.1-tkg.1.b9a42f3"
	Release       = "v1.26.5---vmware.2-fips.1-tkg.1"
	PublicRelease = "v1.34.2---vmware.2-vkr.2"
)

// catalogReleases are the releases that a Supervisor has at first.
func catalogReleases() []string { return []string{OldRelease, Release, PublicRelease} }

// InstallReleases creates the TanzuKubernetesReleases. What is there stays.
func InstallReleases(ctx context.Context, client dynamic.Interface, g Generation) error {
	kinds := g.resources()
	for _, name := range catalogReleases() {
		if err := putNew(ctx, client.Resource(kinds.releases), tanzuRelease(kinds, name)); err != nil {
			return err
		}
	}
	return nil
}

// InstallClasses creates what a Supervisor brings along in a vSphere Namespace: ClusterClasses, and the rule for their variables. What is
// there stays.
func InstallClasses(ctx context.Context, client dynamic.Interface, g Generation, namespace string) error {
	kinds := g.resources()
	if !g.hasClasses() {
		return nil
	}
	for _, class := range []*unstructured.Unstructured{tanzuClass(kinds, namespace), genericClass(kinds, namespace, GenericClassName)} {
		if err := putNew(ctx, client.Resource(kinds.classes).Namespace(namespace), class); err != nil {
			return err
		}
	}
	if kinds.classes.Version != "v1beta1" {
		public := genericClass(kinds, PublicNamespace, PublicClassName)
		if err := putNew(ctx, client.Resource(kinds.classes).Namespace(PublicNamespace), public); err != nil {
			return err
		}
	}
	return variableRule(kinds).install(ctx, client)
}

func putNew(ctx context.Context, objects dynamic.ResourceInterface, u *unstructured.Unstructured) error {
	if _, err := objects.Create(ctx, u, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("making %s %s: %w", u.GetKind(), u.GetName(), err)
	}
	return nil
}

func tanzuRelease(kinds resources, name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": versionOf(kinds.releases), "kind": "TanzuKubernetesRelease", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"version": kubernetesVersion(name), "kubernetes": map[string]any{"version": kubernetesVersion(name)}},
		"status": map[string]any{"conditions": []any{
			map[string]any{"type": "Ready", "status": "True"}, map[string]any{"type": "Compatible", "status": "True"},
		}},
	}}
}

// tanzuClass is the class of vSphere 8 (tkg-facts.md §1.3).
func tanzuClass(kinds resources, namespace string) *unstructured.Unstructured {
	return clusterClass(kinds, namespace, TanzuClassName, variableOf("trust", object(map[string]any{
		"additionalTrustedCAs": list(object(map[string]any{"name": typed("string")}, "name")),
	})))
}

// genericClass is a class of VKS 3 (tkg-facts.md §1.4).
func genericClass(kinds resources, namespace, name string) *unstructured.Unstructured {
	text := typed("string")
	caCert := object(map[string]any{"secretRef": object(map[string]any{"name": text, "key": text}, "name", "key"), "content": text})
	return clusterClass(kinds, namespace, name, variableOf(osVariable, object(map[string]any{
		"ntp":         object(map[string]any{"servers": list(text)}),
		"sshd":        object(map[string]any{"banner": text}),
		"fips":        object(map[string]any{"enabled": typed("boolean")}),
		"systemProxy": object(map[string]any{"http": text, "https": text, "noProxy": list(text)}),
		"user":        object(map[string]any{"user": text, "sshAuthorizedKey": text}),
		"trust":       object(map[string]any{"additionalTrustedCAs": list(object(map[string]any{"caCert": caCert}))}),
	})))
}

// clusterClass is a class with the variables that all have, and some more. It tells them in its status, as one whose variables are
// discovered.
func clusterClass(kinds resources, namespace, name string, more ...any) *unstructured.Unstructured {
	variables := append([]any{variableOf("vmClass", typed("string")), variableOf("storageClass", typed("string"))}, more...)
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": versionOf(kinds.classes), "kind": "ClusterClass", "metadata": map[string]any{"name": name, "namespace": namespace},
		"spec": map[string]any{"workers": map[string]any{"machineDeployments": []any{map[string]any{"class": "node-pool"}}}},
		"status": map[string]any{
			"variables":  variables,
			"conditions": []any{map[string]any{"type": "VariablesReady", "status": "True", "reason": "VariablesReady", "lastTransitionTime": "2026-01-01T00:00:00Z"}},
		},
	}}
}

func variableOf(name string, schema map[string]any) map[string]any {
	return map[string]any{"name": name, "definitions": []any{
		map[string]any{"from": "inline", "required": false, "schema": map[string]any{"openAPIV3Schema": schema}},
	}}
}

func typed(kind string) map[string]any { return map[string]any{"type": kind} }

func list(items map[string]any) map[string]any {
	return map[string]any{"type": "array", "items": items}
}

func object(properties map[string]any, required ...string) map[string]any {
	out := map[string]any{"type": "object", "properties": properties}
	if len(required) > 0 {
		var names []any
		for _, name := range required {
			names = append(names, name)
		}
		out["required"] = names
	}
	return out
}

// variableRule refuses a variable that a Cluster's class does not define, in the words of the Cluster API's webhook
// (tkg-facts.md §6.4, 16).
func variableRule(kinds resources) policy {
	refuse := func(classes, variable string) map[string]any {
		return map[string]any{
			"expression": fmt.Sprintf("!(%s) || !variables.names.exists(n, n == '%s')", classes, variable),
			"message":    fmt.Sprintf("spec.topology.variables[%s]: Invalid value: %q: variable is not defined", variable, variable),
			"reason":     "Invalid",
		}
	}
	const topology = "has(object.spec) && has(object.spec.topology)"
	return policy{
		name: "cluster-variables.lab.tkgfix.dev", resources: []schema.GroupVersionResource{kinds.clusters},
		variables: []any{
			variable("class", topology+" ? (has(object.spec.topology.classRef) ? object.spec.topology.classRef.name : "+
				"has(object.spec.topology.class) ? object.spec.topology.class : '') : ''"),
			variable("names", topology+" && has(object.spec.topology.variables) ? object.spec.topology.variables.map(v, v.name) : []"),
		},
		validations: []any{
			refuse("variables.class == '"+TanzuClassName+"'", osVariable),
			refuse("variables.class.startsWith('builtin-generic-v')", trustVariable),
		},
	}
}

// topologyFault says why the Cluster API does not take a Cluster's topology: there is no such class. The classes that each vSphere
// Namespace has are made when somebody asks for them (tkg-facts.md §1.3).
func (s *Service) topologyFault(ctx context.Context, o owner) (string, error) {
	class := o.class()
	if class.Name == "" {
		return "", nil
	}
	why, err := s.classFault(ctx, class)
	if err != nil || why == "" || class.Namespace != o.object().GetNamespace() {
		return why, err
	}
	if err := InstallClasses(ctx, s.client, s.generation, class.Namespace); err != nil {
		return "", err
	}
	return s.classFault(ctx, class)
}

func (s *Service) classFault(ctx context.Context, class types.NamespacedName) (string, error) {
	live, err := s.find(ctx, s.kinds.classes, class.Namespace, class.Name)
	if err != nil || live != nil {
		return "", err
	}
	return fmt.Sprintf("ClusterClass %s not found", class), nil
}
