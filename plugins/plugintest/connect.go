package plugintest

import (
	"context"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"

	"github.com/tkgfix/tkgfix/internal/wire"
	"github.com/tkgfix/tkgfix/internal/wire/host2plugin"
	"github.com/tkgfix/tkgfix/plugins"
)

// connectTime bounds how long Connect may take: far more than it needs.
const connectTime = 30 * time.Second

// Connect returns the step at the other end of a real go-plugin connection in this process: all that it is asked and answers crosses the
// wire. The connection ends with the test.
func Connect(t testing.TB, step plugins.Step) plugins.Step {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	attach, closed := make(chan *plugin.ReattachConfig, 1), make(chan struct{})
	go plugin.Serve(&plugin.ServeConfig{ // ended by stop, awaited by closed
		HandshakeConfig:  wire.Handshake(),
		VersionedPlugins: wire.Plugins(&wire.Plugin{Step: step, Log: t.Output()}),
		GRPCServer:       wire.NewServer,
		Logger:           hclog.NewNullLogger(),
		Test:             &plugin.ServeTestConfig{Context: ctx, ReattachConfigCh: attach, CloseCh: closed},
	})
	// go-plugin must be told once only to stop: by the client if there is one, else by the context.
	shutdown := func() error { stop(); return nil }
	t.Cleanup(func() {
		if shutdown() != nil {
			stop()
		}
		<-closed
		stop()
	})

	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: wire.Handshake(),
		Plugins:         wire.Plugins(&wire.Plugin{})[wire.ProtocolVersion],
		Reattach:        <-attach,
		Logger:          hclog.NewNullLogger(),
	})
	protocol, err := client.Client()
	if err != nil {
		t.Fatalf("connect to step: %v", err)
	}
	shutdown = protocol.Close
	raw, err := protocol.Dispense(wire.PluginName)
	if err != nil {
		t.Fatalf("connect to step: %v", err)
	}
	conn, ok := raw.(*host2plugin.Conn)
	if !ok {
		t.Fatalf("connect to step: dispensed a %T", raw)
	}
	asked, cancel := context.WithTimeout(t.Context(), connectTime)
	defer cancel()
	remote, err := conn.Step(asked, 0)
	if err != nil {
		t.Fatalf("describe over the wire: %v", err)
	}
	return remote
}
