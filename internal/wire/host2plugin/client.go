package host2plugin

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/tkgfix/tkgfix/internal/wire/fromproto"
	"github.com/tkgfix/tkgfix/internal/wire/proto"
	"github.com/tkgfix/tkgfix/internal/wire/toproto"
	"github.com/tkgfix/tkgfix/plugins"
)

// ErrIgnoredCancel marks the error of a call that went on after its context had ended and the grace was over. Whether the step still
// acts is unknown: its process must be killed.
var ErrIgnoredCancel = errors.New("went on after it was cancelled")

// DefaultGrace is how long a cancelled call may take to answer.
const DefaultGrace = 10 * time.Second

// Conn is a connection to a plugin whose step has not been asked anything yet.
type Conn struct {
	conn   grpc.ClientConnInterface
	broker Broker
}

// NewConn returns a connection. The broker serves the host's side of Apply.
func NewConn(conn grpc.ClientConnInterface, broker Broker) *Conn {
	return &Conn{conn: conn, broker: broker}
}

// Step asks the plugin what its step is and returns the step. It blocks until the plugin has answered or ctx ends. A grace of zero is DefaultGrace.
func (c *Conn) Step(ctx context.Context, grace time.Duration) (*Client, error) {
	if grace <= 0 {
		grace = DefaultGrace
	}
	client := &Client{rpc: proto.NewStepClient(c.conn), broker: c.broker, grace: grace}
	m, err := client.rpc.Describe(ctx, &proto.DescribeRequest{}, callOptions()...)
	if err != nil {
		return nil, fromproto.Error(err)
	}
	client.description, err = fromproto.Description(m.GetDescription())
	if err != nil {
		return nil, fmt.Errorf("read description: %w", err)
	}
	return client, nil
}

// Client is a step in another process.
type Client struct {
	rpc         proto.StepClient
	broker      Broker
	grace       time.Duration
	description plugins.Description
	calls       atomic.Uint64
}

var _ plugins.Step = (*Client)(nil)

// Describe returns what the step said of itself when the connection was made.
func (c *Client) Describe() plugins.Description { return c.description }

// Plan asks the step for its plan. When ctx ends the step is told, and Plan still waits for its answer, for the grace at most:
// after that the error wraps ErrIgnoredCancel.
func (c *Client) Plan(ctx context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	id := c.nextCall()
	in, err := toproto.PlanRequest(id, req)
	if err != nil {
		return plugins.PlanResponse{}, err
	}
	var out *proto.PlanResponse
	err = c.call(ctx, id, func(ctx context.Context) (err error) {
		out, err = c.rpc.Plan(ctx, in, callOptions()...)
		return fromproto.Error(err)
	})
	if err != nil {
		return plugins.PlanResponse{}, err
	}
	resp, err := fromproto.PlanResponse(out)
	if err != nil {
		return plugins.PlanResponse{}, fmt.Errorf("read plan: %w", err)
	}
	return resp, nil
}

// Apply has the step do what was approved and serves host to it meanwhile; no call of host begins after Apply has returned. When ctx
// ends it does as Plan does. A step that only reads is refused.
func (c *Client) Apply(ctx context.Context, req plugins.ApplyRequest, host plugins.Host) (plugins.ApplyResponse, error) {
	if c.description.Effect == plugins.Read || req.Effect == plugins.Read {
		return plugins.ApplyResponse{}, fmt.Errorf("apply %s: the step only reads", c.description.Name)
	}
	id := c.nextCall()
	broker := c.broker.NextId()
	in, err := toproto.ApplyRequest(id, broker, req)
	if err != nil {
		return plugins.ApplyResponse{}, err
	}
	stop := serveHost(c.broker, broker, host)
	var out *proto.ApplyResponse
	err = c.call(ctx, id, func(ctx context.Context) (err error) {
		out, err = c.rpc.Apply(ctx, in, callOptions()...)
		return fromproto.Error(err)
	})
	stop()
	if err != nil {
		return plugins.ApplyResponse{}, err
	}
	resp, err := fromproto.ApplyResponse(out)
	if err != nil {
		return plugins.ApplyResponse{}, fmt.Errorf("read answer of apply: %w", err)
	}
	return resp, nil
}

// call makes an RPC that outlives ctx by the grace.
func (c *Client) call(ctx context.Context, id string, rpc func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	detached, abandon := context.WithCancel(context.WithoutCancel(ctx))
	defer abandon()
	answered := make(chan struct{})
	var group errgroup.Group
	group.Go(func() error {
		defer close(answered)
		return rpc(detached)
	})
	settled := true
	select {
	case <-answered:
	case <-ctx.Done():
		settled = c.settle(ctx, id, answered)
	}
	if !settled {
		abandon()
	}
	err := group.Wait()
	switch {
	case !settled:
		return &endedError{err: fmt.Errorf("%w (waited %s)", ErrIgnoredCancel, c.grace), cause: ctx.Err()}
	case err != nil && ctx.Err() != nil:
		return &endedError{err: err, cause: ctx.Err()}
	default:
		return err
	}
}

// settle tells the plugin that the call is cancelled and reports whether it answered within the grace.
func (c *Client) settle(ctx context.Context, id string, answered <-chan struct{}) bool {
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.grace)
	defer cancel()
	// A Cancel that fails is one that was ignored: the grace ends that too.
	_, _ = c.rpc.Cancel(grace, &proto.CancelRequest{Call: id})
	select {
	case <-answered:
		return true
	case <-grace.Done():
		return false
	}
}

func (c *Client) nextCall() string { return strconv.FormatUint(c.calls.Add(1), 10) }

// callOptions bounds what one call may carry, whoever made the connection.
func callOptions() []grpc.CallOption {
	return []grpc.CallOption{
		grpc.MaxCallRecvMsgSize(fromproto.MaxMessage),
		grpc.MaxCallSendMsgSize(fromproto.MaxMessage),
	}
}

// endedError is the error of a call whose context ended. It reads as what the step said, and errors.Is finds why.
type endedError struct {
	err   error
	cause error
}

func (e *endedError) Error() string { return e.err.Error() }

func (e *endedError) Unwrap() []error { return []error{e.err, e.cause} }
