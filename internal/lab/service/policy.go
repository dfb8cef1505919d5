package service

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// policy is a rule of the platform by which kube-apiserver refuses objects, as webhooks do in the field.
type policy struct {
	name      string
	resources []schema.GroupVersionResource
	// variables and validations are those of a ValidatingAdmissionPolicy.
	variables, validations []any
	// params is a ConfigMap in LabNamespace that the rule looks at; empty for none.
	params string
}

// install makes the policy and its binding.
func (p policy) install(ctx context.Context, client dynamic.Interface) error {
	for resource, object := range map[string]*unstructured.Unstructured{"validatingadmissionpolicies": p.rule(), "validatingadmissionpolicybindings": p.binding()} {
		r := schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: resource}
		if err := putNew(ctx, client.Resource(r), object); err != nil {
			return err
		}
	}
	return nil
}

func (p policy) rule() *unstructured.Unstructured {
	var rules []any
	for _, r := range p.resources {
		rules = append(rules, map[string]any{
			"apiGroups": []any{r.Group}, "apiVersions": []any{r.Version}, "resources": []any{r.Resource}, "operations": []any{"CREATE", "UPDATE"},
		})
	}
	spec := map[string]any{"failurePolicy": "Fail", "matchConstraints": map[string]any{"resourceRules": rules}, "validations": p.validations}
	if len(p.variables) > 0 {
		spec["variables"] = p.variables
	}
	if p.params != "" {
		spec["paramKind"] = map[string]any{"apiVersion": "v1", "kind": "ConfigMap"}
	}
	return p.object("ValidatingAdmissionPolicy", spec)
}

func (p policy) binding() *unstructured.Unstructured {
	spec := map[string]any{"policyName": p.name, "validationActions": []any{"Deny"}}
	if p.params != "" {
		spec["paramRef"] = map[string]any{"name": p.params, "namespace": LabNamespace, "parameterNotFoundAction": "Allow"}
	}
	return p.object("ValidatingAdmissionPolicyBinding", spec)
}

func (p policy) object(kind string, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": map[string]any{"name": p.name}, "spec": spec,
	}}
}

func variable(name, expression string) map[string]any {
	return map[string]any{"name": name, "expression": expression}
}

// faultWords refuses, in the ConfigMap of the faults, words that are none: whoever mistypes one is told so.
func faultWords() policy {
	var words []string
	for _, f := range Faults() {
		words = append(words, string(f))
	}
	known := "['" + strings.Join(words, "', '") + "']"
	return policy{
		name: "faults.lab.tkgfix.dev", resources: []schema.GroupVersionResource{ConfigMaps},
		validations: []any{map[string]any{
			"expression": fmt.Sprintf("object.metadata.namespace != '%s' || object.metadata.name != '%s' || !has(object.data) || "+
				"object.data.all(key, key.matches('^[a-z0-9-]+[.][a-z0-9-]+$') && object.data[key].split(' ').all(w, w == '' || w in %s))", LabNamespace, FaultsName, known),
			"message": "the keys are NAMESPACE.CLUSTER, and the words " + strings.Join(words, ", ") + ", with spaces between them",
			"reason":  "Invalid",
		}},
	}
}

// releaseRule refuses to write clusters whose release is gone, whatever is written (tkg-facts.md §4, TF #2543).
func releaseRule(kinds resources) policy {
	const topology = "has(object.spec) && has(object.spec.topology) && "
	return policy{
		name: "tkr-resolver.lab.tkgfix.dev", resources: []schema.GroupVersionResource{kinds.clusters, kinds.tkcs}, params: releasesName,
		variables: []any{
			variable("version", topology+"has(object.spec.topology.version) ? string(object.spec.topology.version) : "+
				"has(object.spec) && has(object.spec.distribution) && has(object.spec.distribution.version) ? string(object.spec.distribution.version) : "+
				topology+"has(object.spec.topology.controlPlane) && has(object.spec.topology.controlPlane.tkr) ? string(object.spec.topology.controlPlane.tkr.reference.name) : ''"),
			variable("release", "variables.version.replace('+', '---')"),
		},
		validations: []any{map[string]any{
			"expression":        "!has(params.data) || !(variables.release in params.data)",
			"messageExpression": "'could not resolve TKR/OSImage for controlPlane, machineDeployments: no release is there for ' + variables.version",
			"reason":            "Forbidden",
		}},
	}
}

// MissionControlMark is what Tanzu Mission Control writes on a cluster that it has made.
const MissionControlMark = "run.tanzu.vmware.com/vmware-system-tmc-managed"

// missionControlRule refuses trust of its own to a TanzuKubernetesCluster that Tanzu Mission Control has made (tkg-facts.md §2). The words
// are the laboratory's.
func missionControlRule(kinds resources) policy {
	return policy{
		name: "mission-control.lab.tkgfix.dev", resources: []schema.GroupVersionResource{kinds.tkcs},
		validations: []any{map[string]any{
			"expression": "!has(object.metadata.annotations) || !('" + MissionControlMark + "' in object.metadata.annotations) || " +
				"!has(object.spec.settings) || !has(object.spec.settings.network) || !has(object.spec.settings.network.trust) || " +
				"(oldObject != null && oldObject.spec == object.spec)",
			"message": "spec.settings.network.trust: Forbidden: the cluster is managed by Tanzu Mission Control",
			"reason":  "Forbidden",
		}},
	}
}
