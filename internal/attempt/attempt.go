// Package attempt wraps a step's call with its timeout and its retries, so that no step does that itself.
package attempt

import (
	"context"
	"fmt"
	"time"

	"github.com/sethvargo/go-retry"

	"github.com/tkgfix/tkgfix/plugins"
)

// Policy says how often and for how long a step is tried.
type Policy struct {
	// Timeout bounds all attempts together; zero means no bound of its own.
	Timeout time.Duration
	// Attempts is how often a transient error is tried, the first time included; below 1 means once.
	Attempts int
	// Constant keeps the pause between attempts at Initial instead of doubling it.
	Constant bool
	// Initial and Max are the first and the longest pause.
	Initial, Max time.Duration
	// Jitter is by how many percent a pause may differ.
	Jitter int
	// Poll is the pause before a condition that is not yet true is looked at again; zero means that it is not waited for.
	Poll time.Duration
	// Used is how many attempts were spent before, by a run that was interrupted.
	Used int
}

// Try is one attempt that did not succeed and will be followed by another.
type Try struct {
	// Number counts transient errors from 1; it is 0 for a condition that is being waited for.
	Number int
	Err    error
	// Next is the pause before the next attempt.
	Next time.Duration
}

// Do calls f until it succeeds, its error is final, the attempts are used up or ctx ends. It tells each attempt that will
// be followed by another. It returns f's last error, told apart as the timeout where that ended it.
func Do(ctx context.Context, p Policy, tell func(Try) error, f func(context.Context) error) error {
	outer := ctx
	if p.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.Timeout)
		defer cancel()
	}
	var last error
	number := p.Used
	backoff := p.backoff()
	err := retry.Do(ctx, retry.BackoffFunc(func() (time.Duration, bool) {
		try := Try{Err: last, Next: p.Poll}
		stop := p.Poll <= 0
		if plugins.KindOf(last) != plugins.KindNotYet {
			number++
			try.Number = number
			try.Next, stop = backoff.Next()
			stop = stop || number >= p.Attempts
		}
		if stop {
			return 0, true
		}
		if err := tell(try); err != nil {
			last = err
			return 0, true
		}
		return try.Next, false
	}), func(ctx context.Context) error {
		err := f(ctx)
		// A bare end of the context says nothing; an error that only wraps it may say what was waited for.
		if err != nil && err != ctx.Err() || last == nil {
			last = err
		}
		switch plugins.KindOf(err) {
		case plugins.KindTransient, plugins.KindNotYet:
			return retry.RetryableError(err)
		}
		return err
	})
	switch {
	case err == nil:
		return nil
	case outer.Err() != nil:
		return context.Cause(outer)
	case ctx.Err() != nil && last != nil:
		// What the step said last, such as what it was waiting for, is worth more than the time alone.
		return plugins.Hint(fmt.Errorf("not done within %s: %w", p.Timeout, last), "%s", plugins.HintOf(last))
	case ctx.Err() != nil:
		return fmt.Errorf("not done within %s", p.Timeout)
	}
	return last
}

func (p Policy) backoff() retry.Backoff {
	initial := max(p.Initial, time.Millisecond)
	b := retry.NewExponential(initial)
	if p.Constant {
		b = retry.NewConstant(initial)
	}
	if p.Jitter > 0 {
		b = retry.WithJitterPercent(uint64(p.Jitter), b)
	}
	if p.Max > 0 {
		b = retry.WithCappedDuration(p.Max, b)
	}
	return b
}
