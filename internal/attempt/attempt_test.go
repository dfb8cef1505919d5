package attempt_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/attempt"
	"github.com/tkgfix/tkgfix/plugins"
)

var errBoom = errors.New("boom")

func TestDo(t *testing.T) {
	t.Parallel()
	transient := plugins.WithKind(plugins.KindTransient, errBoom)
	notYet := plugins.NotYet("2 of 6 pods wait")
	for name, tc := range map[string]struct {
		reason string
		policy attempt.Policy
		errs   []error
		calls  int
		told   []int
		want   string
	}{
		"First":       {"success needs no second call", attempt.Policy{Attempts: 3}, nil, 1, nil, ""},
		"Transient":   {"a transient error is tried again", attempt.Policy{Attempts: 3}, []error{transient}, 2, []int{1}, ""},
		"Budget":      {"the attempts are a bound", attempt.Policy{Attempts: 3}, []error{transient, transient, transient}, 3, []int{1, 2}, "boom"},
		"Used":        {"what an interrupted run spent is spent", attempt.Policy{Attempts: 3, Used: 2}, []error{transient}, 1, nil, "boom"},
		"Final":       {"a plain error is final", attempt.Policy{Attempts: 3}, []error{errBoom}, 1, nil, "boom"},
		"NotYet":      {"waiting costs no attempt", attempt.Policy{Attempts: 1, Poll: time.Millisecond}, []error{notYet, notYet, notYet}, 4, []int{0, 0, 0}, ""},
		"NotYetOnce":  {"without a poll interval nothing is waited for", attempt.Policy{Attempts: 5}, []error{notYet}, 1, nil, "2 of 6 pods wait"},
		"Interleaved": {"waiting between transient errors keeps their count", attempt.Policy{Attempts: 3, Poll: time.Millisecond}, []error{transient, notYet, transient}, 4, []int{1, 0, 2}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			calls, told := 0, []int(nil)
			tc.policy.Initial, tc.policy.Constant = time.Millisecond, true
			err := attempt.Do(t.Context(), tc.policy, func(a attempt.Try) error {
				told = append(told, a.Number)
				return nil
			}, func(context.Context) error {
				calls++
				if calls <= len(tc.errs) {
					return tc.errs[calls-1]
				}
				return nil
			})
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tc.want || calls != tc.calls {
				t.Errorf("%s: %q after %d calls, want %q after %d", tc.reason, got, calls, tc.want, tc.calls)
			}
			if diff := cmp.Diff(tc.told, told); diff != "" {
				t.Errorf("%s: told (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestTimeoutSaysWhatWasWaitedFor(t *testing.T) {
	t.Parallel()
	p := attempt.Policy{Timeout: 20 * time.Millisecond, Poll: time.Millisecond}
	err := attempt.Do(t.Context(), p, func(attempt.Try) error { return nil }, func(context.Context) error {
		return plugins.Hint(plugins.NotYet("node a is not ready"), "look at node a")
	})
	if err == nil || err.Error() != "not done within 20ms: node a is not ready" || plugins.HintOf(err) != "look at node a" {
		t.Errorf("got %v, hint %q", err, plugins.HintOf(err))
	}
}

func TestInterruptIsTheCause(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	err := attempt.Do(ctx, attempt.Policy{Timeout: time.Minute, Poll: time.Millisecond}, func(attempt.Try) error {
		cancel(errBoom)
		return nil
	}, func(context.Context) error { return plugins.NotYet("waiting") })
	if !errors.Is(err, errBoom) {
		t.Errorf("got %v, want the cause of the interrupt", err)
	}
}

func TestTellMayEnd(t *testing.T) {
	t.Parallel()
	calls := 0
	err := attempt.Do(t.Context(), attempt.Policy{Attempts: 9, Initial: time.Millisecond}, func(attempt.Try) error { return errBoom },
		func(context.Context) error {
			calls++
			return plugins.WithKind(plugins.KindTransient, errors.New("other"))
		})
	if !errors.Is(err, errBoom) || calls != 1 {
		t.Errorf("got %v after %d calls, want the teller's error after 1", err, calls)
	}
}
