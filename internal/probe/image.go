package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"runtime"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/plugins"
)

const (
	maxHops     = 10
	maxManifest = 4 << 20
	maxToken    = 64 << 10
	maxHeader   = 64 << 10
)

// image is what is asked for.
type image struct {
	repository string
	// version is a tag or a digest.
	version string
}

// parseImage reads REPO[:TAG|@DIGEST], with or without the registry before it. No image is nil.
func parseImage(host, port, text string) (*image, error) {
	if text == "" {
		return nil, nil
	}
	for _, prefix := range []string{net.JoinHostPort(host, port) + "/", host + "/"} {
		if rest, found := strings.CutPrefix(text, prefix); found {
			text = rest
			break
		}
	}
	named, err := reference.ParseNormalizedNamed("registry.invalid/" + text)
	if err != nil {
		return nil, plugins.Hint(fmt.Errorf("%w: %q: %w", ErrNoImage, text, err), "give --image REPO[:TAG|@DIGEST], such as team/app:1.0")
	}
	named = reference.TagNameOnly(named)
	out := &image{repository: reference.Path(named)}
	if host == "registry-1.docker.io" && !strings.Contains(out.repository, "/") {
		out.repository = "library/" + out.repository
	}
	if d, ok := named.(reference.Digested); ok {
		out.version = d.Digest().String()
	} else if t, ok := named.(reference.Tagged); ok {
		out.version = t.Tag()
	}
	return out, nil
}

// fetch asks for the manifest, and for one blob.
func (l *puller) fetch(ctx context.Context) error {
	base := l.mirror.URL.JoinPath(l.image.repository)
	if !l.home() { // so that a mirror knows whose image is meant (containerd, core/remotes/docker/resolver.go)
		base.RawQuery = url.Values{"ns": {strings.TrimSuffix(hostPort(l.req.Host, l.req.Port), ":443")}}.Encode()
	}
	manifest := base.JoinPath("manifests", l.image.version).String()
	status, challenge, err := l.ask(ctx, "manifest", http.MethodHead, manifest, nil)
	if err != nil {
		return err
	}
	if status == http.StatusUnauthorized {
		if err := l.authorize(ctx, challenge); err != nil {
			return err
		}
		if status, _, err = l.ask(ctx, "manifest", http.MethodHead, manifest, nil); err != nil {
			return err
		}
	}
	if end := endOf(status, "the registry"); end != nil {
		return end
	}
	blob, err := l.blob(ctx, base, manifest)
	if err != nil || blob == "" {
		return err
	}
	status, _, err = l.ask(ctx, "blob", http.MethodGet, base.JoinPath("blobs", blob).String(), nil)
	if err != nil {
		return err
	}
	if end := endOf(status, "the host of the blobs"); end != nil {
		return end
	}
	return nil
}

// endOf is the verdict on an answer that ends a pull, nil for one that does not.
func endOf(status int, who string) *ended {
	id := ""
	switch {
	case status >= 200 && status < 300:
		return nil
	case status == 401 || status == 403:
		id = "unauthorized"
	case status == 404:
		id = "not-found"
	case status == 429:
		id = "rate-limited"
	case status >= 500:
		id = "registry-error"
	default:
		id = "not-a-registry"
	}
	return &ended{verdict: VerdictOf(id), note: fmt.Sprintf("%s answers %d %s", who, status, http.StatusText(status)),
		goError: fmt.Sprintf("unexpected status: %d %s", status, http.StatusText(status))}
}

// blob returns the digest of the image's configuration, over an index if there is one; empty if the manifest has none.
func (l *puller) blob(ctx context.Context, base *url.URL, manifest string) (string, error) {
	for range 3 {
		var body []byte
		status, _, err := l.ask(ctx, "manifest", http.MethodGet, manifest, &body)
		if err != nil {
			return "", err
		}
		if end := endOf(status, "the registry"); end != nil {
			return "", end
		}
		var m struct {
			Config    ocispec.Descriptor   `json:"config"`
			Manifests []ocispec.Descriptor `json:"manifests"`
		}
		if err := json.Unmarshal(body, &m); err != nil {
			return "", &ended{verdict: VerdictOf("not-a-registry"), note: "what it sends as a manifest is none", goError: "no manifest"}
		}
		if m.Config.Digest.Validate() == nil {
			return m.Config.Digest.String(), nil
		}
		next := choose(m.Manifests)
		if next == "" {
			return "", nil
		}
		manifest = base.JoinPath("manifests", next.String()).String()
	}
	return "", nil
}

// choose returns the manifest of an index for the nodes' platform, else the first.
func choose(list []ocispec.Descriptor) digest.Digest {
	var first digest.Digest
	for _, d := range list {
		if d.Digest.Validate() != nil {
			continue
		}
		if first == "" {
			first = d.Digest
		}
		if d.Platform != nil && d.Platform.OS == "linux" && d.Platform.Architecture == runtime.GOARCH {
			return d.Digest
		}
	}
	return first
}

var challengePart = regexp.MustCompile(`([a-zA-Z_]+)="([^"]*)"`)

