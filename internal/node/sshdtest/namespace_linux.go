package sshdtest

import "syscall"

// apart gives a process a mount and a process namespace of its own. Unshare makes the mounts private: none of them is seen outside.
func apart() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Unshareflags: syscall.CLONE_NEWNS}
}
