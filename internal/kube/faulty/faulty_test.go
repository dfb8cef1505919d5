package faulty_test

import (
	"bufio"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"

	"github.com/tkgfix/tkgfix/internal/kube/faulty"
)

// proxied returns a proxy in front of handler and a client of the proxy.
func proxied(t *testing.T, handler http.HandlerFunc, faults faulty.Faults) (*faulty.Proxy, *http.Client) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	upstream := &rest.Config{Host: server.URL}
	upstream.CAData = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	p, err := faulty.New(upstream, faults)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	c, err := rest.HTTPClientFor(p.Config())
	if err != nil {
		t.Fatal(err)
	}
	return p, c
}

func TestFaults(t *testing.T) {
	t.Parallel()
	type seen struct {
		Code  int // 0 if there was no answer
		Later string
		Done  int64 // how often the request was carried out
	}
	for fault, tc := range map[faulty.Fault]struct {
		reason string
		method string
		want   seen
	}{
		faulty.None:        {"most requests are answered", http.MethodPost, seen{Code: 201, Done: 1}},
		faulty.Busy:        {"a busy server does nothing", http.MethodPost, seen{Code: 429}},
		faulty.BusyLater:   {"it may say when to come again", http.MethodPost, seen{Code: 429, Later: "0"}},
		faulty.Internal:    {"a server that fails may do nothing", http.MethodPost, seen{Code: 500}},
		faulty.Unavailable: {"where there is no server nothing is done", http.MethodPost, seen{Code: 503}},
		faulty.Timeout:     {"what timed out may not have been done", http.MethodPost, seen{Code: 504}},
		faulty.Conflict:    {"a write may conflict", http.MethodPut, seen{Code: 409}},
		faulty.Reset:       {"what did not arrive is not done", http.MethodPost, seen{}},
		faulty.ResetAll:    {"nor is it on a connection that was reset", http.MethodPost, seen{}},
		faulty.ResetDone:   {"what did arrive is done, although nobody is told", http.MethodPost, seen{Done: 1}},
		faulty.TimeoutDone: {"so it is if the answer came too late", http.MethodPost, seen{Code: 504, Done: 1}},
		faulty.LaterDone:   {"or if it is asked for again", http.MethodPost, seen{Code: 503, Later: "0", Done: 1}},
	} {
		t.Run(string(fault)+"fault", func(t *testing.T) {
			t.Parallel()
			var done atomic.Int64
			p, c := proxied(t, func(w http.ResponseWriter, _ *http.Request) {
				done.Add(1)
				w.WriteHeader(http.StatusCreated)
			}, func(*http.Request) faulty.Fault { return fault })
			req, err := http.NewRequestWithContext(t.Context(), tc.method, p.Config().Host+"/apis", strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			var got seen
			if resp, err := c.Do(req); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body) // what counts is whether there is an answer
				resp.Body.Close()
				got.Code, got.Later = resp.StatusCode, resp.Header.Get("Retry-After")
			}
			got.Done = done.Load()
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
			if n := p.Counts()[fault]; n < 1 {
				t.Errorf("%s: it is counted %d times", tc.reason, n)
			}
		})
	}
}

// TestDropWatch has a watch end, in the middle of a line or not, after it has told something.
func TestDropWatch(t *testing.T) {
	t.Parallel()
	p, c := proxied(t, func(w http.ResponseWriter, r *http.Request) {
		for i := 0; r.Context().Err() == nil; i++ {
			if _, err := fmt.Fprintf(w, "event %d\n", i); err != nil {
				return
			}
			w.(http.Flusher).Flush()
		}
	}, func(*http.Request) faulty.Fault { return faulty.ResetDone })
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.Config().Host+"/apis?watch=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines, n := bufio.NewScanner(resp.Body), 0
	for lines.Scan() {
		n++
	}
	if n == 0 || lines.Err() == nil {
		t.Errorf("a watch that was dropped told %d events and ended with %v", n, lines.Err())
	}
}

// TestSeeded holds that the same seed deals the same, in whatever order requests to different objects come, and another seed does not.
func TestSeeded(t *testing.T) {
	t.Parallel()
	deal := func(f faulty.Faults, paths ...string) map[string][]faulty.Fault {
		out := map[string][]faulty.Fault{}
		for range 200 {
			for _, path := range paths {
				out[path] = append(out[path], f(httptest.NewRequest(http.MethodGet, path, nil)))
			}
		}
		return out
	}
	first := deal(faulty.Seeded(7, 30), "/a", "/b")
	if diff := cmp.Diff(first, deal(faulty.Seeded(7, 30), "/b", "/a")); diff != "" {
		t.Errorf("the same seed (-first, +second):\n%s", diff)
	}
	if cmp.Equal(first, deal(faulty.Seeded(8, 30), "/a", "/b")) {
		t.Error("another seed deals the same")
	}
	failed := 0
	for _, f := range first["/a"] {
		if f != faulty.None {
			failed++
		}
	}
	if failed < 30 || failed > 90 {
		t.Errorf("%d of 200 requests failed, want about 60", failed)
	}
}
