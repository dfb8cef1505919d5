package guest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/tkgfix/tkgfix/internal/lab/kubelet"
	"github.com/tkgfix/tkgfix/internal/lab/plane"
	"github.com/tkgfix/tkgfix/internal/lab/vm"
)

// imitations makes machines that need nothing but this program: package vm's nodes, with package kubelet's kubelets.
type imitations struct{ host *Host }

func (i imitations) Start(ctx context.Context, spec MachineSpec) (Machine, error) {
	address, err := i.host.Pool.Take()
	if err != nil {
		return nil, err
	}
	node, err := vm.Start(ctx, i.host.Group, vm.Spec{
		Name: spec.Name, Root: spec.Root, Address: address, Hosts: i.host.Names, Routes: i.host.Routes,
		Family: spec.Profile.Family, Clock: spec.Profile.Clock,
		SystemRoots: i.host.SystemRoots, Trust: spec.Trust,
		AuthorizedKey: spec.AuthorizedKey, Password: spec.Password, Helper: i.host.Helper, Now: i.host.Now,
	})
	if err != nil {
		i.host.Pool.Release(address)
		return nil, errors.Join(err, os.RemoveAll(spec.Root))
	}
	return &imitation{Node: node, profile: spec.Profile, host: i.host}, nil
}

// Controllers are none: these kubelets report once and for all.
func (imitations) Controllers() []string { return nil }

// imitation is a machine with an imitated kubelet.
type imitation struct {
	*vm.Node
	profile Profile
	host    *Host
	cancel  context.CancelFunc
	done    chan struct{}
}

func (i *imitation) Join(ctx context.Context, m Membership) (bool, error) {
	if i.cancel != nil {
		return true, nil
	}
	if err := register(ctx, m.Client, m.Node, i, i.host.Now()); err != nil {
		return false, err
	}
	serving, err := i.serving(m)
	if err != nil {
		return false, err
	}
	k := kubelet.New(kubelet.Options{
		Client: m.Client, Name: i.Name(), Address: i.Address(), Node: i.Node, PodNet: m.PodNet, Images: kubelet.Images(m.Node.Version),
		Serving: &kubelet.Serving{TLS: serving, Client: plane.APIServerName, Runner: i.Node}, Manner: i.profile.Kubelet, Now: i.host.Now,
	})
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	i.cancel, i.done = cancel, make(chan struct{})
	go func() {
		defer close(i.done)
		_ = k.Run(running) // it fails only if it cannot watch or serve, which shows in its pods
	}()
	return true, nil
}

// serving is how the kubelet serves: with a certificate of its own, to clients with one of its control plane.
func (i *imitation) serving(m Membership) (*tls.Config, error) {
	credentials, err := m.Credentials(i.Name(), i.Address())
	if err != nil {
		return nil, err
	}
	cert, err := tls.X509KeyPair(credentials.Serving.Cert, credentials.Serving.Key)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate of the kubelet of %s: %w", i.Name(), err)
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(credentials.Authority)
	return &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients, MinVersion: tls.VersionTLS12}, nil
}

func (i *imitation) Stop() error {
	if i.cancel != nil {
		i.cancel()
		<-i.done
	}
	defer i.host.Pool.Release(i.Address())
	return i.Node.Stop()
}
