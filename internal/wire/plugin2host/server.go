package plugin2host

import (
	"context"

	"github.com/tkgfix/tkgfix/internal/wire/fromproto"
	"github.com/tkgfix/tkgfix/internal/wire/proto"
	"github.com/tkgfix/tkgfix/internal/wire/toproto"
	"github.com/tkgfix/tkgfix/plugins"
)

// Server serves the engine's host to one Apply.
type Server struct {
	proto.UnimplementedHostServer
	host plugins.Host
}

// NewServer returns a server of host.
func NewServer(host plugins.Host) *Server { return &Server{host: host} }

// Effect answers what the journal holds of an effect.
func (s *Server) Effect(ctx context.Context, m *proto.EffectRequest) (*proto.EffectResponse, error) {
	state, err := s.host.Effect(ctx, m.GetKey())
	if err != nil {
		return nil, toproto.Error(err)
	}
	word, err := toproto.EffectState(state)
	if err != nil {
		return nil, toproto.Error(err)
	}
	return &proto.EffectResponse{State: word}, nil
}

// Intend journals an intent.
func (s *Server) Intend(ctx context.Context, m *proto.IntendRequest) (*proto.IntendResponse, error) {
	spec, err := fromproto.EffectSpec(m.GetSpec())
	if err == nil {
		err = s.host.Intend(ctx, spec)
	}
	return &proto.IntendResponse{}, toproto.Error(err)
}

// Done journals an end.
func (s *Server) Done(ctx context.Context, m *proto.DoneRequest) (*proto.DoneResponse, error) {
	return &proto.DoneResponse{}, toproto.Error(s.host.Done(ctx, m.GetKey(), m.GetNote()))
}

// Progress shows a message.
func (s *Server) Progress(ctx context.Context, m *proto.ProgressRequest) (*proto.ProgressResponse, error) {
	return &proto.ProgressResponse{}, toproto.Error(s.host.Progress(ctx, m.GetMessage()))
}
