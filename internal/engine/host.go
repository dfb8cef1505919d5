package engine

import (
	"context"
	"fmt"
	"slices"

	"go.opentelemetry.io/otel/trace"

	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/plugins"
)

// host is what a step may ask of the engine while it applies what was approved.
type host struct {
	x  *execution
	ok plan.Approved
	// span is that of the step being applied: a plugin's calls come without it.
	span trace.Span
}

var _ plugins.Host = (*host)(nil)

// Effect implements plugins.Host.
func (h *host) Effect(_ context.Context, key string) (plugins.EffectState, error) {
	h.x.mu.Lock()
	defer h.x.mu.Unlock()
	switch e := h.x.run.effect(h.ok.Step().ID, key); {
	case e == nil:
		return plugins.EffectNone, nil
	case e.Done.IsZero():
		return plugins.EffectIntended, nil
	}
	return plugins.EffectDone, nil
}

// Intend implements plugins.Host. It refuses an effect on anything that the approved changes do not name.
func (h *host) Intend(ctx context.Context, spec plugins.EffectSpec) error {
	covered := slices.ContainsFunc(h.ok.Changes(), func(c plugins.PlannedChange) bool { return same(c.Target, spec.Target) })
	if !covered {
		return fmt.Errorf("effect %s on %s: nothing that was approved covers it", spec.Key, spec.Target)
	}
	if h.x.isStopping() {
		return fmt.Errorf("intend effect %s: %w", spec.Key, ErrStopped)
	}
	if s, err := h.Effect(ctx, spec.Key); err != nil || s != plugins.EffectNone {
		return fmt.Errorf("intend effect %s: it is %s already", spec.Key, s)
	}
	if err := h.x.record(ctx, kindIntended, intended{Step: h.ok.Step().ID, Key: spec.Key, Target: spec.Target}); err != nil {
		return err
	}
	h.x.event(h.span, "effect intended", attrEffect.String(short(spec.Key)))
	return nil
}

// Done implements plugins.Host.
func (h *host) Done(ctx context.Context, key, note string) error {
	if s, err := h.Effect(ctx, key); err != nil || s != plugins.EffectIntended {
		return fmt.Errorf("effect %s is done, but it was %s", key, s)
	}
	if err := h.x.record(ctx, kindDone, effectDone{Step: h.ok.Step().ID, Key: key, Note: note}); err != nil {
		return err
	}
	h.x.mu.Lock()
	defer h.x.mu.Unlock()
	if e := h.x.run.effect(h.ok.Step().ID, key); e != nil {
		h.x.effectSpan(trace.ContextWithSpan(ctx, h.span), *e)
	}
	h.x.landed()
	return nil
}

// Progress implements plugins.Host.
func (h *host) Progress(_ context.Context, message string) error {
	h.x.tell(Event{Kind: EventProgress, ID: h.ok.Step().ID, Text: message})
	return nil
}

// same tells whether two targets are one object, its incarnation left aside: the object that is created in the place of a
// deleted one has no UID yet.
func same(a, b plugins.Target) bool {
	return a.Cluster == b.Cluster && a.Group == b.Group && a.Kind == b.Kind && a.Namespace == b.Namespace && a.Name == b.Name
}
