package wire

import (
	"io"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"golang.org/x/sync/errgroup"

	"github.com/tkgfix/tkgfix/plugins"
)

// LifelineEnv names the file descriptor of a pipe that the host holds open for as long as it lives.
const LifelineEnv = "TKGFIX_PLUGIN_LIFELINE"

// watchEvery is how often a plugin looks whether its parent is still the same.
const watchEvery = time.Second

// Serve serves the step to the host that started this process, and returns when the host has ended it or is gone. The caller then
// ends the process: a call may still be running. A process that no host started is told so, and exits.
func Serve(step plugins.Step) {
	// The parent is read before anything else, so that one that goes meanwhile is noticed.
	parent := os.Getppid()
	ended := make(chan struct{})
	gone := make(chan struct{})
	var group errgroup.Group
	group.Go(func() error {
		defer close(ended)
		plugin.Serve(&plugin.ServeConfig{
			HandshakeConfig:  Handshake(),
			VersionedPlugins: Plugins(&Plugin{Step: step, Log: os.Stderr}),
			GRPCServer:       NewServer,
			Logger:           hclog.NewNullLogger(),
		})
		return nil
	})
	group.Go(func() error {
		defer close(gone)
		waitHostGone(lifeline(os.Getenv(LifelineEnv)), parent, ended)
		return nil
	})
	select {
	case <-ended:
	case <-gone:
	}
}

// lifeline returns the pipe of which fd is the number, nil if there is none.
func lifeline(fd string) *os.File {
	n, err := strconv.Atoi(fd)
	if err != nil || n < 3 {
		return nil
	}
	syscall.CloseOnExec(n)
	return os.NewFile(uintptr(n), "lifeline")
}

// waitHostGone blocks until the lifeline ends or this process has another parent, or until stop is closed.
func waitHostGone(line *os.File, parent int, stop <-chan struct{}) {
	cut := make(chan struct{})
	if line != nil {
		var group errgroup.Group
		group.Go(func() error {
			defer close(cut)
			_, err := io.Copy(io.Discard, line)
			return err
		})
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-cut:
			return
		case <-stop:
			return
		case <-tick.C:
			if os.Getppid() != parent {
				return
			}
		}
	}
}
