package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-plugin/runner"
	"golang.org/x/sync/errgroup"

	"github.com/tkgfix/tkgfix/internal/wire"
)

// drainTime is how long the pipes of a dead plugin are still read: a process that it left behind may hold them open.
const drainTime = time.Second

// process is one plugin's process, in the shape that go-plugin runs.
type process struct {
	cmd      *exec.Cmd
	starter  *starter
	stdout   *os.File
	stderr   *os.File
	childEnd []*os.File // closed once the child has them
	lifeline *os.File
	group    errgroup.Group

	exited chan struct{} // closed when the process is dead and reaped
	gone   chan struct{} // closed when its output has been read, too
	// drained gives up on the output of a dead process; it is set before exited is closed.
	drained *time.Timer

	mu      sync.Mutex
	started bool
	killed  bool
	reaped  bool
	err     error
}

var _ runner.Runner = (*process)(nil)

// newProcess prepares cmd: its pipes, a group of its own, and the ways to end with its host.
func newProcess(cmd *exec.Cmd, starter *starter) (*process, error) {
	p := &process{cmd: cmd, starter: starter, exited: make(chan struct{}), gone: make(chan struct{})}
	var err error
	open := func() (r, w *os.File) {
		if err == nil {
			r, w, err = os.Pipe()
		}
		return r, w
	}
	stdout, stdoutChild := open()
	stderr, stderrChild := open()
	lifelineChild, lifeline := open()
	p.stdout, p.stderr, p.lifeline = stdout, stderr, lifeline
	p.childEnd = []*os.File{stdoutChild, stderrChild, lifelineChild}
	if err != nil {
		p.closePipes()
		return nil, fmt.Errorf("make pipes: %w", err)
	}
	cmd.Stdin = nil
	cmd.Stdout, cmd.Stderr = stdoutChild, stderrChild
	cmd.ExtraFiles = []*os.File{lifelineChild} // number 3 in the child
	cmd.Env = append(cmd.Env, wire.LifelineEnv+"=3")
	cmd.SysProcAttr = ownGroup()
	return p, nil
}

// Start starts the process on the starter's thread.
func (p *process) Start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed {
		return errors.New("ended before it was started")
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := p.starter.do(p.cmd.Start); err != nil {
		p.closePipes()
		return err
	}
	p.started = true
	for _, f := range p.childEnd {
		_ = f.Close()
	}
	p.group.Go(p.reap)
	return nil
}

// reap waits until the process is dead, kills what it left behind in its group, and lets the readers of its output end.
func (p *process) reap() error {
	defer close(p.exited)
	pid := p.cmd.Process.Pid
	var err error
	kept := waitDead(pid)
	if !kept {
		err = p.cmd.Wait()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = killGroup(pid)
	if kept { // not reaped before the group is killed, so that the number cannot name another one
		err = p.cmd.Wait()
	}
	p.err, p.reaped = err, true
	_ = p.lifeline.Close()
	p.drained = time.AfterFunc(drainTime, p.closeOutput)
	return nil
}

// Wait blocks until the process is dead. go-plugin calls it once, after it has read all output.
func (p *process) Wait(context.Context) error {
	<-p.exited
	p.drained.Stop()
	p.closeOutput()
	close(p.gone)
	return p.exitError()
}

// Kill kills the process and its group; one that has not been started yet never will be. It does not wait.
func (p *process) Kill(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killed = true
	if !p.started || p.reaped {
		return nil
	}
	return killGroup(p.cmd.Process.Pid)
}

func (p *process) exitError() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// pid is 0 for a process that was never started.
func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.started {
		return 0
	}
	return p.cmd.Process.Pid
}

func (p *process) closeOutput() {
	_ = p.stdout.Close()
	_ = p.stderr.Close()
}

func (p *process) closePipes() {
	for _, f := range append(p.childEnd, p.stdout, p.stderr, p.lifeline) {
		if f != nil {
			_ = f.Close()
		}
	}
}

// Diagnose adds nothing: the last lines of stderr say more.
func (p *process) Diagnose(context.Context) string { return "" }

// Stdout is where go-plugin reads the handshake.
func (p *process) Stdout() io.ReadCloser { return p.stdout }

// Stderr is what the process prints.
func (p *process) Stderr() io.ReadCloser { return p.stderr }

// Name is the executable's path.
func (p *process) Name() string { return p.cmd.Path }

// ID is the process's number, 0 if it was never started: go-plugin takes an empty one for nothing to clean up.
func (p *process) ID() string { return strconv.Itoa(p.pid()) }

// PluginToHost changes nothing: both are on one machine.
func (p *process) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

// HostToPlugin changes nothing.
func (p *process) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
