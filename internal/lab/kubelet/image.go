package kubelet

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	pullTimeout = 2 * time.Minute
	maxManifest = 4 << 20
)

// Image is an image on a node.
type Image struct {
	// ID is what a container status calls imageID.
	ID   string
	Size int64
}

// runtime is a node's containerd: it resolves and fetches with containerd's own library, with the roots that the node has loaded.
type runtime struct {
	node Node

	mu     sync.Mutex // one pull at a time, as kubelet does by default
	images map[string]Image
}

func newRuntime(node Node) *runtime { return &runtime{node: node, images: map[string]Image{}} }

// present returns the image if the node has it.
func (r *runtime) present(ref string) (Image, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	image, ok := r.images[ref]
	return image, ok
}

// pull gets the image by a real handshake, manifest request and download. Its error reads as that of containerd 1.7
// (tkg-facts.md §6.1, §9.1).
func (r *runtime) pull(ctx context.Context, image string) (Image, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	named, err := reference.ParseDockerRef(image)
	if err != nil {
		return Image{}, fmt.Errorf("failed to parse reference %q: %w", image, err)
	}
	ref := named.String()
	registries, err := newRegistries(r.node)
	if err != nil {
		return Image{}, err
	}
	defer registries.close()
	pulled, err := resolveAndFetch(ctx, docker.NewResolver(docker.ResolverOptions{Hosts: registries.hosts(ctx)}), named)
	if err != nil {
		return Image{}, fmt.Errorf("failed to pull and unpack image %q: %w", ref, registries.explain(err))
	}
	r.images[image] = pulled
	return pulled, nil
}

func resolveAndFetch(ctx context.Context, resolver remotes.Resolver, named reference.Named) (Image, error) {
	ref := named.String()
	name, desc, err := resolver.Resolve(ctx, ref)
	if err != nil {
		return Image{}, fmt.Errorf("failed to resolve reference %q: %w", ref, err)
	}
	fetcher, err := resolver.Fetcher(ctx, name)
	if err != nil {
		return Image{}, fmt.Errorf("failed to get fetcher for %q: %w", ref, err)
	}
	size, err := download(ctx, fetcher, desc)
	if err != nil {
		return Image{}, fmt.Errorf("failed to copy: %w", err)
	}
	return Image{ID: named.Name() + "@" + desc.Digest.String(), Size: size}, nil
}

// download fetches the manifest and all that it names, checks the digests and keeps nothing.
func download(ctx context.Context, fetcher remotes.Fetcher, desc ocispec.Descriptor) (int64, error) {
	data, err := fetch(ctx, fetcher, desc)
	if err != nil {
		return 0, err
	}
	manifest, err := parseManifest(data)
	if err != nil {
		return 0, err
	}
	total := int64(len(data))
	for _, blob := range append(manifest.Layers, manifest.Config) {
		size, err := verify(ctx, fetcher, blob)
		if err != nil {
			return 0, err
		}
		total += size
	}
	return total, nil
}

func fetch(ctx context.Context, fetcher remotes.Fetcher, desc ocispec.Descriptor) ([]byte, error) {
	body, err := fetcher.Fetch(ctx, desc)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, maxManifest))
	if err != nil {
		return nil, err
	}
	if got := digest.FromBytes(data); got != desc.Digest {
		return nil, fmt.Errorf("unexpected commit digest %s, expected %s", got, desc.Digest)
	}
	return data, nil
}

func verify(ctx context.Context, fetcher remotes.Fetcher, desc ocispec.Descriptor) (int64, error) {
	body, err := fetcher.Fetch(ctx, desc)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	verifier := desc.Digest.Verifier()
	size, err := io.Copy(verifier, io.LimitReader(body, desc.Size+1))
	if err != nil {
		return 0, err
	}
	if !verifier.Verified() {
		return 0, fmt.Errorf("unexpected content of %s", desc.Digest)
	}
	return size, nil
}

// Pull pulls an image on the node without a pod, by the same handshake and with the same text of error.
func Pull(ctx context.Context, node Node, image string) (Image, error) {
	return newRuntime(node).pull(ctx, image)
}
