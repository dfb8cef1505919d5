package lab

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/tkgfix/tkgfix/internal/lab/ca"
	"github.com/tkgfix/tkgfix/internal/lab/guest"
	"github.com/tkgfix/tkgfix/internal/lab/proxy"
	"github.com/tkgfix/tkgfix/internal/lab/registry"
)

// The hosts that a pull may lead to, each with an address and a port of its own.
const (
	registryHost, registryPort = "registry.lab", "5443"
	tokenHost, tokenPort       = "auth.lab", "5444"
	blobsHost, blobsPort       = "blobs.lab", "5445"
	mirrorHost, mirrorPort     = "mirror.lab", "5446"
	proxyHost, proxyPort       = "proxy.lab", "3128"
	// routedAddress is an address for documentation (RFC 5737) that the nodes' network delivers to the registry. Loopback would not do:
	// containerd verifies no certificate there.
	routedAddress = "192.0.2.10"
)

// The images of the registry.
const (
	repository, tag               = "demo/web", "1"
	sandboxRepository, sandboxTag = "demo/pause", "3.9"
)

func registryName() string { return net.JoinHostPort(registryHost, registryPort) }
func tokenName() string    { return net.JoinHostPort(tokenHost, tokenPort) }
func blobsName() string    { return net.JoinHostPort(blobsHost, blobsPort) }
func mirrorName() string   { return net.JoinHostPort(mirrorHost, mirrorPort) }
func image() string        { return registryName() + "/" + repository + ":" + tag }
func routedImage() string {
	return net.JoinHostPort(routedAddress, registryPort) + "/" + repository + ":" + tag
}

// hostAddresses are the addresses of the hosts by name.
func hostAddresses(pool *guest.Pool) map[string]string {
	return map[string]string{
		registryHost: pool.Registry(), tokenHost: pool.Server(1), blobsHost: pool.Server(2), mirrorHost: pool.Server(3), proxyHost: pool.Server(4),
	}
}

// servers are the registry and what is around it.
type servers struct {
	pki           *ca.Corporate
	addresses     map[string]string
	open, guarded *registry.Store
	issuer        *registry.Issuer
	// by host
	at map[string]*registry.Server
}

// startServers makes the registries, with their images, and lets all hosts answer as they should.
func startServers(ctx context.Context, dir string, pki *ca.Corporate, pool *guest.Pool, now func() time.Time) (*servers, error) {
	s := &servers{pki: pki, addresses: hostAddresses(pool), at: map[string]*registry.Server{}}
	for host, port := range map[string]string{registryHost: registryPort, tokenHost: tokenPort, blobsHost: blobsPort, mirrorHost: mirrorPort, proxyHost: proxyPort} {
		s.at[host] = registry.NewServer(net.JoinHostPort(s.addresses[host], port))
	}
	var err error
	if s.issuer, err = registry.NewIssuer("https://"+tokenName()+"/token", registryHost, filepath.Join(dir, "ca", "token-signer.pem"), now); err != nil {
		return nil, err
	}
	s.open, s.guarded = registry.New(ctx), registry.NewGuarded(ctx, s.issuer)
	for _, seed := range []struct {
		store           *registry.Store
		issuer          *registry.Issuer
		repository, tag string
	}{
		{s.open, nil, repository, tag},
		{s.open, nil, sandboxRepository, sandboxTag},
		{s.guarded, s.issuer, repository, tag},
	} {
		if err := seed.store.Seed(ctx, seed.repository, seed.tag, seed.issuer); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	for host, handler := range map[string]http.Handler{blobsHost: s.open, mirrorHost: s.open} {
		if err := s.present(ctx, host, ca.Foreign, registry.Front{Handler: handler}); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	return s, s.serve(ctx, server{})
}

// present lets a host answer with a certificate of the kind.
func (s *servers) present(ctx context.Context, host string, kind ca.ServerKind, front registry.Front) error {
	pair, err := s.pki.Server(kind, host)
	if err != nil {
		return err
	}
	if front.Certificate, err = pair.TLS(); err != nil {
		return err
	}
	return s.at[host].Serve(ctx, front)
}

// serve lets the registry, its token server and the proxy behave as a scenario has it.
func (s *servers) serve(ctx context.Context, want server) error {
	front := registry.Front{Speech: want.speech, MaxVersion: want.maxVersion, Handler: s.open}
	if want.mutual {
		front.Clients = x509.NewCertPool()
		front.Clients.AppendCertsFromPEM(s.pki.OtherRoot.PEM())
	}
	tokens := ca.Good
	switch want.http {
	case busy:
		front.Handler = registry.Answer(http.StatusTooManyRequests, "TOOMANYREQUESTS", "You have reached your pull rate limit.")
	case broken:
		front.Handler = registry.Answer(http.StatusServiceUnavailable, "UNAVAILABLE", "service unavailable")
	case private:
		front.Handler = s.guarded
	case foreign:
		front.Handler, tokens = s.guarded, ca.Foreign
	case elsewhere:
		front.Handler = registry.RedirectBlobs(s.open, blobsName())
	}
	if err := s.present(ctx, registryHost, want.cert, front); err != nil {
		return err
	}
	if err := s.present(ctx, tokenHost, tokens, registry.Front{Handler: s.issuer.Serve(want.http == foreign)}); err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.pki.Root.PEM())
	forward := &proxy.Proxy{Mode: want.proxy, Authority: s.pki.Proxy, Roots: roots, Dial: s.dial}
	return s.at[proxyHost].Serve(ctx, registry.Front{Speech: registry.Plain, Handler: forward})
}

// dial connects from the proxy, which knows the hosts of the laboratory and no others.
func (s *servers) dial(ctx context.Context, network, hostport string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, err
	}
	address, ok := s.addresses[host]
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(address, port))
}

func (s *servers) close() error {
	var errs []error
	for host, server := range s.at {
		if err := server.Close(); err != nil {
			errs = append(errs, fmt.Errorf("ending %s: %w", host, err))
		}
	}
	return errors.Join(append(errs, s.open.Close(), s.guarded.Close())...)
}
