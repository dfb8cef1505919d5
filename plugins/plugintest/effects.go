package plugintest

import (
	"context"
	"fmt"

	"github.com/tkgfix/tkgfix/plugins"
)

// declarable are the effects that a workflow may declare for a step that leaves its effect open.
func declarable() []plugins.Effect {
	return []plugins.Effect{plugins.Read, plugins.Change, plugins.Destroy}
}

// each returns the sample under every effect that it stands for.
func (s *schemas) each(sample Sample) []Sample {
	if s.description.Effect != plugins.Declared || sample.Effect != "" {
		return []Sample{sample}
	}
	var out []Sample
	for _, effect := range declarable() {
		sample.Effect = effect
		out = append(out, sample)
	}
	return out
}

// effect is what the engine would ask under.
func (s *schemas) effect(sample Sample) plugins.Effect {
	if s.description.Effect == plugins.Declared {
		return sample.Effect
	}
	return s.description.Effect
}

func (s *schemas) planRequest(sample Sample) plugins.PlanRequest {
	return plugins.PlanRequest{
		StepID: "conformance", Effect: s.effect(sample), Input: sample.Input, Connections: sample.Connections,
	}
}

func (s *schemas) applyRequest(sample Sample, changes []plugins.PlannedChange) plugins.ApplyRequest {
	return plugins.ApplyRequest{
		RunID: "conformance", StepID: "conformance", Effect: s.effect(sample),
		Input: sample.Input, Connections: sample.Connections, Changes: changes,
	}
}

// declaredProblems says what a step whose effect is declared does with an effect that it must not be asked under, and which effects
// no sample shows.
func declaredProblems(ctx context.Context, step plugins.Step, s *schemas, cases Cases) []string {
	if s.description.Effect != plugins.Declared {
		return nil
	}
	var out []string
	shown := map[plugins.Effect]bool{}
	for _, sample := range cases.Samples {
		for _, one := range s.each(sample) {
			shown[one.Effect] = true
		}
	}
	for _, effect := range declarable() {
		if !shown[effect] {
			out = append(out, fmt.Sprintf("no sample shows the effect %s", effect))
		}
	}
	base := s.sample(cases)
	base.Effect = ""
	if _, err := step.Plan(ctx, s.planRequest(base)); err == nil {
		out = append(out, "plans although the workflow declared no effect")
	}
	base.Effect = plugins.Read
	host := &Host{}
	if _, err := step.Apply(ctx, s.applyRequest(base, nil), host); err == nil || len(host.Calls()) > 0 {
		out = append(out, "applies although the workflow declared that it reads")
	}
	return out
}

func (c Cases) told() int {
	if c.Told == nil {
		return 0
	}
	return c.Told()
}

// announced is a plan of a step that tells, and how much had been told before it was made.
type announced struct {
	cases  Cases
	before int
	plan   plugins.PlanResponse
}

// announceProblems applies a plan of a step that tells: in peace, again when the journal says that it is done, and after a crash.
func announceProblems(ctx context.Context, step plugins.Step, sample Sample, a announced) []string {
	if a.cases.Told == nil {
		return []string{"nobody counts what is told: give Cases.Told"}
	}
	var out []string
	if told := a.cases.told(); told != a.before {
		return []string{fmt.Sprintf("tells %d things while it plans", told-a.before)}
	}
	if len(a.plan.Changes) == 0 {
		return []string{"plans to tell nothing, so there is nothing to judge"}
	}
	var intents []Call
	apply := func(what string, host *Host) int {
		before := a.cases.told()
		s := schemas{description: plugins.Description{Effect: plugins.Announce}}
		if _, err := step.Apply(ctx, s.applyRequest(sample, a.plan.Changes), host); err != nil {
			out = append(out, fmt.Sprintf("%s: apply: %v", what, err))
		}
		return a.cases.told() - before
	}
	host := &Host{}
	if n := apply("the first time", host); n != len(a.plan.Changes) {
		out = append(out, fmt.Sprintf("plans %d changes and tells %d things", len(a.plan.Changes), n))
	}
	if n := apply("when all is done", host); n != 0 {
		out = append(out, fmt.Sprintf("tells %d things although the journal says that it has", n))
	}
	if intents = host.Calls(MethodIntend); len(intents) != len(a.plan.Changes) {
		out = append(out, fmt.Sprintf("plans %d changes and journals %d intents", len(a.plan.Changes), len(intents)))
	}
	crashed := &Host{}
	for _, intent := range intents {
		crashed.Set(intent.Key, plugins.EffectIntended)
	}
	apply("after a crash", crashed)
	for _, intent := range intents {
		if state := crashed.State(intent.Key); state != plugins.EffectDone {
			out = append(out, fmt.Sprintf("after a crash %s is left %s", intent.Key, state))
		}
	}
	return out
}
