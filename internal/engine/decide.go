package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/plugins"
)

// held loads a run under its lock and hands it to f.
func (e *Engine) held(ctx context.Context, id string, f func(*execution) error) (*Run, error) {
	if _, err := e.Load(ctx, id); err != nil {
		return nil, err
	}
	release, err := e.Store.Lock(ctx, id, e.holder())
	if err != nil {
		return nil, err
	}
	defer func() { _ = release() }()
	// Read again: what was read before the lock was taken may be old.
	run, err := e.Load(ctx, id)
	if err != nil {
		return nil, err
	}
	if run.Final() {
		return run, fmt.Errorf("run %s ended %s: %w", id, run.Status, ErrFinal)
	}
	x := &execution{Engine: e, run: run}
	err = f(x)
	return x.run, err
}

// Decide writes a person's word on a gate. It is refused, with the reason, unless the gate waits, the decision names exactly the
// digest that it shows, and the gate's policy lets this person decide. A signature in it is verified, and then says who decides.
func (e *Engine) Decide(ctx context.Context, id string, d approval.Decision) (*Run, error) {
	return e.held(ctx, id, func(x *execution) error {
		g, err := x.run.accepts(d)
		if err != nil {
			return err
		}
		if d.By, err = e.identify(ctx, x.run, d); err != nil {
			return fmt.Errorf("verify who decides on gate %s: %w", d.Gate, err)
		}
		now := e.Now()
		if err := x.run.gate(g).Check(d, x.run.Decisions, now); err != nil {
			return hintDecision(x.run, g, err)
		}
		if out := x.run.Outcome(g, now); out.Verdict != approval.Pending {
			return plugins.Hint(fmt.Errorf("gate %s was %s already%s", d.Gate, out.Verdict, by(out)), "tkgfix resume %s", x.run.ID)
		}
		if err := x.record(ctx, kindDecided, d); err != nil {
			return err
		}
		if d.Approved {
			return nil
		}
		return x.rejected(ctx, fmt.Sprintf("gate %s was rejected by %s", d.Gate, d.By.Name))
	})
}

// rejected ends a run that was rejected outside of an attempt.
func (x *execution) rejected(ctx context.Context, why string) error {
	end := finished{Status: Rejected, Error: why}
	ctx = x.inTrace(ctx)
	if err := x.prepare(ctx); err == nil && len(x.workflow.OnFailure) > 0 {
		x.plugins = x.Launch(x.run.Created.Connections, func(ctx context.Context, p Process) error { return x.record(ctx, kindProcess, p) })
		x.afterFailure(ctx, end)
		_ = x.plugins.Close(context.WithoutCancel(ctx))
	}
	return x.record(ctx, kindFinished, end)
}

func by(out approval.Outcome) string {
	if out.Verdict == approval.Rejected {
		return " (" + out.Why + ")"
	}
	var names []string
	for _, i := range out.By {
		names = append(names, i.Name)
	}
	return " by " + strings.Join(names, ", ")
}

// hintDecision adds to the refusal of a decision what to do next.
func hintDecision(r *Run, g plan.Gate, err error) error {
	switch {
	case errors.Is(err, approval.ErrDigest):
		return plugins.Hint(err, "look at what the gate shows now: tkgfix runs show %s", r.ID)
	case errors.Is(err, approval.ErrUnsigned):
		return plugins.Hint(err, "tkgfix approve %s %s --digest %s --key ~/.ssh/id_ed25519", r.ID, g.Step, g.Digest)
	case errors.Is(err, approval.ErrRequester), errors.Is(err, approval.ErrApprover), errors.Is(err, approval.ErrTwice):
		return plugins.Hint(err, "let another approver run: tkgfix approve %s %s --digest %s", r.ID, g.Step, g.Digest)
	case errors.Is(err, approval.ErrExpired):
		return plugins.Hint(err, "begin a new run: tkgfix run %s", r.Created.File)
	}
	return err
}

