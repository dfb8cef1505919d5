//go:build unix && !linux

package pluginhost

import "syscall"

// ownGroup puts a child into a group of its own. There is no parent-death signal here: the plugin watches its lifeline.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// waitDead cannot wait without reaping here.
func waitDead(int) bool { return false }
