//go:build unix

package pluginhost

import (
	"errors"
	"syscall"
)

// killGroup kills every process of the group. That there is none is no error.
func killGroup(pid int) error {
	if err := syscall.Kill(-pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}
