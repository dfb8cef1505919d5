package real

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const (
	nodeDevice = "eth0"
	// served are the first bits of the half of the block that the host answers.
	servedBits, blockBits = 25, 24
)

// claimNetwork takes a block that no bridge of a laboratory is for, records it in dir and makes the bridge.
func claimNetwork(dir string) (Record, error) {
	offset, err := rand.Int(rand.Reader, big.NewInt(blocks))
	if err != nil {
		return Record{}, fmt.Errorf("choosing a network for the nodes: %w", err)
	}
	var last error
	for i := range blocks {
		record := Record{Block: (int(offset.Int64()) + i) % blocks}
		bridge := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs()}
		bridge.Name = record.network()
		if _, err := netlink.LinkByName(bridge.Name); err == nil {
			continue // another laboratory's
		}
		// Recorded first: whatever comes now, Remove finds the bridge. Should another laboratory be quicker, its bridge is told
		// from ours by its alias.
		if err := record.save(dir); err != nil {
			return Record{}, err
		}
		if last = netlink.LinkAdd(bridge); errors.Is(last, unix.EEXIST) {
			continue
		}
		if last != nil {
			return Record{}, fmt.Errorf("making the nodes' bridge: %w", last)
		}
		if err := record.addressBridge(bridge, dir); err != nil {
			return Record{}, errors.Join(err, removeNetwork(record, dir))
		}
		return record, nil
	}
	return Record{}, fmt.Errorf("no network in 198.18.0.0/15 is free for the nodes: %w", last)
}

// addressBridge gives the bridge the folder's name, its address, and the host all of the served half: an API server may listen on
// any of these.
func (r Record) addressBridge(bridge netlink.Link, dir string) error {
	if err := netlink.LinkSetAlias(bridge, alias(dir)); err != nil {
		return fmt.Errorf("naming the nodes' bridge: %w", err)
	}
	address := &netlink.Addr{IPNet: r.ipNet(1, blockBits)}
	if err := netlink.AddrAdd(bridge, address); err != nil {
		return fmt.Errorf("addressing the nodes' bridge: %w", err)
	}
	if err := netlink.LinkSetUp(bridge); err != nil {
		return fmt.Errorf("starting the nodes' bridge: %w", err)
	}
	route := &netlink.Route{
		LinkIndex: bridge.Attrs().Index, Dst: r.ipNet(0, servedBits), Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST,
	}
	if err := netlink.RouteAdd(route); err != nil {
		return fmt.Errorf("routing to what the nodes are served: %w", err)
	}
	return nil
}

func (r Record) ipNet(host, bits int) *net.IPNet {
	return &net.IPNet{IP: net.ParseIP(fmt.Sprintf("%s%d", r.prefix(), host)).To4(), Mask: net.CIDRMask(bits, 32)}
}

// connect gives the network namespace of the process a device with the address on the bridge, and the host as its way out.
func (r Record) connect(pid int, address string) error {
	ip := net.ParseIP(address).To4()
	if ip == nil {
		return fmt.Errorf("connecting a node: %q is no address", address)
	}
	bridge, err := netlink.LinkByName(r.network())
	if err != nil {
		return fmt.Errorf("finding the nodes' bridge: %w", err)
	}
	pair := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: nodeDevice, PeerNamespace: netlink.NsPid(pid)}
	pair.Name, pair.MasterIndex = r.device(ip), bridge.Attrs().Index
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("connecting a node to the bridge: %w", err)
	}
	if err := netlink.LinkSetUp(pair); err != nil {
		return fmt.Errorf("connecting a node to the bridge: %w", err)
	}
	if err := r.configure(pid, ip); err != nil {
		return fmt.Errorf("configuring a node's network: %w", err)
	}
	return nil
}

// device is the bridge's end of the cable to the node with the address.
func (r Record) device(ip net.IP) string { return fmt.Sprintf("%s-%d", r.network(), ip[3]) }

// configure sets up the node's own end.
func (r Record) configure(pid int, ip net.IP) error {
	namespace, err := netns.GetFromPid(pid)
	if err != nil {
		return err
	}
	defer namespace.Close()
	inside, err := netlink.NewHandleAt(namespace)
	if err != nil {
		return err
	}
	defer inside.Close()
	for _, name := range []string{"lo", nodeDevice} {
		link, err := inside.LinkByName(name)
		if err != nil {
			return err
		}
		if err := inside.LinkSetUp(link); err != nil {
			return err
		}
		if name == "lo" {
			continue
		}
		if err := inside.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: ip, Mask: net.CIDRMask(blockBits, 32)}}); err != nil {
			return err
		}
		if err := inside.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: r.ipNet(1, blockBits).IP}); err != nil {
			return err
		}
	}
	return nil
}

// disconnect removes the device of the node with the address. It would go by itself soon after the node's last process.
func (r Record) disconnect(address string) error {
	return removeLink(r.device(net.ParseIP(address).To4()))
}

// alias says whose a bridge is, in the 255 bytes that Linux allows.
func alias(dir string) string {
	const limit = 255
	return dir[max(0, len(dir)-limit):]
}

// removeNetwork removes the bridge and what is connected to it, unless the bridge is another laboratory's by now.
func removeNetwork(r Record, dir string) error {
	bridge, err := netlink.LinkByName(r.network())
	if err == nil && bridge.Attrs().Alias != "" && bridge.Attrs().Alias != alias(dir) {
		return nil
	}
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("listing network devices: %w", err)
	}
	for _, link := range links {
		name := link.Attrs().Name
		if name != r.network() && !strings.HasPrefix(name, r.network()+"-") {
			continue
		}
		if err := removeLink(name); err != nil {
			return err
		}
	}
	return nil
}

func removeLink(name string) error {
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if _, gone := errors.AsType[netlink.LinkNotFoundError](err); err == nil || gone || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return fmt.Errorf("removing network device %s: %w", name, err)
}
