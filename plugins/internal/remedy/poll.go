package remedy

import (
	"context"
	"fmt"
	"time"

	"github.com/tkgfix/tkgfix/plugins"
)

// pollEvery is the pause between two looks.
const pollEvery = 2 * time.Second

// Poll asks until done, shows what it waits for, and goes on over what may pass. It ends with ctx, saying what it waited for. The hint is
// for who reads that.
func Poll(ctx context.Context, host plugins.Host, what, hint string, ask func(context.Context) (done bool, note string, err error)) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	note := ""
	for {
		done, now, err := ask(ctx)
		if now != "" {
			note = now
		}
		switch {
		case done:
			return nil
		case err != nil && plugins.KindOf(err) != plugins.KindTransient && ctx.Err() == nil:
			return fmt.Errorf("%s: %w", what, err)
		case err != nil && ctx.Err() == nil:
			note = err.Error()
		}
		_ = host.Progress(ctx, note) // that it cannot be shown is no reason to stop
		select {
		case <-ctx.Done():
			return plugins.Hint(fmt.Errorf("%s (%s): %w", what, note, ctx.Err()), "%s", hint)
		case <-tick.C:
		}
	}
}
