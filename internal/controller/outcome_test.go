package controller

import (
	"errors"
	"fmt"
	"testing"

	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/metrics"
	"github.com/tkgfix/tkgfix/internal/state"
)

func TestOutcome(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for name, tc := range map[string]struct {
		reason   string
		status   engine.Status // empty for no run at all
		err      error
		planOnly bool
		want     metrics.Outcome
	}{
		"Done":        {"it is done", engine.Done, nil, false, metrics.Done},
		"Waiting":     {"it waits at a gate", engine.Waiting, nil, false, metrics.Waiting},
		"Planned":     {"it waits to be asked to go on", engine.Waiting, nil, true, metrics.Planned},
		"PlannedDone": {"there was nothing to plan for", engine.Done, nil, true, metrics.Done},
		"Failed":      {"a step failed", engine.Failed, boom, false, metrics.Failed},
		"Blocked":     {"the plan is blocked", engine.Blocked, boom, false, metrics.Blocked},
		"Rejected":    {"somebody said no", engine.Rejected, boom, false, metrics.Rejected},
		"Interrupted": {"the replica ended", engine.Interrupted, engine.ErrStopped, false, metrics.Interrupted},
		"Fenced":      {"another wrote meanwhile, whatever the run was when it was last read", engine.Running, fmt.Errorf("journal: %w", state.ErrConflict), false, metrics.Fenced},
		"Locked":      {"another has it", engine.Waiting, fmt.Errorf("lock: %w", &state.LockedError{}), false, metrics.Locked},
		"Unread":      {"the API server does not answer", "", boom, false, metrics.Errored},
		"Unwritten":   {"it could not be journalled how it ended", engine.Running, boom, false, metrics.Errored},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var r *engine.Run
			if tc.status != "" {
				r = &engine.Run{Status: tc.status}
			}
			if got := outcome(r, tc.err, tc.planOnly); got != tc.want {
				t.Errorf("%s: got %s, want %s", tc.reason, got, tc.want)
			}
		})
	}
}
