package plugintest

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/tkgfix/tkgfix/plugins"
)

// Cases are what Conformance cannot make up. All of it is optional, but a step without a sample is judged by little.
type Cases struct {
	// Samples are requests that the step can plan, by name.
	Samples map[string]Sample
	// Told returns how many things the step has told so far, as their receiver counts them. A step whose effect is announce
	// must give it, and no other step needs it.
	Told func() int
}

// Sample is a request that the step can plan, as often as it is asked.
type Sample struct {
	// Reason says what the sample shows.
	Reason string
	// Effect is what the workflow declares, for a step whose own effect is declared; empty means each of read, change and destroy
	// in turn. Other steps leave it empty.
	Effect plugins.Effect
	// Input is a valid input object.
	Input json.RawMessage
	// Connections are given to the step.
	Connections plugins.Connections
	// Check looks at the plan; it may be nil. It is called once for the step itself and once over the wire, for each effect.
	Check func(t *testing.T, resp plugins.PlanResponse)
}

// Conformance checks what every step must do, first directly, then over a real connection (Connect):
//
//   - Describe is valid and always the same: a kebab-case name, a semantic version, a known effect, known connections, both schemas JSON
//     Schema 2020-12 of type object, the input's closed to other keys, every output described;
//   - Plan, and Apply of a changing step before it touches its host, refuse an unknown key and a value of the wrong type with an
//     error that names the key;
//   - Plan returns promptly when its context has ended;
//   - each sample is planned, twice with the same changes; its outputs are valid against the schema, where a changing step may leave out what
//     is not known yet; a step that only reads has no changes; changes and evidence are complete;
//   - a step whose effect is declared does all this under read, change and destroy, with a sample for each, and refuses to plan under
//     none and to apply under read;
//   - a step whose effect is announce tells nothing while it plans, plans one change for each thing that it would tell, tells them
//     when it applies, nothing when the journal says that it has, and may be applied again after a crash.
func Conformance(t *testing.T, step plugins.Step, cases Cases) {
	t.Helper()
	t.Run("direct", func(t *testing.T) { conformance(t, step, cases) })
	t.Run("wire", func(t *testing.T) { conformance(t, Connect(t, step), cases) })
}

func conformance(t *testing.T, step plugins.Step, cases Cases) {
	t.Helper()
	schemas, problems := describeProblems(step)
	report(t, "describe", problems)
	if schemas == nil {
		t.Fatal("the rest needs valid schemas")
	}
	base := schemas.sample(cases)
	base.Effect = "" // what is wrong, or over, is so under each effect
	for _, s := range schemas.each(base) {
		report(t, "refusals", refusalProblems(t.Context(), step, schemas, s))
		report(t, "cancel", cancelProblems(t.Context(), step, schemas, s))
	}
	report(t, "declared", declaredProblems(t.Context(), step, schemas, cases))
	for _, name := range slices.Sorted(maps.Keys(cases.Samples)) {
		for _, sample := range schemas.each(cases.Samples[name]) {
			t.Run(join(name, sample.Effect), func(t *testing.T) { conformanceOf(t, step, schemas, cases, sample) })
		}
	}
}

func conformanceOf(t *testing.T, step plugins.Step, s *schemas, cases Cases, sample Sample) {
	t.Helper()
	told := cases.told()
	resp, problems := planProblems(t.Context(), step, s, sample)
	if s.description.Effect == plugins.Announce {
		problems = append(problems, announceProblems(t.Context(), step, sample, announced{cases: cases, before: told, plan: resp})...)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", sample.Reason, p)
	}
	if len(problems) == 0 && sample.Check != nil {
		sample.Check(t, resp)
	}
}

// join names the run of a sample by its effect where that is not the same for all.
func join(name string, effect plugins.Effect) string {
	if effect == "" {
		return name
	}
	return name + "/" + string(effect)
}

func report(t *testing.T, what string, problems []string) {
	t.Helper()
	for _, p := range problems {
		t.Errorf("%s: %s", what, p)
	}
}
