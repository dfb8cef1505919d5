package node

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
)

// What carries bytes on a node: a shell script that looks for a program which can, and what it hands to two of them.
var (
	//go:embed carry/dispatch.sh
	carryDispatch string
	//go:embed carry/carry.bash
	carryBash string
	//go:embed carry/carry.py
	carryPython string
)

const (
	// carried is the line that a program on the node says once it is connected.
	carried = "tkgfix ok"
	// notCarried is the exit code of a node on which nothing can dial.
	notCarried = 96
	// maxPreface bounds what a login shell may print before that line, in bytes.
	maxPreface = 16 << 10
)

// carry has a program of the node dial hostport and carry the bytes over the transport's Exec. What goes through is what is written, so a
// TLS handshake is made here, by Go, as it is over a forwarded connection. The error is ErrForwarding if nothing on the node can dial.
func (c *Conn) carry(ctx context.Context, hostport string) (net.Conn, error) {
	command, err := carryCommand(hostport)
	if err != nil {
		return nil, err
	}
	ours, theirs := net.Pipe()
	run := &carriage{Conn: ours, to: remoteAddr(hostport), done: make(chan struct{}), complaints: &bounded{max: maxStderr, drop: true}}
	go func() {
		defer close(run.done)
		defer func() { _ = theirs.Close() }()
		// The command ends with its input, not with the dial that began it.
		run.err = c.transport.Exec(context.WithoutCancel(ctx), command, theirs, theirs, run.complaints)
	}()
	stop := context.AfterFunc(ctx, func() { _ = ours.Close() })
	err = run.awaitConnected()
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err == nil {
		return run, nil
	}
	_ = ours.Close()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w, and no session carries bytes in its place: %w", ErrForwarding, err)
	}
	<-run.done
	if _, ended := errors.AsType[*ExitError](run.err); !ended && run.err != nil && c.Alive(ctx) != nil {
		return nil, fmt.Errorf("%w: %w", ErrLost, run.err)
	}
	return nil, run.dialError(hostport)
}

// dialError says why a program on the node ended before it was connected.
func (r *carriage) dialError(hostport string) error {
	said := r.complaints.buf.String()
	exit, ended := errors.AsType[*ExitError](r.err)
	switch {
	case !ended && r.err != nil:
		return fmt.Errorf("%w, and no session carries bytes in its place: %w", ErrForwarding, r.err)
	case !ended || exit.Code == notCarried:
		return fmt.Errorf("%w, and the node has none of bash, python3, socat, nc and busybox to dial with", ErrForwarding)
	case exit.Code == 126 || exit.Code == 127:
		return fmt.Errorf("%w, and no session carries bytes in its place: %w: %s", ErrForwarding, exit, lastLine(said))
	}
	return &net.OpError{Op: "dial", Net: "tcp", Addr: remoteAddr(hostport), Err: dialCause(said, hostport)}
}

// carryCommand returns the command line for the login user's shell.
func carryCommand(hostport string) (string, error) {
	name, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return "", err
	}
	if _, err := netip.ParseAddr(name); err != nil && !hostForm.MatchString(name) {
		return "", fmt.Errorf("%q is not the name of a host", name)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("%q is not a port", port)
	}
	words := []string{"sh", "-c", quote(carryDispatch), "sh", quote(name), quote(port), quote(carryBash), quote(carryPython)}
	return strings.Join(words, " "), nil
}

// quote makes one word of s for a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// carriage is a connection whose bytes a program on the node carries. It knows deadlines.
type carriage struct {
	net.Conn
	to remoteAddr
	// done is closed when the program has ended; then err and complaints may be read.
	done       chan struct{}
	err        error
	complaints *bounded
}

// RemoteAddr is what the node was asked to dial.
func (r *carriage) RemoteAddr() net.Addr { return r.to }

// Read reads what came back. A connection that was reset ends in that error, as it does over a forwarded connection to the node itself.
func (r *carriage) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	<-r.done
	if errors.Is(dialCause(r.complaints.buf.String(), string(r.to)), syscall.ECONNRESET) {
		return n, &net.OpError{Op: "read", Net: "tcp", Addr: r.to, Err: syscall.ECONNRESET}
	}
	return n, err
}

// awaitConnected reads until the program says that it is connected, byte by byte, so that none of what follows is taken.
func (r *carriage) awaitConnected() error {
	line := make([]byte, 0, len(carried))
	b := make([]byte, 1)
	for range maxPreface {
		if _, err := io.ReadFull(r.Conn, b); err != nil {
			return err
		}
		switch {
		case b[0] != '\n':
			line = append(line, b[0])
		case string(line) == carried:
			return nil
		default:
			line = line[:0] // what a login shell greets with
		}
	}
	return errors.New("the login shell prints too much")
}
