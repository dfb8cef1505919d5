//go:build !linux

package sshdtest

import "syscall"

// apart is never asked for: Start fails before.
func apart() *syscall.SysProcAttr { return nil }
