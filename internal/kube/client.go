package kube

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/tkgfix/tkgfix/internal/version"
	"github.com/tkgfix/tkgfix/plugins"
)

const (
	queriesPerSecond = 50
	burst            = 100
	requestTimeout   = time.Minute
	// maxResponse bounds one answer of an API server, in bytes. A page of 500 large pods is about a tenth of it.
	maxResponse = 256 << 20
	// FieldManager is the owner's name in managedFields of what tkgfix writes.
	FieldManager = "tkgfix"
)

// Client reads and writes the objects of one API server. It is safe for use by several goroutines.
type Client struct {
	server  string
	objects dynamic.Interface
	kinds   *kinds
	dryRun  []string
	config  *rest.Config
}

// New returns a client of the API server that conn names. It reads the kubeconfig and connects to nothing. A kubeconfig that
// turns off the verification of certificates is refused; credential plugins are allowed, as the file is the user's own.
func New(conn plugins.Kube) (*Client, error) {
	config, err := fileConfig(conn)
	if err != nil {
		return nil, err
	}
	return fromConfig(config)
}

// FromKubeconfig returns a client made from the bytes of a kubeconfig that came from a cluster; name is for messages. Such a
// kubeconfig is not trusted: one that would run a program, read a file of this machine, go through a proxy or skip
// verification is refused.
func FromKubeconfig(data []byte, name string) (*Client, error) {
	config, err := secretConfig(data, name)
	if err != nil {
		return nil, err
	}
	return fromConfig(config)
}

// ForConfig returns a client by a configuration that is at hand, such as a pod's own. It connects to nothing.
func ForConfig(config *rest.Config) (*Client, error) { return fromConfig(rest.CopyConfig(config)) }

// Server returns the host and port of the API server.
func (c *Client) Server() string { return c.server }

// Config returns a copy of the configuration by which other clients reach the same server in the same way.
func (c *Client) Config() *rest.Config { return rest.CopyConfig(c.config) }

// DryRun returns the same client, every write of which the server checks and then forgets (dryRun=All).
func (c *Client) DryRun() *Client {
	dry := *c
	dry.dryRun = []string{"All"}
	return &dry
}

// IsDryRun reports whether writes of this client are only checked.
func (c *Client) IsDryRun() bool { return len(c.dryRun) > 0 }

func fromConfig(config *rest.Config) (*Client, error) {
	config.QPS, config.Burst = queriesPerSecond, burst
	config.UserAgent = "tkgfix/" + version.Version()
	config.Timeout = requestTimeout
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return bounded{next} })
	config.WarningHandler = rest.NoWarnings{}

	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("set up the connection to %s: %w", config.Host, redacted(err))
	}
	objects, err := dynamic.NewForConfigAndClient(config, client)
	if err != nil {
		return nil, fmt.Errorf("set up the connection to %s: %w", config.Host, redacted(err))
	}
	discover, err := discovery.NewDiscoveryClientForConfigAndClient(config, client)
	if err != nil {
		return nil, fmt.Errorf("set up the connection to %s: %w", config.Host, redacted(err))
	}
	return &Client{server: hostPort(config.Host), objects: objects, kinds: newKinds(discover.RESTClient()), config: config}, nil
}

// bounded ends an answer that is too long, so that no server can fill our memory.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(req)
	if err != nil || resp.Body == nil {
		return resp, err
	}
	resp.Body = &limited{body: resp.Body, left: maxResponse}
	return resp, nil
}

type limited struct {
	body io.ReadCloser
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, fmt.Errorf("the API server's answer is longer than %d MiB", maxResponse>>20)
	}
	n, err := l.body.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}

func (l *limited) Close() error { return l.body.Close() }
