package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tkgfix/tkgfix/plugins"
)

const (
	maxOutput = 8 << 20
	maxStderr = 64 << 10
)

// errSilent ends a script that prints nothing.
var errSilent = errors.New("it printed nothing")

// Run feeds the script to sh on the node and returns its standard output, 8 MiB at most. A script that exits with another code
// than 0 is an error that quotes the end of its standard error. When ctx ends, the output is too long, or the node says nothing for two
// minutes, the whole connection is closed, which is the one way that ends a command on every SSH server. It blocks until the script is
// done.
func (c *Conn) Run(ctx context.Context, script string) ([]byte, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(c.patience.silence, func() { cancel(errSilent) })
	defer silence.Stop()
	out := &bounded{max: maxOutput, full: func() { _ = c.transport.Close() }, wrote: func() { silence.Reset(c.patience.silence) }}
	complaints := &bounded{max: maxStderr, drop: true}
	stop := context.AfterFunc(ctx, func() { _ = c.transport.Close() })
	defer stop()
	err := c.transport.Exec(ctx, "sh -s", strings.NewReader(script), out, complaints)
	switch {
	case err == nil && !out.over:
		return out.buf.Bytes(), nil
	case errors.Is(context.Cause(ctx), errSilent):
		return nil, c.silent()
	case ctx.Err() != nil:
		return nil, fmt.Errorf("run the script on node %s: %w", c.target.Name, ctx.Err())
	case out.over:
		return nil, fmt.Errorf("run the script on node %s: its output is longer than %d MiB", c.target.Name, maxOutput>>20)
	}
	return nil, c.runError(err, complaints.buf.String())
}

func (c *Conn) silent() error {
	return plugins.Hint(plugins.WithKind(plugins.KindTransient, fmt.Errorf("run the script on node %s: %w for %s", c.target.Name, errSilent, c.patience.silence)),
		"the node may be out of memory or its disk may hang: look at its console, or roll it")
}

func (c *Conn) runError(err error, complaints string) error {
	last := lastLine(complaints)
	if strings.Contains(strings.ToLower(complaints), "password has expired") {
		return plugins.Hint(fmt.Errorf("node %s lets nobody in: its password has expired", c.target.Name),
			"change it on the node's console, or roll the node")
	}
	if exit, ok := errors.AsType[*ExitError](err); ok {
		return fmt.Errorf("run the script on node %s: %w: %s", c.target.Name, exit, last)
	}
	if last != `""` {
		err = fmt.Errorf("%w: %s", err, last)
	}
	return plugins.WithKind(plugins.KindTransient, fmt.Errorf("run the script on node %s: %w", c.target.Name, err))
}

// lastLine returns the last line of what the node said, quoted, since it may hold anything.
func lastLine(s string) string {
	s = strings.TrimSpace(s)
	s = s[strings.LastIndexByte(s, '\n')+1:]
	const most = 300
	if len(s) > most {
		s = s[:most]
	}
	return strconv.QuoteToASCII(s)
}

// bounded is a buffer that takes max bytes. What is more is dropped, or calls full once and fails.
type bounded struct {
	buf  bytes.Buffer
	max  int
	drop bool
	over bool
	full func()
	// wrote is called after each write, if not nil.
	wrote func()
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.wrote != nil {
		b.wrote()
	}
	room := b.max - b.buf.Len()
	if len(p) <= room {
		return b.buf.Write(p)
	}
	b.buf.Write(p[:room])
	if b.drop {
		return len(p), nil
	}
	if !b.over {
		b.over = true
		b.full()
	}
	return room, errors.New("output too long")
}
