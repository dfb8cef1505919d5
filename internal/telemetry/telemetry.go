// Package telemetry exports traces by OTLP, if the environment asks for it: the OTEL_* variables of the OpenTelemetry specification, of which
// docs/observability.md names those that count. Without them nothing is set up and nothing is connected to.
//
// Whatever becomes of the traces, a run goes on: what is wrong is told, and no more.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// delay is how long a span waits for others before it is sent, unless the environment says otherwise. It is less than the SDK's five
// seconds: what a process that is killed has not sent is lost.
const delay = time.Second

// Tracing is where the spans of this process go. The zero Tracing, and a nil one, has no tracer.
type Tracing struct {
	provider *sdktrace.TracerProvider
	tell     func(error)
}

// Start sets up what the environment asks for. It does not block. tell is told what is wrong, also later, from any goroutine: when spans
// begin to be lost, and when they are taken again. It is never told a header or the content of a variable.
func Start(ctx context.Context, version string, tell func(error)) *Tracing {
	exporter, err := newExporter(ctx, tell)
	if exporter == nil {
		if err != nil {
			tell(err)
		}
		return &Tracing{}
	}
	described, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "tkgfix"), attribute.String("service.version", version)),
		resource.WithTelemetrySDK(), resource.WithHost(), resource.WithFromEnv())
	if err != nil {
		tell(errors.New("read OTEL_RESOURCE_ATTRIBUTES: not a list of key=value"))
	}
	var batch []sdktrace.BatchSpanProcessorOption
	if os.Getenv("OTEL_BSP_SCHEDULE_DELAY") == "" {
		batch = append(batch, sdktrace.WithBatchTimeout(delay))
	}
	// The queue is bounded, and a span that finds it full is dropped: who makes spans never waits.
	provider := sdktrace.NewTracerProvider(sdktrace.WithResource(described), sdktrace.WithBatcher(&teller{SpanExporter: exporter, tell: tell}, batch...))
	return &Tracing{provider: provider, tell: tell}
}

// Tracer returns what makes spans; nil if the environment asks for none.
func (t *Tracing) Tracer() trace.Tracer {
	if t == nil || t.provider == nil {
		return nil
	}
	return t.provider.Tracer("github.com/tkgfix/tkgfix")
}

// Stop sends the spans that wait to be sent. It blocks until they are taken or ctx ends.
func (t *Tracing) Stop(ctx context.Context) {
	if t == nil || t.provider == nil {
		return
	}
	if err := t.provider.Shutdown(ctx); err != nil {
		t.tell(fmt.Errorf("send the last spans: %w", err))
	}
}

// newExporter returns the exporter that the environment asks for; nil for none.
func newExporter(ctx context.Context, tell func(error)) (sdktrace.SpanExporter, error) {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return nil, nil
	}
	switch name := os.Getenv("OTEL_TRACES_EXPORTER"); {
	case name == "none", name == "" && of("ENDPOINT") == "":
		return nil, nil
	case name != "" && name != "otlp":
		return nil, errors.New("OTEL_TRACES_EXPORTER names an exporter that there is not here: say otlp or none")
	}
	quiet(tell)
	switch protocol := of("PROTOCOL"); protocol {
	case "", "http/protobuf":
		return otlptracehttp.New(ctx)
	case "grpc":
		return otlptracegrpc.New(ctx)
	}
	return nil, errors.New("OTEL_EXPORTER_OTLP_PROTOCOL names a protocol that is not spoken here: say http/protobuf or grpc")
}

// of returns a variable of the exporter: the one for traces alone, else the one for all.
func of(name string) string {
	if v := os.Getenv("OTEL_EXPORTER_OTLP_TRACES_" + name); v != "" {
		return v
	}
	return os.Getenv("OTEL_EXPORTER_OTLP_" + name)
}

// quiet has the SDK tell here what it would write to standard error. It writes what it could not read of the environment with the content,
// which may be the collector's credential: only the message is passed on.
func quiet(tell func(error)) {
	otel.SetLogger(logr.New(messages{tell}))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) { tell(errors.New("not all that the OTEL_* environment asks for can be done")) }))
}

// messages passes the messages of errors on, and nothing else.
type messages struct{ tell func(error) }

var _ logr.LogSink = messages{}

// Init implements logr.LogSink.
func (messages) Init(logr.RuntimeInfo) {}

// Enabled implements logr.LogSink.
func (messages) Enabled(int) bool { return false }

// Info implements logr.LogSink.
func (messages) Info(int, string, ...any) {}

// Error implements logr.LogSink.
func (m messages) Error(_ error, message string, _ ...any) {
	m.tell(fmt.Errorf("read the OTEL_* environment: %s", message))
}

// WithValues implements logr.LogSink.
func (m messages) WithValues(...any) logr.LogSink { return m }

// WithName implements logr.LogSink.
func (m messages) WithName(string) logr.LogSink { return m }

// teller exports, and tells when spans begin to be lost and when they are taken again.
type teller struct {
	sdktrace.SpanExporter
	tell func(error)

	mu   sync.Mutex
	lost int
}

// ExportSpans implements sdktrace.SpanExporter. It returns no error: what is lost is told here.
func (t *teller) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := t.SpanExporter.ExportSpans(ctx, spans)
	t.mu.Lock()
	lost := t.lost
	if t.lost = 0; err != nil {
		t.lost = lost + len(spans)
	}
	t.mu.Unlock()
	switch {
	case err != nil && lost == 0:
		t.tell(fmt.Errorf("export spans: %w", short(err)))
	case err == nil && lost > 0:
		t.tell(fmt.Errorf("spans are exported again; lost: %d", lost))
	}
	return nil
}

// maxSaid bounds what a collector's answer adds to a message, in bytes.
const maxSaid = 300

// short returns an error that says at most the first part of what err says.
func short(err error) error {
	if text := err.Error(); len(text) > maxSaid {
		return errors.New(strings.ToValidUTF8(text[:maxSaid], "") + "…")
	}
	return err
}
