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
	Nodes       []tkg.Node
	Conf        plugins.Nodes
	Credentials node.Credentials

	cluster *kube.Client // where debug pods are made; nil for SSH
}

// FindWorkers reads from the Supervisor which workers a cluster has and what opens them: their login, or for debug pods that of the
// cluster. A cluster without a worker is an
// error. It blocks on the network.
func FindWorkers(ctx context.Context, c *kube.Client, conf plugins.Nodes, ref tkg.Ref) (Workers, error) {
	nodes, err := tkg.Workers(ctx, c, ref)
	if err != nil {
		return Workers{}, err
	}
	if len(nodes) == 0 {
		return Workers{}, plugins.Hint(fmt.Errorf("cluster %s has no workers", ref),
			"see what it waits for: kubectl get machines -n %s -l cluster.x-k8s.io/cluster-name=%s", ref.Namespace, ref.Name)
	}
	if conf.Via == viaDebugPod {
		cluster, err := tkg.WorkloadClient(ctx, c, ref)
		return Workers{Nodes: nodes, Conf: conf, cluster: cluster}, err
	}
	credentials, err := tkg.NodeCredentials(ctx, c, ref)
	if err != nil {
		return Workers{}, err
	}
	return Workers{Nodes: nodes, Conf: conf, Credentials: credentials}, nil
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
