package pluginhost

import (
	"runtime"

	"golang.org/x/sync/errgroup"
)

// starter starts processes from one OS thread that lives until stop. The parent-death signal of Linux is sent when the *thread* that
// started the child ends, and the Go runtime ends threads as it likes.
type starter struct {
	requests chan func()
	group    errgroup.Group
}

func newStarter() *starter {
	s := &starter{requests: make(chan func())}
	s.group.Go(func() error {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		for f := range s.requests {
			f()
		}
		return nil
	})
	return s
}

// do runs f on the thread and returns its error.
func (s *starter) do(f func() error) error {
	result := make(chan error, 1)
	s.requests <- func() { result <- f() }
	return <-result
}

// stop ends the thread, and with it what it started. No do may come after it.
func (s *starter) stop() {
	close(s.requests)
	_ = s.group.Wait()
}
