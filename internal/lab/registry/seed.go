package registry

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/tkgfix/tkgfix/internal/lab/program"
)

// maxAnswer bounds what is read of an answer that is only shown.
const maxAnswer = 4 << 10

// Seed pushes a small, valid image as repository:tag through the registry's API. A guarded registry wants a
// token of its issuer, nil for others.
func (s *Store) Seed(ctx context.Context, repository, tag string, issuer *Issuer) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("%w: %w", errSeed, err)
	}
	server := &http.Server{Handler: s, ReadHeaderTimeout: headerTimeout}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // always ErrServerClosed after Close
	}()
	err = s.push(ctx, listener.Addr().String(), repository, tag, issuer)
	err = errors.Join(err, server.Close())
	<-served
	if err != nil {
		return fmt.Errorf("%w %s:%s: %w", errSeed, repository, tag, err)
	}
	return nil
}

// push pushes the image to the registry that answers at the address.
func (s *Store) push(ctx context.Context, address, repository, tag string, issuer *Issuer) error {
	p := pusher{client: &http.Client{Transport: &http.Transport{}}, base: "http://" + address + "/v2/" + repository}
	defer p.client.CloseIdleConnections()
	if issuer != nil {
		token, err := issuer.token([]access{{Type: "repository", Name: repository, Actions: []string{"pull", "push"}}})
		if err != nil {
			return err
		}
		p.token = token
	}
	layer, diff, err := smallLayer()
	if err != nil {
		return err
	}
	config, err := json.Marshal(ocispec.Image{
		Platform: ocispec.Platform{Architecture: "amd64", OS: "linux"},
		Config:   ocispec.ImageConfig{Cmd: []string{"/web"}},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{diff}},
	})
	if err != nil {
		return fmt.Errorf("encoding the image's configuration: %w", err)
	}
	manifest, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(config), Size: int64(len(config))},
		Layers:    []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: digest.FromBytes(layer), Size: int64(len(layer))}},
	})
	if err != nil {
		return fmt.Errorf("encoding the image's manifest: %w", err)
	}
	for _, blob := range [][]byte{layer, config} {
		if err := p.blob(ctx, blob); err != nil {
			return fmt.Errorf("blob: %w", err)
		}
	}
	if _, err := p.do(ctx, http.MethodPut, p.base+"/manifests/"+tag, ocispec.MediaTypeImageManifest, manifest); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	return nil
}

type pusher struct {
	client *http.Client
	base   string
	token  string
}

func (p pusher) blob(ctx context.Context, data []byte) error {
	location, err := p.do(ctx, http.MethodPost, p.base+"/blobs/uploads/", "", nil)
	if err != nil {
		return err
	}
	u, err := url.Parse(location)
	if err != nil {
		return fmt.Errorf("reading the upload's location: %w", err)
	}
	query := u.Query()
	query.Set("digest", digest.FromBytes(data).String())
	u.RawQuery = query.Encode()
	_, err = p.do(ctx, http.MethodPut, u.String(), "application/octet-stream", data)
	return err
}

// do returns the answer's Location.
func (p pusher) do(ctx context.Context, method, address, contentType string, body []byte) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if p.token != "" {
		req.Header.Set("Authorization", "Bearer "+p.token)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return "", err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return "", fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(answer)))
	}
	return resp.Header.Get("Location"), nil
}

// smallLayer returns a gzipped tar of one program and the digest of the tar.
func smallLayer() ([]byte, digest.Digest, error) {
	content := program.Wait()
	var tarball bytes.Buffer
	w := tar.NewWriter(&tarball)
	if err := w.WriteHeader(&tar.Header{Name: "web", Mode: 0o755, Size: int64(len(content))}); err != nil {
		return nil, "", fmt.Errorf("making a layer: %w", err)
	}
	if _, err := w.Write(content); err != nil {
		return nil, "", fmt.Errorf("making a layer: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, "", fmt.Errorf("making a layer: %w", err)
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(tarball.Bytes()); err != nil {
		return nil, "", fmt.Errorf("making a layer: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, "", fmt.Errorf("making a layer: %w", err)
	}
	return zipped.Bytes(), digest.FromBytes(tarball.Bytes()), nil
}
