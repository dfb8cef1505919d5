package nodelook

import (
	"context"

	"github.com/tkgfix/tkgfix/internal/node"
	"github.com/tkgfix/tkgfix/internal/node/debugpod"
)

// viaDebugPod is the value of plugins.Nodes.Via for a pod on each node.
const viaDebugPod = "debug-pod"

// dial reaches a worker by the way that is configured.
func (w Workers) dial(ctx context.Context, target node.Target) (*node.Conn, error) {
	if w.cluster != nil {
		return debugpod.Dial(ctx, w.cluster, w.Conf, target)
	}
	return node.Dial(ctx, w.Conf, target, w.Credentials)
}
