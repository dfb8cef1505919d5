package wire

import (
	"context"
	"errors"
	"io"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/tkgfix/tkgfix/internal/wire/host2plugin"
	"github.com/tkgfix/tkgfix/internal/wire/proto"
	"github.com/tkgfix/tkgfix/plugins"
)

// ProtocolVersion is the version of the protocol in proto/step.proto that this build speaks.
const ProtocolVersion = 1

// PluginName is the name under which a plugin serves its step.
const PluginName = "step"

// Handshake is what host and plugin show each other first, so that a plugin that was started by hand says so.
func Handshake() plugin.HandshakeConfig {
	return plugin.HandshakeConfig{
		MagicCookieKey:   "TKGFIX_PLUGIN",
		MagicCookieValue: "dd1b2a4b-3a0e-4b6a-9a6c-6f1d4c0b6f7e",
	}
}

// Plugin ties the protocol to go-plugin. The host needs no field of it.
type Plugin struct {
	plugin.NetRPCUnsupportedPlugin
	// Step is what the plugin serves.
	Step plugins.Step
	// Log takes the stack of a step that panics; nil drops it.
	Log io.Writer
}

var _ plugin.GRPCPlugin = (*Plugin)(nil)

// Plugins returns the plugin in the versions that this build speaks.
func Plugins(p *Plugin) map[int]plugin.PluginSet {
	return map[int]plugin.PluginSet{ProtocolVersion: {PluginName: p}}
}

// GRPCServer registers the plugin's side.
func (p *Plugin) GRPCServer(broker *plugin.GRPCBroker, server *grpc.Server) error {
	if p.Step == nil {
		return errors.New("serve a plugin without a step")
	}
	log := p.Log
	if log == nil {
		log = io.Discard
	}
	proto.RegisterStepServer(server, host2plugin.NewServer(p.Step, broker, log))
	return nil
}

// GRPCClient returns the host's side, a *host2plugin.Conn.
func (p *Plugin) GRPCClient(_ context.Context, broker *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return host2plugin.NewConn(conn, broker), nil
}

// NewServer returns a gRPC server as every plugin uses it.
func NewServer(opts []grpc.ServerOption) *grpc.Server {
	return grpc.NewServer(append(opts, host2plugin.ServerOptions()...)...)
}
