package engine

import (
	"context"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/tkgfix/tkgfix/internal/plan"
)

// The attributes of spans and of their events: names, ids, counts and statuses, never what a step was given or has answered.
// docs/observability.md lists them.
const (
	attrRun      = attribute.Key("tkgfix.run")
	attrWorkflow = attribute.Key("tkgfix.workflow")
	attrAttempt  = attribute.Key("tkgfix.attempt")
	attrStep     = attribute.Key("tkgfix.step")
	attrUses     = attribute.Key("tkgfix.uses")
	attrStatus   = attribute.Key("tkgfix.status")
	attrEffect   = attribute.Key("tkgfix.effect")
	attrTarget   = attribute.Key("tkgfix.target")
	attrGates    = attribute.Key("tkgfix.gates")
	attrTry      = attribute.Key("tkgfix.try")
)

// traceStarted is the span under which all attempts at a run stand, whoever makes them.
type traceStarted struct {
	// Traceparent is as https://www.w3.org/TR/trace-context/#traceparent-header has it.
	Traceparent string `json:"traceparent"`
}

const traceparent = "traceparent"

// remote returns the context of the span; an invalid one if it is not written as it should be.
func (t traceStarted) remote() trace.SpanContext {
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{traceparent: t.Traceparent})
	return trace.SpanContextFromContext(ctx)
}

// traced makes an attempt a part of the run's trace, which begins here if the journal has none. The span of the run itself is over when it
// is journalled: an attempt may be killed before its own span is exported, and those of the others must not hang in the air then.
func (x *execution) traced(ctx context.Context, attempt func(context.Context) error) error {
	if x.Tracer == nil {
		return attempt(ctx)
	}
	if !x.run.trace.IsValid() {
		if err := x.beginTrace(ctx); err != nil {
			return err
		}
	}
	ctx, span := x.span(x.inTrace(ctx), "attempt")
	x.attemptSpan = span
	err := attempt(ctx)
	span.SetAttributes(attrStatus.String(string(x.run.Status)))
	x.end(span, err)
	return err
}

func (x *execution) beginTrace(ctx context.Context) error {
	ctx, span := x.span(ctx, "run")
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	if carrier[traceparent] == "" {
		return nil // the tracer makes none
	}
	if err := x.record(ctx, kindTrace, traceStarted{Traceparent: carrier[traceparent]}); err != nil {
		return err // and the span is dropped: the next attempt begins another trace
	}
	x.end(span, nil)
	return nil
}

// inTrace returns a context whose spans belong to the run's trace, if it has one.
func (x *execution) inTrace(ctx context.Context) context.Context {
	if x.Tracer == nil || !x.run.trace.IsValid() {
		return ctx
	}
	return trace.ContextWithRemoteSpanContext(ctx, x.run.trace)
}

// span begins a span; without a tracer it is one that does nothing.
func (x *execution) span(ctx context.Context, name string, attrs ...attribute.KeyValue) (context.Context, trace.Span) {
	if x.Tracer == nil {
		return ctx, noop.Span{}
	}
	return x.spanAt(ctx, name, x.Now(), attrs...)
}

func (x *execution) spanAt(ctx context.Context, name string, at time.Time, attrs ...attribute.KeyValue) (context.Context, trace.Span) {
	attrs = append(attrs, attrWorkflow.String(x.workflow.Name))
	if x.run != nil { // a plan without a run has no id
		attrs = append(attrs, attrRun.String(x.run.ID), attrAttempt.Int(x.run.attempts))
	}
	return x.Tracer.Start(ctx, name, trace.WithTimestamp(at), trace.WithAttributes(attrs...))
}

// maxSaid bounds what a span says of an effect or an error, in bytes: plugins say it. The journal has the whole.
const maxSaid = 1024

func short(s string) string {
	if len(s) > maxSaid {
		return strings.ToValidUTF8(s[:maxSaid], "") + "…"
	}
	return s
}

// end ends a span, which failed if err is not nil. Of an error a span says what the journal says of it.
func (x *execution) end(span trace.Span, err error) {
	if !span.IsRecording() {
		span.End()
		return
	}
	at := trace.WithTimestamp(x.Now())
	if err != nil {
		span.SetStatus(codes.Error, short(err.Error()))
	}
	span.End(at)
}

// event notes on a span that something happened.
func (x *execution) event(span trace.Span, name string, attrs ...attribute.KeyValue) {
	if span != nil && span.IsRecording() {
		span.AddEvent(name, trace.WithTimestamp(x.Now()), trace.WithAttributes(attrs...))
	}
}

// tell tells an event to who watches, and notes on the attempt's span those that change its course.
func (x *execution) tell(ev Event) {
	switch ev.Kind {
	case EventAnew, EventVoided, EventBrake, EventStopping:
		x.event(x.attemptSpan, string(ev.Kind), attrStep.String(ev.ID))
	}
	x.Engine.tell(ev)
}

// planSpan begins the span of a step or instance that is asked for its plan. The function that it returns ends it.
func (x *execution) planSpan(ctx context.Context, s *plan.Step) (context.Context, func()) {
	ctx, span := x.span(ctx, "plan step", attrStep.String(s.ID), attrUses.String(s.Uses))
	return ctx, func() {
		span.SetAttributes(attrStatus.String(string(s.Status)))
		var err error
		if s.Status == plan.Failed {
			err = unplannable(s)
		}
		x.end(span, err)
	}
}

// effectSpan makes the span of an effect that is known to have happened, from when it was intended, be it in an attempt that was killed.
// It begins before its parent then.
func (x *execution) effectSpan(ctx context.Context, e Effect) {
	if x.Tracer == nil {
		return
	}
	_, span := x.spanAt(ctx, "effect", e.Intended, attrStep.String(e.Step), attrEffect.String(short(e.Key)), attrTarget.String(short(e.Target.String())))
	span.End(trace.WithTimestamp(e.Done))
}
