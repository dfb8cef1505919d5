package debugpod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/node"
	"github.com/tkgfix/tkgfix/plugins"
)

// enter runs a command line with the node's own shell in the node's own root, whichever of the two programs for that the image has. The
// image's environment stays behind: an SSL_CERT_FILE in it would change what the node's openssl says.
const enter = `set -- /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root USER=root LANG=C /bin/sh -c "$1"
if command -v chroot >/dev/null 2>&1; then exec chroot ` + host + ` "$@"; fi
exec nsenter --target 1 --mount "$@"`

// transport is a debug pod that runs.
type transport struct {
	cluster *kube.Client
	pods    kube.Resource
	pod     types.NamespacedName
	uid     types.UID
	// life ends with Close, and with it each command.
	life  context.Context
	end   context.CancelFunc
	close func() error
}

var _ node.Transport = (*transport)(nil)

func newTransport(ctx context.Context, cluster *kube.Client, pods kube.Resource, made *unstructured.Unstructured) *transport {
	t := &transport{
		cluster: cluster, pods: pods, uid: made.GetUID(),
		pod: types.NamespacedName{Namespace: made.GetNamespace(), Name: made.GetName()},
	}
	t.life, t.end = context.WithCancel(context.WithoutCancel(ctx))
	t.close = sync.OnceValue(t.remove)
	return t
}

// Exec runs a command line on the node as root.
func (t *transport) Exec(ctx context.Context, command string, stdin io.Reader, stdout, stderr io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(t.life, cancel)()
	err := t.cluster.Exec(ctx, t.pod, kube.Command{
		Container: container, Args: []string{"sh", "-c", enter, "sh", command}, Stdin: stdin, Stdout: stdout, Stderr: stderr,
	})
	if exit, ok := errors.AsType[*kube.ExitError](err); ok {
		return &node.ExitError{Code: exit.Code}
	}
	if err != nil && t.life.Err() != nil {
		return net.ErrClosed
	}
	return err
}

// Dial returns node.ErrForwarding: a pod's connection carries commands only.
func (t *transport) Dial(context.Context, string) (net.Conn, error) { return nil, node.ErrForwarding }

// Alive runs a command that does nothing.
func (t *transport) Alive(ctx context.Context) error {
	return t.Exec(ctx, ":", nil, io.Discard, io.Discard)
}

// prove runs a first command. An image that has no way into the node's root is an *unfitError.
func (t *transport) prove(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, proveTimeout)
	defer cancel()
	err := t.Alive(bounded)
	if exit, ok := errors.AsType[*node.ExitError](err); ok {
		return &unfitError{fmt.Sprintf("it has neither chroot nor nsenter, or they do not work there (%s)", exit)}
	}
	if err != nil && ctx.Err() == nil && apierrors.IsForbidden(err) {
		return err
	}
	if err != nil && ctx.Err() == nil {
		return plugins.Hint(plugins.WithKind(plugins.KindTransient, fmt.Errorf("the pod runs, and takes no command: %w", err)),
			"the API server must reach the kubelet's port 10250 for this; try: kubectl exec -n %s ANY-POD-OF-THAT-NODE -- true", namespace)
	}
	return err
}

// Close ends what runs in the pod and deletes it, also when the caller's context has ended. It may be called more than once.
func (t *transport) Close() error { return t.close() }

func (t *transport) remove() error {
	t.end()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.life), tidyTimeout)
	defer cancel()
	if err := t.cluster.DeleteNow(ctx, t.pods, t.pod, t.uid); err != nil && !gone(err) {
		return plugins.Hint(fmt.Errorf("delete the debug pod: %w", err),
			"it ends by itself %s after it was made, and the next look deletes it then; or: kubectl delete pod -n %s %s", deadline, t.pod.Namespace, t.pod.Name)
	}
	return nil
}
