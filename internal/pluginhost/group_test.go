package pluginhost_test

import "syscall"

func group() int { return syscall.Getpgrp() }
