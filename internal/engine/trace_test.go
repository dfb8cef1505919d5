package engine_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/internal/state/mem"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/workflow"
)

// collector is where the spans of all the processes of a test go.
type collector struct{ *tracetest.InMemoryExporter }

func newCollector() collector { return collector{tracetest.NewInMemoryExporter()} }

// process makes the engine that of another process, with a tracer of its own.
func (c collector) process(e *engine.Engine, opts ...sdktrace.TracerProviderOption) *engine.Engine {
	e.Tracer = sdktrace.NewTracerProvider(append(opts, sdktrace.WithSyncer(c))...).Tracer("test")
	return e
}

// tree draws the spans, each under its parent, in the order in which they began, with what tells them from others and with their events.
func tree(spans tracetest.SpanStubs) string {
	spans = slices.Clone(spans)
	slices.SortStableFunc(spans, func(a, b tracetest.SpanStub) int { return a.StartTime.Compare(b.StartTime) })
	var out strings.Builder
	var under func(parent trace.SpanID, depth string)
	under = func(parent trace.SpanID, depth string) {
		for _, s := range spans {
			if s.Parent.SpanID() != parent {
				continue
			}
			fmt.Fprintf(&out, "%s%s%s", depth, s.Name, told(s, "tkgfix.step", "tkgfix.effect", "tkgfix.status"))
			if s.Name == "attempt" {
				out.WriteString(told(s, "tkgfix.attempt"))
			}
			if s.Status.Code == codes.Error {
				out.WriteString(" !" + s.Status.Description)
			}
			for _, ev := range s.Events {
				out.WriteString(" +" + ev.Name)
			}
			out.WriteString("\n")
			under(s.SpanContext.SpanID(), depth+"  ")
		}
	}
	under(trace.SpanID{}, "")
	return out.String()
}

func told(s tracetest.SpanStub, keys ...string) string {
	out := ""
	for _, key := range keys {
		for _, a := range s.Attributes {
			if string(a.Key) == key {
				out += " " + a.Value.String()
			}
		}
	}
	return out
}

// TestResumeContinuesItsTrace plans in one process and applies in another, and wants one trace.
func TestResumeContinuesItsTrace(t *testing.T) {
	t.Parallel()
	w := &world{serial: "s1"}
	store, c := mem.New(), newCollector()
	first := c.process(newEngine(w, store))
	create(t, first)
	if err := approve(t, first, run(t, first, engine.Waiting).PendingGates(first.Now())[0].Digest); err != nil {
		t.Fatal(err)
	}
	second := newEngine(w, store)
	second.Now = func() time.Time { return first.Now() }
	run(t, c.process(second), engine.Done)
	const want = `run
  attempt waiting 1 +gate +waiting
    plan
      plan step look done
      plan step turn changes
  attempt done 2
    plan step turn changes
    apply step turn +effect intended
      effect turn turn
    plan step check done
`
	spans := c.GetSpans()
	if diff := cmp.Diff(want, tree(spans)); diff != "" {
		t.Errorf("spans (-want, +got):\n%s", diff)
	}
	for _, s := range spans {
		if s.SpanContext.TraceID() != spans[0].SpanContext.TraceID() {
			t.Errorf("span %s is in another trace", s.Name)
		}
		if got := told(s, "tkgfix.run", "tkgfix.workflow"); got != " r lamp" {
			t.Errorf("span %s: run and workflow are %q", s.Name, got)
		}
	}
}

// TestTraceAfterCrash kills the engine at each append of a whole run. What both engines exported is one trace: no attempt begins another one.
func TestTraceAfterCrash(t *testing.T) {
	t.Parallel()
	boundaries, across := 0, 0
	for _, after := range []bool{false, true} {
		for n := 1; ; n++ {
			w := &world{serial: "s1"}
			store, c := mem.New(), newCollector()
			create(t, newEngine(w, store))
			dies := c.process(newEngine(w, &crashing{Store: store, left: n, after: after}))
			lives := c.process(newEngine(w, store))
			lives.Now = func() time.Time { return dies.Now() }
			name := fmt.Sprintf("append %d, durable %t", n, after)
			if !throughCrash(t, name, w, dies, lives) {
				break
			}
			boundaries++
			if oneTrace(t, name, journalled(t, store), c.GetSpans()) {
				across++
			}
		}
	}
	// As many as without a tracer, and the trace's own entry before and after.
	if boundaries < 22 {
		t.Errorf("only %d boundaries were met: the run is not the one that was meant", boundaries)
	}
	// Killed between the intent and what is known: before the act, after it, and with the end not durable.
	if across < 2 {
		t.Errorf("%d effects were intended in one process and seen to be done in another", across)
	}
}

