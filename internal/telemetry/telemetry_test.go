package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/trace"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// The environment is the process's: these tests do not run in parallel.

// told collects what is told.
type told struct {
	mu    sync.Mutex
	lines []string
}

func (l *told) tell(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, err.Error())
}

func (l *told) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines
}

func TestOnlyWhenAskedFor(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		env    map[string]string
		traces bool
		says   string
	}{
		"Nothing":     {"nothing is asked for", nil, false, ""},
		"Endpoint":    {"a collector is named", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, true, ""},
		"Traces":      {"one for traces is named", map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/v1/traces"}, true, ""},
		"Metrics":     {"one for something else is named", map[string]string{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://127.0.0.1:1"}, false, ""},
		"Exporter":    {"the usual collector is asked for", map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, true, ""},
		"None":        {"none is asked for", map[string]string{"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, false, ""},
		"Disabled":    {"all of it is switched off", map[string]string{"OTEL_SDK_DISABLED": "True", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, false, ""},
		"Console":     {"standard output is for results", map[string]string{"OTEL_TRACES_EXPORTER": "console"}, false, "say otlp or none"},
		"Protocol":    {"JSON is not spoken", map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, false, "say http/protobuf or grpc"},
		"GRPC":        {"gRPC is", map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"}, true, ""},
		"Certificate": {"a CA that is not there is told", map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_CERTIFICATE": "/none"}, true, "read tls ca cert file"},
		"Resource":    {"attributes that are none are told, not printed", map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_RESOURCE_ATTRIBUTES": "hunter2"}, true, "OTEL_RESOURCE_ATTRIBUTES"},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range tc.env {
				t.Setenv(k, v)
			}
			var l told
			tracing := Start(t.Context(), "test", l.tell)
			defer tracing.Stop(t.Context())
			if got := tracing.Tracer() != nil; got != tc.traces {
				t.Errorf("%s: traces %t", tc.reason, got)
			}
			said := strings.Join(l.all(), "\n")
			if !strings.Contains(said, tc.says) || tc.says == "" && said != "" || strings.Contains(said, "hunter2") {
				t.Errorf("%s: says %q", tc.reason, said)
			}
		})
	}
}

// collect serves OTLP over HTTP with answer, and returns the names of the spans that it was given.
func collect(t *testing.T, answer func(http.ResponseWriter)) *told {
	t.Helper()
	var names told
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var req coltracepb.ExportTraceServiceRequest
		if err = errors.Join(err, proto.Unmarshal(body, &req)); err != nil {
			t.Errorf("read what is exported: %v", err)
		}
		for _, name := range spans(&req) {
			names.tell(errors.New(name))
		}
		answer(w)
	}))
	t.Cleanup(server.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	return &names
}

// spans returns service and name of the spans.
func spans(req *coltracepb.ExportTraceServiceRequest) (out []string) {
	for _, rs := range req.GetResourceSpans() {
		service := ""
		for _, a := range rs.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = a.GetValue().GetStringValue()
			}
		}
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				out = append(out, service+" "+s.GetName())
			}
		}
	}
	return out
}

func TestExport(t *testing.T) {
	names := collect(t, func(http.ResponseWriter) {})
	var l told
	tracing := Start(t.Context(), "test", l.tell)
	_, span := tracing.Tracer().Start(t.Context(), "one")
	span.End()
	tracing.Stop(t.Context())
	if diff := cmp.Diff([]string{"tkgfix one"}, names.all()); diff != "" || len(l.all()) > 0 {
		t.Errorf("told %q; spans (-want, +got):\n%s", l.all(), diff)
	}
}

type grpcCollector struct {
	coltracepb.UnimplementedTraceServiceServer
	names told
}

// Export implements the collector.
func (c *grpcCollector) Export(_ context.Context, req *coltracepb.ExportTraceServiceRequest) (*coltracepb.ExportTraceServiceResponse, error) {
	for _, name := range spans(req) {
		c.names.tell(errors.New(name))
	}
	return &coltracepb.ExportTraceServiceResponse{}, nil
}

func TestExportByGRPC(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &grpcCollector{}
	server := grpc.NewServer()
	coltracepb.RegisterTraceServiceServer(server, c)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	defer func() { server.Stop(); <-done }()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+listener.Addr().String())
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	t.Setenv("OTEL_SERVICE_NAME", "desk")
	var l told
	tracing := Start(t.Context(), "test", l.tell)
	_, span := tracing.Tracer().Start(t.Context(), "one")
	span.End()
	tracing.Stop(t.Context())
	if diff := cmp.Diff([]string{"desk one"}, c.names.all()); diff != "" || len(l.all()) > 0 {
		t.Errorf("told %q; spans (-want, +got):\n%s", l.all(), diff)
	}
}

// TestLossIsToldOnce has a collector refuse, refuse again and then take what comes.
func TestLossIsToldOnce(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hunter2")
	n := 0
	collect(t, func(w http.ResponseWriter) {
		if n++; n < 3 {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, strings.Repeat("no ", 1<<18))
		}
	})
	var l told
	tracing := Start(t.Context(), "test", l.tell)
	for i := range 4 {
		_, span := tracing.Tracer().Start(t.Context(), fmt.Sprint(i), trace.WithNewRoot())
		span.End()
		if err := tracing.provider.ForceFlush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	tracing.Stop(t.Context())
	said := l.all()
	if len(said) != 2 || !strings.HasPrefix(said[0], "export spans: ") || len(said[0]) > 2*maxSaid || said[1] != "spans are exported again; lost: 2" {
		t.Errorf("told %q", said)
	}
	if strings.Contains(strings.Join(said, ""), "hunter2") {
		t.Errorf("told the collector's credential: %q", said)
	}
}

// TestStopIsBounded has a collector that takes connections and never answers.
func TestStopIsBounded(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	taken := make(chan net.Conn, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			taken <- conn
		}
	}()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+listener.Addr().String())
	var l told
	tracing := Start(t.Context(), "test", l.tell)
	_, span := tracing.Tracer().Start(t.Context(), "one")
	span.End()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		conn := <-taken // the exporter waits for its answer now
		cancel()
		<-t.Context().Done()
		conn.Close()
	}()
	tracing.Stop(ctx)
	if said := l.all(); len(said) == 0 || !strings.Contains(strings.Join(said, " "), "send the last spans: context canceled") {
		t.Errorf("told %q", said)
	}
}

// TestCredentialIsNotPrinted gives the exporter headers that it cannot read, of which the SDK would print the content.
func TestCredentialIsNotPrinted(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hunter2%zz,hunter2")
	var l told
	Start(t.Context(), "test", l.tell).Stop(t.Context())
	said := strings.Join(l.all(), "\n")
	if !strings.Contains(said, "read the OTEL_* environment: escape header value") || strings.Contains(said, "hunter2") {
		t.Errorf("told %q", said)
	}
}
