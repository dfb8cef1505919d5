package remedy

import (
	"context"
	"crypto/x509"
	"errors"
	"time"

	"github.com/tkgfix/tkgfix/internal/handshake"
	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/nodelook"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

// Request is what each remedy is asked for.
type Request struct {
	Ref      tkg.Ref
	Registry string
	// Candidate is the CA to try, nil if none was given.
	Candidate []*x509.Certificate
}

// ReadRequest reads what names the cluster and the registry. The candidate is the caller's. The error carries a hint.
func ReadRequest(cluster, registry string) (Request, error) {
	ref, err := tkg.ParseRef(cluster)
	if err != nil {
		return Request{}, err
	}
	_, _, err = handshake.HostPort(registry)
	return Request{Ref: ref, Registry: registry}, err
}

// Connect returns a client of the Supervisor and the way to the nodes. It connects to nothing.
func Connect(conn plugins.Connections) (*kube.Client, plugins.Nodes, error) {
	if conn.Supervisor == nil || conn.Nodes == nil {
		return nil, plugins.Nodes{}, errors.New("no connection to the Supervisor and the nodes was given")
	}
	c, err := kube.New(*conn.Supervisor)
	return c, *conn.Nodes, err
}

// SeeWorkers lets the workers of the cluster shake hands with the registry; roll says which of them have joined. It blocks on the network.
func (r Request) SeeWorkers(ctx context.Context, c *kube.Client, nodes plugins.Nodes, roll tkg.Roll, now func() time.Time) ([]Sight, error) {
	workers, err := nodelook.FindWorkers(ctx, c, nodes, r.Ref)
	if err != nil {
		return nil, err
	}
	ask, err := nodelook.Request(r.Registry)
	if err != nil {
		return nil, err
	}
	ask.Now, ask.Candidate = now, r.Candidate
	return See(ctx, workers, ask, Joined(roll)), ctx.Err()
}
