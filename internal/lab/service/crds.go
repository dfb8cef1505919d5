package service

import (
	"bufio"
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"
)

//go:embed crds/*.yaml
var crdFiles embed.FS

const (
	establishTimeout = time.Minute
	establishEvery   = 50 * time.Millisecond
)

// InstallCRDs creates the kinds of a generation's Supervisor, in the versions that it serves, and returns when they are served.
func InstallCRDs(ctx context.Context, client dynamic.Interface, g Generation) error {
	crds := client.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	objects, err := readCRDs(crdFiles, g)
	if err != nil {
		return err
	}
	for _, crd := range objects {
		if _, err := crds.Create(ctx, crd, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("creating %s: %w", crd.GetName(), err)
		}
	}
	for _, crd := range objects {
		err := wait.PollUntilContextTimeout(ctx, establishEvery, establishTimeout, true, func(ctx context.Context) (bool, error) {
			live, err := crds.Get(ctx, crd.GetName(), metav1.GetOptions{})
			return err == nil && conditionTrue(live, "Established"), nil
		})
		if err != nil {
			return fmt.Errorf("waiting for %s: %w", crd.GetName(), err)
		}
	}
	return nil
}

// readCRDs returns the CRDs of a generation.
func readCRDs(files fs.FS, g Generation) ([]*unstructured.Unstructured, error) {
	names, err := fs.Glob(files, "crds/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("listing the CRDs: %w", err)
	}
	var out []*unstructured.Unstructured
	for _, name := range names {
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("reading the CRDs: %w", err)
		}
		reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
		for {
			document, err := reader.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("reading %s: %w", name, err)
			}
			crd := &unstructured.Unstructured{}
			if err := yaml.Unmarshal(document, &crd.Object); err != nil {
				return nil, fmt.Errorf("reading %s: %w", name, err)
			}
			if g.adapt(crd) {
				out = append(out, crd)
			}
		}
	}
	return out, nil
}

// adapt lets a CRD serve what the generation serves, and store the version that it prefers. It says whether the generation has the kind.
func (g Generation) adapt(crd *unstructured.Unstructured) bool {
	group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
	served := g.served(group)
	if len(served) == 0 || !g.hasClasses() && crd.GetName() == "clusterclasses."+capiGroup {
		return false
	}
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	for _, each := range versions {
		if v, ok := each.(map[string]any); ok {
			v["served"], v["storage"] = slices.Contains(served, text(v, "name")), text(v, "name") == served[0]
		}
	}
	_ = unstructured.SetNestedSlice(crd.Object, versions, "spec", "versions")
	return true
}

func conditionTrue(object *unstructured.Unstructured, kind string) bool {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok && m["type"] == kind {
			return m["status"] == "True"
		}
	}
	return false
}
