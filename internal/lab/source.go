package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/tkgfix/tkgfix/internal/lab/service"
)

const (
	// sourcesName is the ConfigMap with what stands in the place of a repository: a manifest for each key NAMESPACE.CLUSTER.
	sourcesName = "lab-sources"
	// sourcesEvery is how often the imitated GitOps controllers apply their manifests.
	sourcesEvery = time.Second
	// sourcesUser is by which name the audit log knows them.
	sourcesUser = "lab-gitops"
)

// keeper is who keeps a cluster as its manifest says.
type keeper struct {
	// manager is its name among the managers of the object's fields.
	manager string
	// marks are the annotations that it writes (tkg-facts.md §4, GitOps).
	marks map[string]string
	// idle says that it writes its marks and nothing else.
	idle bool
}

// keeperOf returns who keeps the cluster of an owner with these faults.
func keeperOf(faults []service.Fault, owner *unstructured.Unstructured) (keeper, bool) {
	for _, f := range faults {
		switch f {
		case service.ArgoCD:
			group := owner.GroupVersionKind().Group
			id := fmt.Sprintf("clusters:%s/%s:%s/%s", group, owner.GetKind(), owner.GetNamespace(), owner.GetName())
			return keeper{manager: "argocd-controller", marks: map[string]string{"argocd.argoproj.io/tracking-id": id}}, true
		case service.Flux:
			return keeper{manager: "kustomize-controller", marks: map[string]string{
				"kustomize.toolkit.fluxcd.io/name": "clusters", "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
			}}, true
		case service.TMC:
			return keeper{manager: "tmc", idle: true, marks: map[string]string{
				service.MissionControlMark: "true", "run.tanzu.vmware.com/vmware-system-tmc-cluster-group": "default",
			}}, true
		}
	}
	return keeper{}, false
}

// has says whether a manifest bears the keeper's marks.
func (k keeper) has(source *unstructured.Unstructured) bool {
	for mark := range k.marks {
		if source.GetAnnotations()[mark] == "" {
			return false
		}
	}
	return true
}

// mark writes the keeper's marks into a manifest, in the place of any other's.
func (k keeper) mark(source *unstructured.Unstructured) {
	annotations := map[string]string{}
	maps.Copy(annotations, source.GetAnnotations())
	for _, mark := range marksOf(source) {
		delete(annotations, mark)
	}
	maps.Copy(annotations, k.marks)
	source.SetAnnotations(annotations)
}

// marksOf returns the marks that any keeper writes on an object.
func marksOf(source *unstructured.Unstructured) []string {
	var out []string
	for _, f := range service.Faults() {
		k, _ := keeperOf([]service.Fault{f}, source)
		out = append(out, slices.Sorted(maps.Keys(k.marks))...)
	}
	return out
}

// keepSources does, until ctx ends, what GitOps controllers do: it applies their manifests, over and over.
func (d *daemon) keepSources(ctx context.Context) error {
	tick := time.NewTicker(sourcesEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := d.applySources(ctx); err != nil && ctx.Err() == nil {
				d.opts.Log.Warn("applying the sources of clusters", "error", err)
			}
		}
	}
}

func (d *daemon) labClient() (dynamic.Interface, error) {
	config, err := d.supervisor.Config(sourcesUser)
	if err != nil {
		return nil, err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client of the Supervisor: %w", err)
	}
	return client, nil
}

// applySources applies each manifest once. Of a cluster that nobody keeps any more it takes the marks.
func (d *daemon) applySources(ctx context.Context) error {
	d.sources.Lock()
	defer d.sources.Unlock()
	client, err := d.labClient()
	if err != nil {
		return err
	}
	own := client.Resource(service.ConfigMaps).Namespace(service.LabNamespace)
	config, err := own.Get(ctx, service.FaultsName, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("reading the faults: %w", err)
	}
	faults := service.FaultsOf(config)
	sources, err := own.Get(ctx, sourcesName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		sources, err = own.Create(ctx, configMap(sourcesName), metav1.CreateOptions{})
	}
	if err != nil {
		return fmt.Errorf("reading the sources: %w", err)
	}
	data, _, _ := unstructured.NestedStringMap(sources.Object, "data")
	next := map[string]string{}
	for ref, planted := range faults {
		key := ref.Namespace + "." + ref.Name
		manifest, err := d.applySource(ctx, client, ref, planted, data[key])
		if err != nil {
			return err
		}
		if manifest != "" {
			next[key] = manifest
		}
	}
	for key, manifest := range data {
		if next[key] == "" {
			if err := d.releaseSource(ctx, client, manifest); err != nil {
				return err
			}
		}
	}
	if maps.Equal(data, next) {
		return nil
	}
	if err := unstructured.SetNestedStringMap(sources.Object, next, "data"); err != nil {
		return fmt.Errorf("writing the sources: %w", err)
	}
	if _, err := own.Update(ctx, sources, metav1.UpdateOptions{}); err != nil && !apierrors.IsConflict(err) { // somebody edits one: next time
		return fmt.Errorf("writing the sources: %w", err)
	}
	return nil
}

func configMap(name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": name, "namespace": service.LabNamespace},
	}}
}

