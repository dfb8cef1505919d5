// Package guest is what a workload cluster of the laboratory is made of: a control plane, nodes and their kubelets. Package service
// decides when each part comes and goes.
package guest

import (
	"context"
	"errors"
	"fmt"
	"net"
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
	// Machines makes the nodes' machines; imitations if nil.
	Machines Machines
}

func (h *Host) machines() Machines {
	if h.Machines != nil {
		return h.Machines
	}
	return imitations{h}
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
	nodes    map[string]Machine
	// nets are the pod networks of the nodes that have begun to join.
	nets   map[string]string
	joined int // how many ever began to
}

type credentials struct {
	private, public []byte
	password        string
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
		ready: make(chan struct{}), nodes: map[string]Machine{}, nets: map[string]string{},
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
		Audit: filepath.Join(c.host.Dir, "audit", c.ref.Namespace+"-"+c.ref.Name+".log"),
		Controllers: append([]string{"deployment-controller", "replicaset-controller", "garbage-collector-controller", "namespace-controller", "serviceaccount-controller",
			"disruption-controller"},
			c.host.machines().Controllers()...),
		Scheduler: true, Now: c.host.Now,
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
		return m.Address(), nil
	}
	machine, err := c.host.machines().Start(ctx, MachineSpec{
		Name: spec.Name, Root: c.root(spec.Name), Profile: c.host.Profile(c.ref), Trust: spec.Trust,
		AuthorizedKey: c.ssh.public, Password: c.ssh.password,
	})
	if err != nil {
		return "", err
	}
	c.nodes[spec.Name] = machine
	return machine.Address(), nil
}

func (c *Cluster) root(node string) string {
	return filepath.Join(c.host.Dir, "nodes", c.ref.Name, node)
}

// Join lets the node into the cluster, where its kubelet registers it, and says whether the node is ready. The control plane has to
// be ready and the node booted. Joining a node that has joined does nothing.
func (c *Cluster) Join(ctx context.Context, spec NodeSpec) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, ok := c.nodes[spec.Name]
	if !ok || c.client == nil {
		return false, fmt.Errorf("node %s cannot join yet", spec.Name)
	}
	if _, ok := c.nets[spec.Name]; !ok {
		c.joined++
		c.nets[spec.Name] = fmt.Sprintf("192.168.%d", c.joined%250)
	}
	return m.Join(ctx, Membership{Node: spec, Client: c.client, Credentials: c.credentials, PodNet: c.nets[spec.Name]})
}

// credentials makes what the kubelet of a node needs.
func (c *Cluster) credentials(node, address string) (Credentials, error) {
	kubeconfig, err := c.plane.Admin("system:node:" + node)
	if err != nil {
		return Credentials{}, err
	}
	serving, err := c.plane.Kubelet(node, net.ParseIP(address))
	return Credentials{Kubeconfig: kubeconfig, Serving: serving, Authority: c.plane.Authority()}, err
}

// Remove ends a node and deletes all it had. Removing a node that is gone does nothing.
func (c *Cluster) Remove(name string) error {
	c.mu.Lock()
	m, ok := c.nodes[name]
	delete(c.nodes, name)
	delete(c.nets, name)
	c.mu.Unlock()
	if !ok {
		return nil
	}
	err := m.Stop()
	_ = os.Remove(filepath.Dir(m.Root())) // goes with the last node
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
		out = append(out, NodeInfo{Name: name, Address: m.Address(), Root: m.Root()})
	}
	slices.SortFunc(out, func(a, b NodeInfo) int { return strings.Compare(a.Name, b.Name) })
	return out
}
