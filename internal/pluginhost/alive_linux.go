package pluginhost

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/tkgfix/tkgfix/internal/wire"
)

// maxProcFile bounds what is read of a file in /proc.
const maxProcFile = 1 << 20

// bootID returns the kernel's random id of this boot.
func bootID() (string, error) {
	raw, err := readProc("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read boot id: %w", err)
	}
	return strings.TrimSpace(string(raw)), nil
}

// look reads /proc/PID/stat, see proc_pid_stat(5).
func look(pid int) (seen, error) {
	raw, err := readProc("/proc/" + strconv.Itoa(pid) + "/stat")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return seen{}, errNoProcess
	}
	if err != nil {
		return seen{}, err
	}
	return parseStat(raw)
}

// parseStat reads state, group and start. The name, in brackets, may itself hold brackets and spaces.
func parseStat(raw []byte) (seen, error) {
	end := bytes.LastIndexByte(raw, ')')
	fields := strings.Fields(string(raw[end+1:]))
	const state, group, start = 0, 2, 19 // fields 3, 5 and 22 of the file
	if end < 0 || len(fields) <= start {
		return seen{}, errors.New("read process status: too few fields")
	}
	pgrp, err := strconv.Atoi(fields[group])
	if err != nil {
		return seen{}, fmt.Errorf("read process group: %w", err)
	}
	ticks, err := strconv.ParseUint(fields[start], 10, 64)
	if err != nil {
		return seen{}, fmt.Errorf("read process start: %w", err)
	}
	return seen{startTicks: ticks, group: pgrp, dead: strings.Contains("ZXx", fields[state])}, nil
}

// orphans returns the living processes of the group that a dead plugin led. While it has one, no new process gets the group's number.
// Another group may have had the number since, so only those count that have a plugin's environment.
func orphans(group int) ([]int, error) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer func() { _ = proc.Close() }()
	var out []int
	for {
		names, err := proc.Readdirnames(512)
		for _, name := range names {
			pid, notNumber := strconv.Atoi(name)
			if notNumber != nil {
				continue
			}
			// One that has gone meanwhile, or that may not be read, is not ours.
			if found, err := look(pid); err == nil && found.group == group && !found.dead && ofPlugin(pid) {
				out = append(out, pid)
			}
		}
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("list processes: %w", err)
		}
	}
}

// ofPlugin reports whether the process was started with the environment of a plugin.
func ofPlugin(pid int) bool {
	environ, err := readProc("/proc/" + strconv.Itoa(pid) + "/environ")
	return err == nil && bytes.Contains(environ, []byte(wire.LifelineEnv+"="))
}

func readProc(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, maxProcFile))
}
