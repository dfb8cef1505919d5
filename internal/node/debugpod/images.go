package debugpod

import (
	"cmp"
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/distribution/reference"
	corev1 "k8s.io/api/core/v1"

	"github.com/tkgfix/tkgfix/plugins"
)

const (
	// maxTried bounds the images that are tried on one node.
	maxTried = 6
	// maxListed bounds what is read of a node's list. A kubelet reports 50 images unless it is told otherwise.
	maxListed = 1000
)

// likely are parts of the names of images that TKG puts on each Linux node and that have a shell as a rule, the likeliest first.
func likely() []string {
	return []string{"kube-proxy", "antrea", "calico", "csi", "cloud-provider", "cpi"}
}

// images returns the images of the node that may have a shell, in the order in which to try them: the likely ones, then the largest. The
// sandbox image has none.
func (m *maker) images() ([]string, error) {
	out := choose(m.node.Status.Images)
	if len(out) == 0 {
		return nil, plugins.Hint(errors.New("the node reports no image with a usable name"), "name one that is on the node and has sh and chroot, in connections.nodes.image")
	}
	return out, nil
}

func choose(have []corev1.ContainerImage) []string {
	type candidate struct {
		name  string
		rank  int
		bytes int64
	}
	var all []candidate
	for _, image := range have[:min(len(have), maxListed)] {
		name, base := nameOfImage(image.Names)
		if name == "" || base == "pause" {
			continue
		}
		all = append(all, candidate{name, rank(base), image.SizeBytes})
	}
	slices.SortStableFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(b.bytes, a.bytes), cmp.Compare(a.name, b.name))
	})
	var out []string
	for _, c := range all[:min(len(all), maxTried)] {
		out = append(out, c.name)
	}
	return out
}

func rank(base string) int {
	names := likely()
	i := slices.IndexFunc(names, func(part string) bool { return strings.Contains(base, part) })
	if i < 0 {
		return len(names)
	}
	return i
}

// nameOfImage returns one of an image's names, one with a tag before one with a digest, and the last part of its repository. Both are
// empty if no name can be used.
func nameOfImage(names []string) (name, base string) {
	for _, n := range names[:min(len(names), maxListed)] {
		if len(n) > reference.RepositoryNameTotalLengthMax*2 || strings.Contains(n, "<none>") {
			continue
		}
		ref, err := reference.ParseNormalizedNamed(n)
		if err != nil || reference.IsNameOnly(ref) {
			continue
		}
		_, digested := ref.(reference.Digested)
		if name == "" || !digested {
			name, base = n, path.Base(reference.Path(ref))
		}
		if !digested {
			return name, base
		}
	}
	return name, base
}
