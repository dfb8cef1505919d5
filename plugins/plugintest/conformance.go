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
}

// Sample is a request that the step can plan, as often as it is asked.
type Sample struct {
	// Reason says what the sample shows.
	Reason string
	// Input is a valid input object.
	Input json.RawMessage
	// Connections are given to the step.
	Connections plugins.Connections
	// Check looks at the plan; it may be nil. It is called once for the step itself and once over the wire.
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
//     is not known yet; a step that only reads has no changes; changes and evidence are complete.
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
	report(t, "refusals", refusalProblems(t.Context(), step, schemas, base))
	report(t, "cancel", cancelProblems(t.Context(), step, base))
	for _, name := range slices.Sorted(maps.Keys(cases.Samples)) {
		sample := cases.Samples[name]
		t.Run(name, func(t *testing.T) {
			resp, problems := planProblems(t.Context(), step, schemas, sample)
			for _, p := range problems {
				t.Errorf("%s: %s", sample.Reason, p)
			}
			if len(problems) == 0 && sample.Check != nil {
				sample.Check(t, resp)
			}
		})
	}
}

func report(t *testing.T, what string, problems []string) {
	t.Helper()
	for _, p := range problems {
		t.Errorf("%s: %s", what, p)
	}
}
