// Package exec is the step exec: it runs a user's command, under the effect that the workflow declares for the step.
//
// With effect read the command runs while planning, so it must only read. With change and destroy only observe runs while
// planning; the command itself runs once the change is approved, with exactly the arguments, environment, folder and program
// (SHA-256 of its file) that were shown. No shell is involved, and nothing is interpolated into the command.
//
// At most one command acts. It stays in the process group of the plugin and carries the plugin's mark in its environment, so
// that the engine, when it resumes, finds it and proves it dead before observe is asked whether the effect has happened
// (internal/pluginhost). On Linux it is killed with the plugin. On other systems a command may outlive a tkgfix that is
// killed: there observe must answer 2 for as long as it runs.
//
// The program's file is part of what is approved, what it reads is not: call a script by its own name and not through sh.
package exec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// Name is the word for uses:.
const Name = "exec"

// effectKey is the key of the step's only effect.
const effectKey = "command"

// kind is the kind of a change's target: what a command changes is known by name alone.
const kind = "Command"

type step struct {
	env sdk.Env
	// lookup reads this process's environment.
	lookup func(string) (string, bool)
	// count numbers the commands of this process.
	count *atomic.Uint64
}

var _ plugins.Step = step{}

// New returns the step.
func New(env sdk.Env) plugins.Step {
	return step{env: env.Complete(), lookup: os.LookupEnv, count: new(atomic.Uint64)}
}

// Describe says what the step is.
func (step) Describe() plugins.Description {
	return plugins.Description{
		Name:    Name,
		Version: "0.1.0",
		Summary: "Runs a command of yours; the workflow's step says whether it reads, changes or destroys.",
		Effect:  plugins.Declared,
		Input:   json.RawMessage(inputSchema),
		Output:  json.RawMessage(outputSchema),
	}
}

// Plan runs the command if it only reads, else it asks observe whether there is anything to do.
func (s step) Plan(ctx context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	var none plugins.PlanResponse
	in, err := parse(req.Input, req.Effect)
	if err != nil {
		return none, err
	}
	if err := ctx.Err(); err != nil {
		return none, err
	}
	ok, err := resolve(in)
	if err != nil {
		return none, err
	}
	r, err := s.runner(ok)
	if err != nil {
		return none, err
	}
	if req.Effect == plugins.Read {
		return s.read(ctx, r)
	}
	return s.propose(ctx, r, in, req.Effect)
}

// read is the whole work of a step that only reads.
func (s step) read(ctx context.Context, r runner) (plugins.PlanResponse, error) {
	var none plugins.PlanResponse
	res, err := r.command(ctx)
	if err != nil {
		return none, err
	}
	out, err := sdk.Output(r.output(res))
	if err != nil {
		return none, err
	}
	return plugins.PlanResponse{
		Outputs:  out,
		Evidence: []plugins.Evidence{r.evidence(res)},
		Summary:  fmt.Sprintf("%s ended with exit status %d", r.name(), res.code),
	}, nil
}

// propose makes the change of a command that is still needed.
func (s step) propose(ctx context.Context, r runner, in input, effect plugins.Effect) (plugins.PlanResponse, error) {
	var none plugins.PlanResponse
	change, err := changeOf(r.approved, in, effect)
	if err != nil {
		return none, err
	}
	obs, seen, err := r.observe(ctx, change.Target)
	if err != nil {
		return none, err
	}
	resp := plugins.PlanResponse{Evidence: []plugins.Evidence{seen}, Warnings: warnings(in, effect)}
	switch obs.State {
	case sdk.Yes:
		resp.Warnings = nil
		resp.Summary = fmt.Sprintf("%s: nothing to do: %s", in.Target, obs.Note)
		resp.Outputs, err = sdk.Output(output{})
		return resp, err
	case sdk.Underway:
		resp.Blocks = []plugins.Block{{
			Reason: fmt.Sprintf("observe says that it is under way already: %s", obs.Note),
			Hint:   "wait until it is over, and plan again; see: " + r.byHand(r.approved.Observe),
		}}
	case sdk.Unknowable:
		resp.Blocks = []plugins.Block{{
			Reason: "observe says that nobody can know whether it has happened", Hint: obs.Note,
		}}
	case sdk.No:
	}
	resp.Changes = []plugins.PlannedChange{change}
	resp.Outputs = json.RawMessage(`{}`)
	resp.Summary = fmt.Sprintf("would run %s for %s", r.name(), in.Target)
	return resp, nil
}

// Apply runs the approved command once.
func (s step) Apply(ctx context.Context, req plugins.ApplyRequest, host plugins.Host) (plugins.ApplyResponse, error) {
	var none plugins.ApplyResponse
	if _, err := parse(req.Input, req.Effect); err != nil {
		return none, err
	}
	if req.Effect == plugins.Read {
		return none, errors.New("exec with effect read changes nothing and is not applied")
	}
	change, ok, err := approvedOf(req.Changes)
	if err != nil {
		return none, err
	}
	r, err := s.runner(ok)
	if err != nil {
		return none, err
	}
	state, err := host.Effect(ctx, effectKey)
	if err != nil {
		return none, fmt.Errorf("read the journal of %s: %w", effectKey, err)
	}
	if err := holds(change, ok, checkedAt(state)...); err != nil {
		return none, err
	}
	var ran *result
	observe := func(ctx context.Context) (sdk.Observation, error) {
		obs, _, err := r.observe(ctx, change.Target)
		return obs, err
	}
	act := func(ctx context.Context) error {
		// Looked at again: between two attempts there may be days.
		if err := holds(change, ok, fieldCommand); err != nil {
			return err
		}
		_ = host.Progress(ctx, "running "+r.name())
		res, err := r.command(ctx)
		ran = res
		return err
	}
	if err := sdk.Effect(ctx, host, plugins.EffectSpec{Key: effectKey, Target: change.Target}, observe, act); err != nil {
		return none, err
	}
	return applied(r, change.Target, ran)
}

// checkedAt says which programs must still be the approved ones when an Apply begins. Whoever comes back after a crash may find that the
// command has done its work and is gone; what observe says of that counts only if it is the approved observe.
func checkedAt(state plugins.EffectState) []string {
	switch state {
	case plugins.EffectNone:
		return []string{fieldCommand, fieldObserve}
	case plugins.EffectDone:
		return nil
	default:
		return []string{fieldObserve}
	}
}

// applied is the answer of an Apply; ran is nil when this process did not run the command.
func applied(r runner, target plugins.Target, ran *result) (plugins.ApplyResponse, error) {
	resp := plugins.ApplyResponse{Summary: fmt.Sprintf("%s: done, as observe says", target.Name)}
	var out output
	if ran != nil {
		out = r.output(ran)
		resp.Evidence = []plugins.Evidence{r.evidence(ran)}
	}
	var err error
	resp.Outputs, err = sdk.Output(out)
	return resp, err
}