// oneTrace holds the spans to the trace that is journalled, and says whether an effect began before the attempt that saw it done.
func oneTrace(t *testing.T, name string, root trace.SpanContext, spans tracetest.SpanStubs) bool {
	t.Helper()
	count := map[string]int{}
	starts := map[trace.SpanID]time.Time{}
	for _, s := range spans {
		count[s.Name]++
		starts[s.SpanContext.SpanID()] = s.StartTime
		switch {
		case s.SpanContext.TraceID() != root.TraceID():
			t.Errorf("%s: span %s is in another trace", name, s.Name)
		case s.Name == "run" && s.SpanContext.SpanID() != root.SpanID():
			t.Errorf("%s: the run's span is not the one in the journal", name)
		case s.Name == "attempt" && (s.Parent.SpanID() != root.SpanID() || s.Parent.IsRemote() != true):
			t.Errorf("%s: an attempt is not under the run's span", name)
		}
	}
	if count["run"] > 1 || count["effect"] > 1 || count["attempt"] == 0 {
		t.Errorf("%s: spans %v", name, count)
	}
	return slices.ContainsFunc(spans, func(s tracetest.SpanStub) bool {
		return s.Name == "effect" && s.StartTime.Before(starts[s.Parent.SpanID()])
	})
}

// journalled returns the span that the journal of run r names.
func journalled(t *testing.T, store state.Store) trace.SpanContext {
	t.Helper()
	entries, err := store.Read(t.Context(), "r", 1)
	if err != nil {
		t.Fatal(err)
	}
	var out []trace.SpanContext
	for _, e := range entries {
		if e.Kind != "trace.started" {
			continue
		}
		var data struct{ Traceparent string }
		if err := json.Unmarshal(e.Data, &data); err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(data.Traceparent, "-")
		id, err := trace.TraceIDFromHex(parts[1])
		span, err2 := trace.SpanIDFromHex(parts[2])
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		out = append(out, trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: span}))
	}
	if len(out) != 1 {
		t.Fatalf("the journal names %d traces", len(out))
	}
	return out[0]
}

// TestTracingAddsOneEntry holds the journal of a traced run against that of one that is not: all else is the same.
func TestTracingAddsOneEntry(t *testing.T) {
	t.Parallel()
	journal := func(traced bool) (out []string) {
		w := &world{serial: "s1"}
		store := mem.New()
		e := newEngine(w, store)
		now := e.Now()
		e.Now = func() time.Time { return now }
		if traced {
			newCollector().process(e)
		}
		create(t, e)
		if err := approve(t, e, run(t, e, engine.Waiting).PendingGates(now)[0].Digest); err != nil {
			t.Fatal(err)
		}
		run(t, e, engine.Done)
		entries, err := store.Read(t.Context(), "r", 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			out = append(out, e.Kind+" "+string(e.Data))
		}
		return out
	}
	without, with := journal(false), journal(true)
	i := slices.IndexFunc(with, func(line string) bool { return strings.HasPrefix(line, "trace.started ") })
	if i < 0 {
		t.Fatal("the traced run has no entry of its trace")
	}
	if diff := cmp.Diff(without, slices.Delete(with, i, i+1)); diff != "" {
		t.Errorf("the journals differ by more (-untraced, +traced):\n%s", diff)
	}
}

// TestTraceNamesNoInput plants a secret in a step's input and in what steps answer, and looks for it in all that is exported.
func TestTraceNamesNoInput(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	w := &world{serial: secret, actErr: []error{plugins.WithKind(plugins.KindTransient, errors.New("flicker"))}}
	c := newCollector()
	e := c.process(newEngine(w, mem.New()))
	create(t, e)
	if err := approve(t, e, run(t, e, engine.Waiting).PendingGates(e.Now())[0].Digest); err != nil {
		t.Fatal(err)
	}
	run(t, e, engine.Done)
	for _, s := range c.GetSpans() {
		if said := fmt.Sprintf("%+v", s); strings.Contains(said, secret) {
			t.Errorf("span %s tells the secret: %s", s.Name, said)
		}
	}
}

