package node

import (
	"context"
	"fmt"
	"io"
	"net"
)

// Transport is a way to one node. Its methods may be called from several goroutines.
type Transport interface {
	// Exec runs a command line with the node's shell, as the login user, and blocks until it ends. A command that ends with another code
	// than 0 is an *ExitError. When ctx ends the command is left alone: Close ends it.
	Exec(ctx context.Context, command string, stdin io.Reader, stdout, stderr io.Writer) error
	// Dial lets the node dial. The error is ErrForwarding if the node does not do that for others, ErrLost if the node is not reached any
	// more, else what the node ran into, as a *net.OpError.
	Dial(ctx context.Context, hostport string) (net.Conn, error)
	// Alive asks for a sign of life and blocks until it comes, or until Close.
	Alive(ctx context.Context) error
	// Close ends all that runs over the transport.
	Close() error
}

// ExitError says that a command on a node ended with a code other than 0.
type ExitError struct{ Code int }

func (e *ExitError) Error() string { return fmt.Sprintf("exit code %d", e.Code) }
