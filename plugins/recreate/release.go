package recreate

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

// releases are the Kubernetes releases that the Supervisor has.
type releases struct {
	// served says that they could be listed; otherwise nothing can be said.
	served bool
	names  []string
}

// releases lists the TanzuKubernetesReleases and, of VKS, the KubernetesReleases; both are cluster-wide.
func (s supervisor) releases(ctx context.Context) (releases, error) {
	var out releases
	for _, k := range []struct{ group, kind string }{{tkg.RunGroup, "TanzuKubernetesRelease"}, {"kubernetes.vmware.com", "KubernetesRelease"}} {
		r, err := s.c.Resource(ctx, k.group, k.kind)
		if errors.Is(err, kube.ErrNotServed) {
			continue
		}
		if err != nil {
			return out, err
		}
		err = s.c.Each(ctx, r, "", metav1.ListOptions{}, func(u *unstructured.Unstructured) error {
			out.names = append(out.names, u.GetName())
			return nil
		})
		if apierrors.IsForbidden(err) {
			continue // a namespace's user need not see them; the dry-run of the creation asks the webhook that does
		}
		if err != nil {
			return out, err
		}
		out.served = true
	}
	return out, nil
}

// releaseBlocks says which release that the new cluster asks for is gone. The webhook that resolves it would refuse the creation, and the
// end of the deletion too (tkg-facts.md §4), so that the cluster would be lost.
func releaseBlocks(manifest *unstructured.Unstructured, have releases) []plugins.Block {
	if !have.served {
		return nil
	}
	var blocks []plugins.Block
	for _, r := range tkg.Releases(manifest) {
		if r.Found(have.names) {
			continue
		}
		blocks = append(blocks, plugins.Block{
			Reason: fmt.Sprintf("the Kubernetes release %s is gone, which %s asks for: the new cluster could not be made, nor the old one's deletion end", oneLine(r.Name), r.Path),
			Hint:   "bring it back into the content library, or upgrade the cluster first; see what there is: kubectl get tanzukubernetesreleases,kubernetesreleases",
		})
	}
	return blocks
}