// TestTraceOfTrouble wants what goes wrong to be seen where it does, with the error that the journal has.
func TestTraceOfTrouble(t *testing.T) {
	t.Parallel()
	transient := plugins.WithKind(plugins.KindTransient, errors.New("flicker"))
	for name, tc := range map[string]struct {
		reason string
		w      world
		end    engine.Status
		want   string
	}{
		"Read": {"a step that cannot be planned fails its attempt", world{lookErr: []error{errors.New("boom")}}, engine.Failed, `run
  attempt failed 1 !plan step look: boom
    plan
      plan step look failed !step look: boom
`},
		"Act": {"what is tried again is noted, and the act that fails", world{actErr: []error{transient}}, engine.Done, `run
  attempt done 1 +gate +decided
    plan
      plan step look done
      plan step turn changes
    plan step turn changes
    apply step turn +effect intended +retry
      effect turn turn
    plan step check done
`},
		"Moved": {"a void approval is noted", world{}, engine.Done, `run
  attempt done 1 +gate +decided +voided +gate +decided
    plan
      plan step look done
      plan step turn changes
    plan step turn changes
    plan step turn changes
    apply step turn +effect intended
      effect turn turn
    plan step check done
`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCollector()
			w := &tc.w
			e := c.process(newEngine(w, mem.New()))
			e.AutoApprove = plugins.Change
			e.Watch = func(ev engine.Event) {
				if name == "Moved" && ev.Kind == engine.EventPlan {
					w.serial = "another"
				}
			}
			create(t, e)
			run(t, e, tc.end)
			if diff := cmp.Diff(tc.want, tree(c.GetSpans())); diff != "" {
				t.Errorf("%s: spans (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// TestTraceWithoutASpan gives a run a journal whose trace is no trace: it begins one that is.
func TestTraceWithoutASpan(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]string{
		"Empty":   `{}`,
		"Garbage": `{"traceparent":"x"}`,
		"Zero":    `{"traceparent":"00-00000000000000000000000000000000-0000000000000000-01"}`,
		"Long":    `{"traceparent":"00-` + strings.Repeat("a", 1<<16) + `-bbbbbbbbbbbbbbbb-01"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, c := mem.New(), newCollector()
			e := c.process(newEngine(&world{on: true}, store))
			create(t, e)
			if _, err := store.Append(t.Context(), "r", 2, state.Draft{Time: e.Now(), Kind: "trace.started", Data: json.RawMessage(data)}); err != nil {
				t.Fatal(err)
			}
			run(t, e, engine.Done)
			if got := tree(c.GetSpans()); !strings.HasPrefix(got, "run\n  attempt done 1\n") {
				t.Errorf("spans:\n%s", got)
			}
		})
	}
}

// TestSamplingIsDecidedOnce lets the first process choose not to sample: a later one that would keeps to that.
func TestSamplingIsDecidedOnce(t *testing.T) {
	t.Parallel()
	store, c := mem.New(), newCollector()
	w := &world{}
	first := c.process(newEngine(w, store), sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.NeverSample())))
	create(t, first)
	if err := approve(t, first, run(t, first, engine.Waiting).PendingGates(first.Now())[0].Digest); err != nil {
		t.Fatal(err)
	}
	run(t, c.process(newEngine(w, store), sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.AlwaysSample()))), engine.Done)
	if got := tree(c.GetSpans()); got != "" {
		t.Errorf("spans of a trace that is not sampled:\n%s", got)
	}
	journalled(t, store)
}

// TestTraceOfParallelInstances wants a span of each instance, planned and applied, while several are under way.
func TestTraceOfParallelInstances(t *testing.T) {
	t.Parallel()
	g, c := newGarden("a", "b", "c"), newCollector()
	e := c.process(gardener(g, mem.New()))
	beginFleet(t, e, 0, "{maxParallel: 3}", "")
	agree(t, e, run(t, e, engine.Waiting))
	run(t, e, engine.Done)
	got := map[string]int{}
	for _, s := range c.GetSpans() {
		got[strings.TrimSpace(s.Name+told(s, "tkgfix.step"))]++
	}
	want := map[string]int{"run": 1, "attempt": 2, "plan": 1, "plan step list": 1}
	for _, i := range []string{"[0]", "[1]", "[2]"} {
		want["plan step inspect"+i], want["plan step spray"+i], want["apply step spray"+i], want["effect spray"+i] = 1, 2, 1, 1
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("spans (-want, +got):\n%s", diff)
	}
}

// TestPlanWithoutARun makes a trace too, and asks for no run.
func TestPlanWithoutARun(t *testing.T) {
	t.Parallel()
	c := newCollector()
	e := c.process(newEngine(&world{}, mem.New()))
	w, diags := workflow.Check("lamp.yaml", []byte(lamp), e.Catalog)
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Plan(t.Context(), engine.Request{Workflow: w}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("plan\n  plan step look done\n  plan step turn changes\n", tree(c.GetSpans())); diff != "" {
		t.Errorf("spans (-want, +got):\n%s", diff)
	}
}

// TestTraceOfARejection has what is done on account of a rejection stand in the run's trace.
func TestTraceOfARejection(t *testing.T) {
	t.Parallel()
	c := newCollector()
	e := c.process(gardener(newGarden("a"), mem.New()))
	begin(t, e, strings.Replace(policy, "%s", "required: 1", 1)+`
  onFailure:
    - {id: tell, uses: tell, with: {text: "${{ failure.status }}"}}
`)
	gate := run(t, e, engine.Waiting).PendingGates(e.Now())[0]
	if _, err := e.Decide(t.Context(), "r", approval.Decision{Gate: "raze", Digest: gate.Digest, By: approval.Identity{Name: "bob@desk"}}); err != nil {
		t.Fatal(err)
	}
	const want = `run
  attempt waiting 1 +gate +waiting
    plan
      plan step raze changes
  plan step tell#1 changes
  apply step tell#1 +effect intended
    effect tell#1 tell
`
	if diff := cmp.Diff(want, tree(c.GetSpans())); diff != "" {
		t.Errorf("spans (-want, +got):\n%s", diff)
	}
}
