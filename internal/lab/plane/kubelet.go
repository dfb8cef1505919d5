package plane

import (
	"net"

	"github.com/tkgfix/tkgfix/internal/lab/ca"
)

// Kubelet issues the certificate by which the kubelet of a node serves at its address.
func (p *Plane) Kubelet(node string, address net.IP) (ca.Pair, error) {
	return p.authority.Issue(ca.Leaf{CommonName: "system:node:" + node, Organization: []string{"system:nodes"}, DNS: []string{node}, IPs: []net.IP{address}})
}

// Authority returns the certificate that signed the API server's and its clients', in PEM.
func (p *Plane) Authority() []byte { return p.authority.PEM() }
