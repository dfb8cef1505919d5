package handshake_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/handshake"
	"github.com/tkgfix/tkgfix/internal/handshake/registrytest"
)

// over dials an address and shakes hands.
func over(ctx context.Context, address string) (handshake.Result, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return handshake.Result{}, err
	}
	defer func() { _ = conn.Close() }()
	return handshake.Over(ctx, conn, registrytest.Host, handshake.Offer{})
}

func TestOver(t *testing.T) {
	t.Parallel()
	root := registrytest.NewRoot(t, "Corp Root CA")
	inter := root.Intermediate(t, "Corp Issuing CA")
	leaf := inter.Leaf(t, nil)
	asked := make(chan string, 1)
	address := registrytest.Serve(t, leaf, func(c *tls.Config) {
		c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			asked <- hello.ServerName
			return nil, nil
		}
	}, inter.Cert)
	got, err := over(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Chain) != 2 || !got.Chain[0].Equal(leaf.Cert) || !got.Chain[1].Equal(inter.Cert) {
		t.Errorf("want leaf and intermediate, got %d certificates", len(got.Chain))
	}
	if diff := cmp.Diff("TLS 1.3", got.Version); diff != "" {
		t.Errorf("Version: -want, +got:\n%s", diff)
	}
	if diff := cmp.Diff(registrytest.Host, <-asked); diff != "" {
		t.Errorf("SNI: -want, +got:\n%s", diff)
	}
}

func TestOverClientCertificate(t *testing.T) {
	t.Parallel()
	leaf := registrytest.NewRoot(t, "Corp Root CA").Leaf(t, nil)
	cases := map[string]struct {
		reason string
		auth   tls.ClientAuthType
		max    uint16
		class  certs.Class
	}{
		"Required13": {reason: "in TLS 1.3 the alert comes after the handshake", auth: tls.RequireAnyClientCert, max: tls.VersionTLS13, class: certs.ClassAlert},
		"Required12": {reason: "in TLS 1.2 it ends the handshake", auth: tls.RequireAnyClientCert, max: tls.VersionTLS12, class: certs.ClassAlert},
		"Optional":   {reason: "a server that only asks is fine", auth: tls.RequestClientCert, max: tls.VersionTLS13, class: certs.ClassOK},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := registrytest.Serve(t, leaf, func(config *tls.Config) { config.ClientAuth, config.MaxVersion = c.auth, c.max })
			got, err := over(t.Context(), address)
			if class := certs.ClassifyDial(err); class != c.class {
				t.Errorf("%s: want %s, got %s (%v)", c.reason, c.class, class, err)
			}
			if !got.WantsClientCert {
				t.Errorf("%s: WantsClientCert is false", c.reason)
			}
		})
	}
}

func TestOverNoHandshake(t *testing.T) {
	t.Parallel()
	leaf := registrytest.NewRoot(t, "Corp Root CA").Leaf(t, nil)
	says := func(text string) string {
		return registrytest.Listen(t, func(conn net.Conn) {
			_, _ = conn.Read(make([]byte, 1))
			_, _ = io.WriteString(conn, text)
			_, _ = io.Copy(io.Discard, conn)
		})
	}
	cases := map[string]struct {
		reason  string
		address string
		want    certs.Class
	}{
		"Refused":   {reason: "nobody listens", address: "127.0.0.1:1", want: certs.ClassRefused},
		"PlainHTTP": {reason: "A08", address: says("HTTP/1.1 400 Bad Request\r\n\r\n"), want: certs.ClassPlainHTTP},
		"OtherTalk": {reason: "A09", address: says("SSH-2.0-OpenSSH_9.3\r\n"), want: certs.ClassNotTLS},
		"Closed": {reason: "A05", want: certs.ClassClosed, address: registrytest.Listen(t, func(conn net.Conn) {
			_, _ = io.ReadFull(conn, make([]byte, 100))
			_ = conn.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, conn)
		})},
		"OldTLS": {reason: "G01", want: certs.ClassAlert, address: registrytest.Serve(t, leaf, func(c *tls.Config) {
			c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		})},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := over(t.Context(), c.address)
			if got := certs.ClassifyDial(err); got != c.want {
				t.Errorf("%s: want %s, got %s (%v)", c.reason, c.want, got, err)
			}
		})
	}
}

