package pluginhost_test

import (
	"testing"

	"go.uber.org/goleak"
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
