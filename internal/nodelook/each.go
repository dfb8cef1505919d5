package nodelook

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/node"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

const (
	// parallel bounds the connections at a time.
	parallel = 8
	// enough is after how many unreachable nodes no more are tried.
	enough = 8
)

// Workers are the workers of a cluster and the way to them.
type Workers struct {
	Nodes       []tkg.Node
	Conf        plugins.Nodes
	Credentials node.Credentials
}

// FindWorkers reads from the Supervisor which workers a cluster has and what opens them. A cluster without a worker is an
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
	credentials, err := tkg.NodeCredentials(ctx, c, ref)
	if err != nil {
		return Workers{}, err
	}
	return Workers{Nodes: nodes, Conf: conf, Credentials: credentials}, nil
}

// errNotTried is for workers that were left alone because so many others could not be reached.
var errNotTried = fmt.Errorf("not tried: the first %d could not be reached", enough)

// Each calls fn once for each worker, eight at a time, with a connection that is closed afterwards; i is the worker's index in
// Nodes. It is for proofs, which hold for all workers or not at all: the error names each worker that could not be asked, and after
// eight of them no more are tried. It blocks until all calls have returned.
func (w Workers) Each(ctx context.Context, fn func(ctx context.Context, i int, conn *node.Conn) error) error {
	return w.Join(w.ask(ctx, fn, func(failed, _ int) bool { return failed >= enough }))
}

// Ask is as Each, for looks: one worker that cannot be asked does not hide what the others say. It returns the error of each worker, by its
// index, nil for those that were asked. When none answers, no more are tried after eight. It blocks until all calls have returned.
func (w Workers) Ask(ctx context.Context, fn func(ctx context.Context, i int, conn *node.Conn) error) []error {
	return w.ask(ctx, fn, func(failed, asked int) bool { return failed >= enough && asked == 0 })
}

func (w Workers) ask(ctx context.Context, fn func(context.Context, int, *node.Conn) error, hopeless func(failed, asked int) bool) []error {
	var group errgroup.Group
	group.SetLimit(parallel)
	var mu sync.Mutex
	failed, asked := 0, 0
	out := make([]error, len(w.Nodes))
	for i := range w.Nodes {
		group.Go(func() error {
			mu.Lock()
			over := hopeless(failed, asked)
			mu.Unlock()
			if over {
				out[i] = fmt.Errorf("node %s: %w", w.Nodes[i].Name, errNotTried)
				return nil
			}
			err := w.one(ctx, i, fn)
			mu.Lock()
			defer mu.Unlock()
			out[i] = err
			if err != nil {
				failed++
			} else {
				asked++
			}
			return nil
		})
	}
	_ = group.Wait() // the errors are in out
	return out
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
	conn, err := node.Dial(ctx, w.Conf, target, w.Credentials)
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
