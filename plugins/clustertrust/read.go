package clustertrust

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/internal/remedy"
)

// read gets what the Supervisor holds of a cluster's own trust. A cluster that has none is an error. It blocks on the network.
func read(ctx context.Context, c *kube.Client, ref tkg.Ref) (world, error) {
	w := world{secrets: map[string]*unstructured.Unstructured{}}
	var err error
	if w.owner, err = tkg.FindOwner(ctx, c, ref); err != nil {
		return w, err
	}
	if w.owner.Way == tkg.WayNone {
		return w, plugins.Hint(fmt.Errorf("cluster %s has no trust of its own: its class %s has neither of the variables trust and osConfiguration", ref, w.owner.Class),
			"see what its class takes: kubectl get clusterclass %s -n %s -o yaml", w.owner.Class.Name, w.owner.Class.Namespace)
	}
	if w.cluster, err = remedy.ClusterOf(ctx, c, w.owner); err != nil {
		return w, err
	}
	if err := remedy.Going(w.owner, w.cluster); err != nil {
		return w, err
	}
	if w.owner.Way == tkg.WayTKC {
		w.entries, err = tkg.OwnTrust(w.owner.Object, w.owner.Way, nil)
		return w, err
	}
	if err := w.readSecrets(ctx, c); err != nil {
		return w, err
	}
	w.others, w.othersErr = otherClusters(ctx, c, ref)
	return w, nil
}

// readSecrets reads the entries and the Secrets that they name.
func (w *world) readSecrets(ctx context.Context, c *kube.Client) error {
	r, err := c.Resource(ctx, "", "Secret")
	if err != nil {
		return err
	}
	get := func(name string) (*unstructured.Unstructured, error) {
		if known, ok := w.secrets[name]; ok {
			return known, nil
		}
		if len(validation.NameIsDNSSubdomain(name, false)) > 0 { // such as ../x, which no Secret is called
			return nil, nil
		}
		obj, err := c.Get(ctx, r, w.owner.Ref().Namespace, name)
		if apierrors.IsNotFound(err) {
			obj, err = nil, nil
		}
		if err == nil {
			w.secrets[name] = obj
		}
		return obj, err
	}
	if _, err := get(tkg.TrustSecret(w.owner.Ref().Name)); err != nil {
		return err
	}
	var failed error
	w.entries, err = tkg.OwnTrust(w.owner.Object, w.owner.Way, func(secret, key string) (string, bool) {
		obj, err := get(secret)
		if err != nil && failed == nil {
			failed = err
		}
		return tkg.SecretKey(obj, key)
	})
	if failed != nil {
		return failed
	}
	return err
}

// otherClusters returns the Clusters of the namespace but this one.
func otherClusters(ctx context.Context, c *kube.Client, ref tkg.Ref) ([]*unstructured.Unstructured, error) {
	r, err := c.Resource(ctx, tkg.ClusterGroup, tkg.ClusterKind)
	if err != nil {
		return nil, err
	}
	var out []*unstructured.Unstructured
	err = c.Each(ctx, r, ref.Namespace, metav1.ListOptions{}, func(u *unstructured.Unstructured) error {
		if u.GetName() != ref.Name {
			out = append(out, u.DeepCopy())
		}
		return nil
	})
	return out, err
}
