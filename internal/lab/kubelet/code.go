package kubelet

import (
	"fmt"

	"github.com/containerd/errdefs/pkg/errgrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// asAnswered returns the error of a pull as kubelet gets it from containerd, by gRPC. A code that says nothing is left out, which
// kubelets have done since 1.27 (pkg/kubelet/images/image_manager.go, evalCRIPullErr); old ones left it in.
func asAnswered(err error, old bool) error {
	code := status.Code(errgrpc.ToGRPC(err))
	if code == codes.Unknown && !old {
		return err
	}
	return fmt.Errorf("rpc error: code = %s desc = %w", code, err)
}
