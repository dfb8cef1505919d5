package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

const pollEvery = 20 * time.Millisecond

// StartTime returns when the process started, in clock ticks since boot. Together with its id it names a process for good, since
// ids are used again. The error is fs.ErrNotExist if there is no such process (or only its zombie).
func StartTime(pid int) (uint64, error) {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		if errors.Is(err, syscall.ESRCH) {
			err = fs.ErrNotExist
		}
		return 0, fmt.Errorf("reading about process %d: %w", pid, err)
	}
	return parseStat(data)
}

// parseStat reads field 22 of proc_pid_stat(5). The second field is in brackets and may hold anything.
func parseStat(data []byte) (uint64, error) {
	end := bytes.LastIndexByte(data, ')')
	if end < 0 {
		return 0, errors.New("reading about a process: no name in its stat")
	}
	fields := strings.Fields(string(data[end+1:]))
	const state, started = 0, 19
	if len(fields) <= started {
		return 0, errors.New("reading about a process: its stat is too short")
	}
	if fields[state] == "Z" || fields[state] == "X" {
		return 0, fmt.Errorf("process has ended: %w", fs.ErrNotExist)
	}
	return strconv.ParseUint(fields[started], 10, 64)
}

// Alive says whether the process with this id is still the one that started then.
func Alive(pid int, started uint64) bool {
	got, err := StartTime(pid)
	return err == nil && got == started
}

// End ends the process if it is still the one that started then: asks, waits for grace, kills, and returns when it is gone.
func End(ctx context.Context, pid int, started uint64, grace time.Duration) error {
	if !Alive(pid, started) {
		return nil
	}
	_ = syscall.Kill(pid, syscall.SIGTERM)
	gone := func(context.Context) (bool, error) { return !Alive(pid, started), nil }
	if wait.PollUntilContextTimeout(ctx, pollEvery, grace, true, gone) == nil {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if Alive(pid, started) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	if err := wait.PollUntilContextTimeout(ctx, pollEvery, grace, true, gone); err != nil {
		return fmt.Errorf("process %d does not end: %w", pid, err)
	}
	return nil
}

// EndLeft ends what a group noted in dir and did not end itself.
func EndLeft(ctx context.Context, dir string, grace time.Duration) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the folder of processes: %w", err)
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid <= 1 {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			continue
		}
		started, err := strconv.ParseUint(string(data), 10, 64)
		if err != nil {
			continue
		}
		if err := End(ctx, pid, started, grace); err != nil {
			return err
		}
	}
	return nil
}
