package install

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const imageName = "tkgfix.dev/tkgfix:dev"

// TestImage makes the image twice and looks into it.
func TestImage(t *testing.T) {
	t.Parallel()
	var archives [2][]byte
	var said [2]string
	for i := range archives {
		path := filepath.Join(t.TempDir(), "image.tar")
		said[i] = command(t, nil, []string{"TMPDIR=" + t.TempDir()}, filepath.Join(root, "hack", "image.sh"), imageName, path, "linux/amd64").ok(t)
		var err error
		if archives[i], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	if said[0] != said[1] || !bytes.Equal(archives[0], archives[1]) {
		t.Errorf("the same image made twice is not the same: %s, %s", said[0], said[1])
	}
	files := untar(t, bytes.NewReader(archives[0]))
	blob := func(d ocispec.Descriptor) []byte { return files["blobs/sha256/"+d.Digest.Encoded()] }
	layout := decode[ocispec.Index](t, files["index.json"])
	if len(layout.Manifests) != 1 || layout.Manifests[0].Annotations["io.containerd.image.name"] != imageName {
		t.Fatalf("the archive does not hold one image of that name: %s", files["index.json"])
	}
	if want := imageName + "@" + layout.Manifests[0].Digest.String(); strings.TrimSpace(said[0]) != want {
		t.Errorf("it says to be %q, and is %s", said[0], want)
	}
	index := decode[ocispec.Index](t, blob(layout.Manifests[0]))
	if len(index.Manifests) != 1 {
		t.Fatalf("images: %+v", index.Manifests)
	}
	manifest := decode[ocispec.Manifest](t, blob(index.Manifests[0]))
	config := decode[ocispec.Image](t, blob(manifest.Config))
	config.Config.Labels = nil
	want := ocispec.ImageConfig{
		User: "65532:65532", Entrypoint: []string{"/tkgfix"}, Cmd: []string{"controller"}, WorkingDir: "/", Env: []string{"PATH=/", "HOME=/tmp"},
	}
	if diff := cmp.Diff(want, config.Config); diff != "" {
		t.Errorf("how it runs (-want, +got):\n%s", diff)
	}
	if got := config.OS + "/" + config.Architecture; got != "linux/amd64" {
		t.Errorf("it is for %s", got)
	}
}

// untar returns the files of an archive.
func untar(t *testing.T, r io.Reader) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for archive := tar.NewReader(r); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if out[h.Name], err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
}

func decode[T any](t *testing.T, data []byte) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	return v
}
