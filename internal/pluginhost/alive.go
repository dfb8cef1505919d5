package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// Process names one process for good: a PID alone is used again.
type Process struct {
	// Name is the name of the step that the process serves.
	Name string `json:"name"`
	PID  int    `json:"pid"`
	// StartTicks is when it was started, as the kernel counts: clock ticks since boot on Linux, microseconds since 1970 on macOS.
	StartTicks uint64 `json:"startTicks"`
	// BootID changes when the machine boots.
	BootID string `json:"bootID"`
}

// endPoll is how often End looks whether a killed process is gone.
const endPoll = 20 * time.Millisecond

// errNoProcess says that no process has the PID.
var errNoProcess = errors.New("no such process")

// Alive reports whether the process still runs, or, on Linux, one that it started and left behind in its process group.
// A process of an earlier boot, or another one under the same PID, is not it; nor is one on another machine, which only that machine
// can tell. An error means that it cannot be told.
func Alive(p Process) (bool, error) {
	found, err := alive(p)
	return len(found) > 0, err
}

// End kills the process, and on Linux what it left behind in its group, and waits until they are gone or ctx ends. It never
// touches another process under the same PID. One that is gone already is no error.
func End(ctx context.Context, p Process) error {
	tick := time.NewTicker(endPoll)
	defer tick.Stop()
	for {
		over, err := kill(p)
		if err != nil {
			return fmt.Errorf("end plugin %s, process %d: %w", p.Name, p.PID, err)
		}
		if over {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until plugin %s, process %d, is gone: %w", p.Name, p.PID, ctx.Err())
		case <-tick.C:
		}
	}
}

// kill kills what is alive of p and reports whether nothing was.
func kill(p Process) (over bool, err error) {
	found, err := alive(p)
	if err != nil {
		return false, err
	}
	for _, pid := range found {
		if err := killOne(pid, p); err != nil {
			return false, err
		}
	}
	return len(found) == 0, nil
}

// killOne kills one process if it still belongs to p. The handle is taken before the look, so that what is killed is what was looked at,
// whatever becomes of the number meanwhile.
func killOne(pid int, p Process) error {
	handle, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	defer func() { _ = handle.Release() }()
	found, err := alive(p)
	if err != nil || !slices.Contains(found, pid) {
		return err
	}
	if err := handle.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// alive returns what lives of p: the process itself, or, when that is dead, what it left behind.
func alive(p Process) ([]int, error) {
	if p.PID <= 1 {
		return nil, fmt.Errorf("%d is no plugin's process", p.PID)
	}
	boot, err := bootID()
	if err != nil || boot != p.BootID {
		return nil, err
	}
	found, err := look(p.PID)
	switch {
	case errors.Is(err, errNoProcess):
		return orphans(p.PID)
	case err != nil:
		return nil, err
	case found.startTicks != p.StartTicks:
		return nil, nil
	case found.dead:
		return orphans(p.PID)
	default:
		return []int{p.PID}, nil
	}
}

// seen is what the kernel says of a process.
type seen struct {
	startTicks uint64
	group      int
	// dead is a process that has ended and was not reaped.
	dead bool
}

// identify names a process that was just started and not reaped.
func identify(name string, pid int) (Process, error) {
	boot, err := bootID()
	if err != nil {
		return Process{}, err
	}
	found, err := look(pid)
	if err != nil {
		return Process{}, fmt.Errorf("identify process %d: %w", pid, err)
	}
	return Process{Name: name, PID: pid, StartTicks: found.startTicks, BootID: boot}, nil
}
