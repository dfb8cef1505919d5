package exec

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strconv"
	"syscall"
	"time"
)

// The patience with what a command leaves behind.
const (
	endRounds = 100
	endPause  = 10 * time.Millisecond
	maxEnv    = 4 << 20
)

// withParent has the command killed when this process dies. It stays in this process's group, which the host kills as one.
func withParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// askToEnd asks a command, and all that it started, to end.
func askToEnd(process *os.Process, mark string) error {
	for _, pid := range marked(mark) {
		_ = syscall.Kill(pid, syscall.SIGTERM)
	}
	return process.Signal(syscall.SIGTERM)
}

// endAll kills what a command left behind, until nothing is, or nothing more can be done: a process that became another user's
// cannot be killed, nor seen.
func endAll(mark string) {
	tick := time.NewTicker(endPause)
	defer tick.Stop()
	for range endRounds {
		pids := marked(mark)
		if len(pids) == 0 {
			return
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		<-tick.C
	}
}

// marked returns the living processes that carry the mark in their environment, whatever their group and parent.
func marked(mark string) []int {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer func() { _ = proc.Close() }()
	entry := []byte("\x00" + markEnv + "=" + mark + "\x00")
	var out []int
	for {
		names, err := proc.Readdirnames(512)
		for _, name := range names {
			if pid, notNumber := strconv.Atoi(name); notNumber == nil && carries(name, entry) {
				out = append(out, pid)
			}
		}
		if err != nil {
			return out
		}
	}
}

// carries reports whether a process's environment holds the entry. That of a dead one is empty.
func carries(pid string, entry []byte) bool {
	f, err := os.Open("/proc/" + pid + "/environ")
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	environ, err := io.ReadAll(io.LimitReader(f, maxEnv))
	if err != nil && !errors.Is(err, io.EOF) {
		return false
	}
	return bytes.Contains(append([]byte{0}, environ...), entry)
}
