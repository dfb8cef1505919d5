// Package guest is what a workload cluster of the laboratory is made of: a control plane, nodes and their kubelets. Package service
// decides when each part comes and goes.
package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/tkgfix/tkgfix/internal/lab/kubelet"
	"github.com/tkgfix/tkgfix/internal/lab/plane"
	"github.com/tkgfix/tkgfix/internal/lab/proc"
	"github.com/tkgfix/tkgfix/internal/lab/vm"
)

// agent is the user by which nodes report.
const agent = "lab-kubelet"

// Host is what the clusters of a laboratory share.
type Host struct {
	Group *proc.Group
	Pool  *Pool
	// Dir is the laboratory's folder, Binary is hyperkube and Helper the laboratory's own program.
	Dir, Binary, Helper string
	// Names are what each node finds in its hosts file, with addresses; Routes are addresses that lead to others.
	Names, Routes map[string]string
	// SystemRoots is what each node trusts from the start, in PEM.
	SystemRoots []byte
	// Profile says of what kind the nodes of a cluster are that are made now.
	Profile func(types.NamespacedName) Profile
	Now     func() time.Time
}

// Profile is what the nodes of a cluster have in common.
type Profile struct {
	Family vm.Family
	// Clock is what is added to the time on the nodes.
	Clock   time.Duration
	Kubelet kubelet.Manner
}

// Cluster is one workload cluster.
type Cluster struct {
	host    *Host
	ref     types.NamespacedName
	address string
	data    string
	ssh     credentials

	mu     sync.Mutex
	plane  *plane.Plane
	client kubernetes.Interface
	failed error
	begun  bool
	// released says that the address may be another's by now.
	released bool
	ready    chan struct{}
	nodes    map[string]*member
	pods     int
}

type credentials struct {
	private, public []byte
	password        string
}

type member struct {
	node    *vm.Node
	profile Profile
	cancel  context.CancelFunc
	done    chan struct{}
}

// New returns a cluster that has its address and its credentials, and nothing that runs.
func (h *Host) New(ref types.NamespacedName, uid types.UID) (*Cluster, error) {
	address, err := h.Pool.Take()
	if err != nil {
		return nil, err
	}
	private, public, err := vm.NewKey(ref.Name)
	if err != nil {
		return nil, err
	}
	password, err := Random(passwordLength)
	if err != nil {
		return nil, err
	}
	return &Cluster{
		host: h, ref: ref, address: address,
		data:  filepath.Join(h.Dir, "planes", string(uid)),
		ssh:   credentials{private: private, public: public, password: password},
		ready: make(chan struct{}), nodes: map[string]*member{},
	}, nil
}

// Ref returns the cluster's namespace and name.
func (c *Cluster) Ref() types.NamespacedName { return c.ref }

// Address returns where the cluster's API answers, its VIP.
func (c *Cluster) Address() string { return c.address }

// SSHKey returns the private key that opens the nodes, in PEM.
func (c *Cluster) SSHKey() []byte { return c.ssh.private }

// SSHPassword returns the password that opens the nodes.
func (c *Cluster) SSHPassword() string { return c.ssh.password }

// StartPlane begins to start the control plane, once. Ready tells when it is there.
func (c *Cluster) StartPlane(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.begun {
		return
	}
	c.begun = true
	go func() {
		defer close(c.ready)
		p, client, err := c.startPlane(ctx)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.plane, c.client, c.failed = p, client, err
	}()
}

func (c *Cluster) startPlane(ctx context.Context) (*plane.Plane, kubernetes.Interface, error) {
	p, err := plane.Start(ctx, c.host.Group, plane.Options{
		Name: c.ref.Name, Dir: c.data, Binary: c.host.Binary, Address: c.address,
		Audit:       filepath.Join(c.host.Dir, "audit", c.ref.Namespace+"-"+c.ref.Name+".log"),
		Controllers: []string{"deployment-controller", "replicaset-controller", "garbage-collector-controller", "namespace-controller", "serviceaccount-controller"},
		Scheduler:   true, Now: c.host.Now,
	})
	if err != nil {
		return nil, nil, err
	}
	err = p.StartControllers(ctx)
	if err == nil {
		config, configErr := p.Config(agent)
		if configErr == nil {
			client, clientErr := kubernetes.NewForConfig(config)
			if clientErr == nil {
				return p, client, nil
			}
			configErr = clientErr
		}
		err = configErr
	}
	p.Stop()
	return nil, nil, err
}

// Ready says whether the control plane answers, or why it never will.
func (c *Cluster) Ready() (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.plane != nil, c.failed
}

// Kubeconfig returns the admin's kubeconfig. The control plane has to be ready.
func (c *Cluster) Kubeconfig() ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.plane == nil {
		return nil, errors.New("the control plane is not ready")
	}
	return c.plane.Admin("kubernetes-admin")
}

