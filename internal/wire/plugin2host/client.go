package plugin2host

import (
	"context"

	"google.golang.org/grpc"

	"github.com/tkgfix/tkgfix/internal/wire/fromproto"
	"github.com/tkgfix/tkgfix/internal/wire/proto"
	"github.com/tkgfix/tkgfix/internal/wire/toproto"
	"github.com/tkgfix/tkgfix/plugins"
)

// Client is the host as a step sees it. Each method blocks until the engine has answered or ctx ends.
type Client struct {
	rpc proto.HostClient
}

var _ plugins.Host = (*Client)(nil)

// NewClient returns the host that is served on the other end of conn.
func NewClient(conn grpc.ClientConnInterface) *Client {
	return &Client{rpc: proto.NewHostClient(conn)}
}

// Effect asks what the journal holds of an effect.
func (c *Client) Effect(ctx context.Context, key string) (plugins.EffectState, error) {
	m, err := c.rpc.Effect(ctx, &proto.EffectRequest{Key: key})
	if err != nil {
		return "", fromproto.Error(err)
	}
	return fromproto.EffectState(m.GetState())
}

// Intend journals the intent to perform an effect.
func (c *Client) Intend(ctx context.Context, spec plugins.EffectSpec) error {
	_, err := c.rpc.Intend(ctx, &proto.IntendRequest{Spec: toproto.EffectSpec(spec)})
	return fromproto.Error(err)
}

// Done journals that an effect has happened.
func (c *Client) Done(ctx context.Context, key, note string) error {
	_, err := c.rpc.Done(ctx, &proto.DoneRequest{Key: key, Note: toproto.Text(note)})
	return fromproto.Error(err)
}

// Progress shows what is being waited for.
func (c *Client) Progress(ctx context.Context, message string) error {
	_, err := c.rpc.Progress(ctx, &proto.ProgressRequest{Message: toproto.Text(message)})
	return fromproto.Error(err)
}
