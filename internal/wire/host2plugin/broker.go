package host2plugin

import (
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/tkgfix/tkgfix/internal/wire/fromproto"
	"github.com/tkgfix/tkgfix/internal/wire/plugin2host"
	"github.com/tkgfix/tkgfix/internal/wire/proto"
	"github.com/tkgfix/tkgfix/plugins"
)

// Broker is what this package needs of go-plugin's GRPCBroker: connections beside the first one, found by number.
type Broker interface {
	NextId() uint32
	AcceptAndServe(id uint32, newServer func([]grpc.ServerOption) *grpc.Server)
	DialWithOptions(id uint32, opts ...grpc.DialOption) (*grpc.ClientConn, error)
}

// serveHost serves host under the broker's id until the function that it returns is called; that one blocks until
// every call of host that was begun has returned.
func serveHost(broker Broker, id uint32, host plugins.Host) (stop func()) {
	made := make(chan *grpc.Server, 1)
	over := make(chan struct{})
	var group errgroup.Group
	group.Go(func() error {
		defer close(over)
		broker.AcceptAndServe(id, func(opts []grpc.ServerOption) *grpc.Server {
			opts = append(opts, ServerOptions()...)
			server := grpc.NewServer(append(opts, grpc.WaitForHandlers(true))...)
			proto.RegisterHostServer(server, plugin2host.NewServer(host))
			made <- server
			return server
		})
		return nil
	})
	return func() {
		select {
		case server := <-made:
			server.Stop()
		case <-over: // the broker is gone, with the plugin
		}
		_ = group.Wait()
	}
}

// ServerOptions are those of every server of the protocol: they bound its messages.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(fromproto.MaxMessage),
		grpc.MaxSendMsgSize(fromproto.MaxMessage),
	}
}
