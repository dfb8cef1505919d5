package pluginhost_test

import (
	"os"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tkgfix/tkgfix/internal/pluginhost"
)

// TestCloseLeavesNoGoroutine runs alone: it counts what all others would start.
func TestCloseLeavesNoGoroutine(t *testing.T) {
	before := goleak.IgnoreCurrent()
	host := newHost(t, nil)
	step := newStep(t, host, "odd")
	mustDo(t, step, "say")
	if _, err := do(t.Context(), step, "exit"); err == nil {
		t.Error("a crash is no error")
	}
	mustDo(t, step, "say")
	if err := host.Close(t.Context()); err != nil {
		t.Errorf("close: %v", err)
	}
	goleak.VerifyNone(t, before)
}

// TestClosedHostIsForgotten wants nothing to hold a closed host, and with it all of the run that it was for: a controller makes one for each
// attempt.
func TestClosedHostIsForgotten(t *testing.T) {
	t.Parallel()
	forgotten := make(chan struct{})
	use := func() {
		host := pluginhost.New(pluginhost.Options{Executable: os.Args[0], Args: pluginArgs, TempDir: socketDir(t), Stderr: t.Output()})
		runtime.AddCleanup(host, func(c chan struct{}) { close(c) }, forgotten)
		mustDo(t, newStep(t, host, "odd"), "say")
		if err := host.Close(t.Context()); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	use()
	look, patience := time.NewTicker(10*time.Millisecond), time.NewTimer(20*time.Second)
	defer look.Stop()
	defer patience.Stop()
	for {
		runtime.GC()
		select {
		case <-forgotten:
			return
		case <-look.C:
		case <-patience.C:
			t.Fatal("it is still held")
		}
	}
}
