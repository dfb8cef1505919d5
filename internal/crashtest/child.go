package crashtest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// maxTalk bounds what is kept of what a child says, in bytes: its end.
const maxTalk = 8 << 10

// endPatience is how long a child that has been killed, or has said how it ended, may take to be gone.
const endPatience = 20 * time.Second

// child is an engine in a process of its own, seen from this end of the leash.
type child struct {
	cmd      *exec.Cmd
	in       io.WriteCloser
	messages chan message
	readers  errgroup.Group
	talk     *talk

	waited  sync.Once
	waitErr error
}

// start starts a child with its job. It must be waited for.
func start(cmd *exec.Cmd, j job) (*child, error) {
	c := &child{cmd: cmd, messages: make(chan message), talk: &talk{}}
	cmd.Stderr = c.talk
	// Out of reach of the terminal's Ctrl-C: this process ends it, in its own order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var err error
	if c.in, err = cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("make the leash: %w", err)
	}
	// A pipe of our own: what is in it is still to be read when the child is dead.
	out, theirs, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make the leash: %w", err)
	}
	cmd.Stdout = theirs
	err = cmd.Start()
	_ = theirs.Close()
	if err != nil {
		_ = out.Close()
		return nil, fmt.Errorf("start an engine: %w", err)
	}
	c.readers.Go(func() error {
		defer close(c.messages)
		defer out.Close()
		return c.read(out)
	})
	line, err := json.Marshal(j)
	if err == nil {
		_, err = c.in.Write(append(line, '\n'))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("give an engine its job: %w", err), c.kill())
	}
	return c, nil
}

// read passes on the messages until the child is gone.
func (c *child) read(out io.Reader) error {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var m message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return fmt.Errorf("an engine on the leash said %.200q: %w", lines.Text(), err)
		}
		c.messages <- m
	}
	return lines.Err()
}

// goOn lets the child go on. That it is dead shows when its messages end.
func (c *child) goOn() { _, _ = io.WriteString(c.in, goOn) }

func (c *child) pid() int { return c.cmd.Process.Pid }

// pause stops the process, and returns when it stands still.
func (c *child) pause() error {
	if err := c.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("stop engine %d: %w", c.pid(), err)
	}
	for {
		err := unix.Waitid(unix.P_PID, c.pid(), nil, unix.WSTOPPED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// wake lets a stopped process run again.
func (c *child) wake() error {
	if err := c.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		return fmt.Errorf("wake engine %d: %w", c.pid(), err)
	}
	return nil
}

// kill kills the process and waits until it is gone.
func (c *child) kill() error {
	if err := c.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill engine %d: %w", c.pid(), err)
	}
	return c.wait()
}

// wait lets the child end and reaps it. One that does not end is killed, which is an error.
func (c *child) wait() error {
	c.waited.Do(func() { c.waitErr = c.reap() })
	return c.waitErr
}

func (c *child) reap() error {
	_ = c.in.Close()
	late := time.AfterFunc(endPatience, func() { _ = c.cmd.Process.Kill() })
	for range c.messages { //nolint:revive // what it still says is said to nobody
	}
	err := c.readers.Wait()
	var exit *exec.ExitError
	if werr := c.cmd.Wait(); werr != nil && !errors.As(werr, &exit) && !errors.Is(werr, os.ErrClosed) {
		err = errors.Join(err, werr)
	}
	if !late.Stop() {
		err = errors.Join(err, fmt.Errorf("engine %d did not end", c.pid()))
	}
	return err
}

// next returns what the child says next; false when it is gone. strike, if not nil, is called when its time comes before that.
func (c *child) next(ctx context.Context, timer <-chan time.Time, strike func()) (message, bool, error) {
	for {
		select {
		case m, ok := <-c.messages:
			return m, ok, nil
		case <-timer:
			timer = nil
			strike()
		case <-ctx.Done():
			return message{}, false, context.Cause(ctx)
		}
	}
}

// talk keeps the end of what a child says.
type talk struct {
	mu   sync.Mutex
	text []byte
}

// Write implements io.Writer.
func (t *talk) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if extra := len(t.text) - maxTalk; extra > 0 {
		t.text = append(t.text[:0], t.text[extra:]...)
	}
	return len(p), nil
}

// last returns the last lines.
func (t *talk) last(n int) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(string(t.text)), "\n")
	return lines[max(0, len(lines)-n):]
}
