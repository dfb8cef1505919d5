package kubelet

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	"golang.org/x/net/http/httpproxy"
)

const (
	certsD = "etc/containerd/certs.d"
	// Bounds of what is taken from a node's certs.d.
	maxHosts    = 64
	maxHostFile = 1 << 20
)

// registries is how one pull reaches registries: by containerd's own rules for hosts.toml, with the roots, the proxy, the clock and
// the network of the node. hosts.toml is read anew for each pull, as containerd does; the others are those of its start.
type registries struct {
	node  Node
	roots *x509.CertPool
	proxy func(*url.URL) (*url.URL, error)
	// view is a copy of the node's certs.d in which every path is one of this machine; empty if the node has none.
	view    string
	clients []*http.Client
}

func newRegistries(node Node) (*registries, error) {
	loaded := node.Containerd()
	r := &registries{node: node, roots: loaded.Roots.Clone(), proxy: proxyOf(loaded.Environment)}
	return r, r.copyHosts()
}

// proxyOf applies the rules of Go's http.ProxyFromEnvironment to an environment of NAME=value.
func proxyOf(environment []string) func(*url.URL) (*url.URL, error) {
	env := func(names ...string) string {
		for _, name := range names {
			for _, variable := range environment {
				if value, ok := strings.CutPrefix(variable, name+"="); ok && value != "" {
					return value
				}
			}
		}
		return ""
	}
	config := httpproxy.Config{HTTPProxy: env("HTTP_PROXY", "http_proxy"), HTTPSProxy: env("HTTPS_PROXY", "https_proxy"), NoProxy: env("NO_PROXY", "no_proxy")}
	return config.ProxyFunc()
}

// hosts returns what containerd's resolver asks for the registries of an image's host.
func (r *registries) hosts(ctx context.Context) docker.RegistryHosts {
	options := config.HostOptions{UpdateClient: r.update}
	if r.view != "" {
		options.HostDir = config.HostDirFromRoot(r.view)
	}
	return config.ConfigureHosts(ctx, options)
}

// update makes a client that containerd's library has made one of the node.
func (r *registries) update(client *http.Client) error {
	transport, ok := client.Transport.(*http.Transport)
	if !ok {
		return fmt.Errorf("unexpected transport %T", client.Transport)
	}
	tlsConfig := transport.TLSClientConfig
	if tlsConfig.RootCAs == nil {
		tlsConfig.RootCAs = r.roots
	} else {
		// A copy of the first client's configuration, which shares its roots; what hosts.toml has as ca was added to them and is meant
		// for this host alone.
		tlsConfig.RootCAs = r.roots.Clone()
		*r.roots = *r.node.Containerd().Roots.Clone()
	}
	tlsConfig.Time = r.node.Now
	transport.DialContext = r.node.Dial
	transport.Proxy = func(req *http.Request) (*url.URL, error) { return r.proxy(req.URL) }
	r.clients = append(r.clients, client)
	return nil
}

func (r *registries) close() {
	for _, c := range r.clients {
		c.CloseIdleConnections()
	}
	if r.view != "" {
		_ = os.RemoveAll(r.view) // a temporary folder
	}
}

// explain gives paths in the text of an error as they are on the node.
func (r *registries) explain(err error) error {
	if r.view == "" || !strings.Contains(err.Error(), r.view) {
		return err
	}
	return errors.New(strings.ReplaceAll(err.Error(), r.view, "/"+certsD))
}

// copyHosts makes the view.
func (r *registries) copyHosts() error {
	dirs, err := fs.ReadDir(r.node.FS(), certsD)
	if err != nil || len(dirs) == 0 {
		return nil //nolint:nilerr // most nodes have none
	}
	if r.view, err = os.MkdirTemp("", "tkgfix-lab-certs.d-"); err != nil {
		return fmt.Errorf("copying certs.d: %w", err)
	}
	for _, dir := range dirs[:min(len(dirs), maxHosts)] {
		if !dir.IsDir() {
			continue
		}
		if err := r.copyHost(dir.Name()); err != nil {
			r.close()
			return fmt.Errorf("copying certs.d: %w", err)
		}
	}
	return nil
}

func (r *registries) copyHost(dir string) error {
	to := filepath.Join(r.view, dir)
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	files, err := fs.ReadDir(r.node.FS(), path.Join(certsD, dir))
	if err != nil {
		return err
	}
	for _, file := range files[:min(len(files), maxHosts)] {
		data, err := r.read(path.Join(certsD, dir, file.Name()))
		if err != nil {
			continue // a folder, or nothing that containerd could read either
		}
		if file.Name() == "hosts.toml" {
			data = r.localize(data, dir)
		}
		if err := os.WriteFile(filepath.Join(to, file.Name()), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (r *registries) read(name string) ([]byte, error) {
	file, err := r.node.FS().Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, maxHostFile))
}

var (
	pathKeys = regexp.MustCompile(`(?m)^\s*(?:ca|client)\s*=\s*(?:"[^"\n]*"|\[[^=]*?\]\s*$)`)
	quoted   = regexp.MustCompile(`"[^"\n]*"`)
)

// localize replaces the absolute paths of hosts.toml by copies of the node's files.
func (r *registries) localize(toml []byte, dir string) []byte {
	copies := 0
	return pathKeys.ReplaceAllFunc(toml, func(assignment []byte) []byte {
		return quoted.ReplaceAllFunc(assignment, func(text []byte) []byte {
			name := strings.Trim(string(text), `"`)
			if !path.IsAbs(name) {
				return text
			}
			data, err := r.read(path.Clean(name)[1:])
			if err != nil {
				return text // containerd's error names it
			}
			copies++
			local := fmt.Sprintf("node-file-%d", copies)
			if err := os.WriteFile(filepath.Join(r.view, dir, local), data, 0o600); err != nil {
				return text
			}
			return []byte(`"` + local + `"`)
		})
	})
}
