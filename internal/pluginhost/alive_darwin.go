package pluginhost

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// zombie is SZOMB of sys/proc.h.
const zombie = 5

// bootID returns the kernel's id of this boot.
func bootID() (string, error) {
	id, err := unix.Sysctl("kern.bootsessionuuid")
	if err != nil {
		return "", fmt.Errorf("read boot id: %w", err)
	}
	return id, nil
}

// look asks the kernel for a process.
func look(pid int) (seen, error) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if errors.Is(err, unix.EIO) || errors.Is(err, unix.ESRCH) {
		return seen{}, errNoProcess
	}
	if err != nil {
		return seen{}, err
	}
	if int(info.Proc.P_pid) != pid {
		return seen{}, errNoProcess
	}
	start := info.Proc.P_starttime
	return seen{
		startTicks: uint64(start.Sec)*1_000_000 + uint64(start.Usec), //nolint:gosec // a time after 1970
		dead:       info.Proc.P_stat == zombie,
	}, nil
}

// orphans finds none: whose they are cannot be told here.
func orphans(int) ([]int, error) { return nil, nil }
