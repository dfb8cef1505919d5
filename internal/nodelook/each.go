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

// Each calls fn once for each worker, eight at a time, with a connection that is closed afterwards; i is the worker's index in
// Nodes. The error names each worker that could not be asked; after eight of them no more are tried. It blocks until all
// calls have returned.
func (w Workers) Each(ctx context.Context, fn func(ctx context.Context, i int, conn *node.Conn) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	var mu sync.Mutex
	var bad []error
	for i := range w.Nodes {
		group.Go(func() error {
			err := w.one(ctx, i, fn)
			if err == nil {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			if len(bad) == 0 || !errors.Is(err, context.Canceled) {
				bad = append(bad, err)
			}
			if len(bad) >= enough || ctx.Err() != nil {
				return err
			}
			return nil
		})
	}
	err := group.Wait()
	if len(bad) == 0 {
		return err
	}
	return together(bad, len(w.Nodes))
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

// together makes one error of those of several nodes; kind and hint are those of the first.
func together(bad []error, of int) error {
	if len(bad) == 1 {
		return bad[0]
	}
	return fmt.Errorf("%d of %d workers could not be asked: %w", len(bad), of, &list{bad})
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
