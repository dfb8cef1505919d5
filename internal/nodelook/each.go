package nodelook

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/node"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

const (
	// parallel bounds the connections at a time.
	parallel = 8
	// enough is after how many unreachable nodes no more are tried for a proof.
	enough = 8
	// scouts are how many nodes are tried for a look before all.
	scouts = 16
)

// Workers are the workers of a cluster and the way to them.
type Workers struct {
	// Nodes are those that are asked.
	Nodes []tkg.Node
	// Unjoined are the workers that have not joined the cluster and are left alone, since others have: no pod runs on them.
	Unjoined    []tkg.Node
	Conf        plugins.Nodes
	Credentials node.Credentials

	cluster *kube.Client // where debug pods are made; nil for SSH
}

// FindWorkers reads from the Supervisor which workers a cluster has and what opens them: their login, or for debug pods that of the
// cluster. Those that have not joined are apart, unless none has. A cluster without a worker is an error. It blocks on the network.
func FindWorkers(ctx context.Context, c *kube.Client, conf plugins.Nodes, ref tkg.Ref) (Workers, error) {
	nodes, err := tkg.Workers(ctx, c, ref)
	if err != nil {
		return Workers{}, err
	}
	var joined, unjoined []tkg.Node
	for _, n := range nodes {
		if n.Joined {
			joined = append(joined, n)
		} else {
			unjoined = append(unjoined, n)
		}
	}
	if len(joined) == 0 {
		joined, unjoined = nodes, nil
	}
	return open(ctx, c, Workers{Nodes: joined, Unjoined: unjoined, Conf: conf}, ref)
}

// FindAll is FindWorkers for who looks at machines that never joined as well: all workers and, behind them, those of the control plane that
// have not joined the cluster. A roll begins there.
func FindAll(ctx context.Context, c *kube.Client, conf plugins.Nodes, ref tkg.Ref) (Workers, error) {
	nodes, err := tkg.Workers(ctx, c, ref)
	if err != nil {
		return Workers{}, err
	}
	more, err := tkg.Unjoined(ctx, c, ref)
	if err != nil {
		return Workers{}, err
	}
	return open(ctx, c, Workers{Nodes: append(nodes, more...), Conf: conf}, ref)
}

// open adds what opens the nodes.
func open(ctx context.Context, c *kube.Client, w Workers, ref tkg.Ref) (Workers, error) {
	if len(w.Nodes) == 0 {
		return Workers{}, plugins.Hint(fmt.Errorf("cluster %s has no workers", ref),
			"see what it waits for: kubectl get machines -n %s -l cluster.x-k8s.io/cluster-name=%s", ref.Namespace, ref.Name)
	}
	var err error
	if w.Conf.Via == viaDebugPod {
		w.cluster, err = tkg.WorkloadClient(ctx, c, ref)
	} else {
		w.Credentials, err = tkg.NodeCredentials(ctx, c, ref)
	}
	if err != nil {
		return Workers{}, err
	}
	return w, nil
}

// errNotTried is for workers that were left alone because others could not be reached.
var errNotTried = errors.New("not tried, since none of the others could be reached")

// Each calls fn once for each worker, eight at a time, with a connection that is closed afterwards; i is the worker's index in
// Nodes. It is for proofs, which hold for all workers or not at all: the error names each worker that could not be asked, and after
// eight of them no more are tried. It blocks until all calls have returned.
func (w Workers) Each(ctx context.Context, fn func(ctx context.Context, i int, conn *node.Conn) error) error {
	errs := make([]error, len(w.Nodes))
	var failed atomic.Int32
	w.all(func(int) bool { return true }, func(i int) {
		if failed.Load() >= enough {
			errs[i] = w.notTried(i)
			return
		}
		if errs[i] = w.one(ctx, i, fn); errs[i] != nil {
			failed.Add(1)
		}
	})
	return w.Join(errs)
}

// Ask is as Each, for looks: one worker that cannot be asked does not hide what the others say. It returns the error of each worker, by its
// index, nil for those that were asked. Sixteen of them, spread over all, come first; when none of these answers, no more are tried, lest
// a network that is down takes 15 seconds of each. It blocks until all calls have returned.
func (w Workers) Ask(ctx context.Context, fn func(ctx context.Context, i int, conn *node.Conn) error) []error {
	errs := make([]error, len(w.Nodes))
	var asked atomic.Bool
	try := func(i int) {
		if errs[i] = w.one(ctx, i, fn); errs[i] == nil {
			asked.Store(true)
		}
	}
	stride := max(1, len(w.Nodes)/scouts)
	scout := func(i int) bool { return i%stride == 0 }
	w.all(scout, try)
	w.all(func(i int) bool { return !scout(i) }, func(i int) {
		if asked.Load() {
			try(i)
		} else {
			errs[i] = w.notTried(i)
		}
	})
	return errs
}

// all calls fn for each worker that which chooses, eight at a time.
func (w Workers) all(which func(i int) bool, fn func(i int)) {
	var group errgroup.Group
	group.SetLimit(parallel)
	for i := range w.Nodes {
		if which(i) {
			group.Go(func() error { fn(i); return nil })
		}
	}
	_ = group.Wait() // fn keeps its errors
}

func (w Workers) notTried(i int) error {
	return fmt.Errorf("node %s: %w", w.Nodes[i].Name, errNotTried)
}

// Join makes one error of those of the workers, nil if there are none; kind and hint are those of the first. Of workers that were not
// tried it gives the number.
func (w Workers) Join(errs []error) error {
	var bad []error
	count := 0
	for _, err := range errs {
		if err != nil {
			count++
		}
		if err != nil && !errors.Is(err, errNotTried) && (len(bad) == 0 || !errors.Is(err, context.Canceled)) {
			bad = append(bad, err)
		}
	}
	switch {
	case len(bad) == 0:
		return nil
	case count == 1:
		return bad[0]
	}
	return fmt.Errorf("%d of %d workers could not be asked: %w", count, len(w.Nodes), &list{bad})
}

func (w Workers) one(ctx context.Context, i int, fn func(context.Context, int, *node.Conn) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	n := w.Nodes[i]
	if w.cluster != nil && !n.Joined {
		return plugins.Hint(fmt.Errorf("machine %s has not joined the cluster, so that no pod runs on it", n.Name), "look at it by SSH: connections.nodes.via: ssh")
	}
	target := node.Target{Name: n.Name, Address: n.Address, HostKeyAlias: string(n.MachineUID)}
	conn, err := w.dial(ctx, target)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	return fn(ctx, i, conn)
}

// list prints all of its errors on one line and stands for the first.
type list struct{ all []error }

func (l *list) Error() string {
	text := l.all[0].Error()
	for _, err := range l.all[1:] {
		text += "; " + err.Error()
	}
	return text
}

func (l *list) Unwrap() error { return l.all[0] }
