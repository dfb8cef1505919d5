package main

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// otlp is a collector of OpenTelemetry's, over HTTP.
type otlp struct {
	mu    sync.Mutex
	more  *sync.Cond
	spans []*tracepb.Span
	raw   bytes.Buffer
	auth  string
}

// collector start sets $COLLECTOR to the URL of a collector; collector wait NAME N waits for N spans of that name; collector tree prints
// the spans of its one trace; collector never TEXT fails if TEXT was in anything sent; collector auth TEXT wants that header on all.
func collector(ts *testscript.TestScript, _ bool, args []string) {
	if args[0] == "start" {
		c := &otlp{}
		c.more = sync.NewCond(&c.mu)
		server := httptest.NewServer(c)
		ts.Defer(server.Close)
		ts.Setenv("COLLECTOR", server.URL)
		collectors.Store(server.URL, c)
		return
	}
	found, _ := collectors.Load(ts.Getenv("COLLECTOR"))
	c := found.(*otlp)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch args[0] {
	case "wait":
		n, err := strconv.Atoi(args[2])
		ts.Check(err)
		// The SDK tries again for a minute before it gives up.
		expired := false
		defer time.AfterFunc(2*time.Minute, func() { c.mu.Lock(); expired = true; c.mu.Unlock(); c.more.Broadcast() }).Stop()
		for c.count(args[1]) < n && !expired {
			c.more.Wait()
		}
		if expired {
			ts.Fatalf("%d of %d spans %q came", c.count(args[1]), n, args[1])
		}
	case "tree":
		tree, err := c.tree()
		ts.Check(err)
		_, err = io.WriteString(ts.Stdout(), tree)
		ts.Check(err)
	case "never":
		if bytes.Contains(c.raw.Bytes(), []byte(args[1])) {
			ts.Fatalf("%s was sent", args[1])
		}
	case "auth":
		if c.auth != args[1] {
			ts.Fatalf("the authorization was %q", c.auth)
		}
	default:
		ts.Fatalf("collector %s: no such thing", args[0])
	}
}

// collectors are those of all scripts, by URL: a script's values are set before it begins.
var collectors sync.Map

// ServeHTTP takes what an exporter sends.
func (c *otlp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var req coltracepb.ExportTraceServiceRequest
	if err := errors.Join(err, proto.Unmarshal(body, &req)); err != nil || r.URL.Path != "/v1/traces" {
		http.Error(w, "no spans", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.auth = r.Header.Get("Authorization")
	c.raw.Write(body)
	for _, rs := range req.GetResourceSpans() {
		for _, ss := range rs.GetScopeSpans() {
			c.spans = append(c.spans, ss.GetSpans()...)
		}
	}
	c.more.Broadcast()
}

// count returns how many spans of a name were sent. c.mu is held.
func (c *otlp) count(name string) (n int) {
	for _, s := range c.spans {
		if s.GetName() == name {
			n++
		}
	}
	return n
}

// tree draws the one trace: each span under its parent, in the order in which they began.
func (c *otlp) tree() (string, error) {
	spans := slices.Clone(c.spans)
	slices.SortStableFunc(spans, func(a, b *tracepb.Span) int { return cmp.Compare(a.GetStartTimeUnixNano(), b.GetStartTimeUnixNano()) })
	var out strings.Builder
	drawn := 0
	var under func(parent []byte, depth string)
	under = func(parent []byte, depth string) {
		for _, s := range spans {
			if !bytes.Equal(s.GetParentSpanId(), parent) || !bytes.Equal(s.GetTraceId(), spans[0].GetTraceId()) {
				continue
			}
			drawn++
			fmt.Fprintf(&out, "%s%s%s\n", depth, s.GetName(), words(s))
			under(s.GetSpanId(), depth+"  ")
		}
	}
	under(nil, "")
	// What a process that was killed had not ended is not there, and what it had ended under that is.
	var missing [][]byte
	for _, s := range spans {
		known := func(id []byte) bool { return bytes.Equal(id, s.GetParentSpanId()) }
		if len(s.GetParentSpanId()) > 0 && !slices.ContainsFunc(missing, known) &&
			!slices.ContainsFunc(spans, func(p *tracepb.Span) bool { return known(p.GetSpanId()) }) {
			missing = append(missing, s.GetParentSpanId())
		}
	}
	for _, id := range missing {
		out.WriteString("killed\n")
		under(id, "  ")
	}
	if drawn != len(spans) {
		return "", fmt.Errorf("%d of %d spans are in another trace than %s:\n%s", len(spans)-drawn, len(spans), hex.EncodeToString(spans[0].GetTraceId()), &out)
	}
	return out.String(), nil
}

func words(s *tracepb.Span) string {
	out := ""
	for _, key := range []string{"tkgfix.step", "tkgfix.effect", "tkgfix.status", "tkgfix.attempt"} {
		i := slices.IndexFunc(s.GetAttributes(), func(a *commonpb.KeyValue) bool { return a.GetKey() == key })
		if i < 0 || key == "tkgfix.attempt" && s.GetName() != "attempt" {
			continue
		}
		v := s.GetAttributes()[i].GetValue()
		out += " " + cmp.Or(v.GetStringValue(), fmt.Sprint(v.GetIntValue()))
	}
	return out
}
