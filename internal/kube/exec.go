package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"
	"k8s.io/klog/v2"
	"k8s.io/streaming/pkg/httpstream"
)

// Command is a command to run in a container.
type Command struct {
	Container string
	// Args are the program and its arguments; no shell stands between.
	Args []string
	// Stdin is read by the command; nil for none. It may be read from until it ends, even after Exec has returned.
	Stdin io.Reader
	// Stdout and Stderr are nil for what is not wanted. Nothing is written to them after Exec has returned.
	Stdout, Stderr io.Writer
}

// ExitError says that a command in a container ended with a code other than 0.
type ExitError struct{ Code int }

func (e *ExitError) Error() string { return fmt.Sprintf("exit code %d", e.Code) }

// Exec runs a command in a pod and blocks until it ends. A command that ends with a code other than 0 is an *ExitError. It goes by
// WebSocket, and by SPDY where the API server or a proxy on the way does not speak it, as kubectl does. When ctx ends the connection
// is closed; whether that ends the command is up to the node.
func (c *Client) Exec(ctx context.Context, pod types.NamespacedName, command Command) error {
	if c.IsDryRun() {
		return errors.New("a command in a pod cannot be tried without running it")
	}
	executor, err := c.executor(pod, command)
	if err != nil {
		return fmt.Errorf("run a command in Pod %s: %w", pod, redacted(err))
	}
	options := remotecommand.StreamOptions{Stdin: command.Stdin}
	for _, stream := range []struct{ from, to *io.Writer }{{&command.Stdout, &options.Stdout}, {&command.Stderr, &options.Stderr}} {
		if *stream.from != nil {
			g := &gate{to: *stream.from}
			defer g.shut()
			*stream.to = g
		}
	}
	// What fails while a stream ends is in the error; the library would print it as well.
	err = executor.StreamWithContext(klog.NewContext(ctx, klog.Logger{}), options)
	if exit, ok := errors.AsType[exec.CodeExitError](err); ok {
		return &ExitError{Code: exit.Code}
	}
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return Explain(fmt.Errorf("run a command in Pod %s: %w", pod, refused(err)))
	}
	return nil
}

// gate passes on what is written until it is shut: when a context ends, the library returns before its streams have.
type gate struct {
	mu     sync.Mutex
	to     io.Writer
	closed bool
}

func (g *gate) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return 0, io.ErrClosedPipe
	}
	return g.to.Write(p)
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}

// refused gives a refusal of the API server its type back. The library that speaks SPDY keeps its text alone.
func refused(err error) error {
	text, ok := strings.CutPrefix(err.Error(), "unable to upgrade connection: ")
	if !ok || !strings.Contains(text, " is forbidden: ") {
		return err
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden, Message: text,
	}}
}

func (c *Client) executor(pod types.NamespacedName, command Command) (remotecommand.Executor, error) {
	request := c.kinds.client.Get().AbsPath("/api/v1/namespaces", pod.Namespace, "pods", pod.Name, "exec").Param("container", command.Container)
	for _, arg := range command.Args {
		request.Param("command", arg)
	}
	for name, wanted := range map[string]bool{"stdin": command.Stdin != nil, "stdout": command.Stdout != nil, "stderr": command.Stderr != nil} {
		if wanted {
			request.Param(name, "true")
		}
	}
	websocket, err := remotecommand.NewWebSocketExecutor(c.config, http.MethodGet, request.URL().String())
	if err != nil {
		return nil, err
	}
	spdy, err := remotecommand.NewSPDYExecutor(c.config, http.MethodPost, request.URL())
	if err != nil {
		return nil, err
	}
	return remotecommand.NewFallbackExecutor(websocket, spdy, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
}