// applySource applies a manifest and returns it. If there is none yet it is made from the live object, which is what somebody does who
// puts a cluster under GitOps.
func (d *daemon) applySource(ctx context.Context, client dynamic.Interface, ref types.NamespacedName, planted []service.Fault, manifest string) (string, error) {
	objects := client.Resource(d.blueprint().owners()).Namespace(ref.Namespace)
	live, err := objects.Get(ctx, ref.Name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return manifest, fmt.Errorf("reading cluster %s: %w", ref, err)
	}
	there := err == nil
	source := &unstructured.Unstructured{Object: map[string]any{}}
	switch {
	case manifest != "":
		if err := yaml.Unmarshal([]byte(manifest), &source.Object); err != nil {
			return manifest, fmt.Errorf("reading the source of cluster %s: %w", ref, err)
		}
	case there:
		source = sourceOf(live)
	}
	k, kept := keeperOf(planted, source)
	if !kept || !there && (manifest == "" || k.idle) {
		return "", nil
	}
	if manifest != "" && !k.has(source) { // it was another's
		if err := d.releaseSource(ctx, client, manifest); err != nil {
			return manifest, err
		}
	}
	k.mark(source)
	data, err := yaml.Marshal(source.Object)
	if err != nil {
		return manifest, fmt.Errorf("writing the source of cluster %s: %w", ref, err)
	}
	if k.idle {
		delete(source.Object, "spec")
	}
	if _, err := objects.Apply(ctx, ref.Name, source, metav1.ApplyOptions{FieldManager: k.manager, Force: true}); err != nil {
		d.opts.Log.Info("a source is refused", "cluster", ref.String(), "error", err) // a GitOps controller goes on as well
	}
	return string(data), nil
}

// sourceOf is what is in a repository of an object: what a person writes, and nothing of what the platform adds.
func sourceOf(live *unstructured.Unstructured) *unstructured.Unstructured {
	out := &unstructured.Unstructured{Object: map[string]any{}}
	out.SetGroupVersionKind(live.GroupVersionKind())
	out.SetNamespace(live.GetNamespace())
	out.SetName(live.GetName())
	out.SetLabels(live.GetLabels())
	if spec, ok, _ := unstructured.NestedMap(live.Object, "spec"); ok {
		for _, field := range []string{"controlPlaneEndpoint", "infrastructureRef", "controlPlaneRef", "paused"} {
			delete(spec, field)
		}
		out.Object["spec"] = spec
	}
	return out
}

// releaseSource takes the marks off a cluster that nobody keeps any more.
func (d *daemon) releaseSource(ctx context.Context, client dynamic.Interface, manifest string) error {
	source := &unstructured.Unstructured{Object: map[string]any{}}
	if err := yaml.Unmarshal([]byte(manifest), &source.Object); err != nil {
		return nil //nolint:nilerr // somebody has spoiled it: there is nothing to take off by it
	}
	none := map[string]any{}
	for _, mark := range marksOf(source) {
		none[mark] = nil
	}
	data, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": none}})
	if err != nil {
		return fmt.Errorf("releasing cluster %s: %w", source.GetName(), err)
	}
	_, err = client.Resource(d.blueprint().owners()).Namespace(source.GetNamespace()).Patch(ctx, source.GetName(), types.MergePatchType, data, metav1.PatchOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("releasing cluster %s: %w", source.GetName(), err)
	}
	return nil
}

// retired ends a Cluster that is left of a dev1 that was a TanzuKubernetesCluster, and says whether there was one.
func (d *daemon) retired(ctx context.Context, client dynamic.Interface) (bool, error) {
	if d.opts.Generation.Classes() {
		return false, nil
	}
	clusters := client.Resource(d.opts.Generation.Resource("cluster.x-k8s.io", "clusters")).Namespace(namespace)
	live, err := clusters.Get(ctx, sick, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && metav1.GetControllerOf(live) != nil {
		return false, nil
	}
	if err == nil {
		err = clusters.Delete(ctx, sick, metav1.DeleteOptions{})
	}
	if err != nil {
		return false, fmt.Errorf("deleting cluster %s: %w", sick, err)
	}
	return true, waitGone(ctx, clusters, sick)
}

// clearFaults takes away all faults of the platform before a scenario is planted, brings releases back that are gone, and ends a dev1 that
// can never become available.
func (d *daemon) clearFaults(ctx context.Context) error {
	client, err := d.labClient()
	if err != nil {
		return err
	}
	if err := service.InstallReleases(ctx, client, d.opts.Generation); err != nil {
		return err
	}
	_, err = client.Resource(service.ConfigMaps).Namespace(service.LabNamespace).Patch(ctx, service.FaultsName, types.MergePatchType, []byte(`{"data":null}`), metav1.PatchOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("clearing the faults: %w", err)
	}
	if err := d.applySources(ctx); err != nil {
		return err
	}
	ref := types.NamespacedName{Namespace: namespace, Name: sick}
	if retired, err := d.retired(ctx, client); err != nil || retired {
		return err
	}
	if !d.service.Misplaced(ref) {
		return nil
	}
	owners := client.Resource(d.blueprint().owners()).Namespace(namespace)
	if err := owners.Delete(ctx, sick, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting cluster %s: %w", sick, err)
	}
	return waitGone(ctx, owners, sick)
}
