package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"
	"k8s.io/klog/v2"
)

// Command is a command to run in a container.
type Command struct {
	Container string
	// Args are the program and its arguments; no shell stands between.
	Args []string
	// Stdin is read by the command; nil for none. It may be read from until it ends, even after Exec has returned.
	Stdin          io.Reader
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
	// What fails while a stream ends is in the error; the library would print it as well.
	err = executor.StreamWithContext(klog.NewContext(ctx, klog.Logger{}), remotecommand.StreamOptions{Stdin: command.Stdin, Stdout: command.Stdout, Stderr: command.Stderr})
	if exit, ok := errors.AsType[exec.CodeExitError](err); ok {
		return &ExitError{Code: exit.Code}
	}
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return Explain(fmt.Errorf("run a command in Pod %s: %w", pod, err))
	}
	return nil
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
