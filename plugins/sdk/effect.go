package sdk

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sethvargo/go-retry"

	"github.com/tkgfix/tkgfix/plugins"
)

// State is what an observation says of an effect.
type State int

// The states of an effect in the world.
const (
	// No means that it has not happened and is not about to: acting now is right.
	No State = iota
	// Yes means that it has happened.
	Yes
	// Underway means that it was begun and will end by itself.
	Underway
	// Unknowable means that nobody can say, or that somebody else did it.
	Unknowable
)

// String returns the state in words.
func (s State) String() string {
	switch s {
	case No:
		return "no"
	case Yes:
		return "yes"
	case Underway:
		return "underway"
	case Unknowable:
		return "unknowable"
	default:
		return fmt.Sprintf("state %d", int(s))
	}
}

// Observation is the answer to "did it happen?".
type Observation struct {
	State State
	// Note says how it is known (Yes), what is being waited for (Underway), or what to check and the command to type
	// (Unknowable). It is shown and journalled: no secret may be in it.
	Note string
}

// The pace of an effect.
const (
	pollEvery         = time.Second
	observeRetryFirst = time.Second
	observeRetryCap   = 10 * time.Second
	observeRetries    = 6
)

// Effect makes one act durable: however often the step is killed and applied again, the act is begun only when the effect is
// known not to have happened. It blocks until the effect has happened and the journal says so, or ctx ends.
//
// The journal of the host decides. Done: nothing is called. None: the intent is journalled, then act is called, for the first time ever.
// Intended: an earlier process may have acted, so observe is asked first, and act is called only if it says No.
// After that observe is asked every second until it says Yes; Underway and its Note are shown as progress.
//
// The guarantee is at most one act for each call of Effect, and at most one act at any time; it is not, and cannot be, exactly one
// over the wire: an act whose answer was lost may still take hold later. So act must carry the
// preconditions that make a second one harmless (a UID, a generation, a create under a fixed name), and observe must not say
// No while an act may still be in flight.
//
// It returns: an error of the host, in which case the act was not begun or the effect is not recorded; the error of act, and the
// intent stays open for the next Apply to observe; an error of observe, after retries when it is of KindTransient; an error of
// KindUnknowable with the Note as hint; the error of ctx.
func Effect(ctx context.Context, host plugins.Host, spec plugins.EffectSpec,
	observe func(context.Context) (Observation, error), act func(context.Context) error,
) error {
	if spec.Key == "" {
		return errors.New("effect without a key")
	}
	state, err := host.Effect(ctx, spec.Key)
	if err != nil {
		return fmt.Errorf("read journal of effect %s: %w", spec.Key, err)
	}
	e := effect{host: host, spec: spec, observe: observe, act: act}
	switch state {
	case plugins.EffectDone:
		return nil
	case plugins.EffectIntended:
		return e.finish(ctx)
	case plugins.EffectNone:
		if err := host.Intend(ctx, spec); err != nil {
			return fmt.Errorf("journal intent of effect %s: %w", spec.Key, err)
		}
		if err := e.begin(ctx); err != nil {
			return err
		}
		return e.finish(ctx)
	default:
		return fmt.Errorf("effect %s: journal holds unknown state %q", spec.Key, state)
	}
}

// effect is one call of Effect whose intent is in the journal.
type effect struct {
	host    plugins.Host
	spec    plugins.EffectSpec
	observe func(context.Context) (Observation, error)
	act     func(context.Context) error
	acted   bool
}

// begin acts. A ctx that has ended must not begin anything: the intent is durable, so the next Apply observes.
func (e *effect) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s not begun: %w", e.spec.Key, err)
	}
	e.acted = true
	return e.act(ctx)
}

// finish observes until the effect has happened, acts once if it has not, and journals the end.
func (e *effect) finish(ctx context.Context) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		obs, err := e.look(ctx)
		if err != nil {
			return err
		}
		switch obs.State {
		case Yes:
			return e.done(ctx, obs.Note)
		case Unknowable:
			return e.unknowable(obs.Note)
		case No:
			if !e.acted {
				if err := e.begin(ctx); err != nil {
					return err
				}
				continue // an act that is quick is seen at once
			}
			e.show(ctx, obs.Note)
		case Underway:
			e.show(ctx, obs.Note)
		default:
			return fmt.Errorf("observe effect %s: unknown %s", e.spec.Key, obs.State)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s%s: %w", e.spec.Key, parens(obs.Note), ctx.Err())
		case <-tick.C:
		}
	}
}

// look observes, trying again while what stands in the way may pass.
func (e *effect) look(ctx context.Context) (Observation, error) {
	backoff := retry.WithMaxRetries(observeRetries, retry.WithCappedDuration(observeRetryCap, retry.NewExponential(observeRetryFirst)))
	obs, err := retry.DoValue(ctx, backoff, func(ctx context.Context) (Observation, error) {
		obs, err := e.observe(ctx)
		if err != nil && plugins.KindOf(err) == plugins.KindTransient && ctx.Err() == nil {
			return obs, retry.RetryableError(err)
		}
		return obs, err
	})
	if err != nil {
		return Observation{}, fmt.Errorf("observe effect %s: %w", e.spec.Key, err)
	}
	return obs, nil
}

func (e *effect) done(ctx context.Context, note string) error {
	if err := e.host.Done(ctx, e.spec.Key, note); err != nil {
		return fmt.Errorf("journal end of effect %s: %w", e.spec.Key, err)
	}
	return nil
}

func (e *effect) unknowable(note string) error {
	err := fmt.Errorf("cannot tell whether %s happened to %s", e.spec.Key, e.spec.Target)
	err = plugins.WithKind(plugins.KindUnknowable, err)
	if note == "" {
		return err
	}
	return plugins.Hint(err, "%s", note)
}

// show tells what is being waited for, at each look: the host says for how long, and holds back what it has just said. That
// it cannot be shown is no reason to stop waiting.
func (e *effect) show(ctx context.Context, note string) {
	if note != "" {
		_ = e.host.Progress(ctx, note)
	}
}

func parens(note string) string {
	if note == "" {
		return ""
	}
	return " (" + note + ")"
}