// authorize gets an anonymous token where a challenge says.
func (l *puller) authorize(ctx context.Context, challenge string) error {
	refused := &ended{verdict: VerdictOf("unauthorized"), note: "the registry answers 401 Unauthorized: it wants credentials", goError: "unexpected status: 401 Unauthorized"}
	kind, _, _ := strings.Cut(challenge, " ")
	if !strings.EqualFold(kind, "Bearer") {
		return refused
	}
	part := map[string]string{}
	for _, m := range challengePart.FindAllStringSubmatch(challenge, 16) {
		part[strings.ToLower(m[1])] = m[2]
	}
	realm, err := url.Parse(part["realm"])
	if err != nil || realm.Host == "" {
		return refused
	}
	q := realm.Query()
	if s := part["service"]; s != "" {
		q.Set("service", s)
	}
	q.Set("scope", "repository:"+l.image.repository+":pull")
	realm.RawQuery = q.Encode()
	var body []byte
	status, _, err := l.ask(ctx, "token", http.MethodGet, realm.String(), &body)
	if err != nil {
		return err
	}
	if end := endOf(status, "the token server "+realm.Host); end != nil {
		if status == http.StatusNotFound || end.verdict.ID == "not-a-registry" {
			end.verdict = VerdictOf("unauthorized")
		}
		return end
	}
	var answer struct {
		Token  string `json:"token"`
		Access string `json:"access_token"`
	}
	_ = json.Unmarshal(body, &answer)
	if l.token = answer.Token; l.token == "" {
		l.token = answer.Access
	}
	if l.token == "" {
		return refused
	}
	return nil
}

// ask sends one question and follows redirects, each host judged on its own before anything is sent there. body, if not nil, takes
// the answer, which is bounded.
func (l *puller) ask(ctx context.Context, role, method, to string, body *[]byte) (status int, challenge string, err error) {
	for range maxHops {
		u, err := url.Parse(to)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			return 0, "", &ended{verdict: VerdictOf("registry-error"), note: "the registry refers to what is no address", goError: "unsupported protocol scheme"}
		}
		if err := l.meet(ctx, role, method, u); err != nil {
			return 0, "", err
		}
		resp, err := l.send(ctx, role, method, u)
		if err != nil {
			return 0, "", err
		}
		status, challenge = resp.StatusCode, resp.Header.Get("WWW-Authenticate")
		next := resp.Header.Get("Location")
		limit := int64(maxManifest)
		if role == "token" {
			limit = maxToken
		}
		if body != nil {
			*body, err = io.ReadAll(io.LimitReader(resp.Body, limit+1))
		}
		_ = resp.Body.Close()
		if err != nil {
			return 0, "", err
		}
		if body != nil && int64(len(*body)) > limit {
			return 0, "", &ended{verdict: VerdictOf("registry-error"), note: fmt.Sprintf("its answer is larger than %d bytes", limit), goError: "the answer is too large"}
		}
		l.hops[len(l.hops)-1].Status = status
		if status < 300 || status > 399 || next == "" {
			return status, challenge, nil
		}
		target, err := u.Parse(next)
		if err != nil {
			return 0, "", &ended{verdict: VerdictOf("registry-error"), note: "the registry refers to what is no address", goError: "bad Location"}
		}
		to = target.String()
	}
	return 0, "", &ended{verdict: VerdictOf("registry-error"), note: "the registry redirects without end", goError: "stopped after 10 redirects"}
}

// send sends one question and adds the hop. The token goes to the registry alone.
func (l *puller) send(ctx context.Context, role, method string, u *url.URL) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "tkgfix")
	if role == "blob" {
		req.Header.Set("Range", "bytes=0-0")
	}
	if role == "manifest" {
		req.Header.Set("Accept", strings.Join([]string{
			"application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.distribution.manifest.list.v2+json",
			ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex, "*/*",
		}, ", "))
	}
	if l.token != "" && hostOf(u) == hostPort(l.host, l.port) {
		req.Header.Set("Authorization", "Bearer "+l.token)
	}
	l.hop(Hop{Role: role, Host: certs.Clean(hostOf(u)), Accepted: true})
	resp, err := l.client.Do(req)
	if err != nil {
		l.hops[len(l.hops)-1].GoError = withoutQuery(err)
	}
	return resp, err
}

// meet looks at a host before the first question to it.
func (l *puller) meet(ctx context.Context, role, method string, u *url.URL) error {
	at := hostOf(u)
	if u.Scheme != "https" || l.seen[at] {
		return nil
	}
	l.seen[at] = true
	host, port, err := net.SplitHostPort(at)
	if err != nil {
		return err
	}
	s := l.route.look(ctx, host, port, host, false)
	c := l.conclude(ctx, s)
	if c.Accepted {
		return nil
	}
	verb := strings.ToUpper(method[:1]) + strings.ToLower(method[1:])
	c.GoError = fmt.Sprintf("%s %q: %s", verb, withoutQueryURL(u), c.GoError)
	if c.With != nil && !c.With.Accepted {
		c.With = &Candidate{GoError: fmt.Sprintf("%s %q: %s", verb, withoutQueryURL(u), c.With.GoError)}
	}
	l.hop(Hop{Role: role, Host: certs.Clean(at), Verdict: c.ID, GoError: c.GoError, Chain: certsOf(s.shown.Chain)})
	return &ended{verdict: c.Verdict, note: c.Note, goError: c.GoError, judged: &c}
}

func (l *puller) hop(h Hop) {
	if len(l.hops) < 4*maxHops {
		l.hops = append(l.hops, h)
	}
}

// hostOf is host:port of an address.
func hostOf(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80"}[u.Scheme]
	}
	if port == "" {
		port = "443"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// withoutQueryURL is an address without its query and user, which may hold secrets.
func withoutQueryURL(u *url.URL) string {
	return certs.Clean((&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String())
}

// withoutQuery is the text of an error of net/http without the query of its address.
func withoutQuery(err error) string {
	if e, ok := errors.AsType[*url.Error](err); ok {
		if u, perr := url.Parse(e.URL); perr == nil {
			return certs.Clean(fmt.Sprintf("%s %q: %s", e.Op, withoutQueryURL(u), e.Err.Error()))
		}
		return certs.Clean(e.Err.Error())
	}
	return certs.Clean(err.Error())
}
