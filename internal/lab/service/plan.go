package service

import (
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tkgfix/tkgfix/internal/lab/guest"
)

// A laboratory on a laptop runs no more nodes than these, whatever the topology says.
const (
	maxControlPlane = 1
	maxWorkers      = 4
)

// controlPlaneName is the name of the pool that every cluster has.
const controlPlaneName = "control-plane"

// pool is a set of nodes that an owner asks for.
type pool struct {
	name, vmClass string
	controlPlane  bool
	replicas      int
}

func controlPlanePool(replicas int, vmClass string) pool {
	return pool{name: controlPlaneName, vmClass: vmClass, controlPlane: true, replicas: max(1, replicas)}
}

// capped are the pools with as many nodes as a laboratory runs.
func capped(pools []pool) []pool {
	left := maxWorkers
	out := make([]pool, 0, len(pools))
	for _, p := range pools {
		if p.controlPlane {
			p.replicas = min(p.replicas, maxControlPlane)
		} else {
			p.replicas = min(p.replicas, left)
			left -= p.replicas
		}
		out = append(out, p)
	}
	return out
}

// node is one node of a cluster, with the names that it has as long as it lives.
type node struct {
	name         string
	pool         string
	controlPlane bool
	version      string
	vmClass      string
	uuid         string
	// revision and planting are what it was made from, and for which planting of the laboratory.
	revision, planting string

	// given is what it got as trust, once it is rendered.
	given    rendering
	rendered bool
	address  string // set when it has booted
	osImage  string
	joined   bool
	// current says that it is as the owner has it now; leaving that it is being drained and ended.
	current, leaving bool
	// made says that there is a Machine of it.
	made bool
	// drain says why it cannot be drained, and draining since when it is tried.
	drain    string
	draining time.Time
}

func (n *node) spec() guest.NodeSpec {
	return guest.NodeSpec{Name: n.name, ControlPlane: n.controlPlane, Trust: n.given.trust, Version: n.version, ProviderID: n.providerID()}
}

func (n *node) providerID() string { return "vsphere://" + n.uuid }

func (n *node) role() string {
	if n.controlPlane {
		return "controlplane"
	}
	return "node"
}

// target is what the nodes of a cluster are to be.
type target struct {
	cluster, version string
	pools            []pool
	revision         string
	// planting replaces, all at once, the nodes that were not made for it; empty if the laboratory is not planting.
	planting string
	// initialized says that nodes have something to join, so that they can be replaced.
	initialized bool
}

// current says whether a node is as it would be made now.
func (t target) current(n *node) bool {
	return n.revision == t.revision && (t.planting == "" || n.planting == t.planting)
}

// step is what is to be done next: nodes to make and nodes to end. rolling says that nodes are being replaced or still to be replaced.
type step struct {
	make    []*node
	end     []*node
	rolling bool
}

// plan says what comes next. Nodes are replaced one at a time, first those of the control plane and then pool by pool: with maxSurge 1
// one more is made, and when it is ready one of the old ones is ended (tkg-facts.md §2). Old nodes that have not joined, which is what
// a roll that was superseded leaves, go first. Missing ones are made at once, as a MachineSet does.
func (t target) plan(nodes []*node) (step, error) {
	var out step
	known := map[string]bool{}
	turn := t.initialized // whether it is this pool's turn to replace nodes
	for _, p := range t.pools {
		known[p.name] = true
		here, done := p.next(nodes, t.planting != "", turn)
		turn = turn && done
		out.end = append(out.end, here.end...)
		for range here.count {
			n, err := t.newNode(p)
			if err != nil {
				return step{}, err
			}
			out.make = append(out.make, n)
		}
		out.rolling = out.rolling || here.rolling
	}
	for _, n := range nodes {
		if !known[n.pool] && !n.leaving {
			out.end = append(out.end, n)
		}
	}
	if !t.initialized || t.planting != "" && !allReady(nodes, out.make) {
		out.end = nil // old nodes stay until everything new is there
	}
	return out, nil
}

func allReady(nodes, more []*node) bool {
	for _, n := range nodes {
		if n.current && !n.leaving && !n.joined {
			return false
		}
	}
	return len(more) == 0
}

// poolStep is a step of one pool.
type poolStep struct {
	count   int // of nodes to make
	end     []*node
	rolling bool
}

// next says what comes next in a pool, and whether it is as it should be so that the next pool has its turn. atOnce replaces all nodes in
// one go.
func (p pool) next(nodes []*node, atOnce, turn bool) (poolStep, bool) {
	var out poolStep
	var fresh, old []*node
	ready, held := 0, false
	for _, n := range nodes {
		held = held || n.pool == p.name && n.leaving && n.drain != ""
	}
	turn = turn && !held // one that cannot be drained is the one more that there may be
	for _, n := range nodes {
		switch {
		case n.pool != p.name || n.leaving:
			continue
		case n.current:
			fresh = append(fresh, n)
		case !n.joined && turn && !atOnce:
			out.end = append(out.end, n)
			continue
		default:
			old = append(old, n)
		}
		if n.joined {
			ready++
		}
	}
	out.rolling = len(old)+len(out.end) > 0 || held
	total := len(fresh) + len(old)
	switch {
	case atOnce:
		out.count, out.end = max(0, p.replicas-len(fresh)), old
	case len(old) > 0 && turn:
		out.count = max(0, min(p.replicas-len(fresh), p.replicas+1-total))
		if out.count == 0 && ready > p.replicas {
			out.end = append(out.end, old[0])
		}
	case len(old) > 0:
		out.count = max(0, p.replicas-total)
	default:
		out.count = max(0, p.replicas-len(fresh))
	}
	if surplus := len(fresh) - p.replicas; surplus > 0 {
		out.end = append(out.end, fresh[len(fresh)-surplus:]...)
	}
	done := !out.rolling && out.count == 0 && ready == len(fresh)
	return out, done
}

// newNode names a node as Cluster API does: the MachineDeployment, the MachineSet's hash, the machine's own suffix.
func (t target) newNode(p pool) (*node, error) {
	suffix, err := guest.Random(5)
	if err != nil {
		return nil, err
	}
	name := t.cluster + "-" + suffix
	if !p.controlPlane {
		name = fmt.Sprintf("%s-%s-%s-%s", t.cluster, p.name, t.revision[:5], suffix)
	}
	return &node{
		name: name, pool: p.name, controlPlane: p.controlPlane, version: t.version, vmClass: p.vmClass, uuid: uuid.NewString(),
		revision: t.revision, planting: t.planting, current: true,
	}, nil
}

func text(m map[string]any, keys ...string) string {
	for _, key := range keys {
		if s, ok := m[key].(string); ok && s != "" {
			return s
		}
	}
	return ""
}

func number(m map[string]any, keys ...string) int {
	for _, key := range keys {
		switch n := m[key].(type) {
		case int64:
			return int(n)
		case float64:
			return int(n)
		}
	}
	return 0
}