// identify returns who gives a decision: for one that was given elsewhere who is vouched for there, for a signed one the signer by the run's
// allowed signers, else who it says, unverified.
func (e *Engine) identify(ctx context.Context, r *Run, d approval.Decision) (approval.Identity, error) {
	switch {
	case d.Ref != "" && e.Vouch == nil:
		return approval.Identity{}, fmt.Errorf("it was given in %s, which cannot be asked from here", d.Ref)
	case d.Ref != "":
		return e.Vouch(ctx, r.ID, d)
	case d.Signature == "":
		return approval.Identity{Name: d.By.Name}, nil
	}
	if r.Created.AllowedSigners == "" || e.Signer == nil {
		return approval.Identity{}, errors.New("the workflow names no allowed signers: spec.approvals.allowedSigners")
	}
	return e.Signer(r.Created.AllowedSigners, r.ID, d)
}

// gate returns a gate of the run as approvals are judged by it.
func (r *Run) gate(g plan.Gate) approval.Gate { return g.Judged(r.Created.By.Identity) }

// accepts returns the gate that a decision is on, or why none can be taken now.
func (r *Run) accepts(d approval.Decision) (plan.Gate, error) {
	if r.Plan == nil {
		return plan.Gate{}, plugins.Hint(fmt.Errorf("run %s is not planned yet", r.ID), "tkgfix resume %s", r.ID)
	}
	g, ok := r.Plan.Gate(d.Gate)
	if !ok {
		var names []string
		for _, g := range r.Plan.Gates {
			names = append(names, g.Step)
		}
		return plan.Gate{}, fmt.Errorf("run %s has no gate %q; it has %q", r.ID, d.Gate, names)
	}
	if s, ok := r.Plan.Step(d.Gate); ok && d.Approved {
		if b := s.AllBlocks(); len(b) > 0 {
			return plan.Gate{}, plugins.Hint(fmt.Errorf("gate %s is blocked: %s", d.Gate, b[0].Reason), "%s", b[0].Hint)
		}
	}
	return *g, nil
}

// Resolve writes down what a person says became of an effect of which tkgfix cannot tell. name is step/key as OpenEffects
// gives it. It is refused for an effect that is not open.
func (e *Engine) Resolve(ctx context.Context, id, name string, outcome Outcome, reason string) (*Run, error) {
	return e.held(ctx, id, func(x *execution) error {
		i := strings.LastIndex(name, "/")
		var found *Effect
		if i > 0 {
			found = x.run.effect(name[:i], name[i+1:])
		}
		switch {
		case found == nil:
			return plugins.Hint(fmt.Errorf("run %s has no effect %q; open are %q", id, name, x.run.OpenEffects()), "tkgfix runs show %s", id)
		case !found.Open():
			return fmt.Errorf("effect %s is known to have happened (%s)", name, found.Note)
		}
		if outcome != Happened && outcome != Absent {
			return fmt.Errorf("outcome %q: say %s or %s", outcome, Happened, Absent)
		}
		return x.record(ctx, kindResolved, resolved{Step: found.Step, Key: found.Key, Outcome: outcome, By: e.Me, Reason: reason})
	})
}

// Unlock breaks the lock of a run whose holder is gone for good or will not end, and returns who held it. The journal is moved on
// first, so that the holder can append nothing more, and then its plugins are ended, so that nothing acts on what it
// journalled before. On another machine than the holder's its plugins cannot be ended: it must be known to be off.
func (e *Engine) Unlock(ctx context.Context, id, reason string) (state.Holder, error) {
	release, err := e.Store.Lock(ctx, id, e.holder())
	if err == nil {
		return state.Holder{}, errors.Join(plugins.Hint(fmt.Errorf("run %s is not locked", id), "tkgfix resume %s", id), release())
	}
	locked, ok := errors.AsType[*state.LockedError](err)
	if !ok {
		return state.Holder{}, err
	}
	var run *Run
	for {
		if run, err = e.Load(ctx, id); err != nil {
			return locked.Holder, err
		}
		x := &execution{Engine: e, run: run}
		if err = x.record(ctx, kindBroken, broken{By: e.Me, Was: locked.Holder, Reason: reason}); !errors.Is(err, state.ErrConflict) {
			break // else the holder has just written: move on from there
		}
	}
	if err != nil {
		return locked.Holder, err
	}
	if err := e.endPlugins(ctx, run); err != nil {
		return locked.Holder, err
	}
	return e.Store.Break(ctx, id)
}
