package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	// The algorithms of an artifact's digest.
	_ "crypto/sha256"
	_ "crypto/sha512"

	"github.com/fluxcd/pkg/apis/meta"
	"github.com/opencontainers/go-digest"

	"github.com/tkgfix/tkgfix/internal/pull"
	"github.com/tkgfix/tkgfix/internal/version"
	"github.com/tkgfix/tkgfix/plugins"
)

const (
	// maxArtifact bounds an artifact as it is downloaded, in bytes.
	maxArtifact = 128 << 20
	// downloadTimeout bounds a download as a whole.
	downloadTimeout = 90 * time.Second
)

// errDigest says that what was downloaded is not what the status of the source names.
var errDigest = errors.New("the downloaded artifact has another digest")

func digestDiffers(err error) bool { return errors.Is(err, errDigest) }

// artifacts is the client of source-controller. It goes by no proxy, since an artifact is served inside the cluster, and follows no
// redirect: the digest would still hold, but a request goes only where the source's status sends it.
var artifacts = &http.Client{
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Transport: &http.Transport{
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  30 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true, // the digest is that of the compressed file
		DisableKeepAlives:      true,
	},
}

// download fetches an artifact, which is never held whole: its bytes go to the digest and to the extractor at once. What was extracted
// is handed over only if the digest is the one that the source's status gives.
func download(ctx context.Context, artifact *meta.Artifact, name string) ([]byte, error) {
	want, err := digest.Parse(artifact.Digest)
	if err != nil {
		return nil, fmt.Errorf("read the artifact's digest: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, downloadTimeout)
	defer cancel()
	body, err := get(ctx, artifact.URL)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()

	verifier := want.Verifier()
	limited := &io.LimitedReader{R: body, N: maxArtifact + 1}
	seen := &reader{r: io.TeeReader(limited, verifier)}
	data, extractErr := extract(seen, name)
	if seen.err == nil {
		// A digest is that of the whole, also when the extractor gave up.
		_, _ = io.Copy(io.Discard, seen)
	}
	switch {
	case seen.err != nil:
		return nil, plugins.WithKind(plugins.KindTransient, fmt.Errorf("download the artifact from %s: %w", hostOf(artifact.URL), seen.err))
	case limited.N <= 0:
		return nil, fmt.Errorf("download the artifact from %s: it is larger than %d bytes", hostOf(artifact.URL), maxArtifact)
	case !verifier.Verified():
		return nil, plugins.Hint(fmt.Errorf("%w than %s: nothing of it was used", errDigest, want),
			"see who answers at %s: the artifact was altered after source-controller stored it", hostOf(artifact.URL))
	}
	return data, extractErr
}

// get asks for an artifact and returns its body.
func get(ctx context.Context, address string) (io.ReadCloser, error) {
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil {
		return nil, errors.New("the artifact's URL is not one of http or https without a credential") // it may hold one
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("ask %s for the artifact: %w", u.Host, err)
	}
	req.Header.Set("User-Agent", "tkgfix/"+version.Version())
	resp, err := artifacts.Do(req)
	if err != nil {
		if cause, ok := errors.AsType[*url.Error](err); ok {
			err = cause.Err // the rest repeats the URL
		}
		return nil, plugins.Hint(plugins.WithKind(plugins.KindTransient, fmt.Errorf("ask %s for the artifact: %w", u.Host, err)),
			"see whether source-controller runs and whether a NetworkPolicy lets this pod reach it: kubectl get pods,networkpolicies -A -l app=source-controller")
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	_ = resp.Body.Close()
	refused := fmt.Errorf("ask %s for the artifact: it answers %s", u.Host, pull.Printable(resp.Status, 80))
	switch {
	case resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode >= http.StatusInternalServerError:
		// source-controller loses its store when its pod is replaced, and fetches again.
		return nil, plugins.WithKind(plugins.KindTransient, refused)
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return nil, fmt.Errorf("%w: a redirect is not followed", refused)
	}
	return nil, refused
}

// reader remembers the error that ended it, which a decompressor hides.
type reader struct {
	r   io.Reader
	err error
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "its URL"
	}
	return u.Host
}

func printable(s string) string { return pull.Printable(s, maxMessage) }
