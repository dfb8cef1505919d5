//go:build unix && !linux

package exec

import (
	"os"
	"syscall"
)

// withParent leaves the command in this process's group, which the host kills as one. There is no parent-death signal here.
func withParent() *syscall.SysProcAttr { return nil }

// askToEnd asks the command to end. What it started is not known here: the host kills it with the plugin.
func askToEnd(process *os.Process, _ string) error { return process.Signal(syscall.SIGTERM) }

// endAll finds nothing here.
func endAll(string) {}
