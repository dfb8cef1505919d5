//go:build replicas

package replicas

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
)

const relicGroup = "chaos.example.com"

func secret(namespace string, kubeconfig []byte) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "supervisor"}, Data: map[string][]byte{"kubeconfig": kubeconfig},
	}
}

// workflow deletes a relic when a person has approved it.
func workflow(namespace string) *v1alpha1.Workflow {
	spec, err := yaml.YAMLToJSON(fmt.Appendf(nil, `
inputs: {relic: {type: string}}
connections: {supervisor: {}}
steps:
  - {id: look, uses: look, with: {namespace: %[1]s, relic: "${{ inputs.relic }}"}}
  - id: raze
    uses: raze
    if: "${{ steps.look.there }}"
    with: {namespace: %[1]s, relic: "${{ inputs.relic }}"}
    approval: {message: deletes the relic, required: 1}
`, namespace))
	if err != nil {
		panic(err) // it has a form
	}
	w := &v1alpha1.Workflow{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "raze"}}
	w.Spec.Raw = spec
	return w
}

func relic(namespace, name string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": relicGroup + "/v1", "kind": "Relic"}}
	u.SetNamespace(namespace)
	u.SetName(name)
	return u
}

// newRelic makes a relic that does not go at once when it is deleted: somebody has to let it go.
func newRelic(t *testing.T, namespace, name string) types.UID {
	t.Helper()
	u := relic(namespace, name)
	u.SetFinalizers([]string{relicGroup + "/slow"})
	must(t, admin.Create(t.Context(), u))
	return u.GetUID()
}

// letGo lets a deleted relic go.
func letGo(ctx context.Context, namespace, name string) error {
	patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
	return client.IgnoreNotFound(admin.Patch(ctx, relic(namespace, name), patch))
}

// letAllGo lets each deleted relic of a namespace go some time after, until the test ends. So deletions take a while, as those of clusters do.
func letAllGo(t *testing.T, namespace string, dice *rand.Rand) {
	t.Helper()
	list := &unstructured.UnstructuredList{Object: map[string]any{"apiVersion": relicGroup + "/v1", "kind": "RelicList"}}
	w, err := admin.Watch(t.Context(), list, client.InNamespace(namespace))
	must(t, err)
	var all sync.WaitGroup
	all.Go(func() {
		deleted := map[types.UID]bool{}
		for e := range w.ResultChan() {
			u, ok := e.Object.(*unstructured.Unstructured)
			if !ok || u.GetDeletionTimestamp() == nil || deleted[u.GetUID()] || len(u.GetFinalizers()) == 0 {
				continue
			}
			deleted[u.GetUID()] = true
			after := time.Duration(500+dice.IntN(3000)) * time.Millisecond
			all.Go(func() {
				timer := time.NewTimer(after)
				defer timer.Stop()
				select {
				case <-t.Context().Done():
				case <-timer.C:
					if err := letGo(t.Context(), namespace, u.GetName()); err != nil {
						t.Errorf("let relic %s go: %v", u.GetName(), err)
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		w.Stop()
		all.Wait()
	})
}