func TestOverCancel(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	address := registrytest.Listen(t, func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 1)) // A04: it takes the hello and says nothing
		cancel()
		_, _ = io.Copy(io.Discard, conn)
	})
	if _, err := over(ctx, address); !errors.Is(err, context.Canceled) {
		t.Errorf("want the context's error, got %v", err)
	}
}

func TestOverSendsNoHTTP(t *testing.T) {
	t.Parallel()
	leaf := registrytest.NewRoot(t, "Corp Root CA").Leaf(t, nil)
	got := make(chan int, 1)
	config := make(chan *tls.Config, 1)
	registrytest.Serve(t, leaf, func(c *tls.Config) { config <- c })
	conf := <-config
	address := registrytest.Listen(t, func(conn net.Conn) {
		server := tls.Server(conn, conf)
		_ = server.Handshake()
		data, _ := io.ReadAll(server)
		got <- len(data)
	})
	if _, err := over(t.Context(), address); err != nil {
		t.Fatal(err)
	}
	if n := <-got; n != 0 {
		t.Errorf("want nothing after the handshake, got %d bytes", n)
	}
}

func TestHostPort(t *testing.T) {
	t.Parallel()
	type result struct{ Host, HostPort string }
	cases := map[string]struct {
		reason string
		want   result
		err    bool
	}{
		"reg.lab":             {reason: "443 is what an image without a port means", want: result{"reg.lab", "reg.lab:443"}},
		"reg.lab:5443":        {reason: "a port is kept", want: result{"reg.lab", "reg.lab:5443"}},
		"10.0.0.1":            {reason: "an address", want: result{"10.0.0.1", "10.0.0.1:443"}},
		"10.0.0.1:5000":       {reason: "an address with a port", want: result{"10.0.0.1", "10.0.0.1:5000"}},
		"[2001:db8::1]:5000":  {reason: "IPv6 with a port", want: result{"2001:db8::1", "[2001:db8::1]:5000"}},
		"[2001:db8::1]":       {reason: "IPv6 in brackets", want: result{"2001:db8::1", "[2001:db8::1]:443"}},
		"2001:db8::1":         {reason: "IPv6 bare", want: result{"2001:db8::1", "[2001:db8::1]:443"}},
		"docker.io":           {reason: "containerd dials another name", want: result{"registry-1.docker.io", "registry-1.docker.io:443"}},
		"":                    {reason: "nothing", err: true},
		"reg.lab:0":           {reason: "no such port", err: true},
		"reg.lab:99999":       {reason: "no such port", err: true},
		"reg.lab:https":       {reason: "no number", err: true},
		"https://reg.lab":     {reason: "a URL", err: true},
		"reg.lab/project":     {reason: "a path", err: true},
		"reg.lab;reboot":      {reason: "it goes into a command", err: true},
		"$(reboot)":           {reason: "it goes into a command", err: true},
		"-servername":         {reason: "it would be an option", err: true},
		"user@reg.lab":        {reason: "a credential", err: true},
		"fe80::1%eth0;reboot": {reason: "a zone", err: true},
		"reg.lab'":            {reason: "a quote", err: true},
		"reg lab":             {reason: "a space", err: true},
	}
	for registry, c := range cases {
		t.Run(registry, func(t *testing.T) {
			t.Parallel()
			host, hostport, err := handshake.HostPort(registry)
			if c.err != (err != nil) {
				t.Fatalf("%s: HostPort: %v", c.reason, err)
			}
			if diff := cmp.Diff(c.want, result{host, hostport}); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", c.reason, diff)
			}
		})
	}
}

func TestLongChainIsNotCut(t *testing.T) {
	t.Parallel()
	root := registrytest.NewRoot(t, "Corp Root CA")
	var many []*x509.Certificate
	for range 80 {
		many = append(many, root.Cert)
	}
	got, err := over(t.Context(), registrytest.Serve(t, root.Leaf(t, nil), nil, many...))
	if err != nil || len(got.Chain) != 81 { // a chain that is cut would be judged wrongly
		t.Errorf("want 81 certificates, got %d, %v", len(got.Chain), err)
	}
}