// NodeSpec says what node to add.
type NodeSpec struct {
	Name         string
	ControlPlane bool
	Trust        []vm.Trust
	// Version is the node's Kubernetes version, as in v1.26.5+vmware.2-fips.1.
	Version string
	// ProviderID is the node's machine, as in vsphere://<uuid>.
	ProviderID string
}

// Boot makes the node's machine, with its trust, and returns its address. Booting a node that is there does nothing.
func (c *Cluster) Boot(ctx context.Context, spec NodeSpec) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m, ok := c.nodes[spec.Name]; ok {
		return m.node.Address(), nil
	}
	address, err := c.host.Pool.Take()
	if err != nil {
		return "", err
	}
	profile := c.host.Profile(c.ref)
	node, err := vm.Start(ctx, c.host.Group, vm.Spec{
		Name: spec.Name, Root: c.root(spec.Name), Address: address, Hosts: c.host.Names, Routes: c.host.Routes,
		Family: profile.Family, Clock: profile.Clock,
		SystemRoots: c.host.SystemRoots, Trust: spec.Trust,
		AuthorizedKey: c.ssh.public, Password: c.ssh.password, Helper: c.host.Helper, Now: c.host.Now,
	})
	if err != nil {
		c.host.Pool.Release(address)
		return "", errors.Join(err, os.RemoveAll(c.root(spec.Name)))
	}
	c.nodes[spec.Name] = &member{node: node, profile: profile}
	return address, nil
}

func (c *Cluster) root(node string) string {
	return filepath.Join(c.host.Dir, "nodes", c.ref.Name, node)
}

// Join registers the node with the cluster and runs its kubelet. The control plane has to be ready and the node booted. Joining a
// node that has joined does nothing.
func (c *Cluster) Join(ctx context.Context, spec NodeSpec) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, ok := c.nodes[spec.Name]
	if !ok || c.client == nil {
		return fmt.Errorf("node %s cannot join yet", spec.Name)
	}
	if m.cancel != nil {
		return nil
	}
	if err := register(ctx, c.client, spec, m, c.host.Now()); err != nil {
		return err
	}
	serving, err := c.plane.Kubelet(spec.Name, m.node.Address())
	if err != nil {
		return err
	}
	c.pods++
	k := kubelet.New(kubelet.Options{
		Client: c.client, Name: m.node.Name(), Address: m.node.Address(), Node: m.node, PodNet: fmt.Sprintf("192.168.%d", c.pods%250),
		Images: kubelet.Images(spec.Version), Serving: &kubelet.Serving{TLS: serving, Client: plane.APIServerName, Runner: m.node},
		Manner: m.profile.Kubelet, Now: c.host.Now,
	})
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	m.cancel, m.done = cancel, make(chan struct{})
	go func() {
		defer close(m.done)
		_ = k.Run(running) // it fails only if it cannot watch or serve, which shows in its pods
	}()
	return nil
}

// Remove ends a node and deletes all it had. Removing a node that is gone does nothing.
func (c *Cluster) Remove(name string) error {
	c.mu.Lock()
	m, ok := c.nodes[name]
	delete(c.nodes, name)
	c.mu.Unlock()
	if !ok {
		return nil
	}
	if m.cancel != nil {
		m.cancel()
		<-m.done
	}
	err := m.node.Stop()
	c.host.Pool.Release(m.node.Address())
	_ = os.Remove(filepath.Dir(m.node.Root())) // goes with the last node
	return err
}

// Stop ends the nodes and the control plane and removes their data. It may be called more than once.
func (c *Cluster) Stop() error {
	c.mu.Lock()
	var names []string
	for name := range c.nodes {
		names = append(names, name)
	}
	begun := c.begun
	c.mu.Unlock()
	var errs []error
	for _, name := range names {
		errs = append(errs, c.Remove(name))
	}
	if begun {
		<-c.ready
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.plane != nil {
		c.plane.Stop()
		c.plane = nil
	}
	if !c.released {
		c.host.Pool.Release(c.address)
		c.released = true
	}
	return errors.Join(append(errs, os.RemoveAll(c.data))...)
}

// NodeInfo is where a node is.
type NodeInfo struct{ Name, Address, Root string }

// Nodes returns the nodes that are booted, by name.
func (c *Cluster) Nodes() []NodeInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]NodeInfo, 0, len(c.nodes))
	for name, m := range c.nodes {
		out = append(out, NodeInfo{Name: name, Address: m.node.Address(), Root: m.node.Root()})
	}
	slices.SortFunc(out, func(a, b NodeInfo) int { return strings.Compare(a.Name, b.Name) })
	return out
}
