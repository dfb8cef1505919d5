// Command tkgfix-lab runs the laboratory: a vSphere Supervisor with two TKG clusters on this machine, one of which cannot pull from the
// private registry. Rehearse a workflow on it before production.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Stdout, os.Stderr, os.Args)
	stop()
	os.Exit(code)
}
