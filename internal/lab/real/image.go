package real

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/tkgfix/tkgfix/internal/lab/program"
)

const (
	// pauseName is what containerd 1.6 calls the image of a pod's first container.
	pauseName = "registry.k8s.io/pause:3.6"
	// pauseFile is where a node finds the image at its first boot.
	pauseFile = "var/lib/pause.tar"
)

// pauseImage returns an image that does nothing until it is ended, as `docker save` writes one.
func pauseImage() ([]byte, error) {
	layer, err := archive(map[string][]byte{"pause": program.Wait()})
	if err != nil {
		return nil, err
	}
	config, err := json.Marshal(ocispec.Image{
		Platform: ocispec.Platform{Architecture: "amd64", OS: "linux"},
		Config:   ocispec.ImageConfig{Entrypoint: []string{"/pause"}},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(layer)}},
	})
	if err != nil {
		return nil, fmt.Errorf("making the pause image: %w", err)
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{pauseName}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return nil, fmt.Errorf("making the pause image: %w", err)
	}
	return archive(map[string][]byte{"config.json": config, "layer.tar": layer, "manifest.json": manifest})
}

// archive returns a tar of executable files.
func archive(files map[string][]byte) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for name, data := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(data))}); err != nil {
			return nil, fmt.Errorf("making an image: %w", err)
		}
		if _, err := w.Write(data); err != nil {
			return nil, fmt.Errorf("making an image: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("making an image: %w", err)
	}
	return out.Bytes(), nil
}
