package main

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// user is who tkgfix runs as, by number, so that Kubernetes can tell that it is not root.
const user = "65532:65532"

// imageOf returns the image of an executable.
func imageOf(platform v1.Platform, executable string, labels map[string]string) (v1.Image, error) {
	layer, err := layerOf(executable)
	if err != nil {
		return nil, err
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if img, err = mutate.Append(img, mutate.Addendum{Layer: layer, MediaType: types.OCILayer}); err != nil {
		return nil, err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Variant = platform.OS, platform.Architecture, platform.Variant
	file.Config = v1.Config{
		Entrypoint: []string{"/tkgfix"}, Cmd: []string{"controller"}, User: user, WorkingDir: "/", Labels: labels,
		// Nothing is looked for in a PATH: the image has one executable.
		Env: []string{"PATH=/", "HOME=/tmp"},
	}
	return mutate.ConfigFile(img, file)
}

// layerOf returns the image's one layer: the executable, the public CAs, the name of the user, and a folder for temporary files.
func layerOf(executable string) (v1.Layer, error) {
	program, err := os.ReadFile(executable)
	if err != nil {
		return nil, err
	}
	var data bytes.Buffer
	w := tar.NewWriter(&data)
	for _, f := range []struct {
		name string
		mode int64
		data []byte
	}{
		{"etc/", 0o755, nil},
		{"etc/group", 0o644, []byte("tkgfix:x:65532:\n")},
		{"etc/passwd", 0o644, []byte("tkgfix:x:65532:65532:tkgfix:/tmp:/nonexistent\n")},
		{"etc/ssl/", 0o755, nil},
		{"etc/ssl/certs/", 0o755, nil},
		{"etc/ssl/certs/ca-certificates.crt", 0o644, roots()},
		{"run/", 0o755, nil},
		{"tkgfix", 0o755, program},
		{"tmp/", 0o1777, nil},
	} {
		header := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data)), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		if f.data == nil {
			header.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("make the layer: %w", err)
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, fmt.Errorf("make the layer: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("make the layer: %w", err)
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data.Bytes())), nil }
	return tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
}

// roots returns Mozilla's CAs in PEM, as the pinned module has them, and not those of the machine on which the image is made, which may
// be a company's own. Those that are trusted on a condition which PEM cannot say are left out.
func roots() []byte {
	var out bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			out.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}))
		}
	}
	return out.Bytes()
}
