// Package proc runs the laboratory's child processes so that none outlives it.
//
// Linux sends a child its parent-death signal when the *thread* that started it ends, not the process. Go ends threads as it
// likes, so all children are started from one goroutine that is locked to one thread for good.
package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// Group starts processes and remembers them in a folder until they are gone, so that a later command can end what a killed
// laboratory left.
type Group struct {
	dir    string
	starts chan start
}

type start struct {
	cmd  *exec.Cmd
	done chan error
}

// NewGroup returns a group that notes its processes in dir. Its thread lives until ctx ends, and with it every child.
func NewGroup(ctx context.Context, dir string) (*Group, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of processes: %w", err)
	}
	g := &Group{dir: dir, starts: make(chan start)}
	go g.serve(ctx)
	return g, nil
}

// serve starts what it is asked to. It never unlocks its thread: the thread has to live as long as the children.
func (g *Group) serve(ctx context.Context) {
	runtime.LockOSThread()
	for {
		select {
		case s := <-g.starts:
			s.done <- s.cmd.Start()
		case <-ctx.Done():
			return
		}
	}
}

// Start starts cmd with a parent-death signal. The caller waits for it, or uses Run.
func (g *Group) Start(ctx context.Context, cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	s := start{cmd: cmd, done: make(chan error, 1)}
	select {
	case g.starts <- s:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := <-s.done; err != nil {
		return fmt.Errorf("starting %s: %w", filepath.Base(cmd.Path), err)
	}
	return nil
}

// Process is a running child.
type Process struct {
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{}
	err  error
}

// Run starts path with args in its own process group, its output appended to the file log, and watches it.
func (g *Group) Run(ctx context.Context, log, path string, args ...string) (*Process, error) {
	cmd := exec.Command(path, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + g.dir, "TMPDIR=" + os.TempDir()}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return g.Watch(ctx, log, cmd)
}

// Watch starts cmd, which is named by its first argument, with its output appended to the file log, and watches it.
func (g *Group) Watch(ctx context.Context, log string, cmd *exec.Cmd) (*Process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening a log: %w", err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := g.Start(ctx, cmd); err != nil {
		return nil, err
	}
	note, err := g.note(cmd.Process.Pid)
	if err != nil {
		return nil, errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	p := &Process{name: cmd.Args[min(1, len(cmd.Args)-1)], cmd: cmd, log: log, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		_ = os.Remove(note) // left only if the folder is already gone
		close(p.done)
	}()
	return p, nil
}

func (g *Group) note(pid int) (string, error) {
	started, err := StartTime(pid)
	if err != nil {
		return "", err
	}
	path := filepath.Join(g.dir, strconv.Itoa(pid))
	if err := os.WriteFile(path, []byte(strconv.FormatUint(started, 10)), 0o600); err != nil {
		return "", fmt.Errorf("noting process %d: %w", pid, err)
	}
	return path, nil
}

// PID returns the id of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process is gone.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says how the process ended and where its log is. It may be called after Done is closed.
func (p *Process) Err() error {
	return fmt.Errorf("%s ended (%v); its log: %s", p.name, p.err, p.log)
}

// Wait returns nil if the process ended well. It blocks until it is gone.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

// Stop asks the process to end, kills it after grace and returns when it is gone. It may be called more than once, and for nil.
func (p *Process) Stop(grace time.Duration) {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // an error means that it is gone
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
		return
	case <-timer.C:
	}
	_ = p.cmd.Process.Kill()
	<-p.done
}
