package guest

import (
	"context"

	"k8s.io/client-go/kubernetes"

	"github.com/tkgfix/tkgfix/internal/lab/ca"
	"github.com/tkgfix/tkgfix/internal/lab/vm"
)

// Machines makes the machines that nodes run on.
type Machines interface {
	// Start makes a machine with its trust and returns when it answers by SSH and its containerd runs.
	Start(ctx context.Context, spec MachineSpec) (Machine, error)
	// Controllers are those of kube-controller-manager that the machines' kubelets need in their cluster.
	Controllers() []string
}

// Machine is what one node runs on.
type Machine interface {
	// Address is where the machine answers.
	Address() string
	// Root is the folder that it has as its root.
	Root() string
	// Run runs a script of sh on it, as somebody does who has logged in and may do everything. The error holds what it wrote.
	Run(ctx context.Context, script string) error
	// Join lets the machine's kubelet into a cluster and says whether the node is ready. It is called until it is, and does
	// nothing from then on.
	Join(ctx context.Context, m Membership) (bool, error)
	// Stop ends the machine and removes all it had, its address included.
	Stop() error
}

// MachineSpec says what machine to make.
type MachineSpec struct {
	Name string
	// Root is the folder that it gets as its root. It must not exist.
	Root    string
	Profile Profile
	// Trust is rendered once, before containerd starts for the first time.
	Trust []vm.Trust
	// AuthorizedKey may log in as vm.User, in authorized_keys format; Password is the other way in.
	AuthorizedKey []byte
	Password      string
}

// Membership is what a machine needs to become a node.
type Membership struct {
	Node   NodeSpec
	Client kubernetes.Interface
	// Credentials makes what the kubelet needs: a kubeconfig that may do everything, and the certificate by which it serves at
	// the address, with the authority that signed it and the clients that it may trust.
	Credentials func(node, address string) (Credentials, error)
	// PodNet is the first three numbers of the addresses of the node's pods, as in 192.168.4.
	PodNet string
}

// Credentials are a kubelet's.
type Credentials struct {
	Kubeconfig []byte
	Serving    ca.Pair
	Authority  []byte
}
