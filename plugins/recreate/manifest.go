package recreate

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

const (
	// maxObjects bounds a YAML file.
	maxObjects = 200
	// maxCheckName is how long a cluster's name may be for the check to be about the manifest, not about the name.
	maxCheckName = 42
	checkSuffix  = "-tkgfix-check"
)

// parseObjects reads a YAML file of several documents. Empty documents are left out.
func parseObjects(data []byte) ([]*unstructured.Unstructured, error) {
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	var out []*unstructured.Unstructured
	for n := 1; ; n++ {
		doc, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read document %d: %w", n, err)
		}
		obj, err := parseObject(doc)
		if err != nil {
			return nil, fmt.Errorf("read document %d: %w", n, err)
		}
		if obj == nil {
			continue
		}
		if out = append(out, obj); len(out) > maxObjects {
			return nil, fmt.Errorf("more than %d objects", maxObjects)
		}
	}
}

func parseObject(doc []byte) (*unstructured.Unstructured, error) {
	raw, err := yaml.YAMLToJSONStrict(doc)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(bytes.TrimSpace(raw), []byte("null")) {
		return nil, nil
	}
	// By exact keys, as the API server reads them: encoding/json would take metaData for metadata.
	fields := map[string]any{}
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, errors.New("not an object with apiVersion, kind and metadata")
	}
	obj := &unstructured.Unstructured{Object: fields}
	switch kind := obj.GetKind(); {
	case obj.GetAPIVersion() == "" || kind == "":
		return nil, errors.New("apiVersion or kind is missing")
	case strings.HasSuffix(kind, "List"):
		return nil, fmt.Errorf("%s: write its items as documents of their own", kind)
	case obj.GetName() == "":
		return nil, fmt.Errorf("%s without metadata.name", kind)
	}
	if _, err := schema.ParseGroupVersion(obj.GetAPIVersion()); err != nil {
		return nil, err
	}
	// Once more by the API machinery, which keeps whole numbers whole.
	return obj, obj.UnmarshalJSON(raw)
}

// parseManifest reads the user's own manifest of the cluster: one TanzuKubernetesCluster or Cluster and nothing beside it, so that nothing is
// left out in silence. It is not cleaned yet.
func parseManifest(data []byte, ref tkg.Ref) (*unstructured.Unstructured, error) {
	objects, err := parseObjects(data)
	if err != nil {
		return nil, err
	}
	if len(objects) != 1 {
		err := fmt.Errorf("it holds %d objects, not one", len(objects))
		return nil, plugins.Hint(err, "give a file with the cluster's object alone; what lives inside the cluster goes into the file of workloads")
	}
	obj := objects[0]
	switch gk := obj.GroupVersionKind().GroupKind(); gk {
	case schema.GroupKind{Group: tkg.RunGroup, Kind: tkg.TKCKind}, schema.GroupKind{Group: tkg.ClusterGroup, Kind: tkg.ClusterKind}:
	default:
		return nil, fmt.Errorf("it holds a %s, neither a %s.%s nor a %s.%s", gk, tkg.TKCKind, tkg.RunGroup, tkg.ClusterKind, tkg.ClusterGroup)
	}
	if obj.GetNamespace() == "" {
		obj.SetNamespace(ref.Namespace)
	}
	if obj.GetNamespace() != ref.Namespace || obj.GetName() != ref.Name {
		return nil, fmt.Errorf("it is the manifest of %s/%s, not of %s", obj.GetNamespace(), obj.GetName(), ref)
	}
	return obj, nil
}

// parseWorkloads reads what is to be applied on the new cluster, namespaces first. Secrets are refused, because plans, approvals and
// journals hold what is applied.
func parseWorkloads(data []byte) ([]*unstructured.Unstructured, error) {
	objects, err := parseObjects(data)
	if err != nil {
		return nil, err
	}
	for _, obj := range objects {
		if gk := obj.GroupVersionKind().GroupKind(); gk == (schema.GroupKind{Kind: "Secret"}) {
			err := fmt.Errorf("it holds the Secret %s/%s, which would be kept in the plan", obj.GetNamespace(), obj.GetName())
			return nil, plugins.Hint(err, "keep Secrets elsewhere and apply them yourself once the new cluster is ready")
		}
		unstructured.RemoveNestedField(obj.Object, "status")
		for _, field := range []string{"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink"} {
			unstructured.RemoveNestedField(obj.Object, "metadata", field)
		}
	}
	slices.SortStableFunc(objects, func(a, b *unstructured.Unstructured) int { return rank(a) - rank(b) })
	return objects, nil
}

func rank(obj *unstructured.Unstructured) int {
	if obj.GroupVersionKind().GroupKind() == (schema.GroupKind{Kind: "Namespace"}) {
		return 0
	}
	return 1
}

// checkName is the name under which a manifest is dry-run beside the live cluster.
func checkName(name string) string {
	if most := maxCheckName - len(checkSuffix); len(name) > most {
		name = strings.TrimRight(name[:most], "-.")
	}
	return name + checkSuffix
}

// desiredNodes returns how many nodes a manifest asks for, in the shapes of v1alpha1 and of v1alpha2 and later, and of a Cluster
// (tkg-facts.md §1.2 to §1.4). A count that is not given is one, or the least that an autoscaler keeps.
func desiredNodes(manifest *unstructured.Unstructured) (controlPlane, workers int) {
	topology, _, _ := unstructured.NestedMap(manifest.Object, "spec", "topology")
	if m, ok := topology["controlPlane"].(map[string]any); ok {
		controlPlane = countOf(m, "replicas", "count")
	}
	own, _ := topology["workers"].(map[string]any)
	if own != nil && manifest.GetKind() != tkg.ClusterKind {
		workers += countOf(own, "count")
	}
	for _, list := range []any{topology["nodePools"], own["machineDeployments"], own["machinePools"]} {
		pools, _ := list.([]any)
		for _, p := range pools {
			if m, ok := p.(map[string]any); ok {
				workers += countOf(m, "replicas")
			}
		}
	}
	return controlPlane, workers
}

// autoscalerMinimum is the annotation by which an autoscaler keeps a pool's count, which is not given then.
const autoscalerMinimum = "cluster.x-k8s.io/cluster-api-autoscaler-node-group-min-size"

func countOf(m map[string]any, keys ...string) int {
	for _, key := range keys {
		switch n := m[key].(type) {
		case int64:
			return int(n)
		case float64:
			return int(n)
		}
	}
	annotations, _, _ := unstructured.NestedStringMap(m, "metadata", "annotations")
	if n, err := strconv.Atoi(annotations[autoscalerMinimum]); err == nil && n >= 0 {
		return n
	}
	return 1
}

// objectOf reads an object from an approved change.
func objectOf(change plugins.PlannedChange) (*unstructured.Unstructured, error) {
	obj := &unstructured.Unstructured{}
	if err := obj.UnmarshalJSON(change.After); err != nil {
		return nil, fmt.Errorf("read %s from the approved change: %w", change.Target, err)
	}
	return obj, nil
}

// targetOf returns the change's target for an object.
func targetOf(obj *unstructured.Unstructured) plugins.Target {
	gvk := obj.GroupVersionKind()
	return plugins.Target{
		Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind,
		Namespace: obj.GetNamespace(), Name: obj.GetName(), UID: string(obj.GetUID()),
	}
}
