package host2plugin

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"sync"

	"github.com/tkgfix/tkgfix/internal/wire/fromproto"
	"github.com/tkgfix/tkgfix/internal/wire/plugin2host"
	"github.com/tkgfix/tkgfix/internal/wire/proto"
	"github.com/tkgfix/tkgfix/internal/wire/toproto"
	"github.com/tkgfix/tkgfix/plugins"
)

// Server serves a step from the plugin's process.
type Server struct {
	proto.UnimplementedStepServer
	step   plugins.Step
	broker Broker
	log    io.Writer

	mu    sync.Mutex
	name  string
	calls map[string]context.CancelFunc
}

// NewServer returns a server of step. The stack of a step that panics goes to log.
func NewServer(step plugins.Step, broker Broker, log io.Writer) *Server {
	return &Server{step: step, broker: broker, log: log, calls: map[string]context.CancelFunc{}}
}

// Describe answers what the step is.
func (s *Server) Describe(context.Context, *proto.DescribeRequest) (_ *proto.DescribeResponse, err error) {
	defer s.recovered(&err)
	description := s.step.Describe()
	s.setName(description.Name)
	d, err := toproto.Description(description)
	if err != nil {
		return nil, toproto.Error(fmt.Errorf("describe: %w", err))
	}
	return &proto.DescribeResponse{Description: d}, nil
}

// Plan answers with the step's plan.
func (s *Server) Plan(ctx context.Context, m *proto.PlanRequest) (_ *proto.PlanResponse, err error) {
	defer s.recovered(&err)
	req, err := fromproto.PlanRequest(m)
	if err != nil {
		return nil, toproto.Error(fmt.Errorf("read request of plan: %w", err))
	}
	ctx, end := s.begin(ctx, m.GetCall())
	defer end()
	resp, err := s.step.Plan(ctx, req)
	if err != nil {
		return nil, toproto.Error(err)
	}
	out, err := toproto.PlanResponse(resp)
	if err != nil {
		return nil, toproto.Error(fmt.Errorf("plan: %w", err))
	}
	return out, nil
}

// Apply has the step do what was approved, with the host that the request names.
func (s *Server) Apply(ctx context.Context, m *proto.ApplyRequest) (_ *proto.ApplyResponse, err error) {
	defer s.recovered(&err)
	req, err := fromproto.ApplyRequest(m)
	if err != nil {
		return nil, toproto.Error(fmt.Errorf("read request of apply: %w", err))
	}
	ctx, end := s.begin(ctx, m.GetCall())
	defer end()
	conn, err := s.broker.DialWithOptions(m.GetHost())
	if err != nil {
		return nil, toproto.Error(fmt.Errorf("reach the host: %w", err))
	}
	defer func() { _ = conn.Close() }()
	resp, err := s.step.Apply(ctx, req, plugin2host.NewClient(conn))
	if err != nil {
		return nil, toproto.Error(err)
	}
	out, err := toproto.ApplyResponse(resp)
	if err != nil {
		return nil, toproto.Error(fmt.Errorf("apply: %w", err))
	}
	return out, nil
}

// Cancel ends the context of a call. One that is not there has answered already.
func (s *Server) Cancel(_ context.Context, m *proto.CancelRequest) (*proto.CancelResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cancel, ok := s.calls[m.GetCall()]; ok {
		cancel()
	}
	return &proto.CancelResponse{}, nil
}

// begin makes the context of a call known to Cancel until end is called.
func (s *Server) begin(ctx context.Context, call string) (_ context.Context, end func()) {
	ctx, cancel := context.WithCancel(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[call] = cancel
	return ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.calls, call)
		cancel()
	}
}

// recovered makes an error of a panic: one bad step must not end the calls beside it, nor pass for a lost connection.
func (s *Server) recovered(err *error) {
	value := recover()
	if value == nil {
		return
	}
	_, _ = fmt.Fprintf(s.log, "panic: %v\n%s", value, debug.Stack())
	s.mu.Lock()
	defer s.mu.Unlock()
	*err = toproto.Error(fmt.Errorf("plugin %s panicked: %v", s.name, value))
}

func (s *Server) setName(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.name = name
}
