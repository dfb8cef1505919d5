package notify

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/plugintest"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// The parts of a URL that must never be seen.
const (
	pathSecret  = "T00AA11-B22CC33-xyzzyplugh"
	querySecret = "q53cr37value"
	password    = "pa55w0rdOfUser"
)

type m = map[string]any

// told is one request that a receiver got.
type told struct {
	Path, Query, ContentType, Authorization string
	Body                                    []byte
	Request                                 *http.Request
}

// receiver is a webhook over TLS whose certificate a CA of the test signed.
type receiver struct {
	*httptest.Server
	ca string

	mu   sync.Mutex
	told []told
}

// newReceiver answers as reply says, which gets the number of the request, from 1. Nil is 204.
func newReceiver(t *testing.T, reply func(w http.ResponseWriter, r *http.Request, n int)) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Errorf("read request: %v", err)
		}
		r.mu.Lock()
		r.told = append(r.told, told{
			Path: req.URL.Path, Query: req.URL.RawQuery, ContentType: req.Header.Get("Content-Type"),
			Authorization: req.Header.Get("Authorization"), Body: body, Request: req.Clone(context.Background()),
		})
		n := len(r.told)
		r.mu.Unlock()
		if reply == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		reply(w, req, n)
	}))
	r.StartTLS()
	t.Cleanup(r.Close)
	r.ca = filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw})
	if err := os.WriteFile(r.ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *receiver) all() []told {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]told(nil), r.told...)
}

// secretURL is the receiver's, with a secret in each part.
func (r *receiver) secretURL(t *testing.T) string {
	t.Helper()
	u, err := url.Parse(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("hookuser", password)
	u.Path = "/services/" + pathSecret
	u.RawQuery = "key=" + querySecret
	return u.String()
}

func (r *receiver) input(t *testing.T, extra m) m {
	t.Helper()
	in := m{"text": "dev1 trusts the registry", "urlFile": file(t, r.secretURL(t)+"\n", 0o600), "ca": r.ca}
	for k, v := range extra {
		in[k] = v
	}
	return in
}

func file(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func encoded(t *testing.T, v any) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// now is the clock of the tests.
func now() time.Time { return time.Date(2026, 11, 24, 1, 2, 3, 0, time.UTC) }

func newStep() step {
	return step{
		env: sdk.Env{Now: now}, pause: time.Millisecond, patience: time.Minute, lookup: func(string) string { return "" },
		proxy: func(*http.Request) (*url.URL, error) { return nil, nil },
	}
}

// tell plans and applies.
func tell(ctx context.Context, t *testing.T, s plugins.Step, in m, host plugins.Host) (plugins.PlanResponse, plugins.ApplyResponse, error) {
	t.Helper()
	plan, err := s.Plan(t.Context(), plugins.PlanRequest{StepID: "tell", Effect: plugins.Announce, Input: encoded(t, in)})
	if err != nil {
		t.Fatalf("plan: %v", err)
	}
	resp, err := s.Apply(ctx, plugins.ApplyRequest{
		RunID: "01JD", StepID: "tell", Effect: plugins.Announce, Input: encoded(t, in), Changes: plan.Changes,
	}, host)
	return plan, resp, err
}

func TestConformance(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, nil)
	plugintest.Conformance(t, New(sdk.Env{}), plugintest.Cases{
		Told: func() int { return len(r.all()) },
		Samples: map[string]plugintest.Sample{
			"CloudEvent": {Reason: "a CloudEvent", Input: encoded(t, r.input(t, m{"subject": "dev1", "data": m{"a": 1}}))},
			"Slack":      {Reason: "a chat", Input: encoded(t, r.input(t, m{"format": "slack"}))},
		},
	})
}

func TestCloudEvent(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, nil)
	in := r.input(t, m{"subject": "team-a/dev1", "data": m{"big": json.Number("12345678901234567890")}, "headersFile": file(t, "X-Other: a\n\nauthorization: Bearer s3cr3t\n", 0o600)})
	host := &plugintest.Host{}
	plan, resp, err := tell(t.Context(), t, plugintest.Connect(t, newStep()), in, host)
	if err != nil {
		t.Fatal(err)
	}
	got := r.all()
	if len(got) != 1 || got[0].Path != "/services/"+pathSecret || got[0].Query != "key="+querySecret || got[0].Authorization != "Bearer s3cr3t" {
		t.Fatalf("told %+v", got)
	}
	// The CloudEvents SDK reads it as any receiver would.
	req := got[0].Request
	req.Body = io.NopCloser(strings.NewReader(string(got[0].Body)))
	e, err := cehttp.NewEventFromHTTPRequest(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Validate(); err != nil {
		t.Errorf("no valid CloudEvent: %v", err)
	}
	type event struct{ ID, Source, Type, Subject, ContentType, Data string }
	want := event{
		ID: "01JD/tell", Source: "urn:tkgfix:run:01JD", Type: "dev.tkgfix.notification", Subject: "team-a/dev1",
		ContentType: "application/json", Data: `{"text":"dev1 trusts the registry","data":{"big":12345678901234567890}}`,
	}
	if diff := cmp.Diff(want, event{e.ID(), e.Source(), e.Type(), e.Subject(), e.DataContentType(), string(e.Data())}); diff != "" {
		t.Errorf("event (-want, +got):\n%s", diff)
	}
	if !e.Time().Equal(now()) {
		t.Errorf("time %s", e.Time())
	}
	if diff := cmp.Diff(`{"id":"01JD/tell","to":"`+r.URL+`","delivered":true}`, string(resp.Outputs)); diff != "" {
		t.Errorf("outputs (-want, +got):\n%s", diff)
	}
	c := plan.Changes[0]
	if c.Action != plugins.Create || c.Target != (plugins.Target{Kind: "Notification", Name: strings.TrimPrefix(r.URL, "https://")}) ||
		!strings.Contains(string(c.After), `"text":"dev1 trusts the registry"`) {
		t.Errorf("change %+v, %s", c, c.After)
	}
}

func TestSlack(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request, _ int) { _, _ = io.WriteString(w, "ok") })
	if _, _, err := tell(t.Context(), t, newStep(), r.input(t, m{"format": "slack"}), &plugintest.Host{}); err != nil {
		t.Fatal(err)
	}
	got := r.all()
	if len(got) != 1 || got[0].ContentType != "application/json" || string(got[0].Body) != `{"text":"dev1 trusts the registry"}` {
		t.Errorf("told %+v", got)
	}
}

func TestDelivery(t *testing.T) {
	t.Parallel()
	status := func(codes ...int) func(http.ResponseWriter, *http.Request, int) {
		return func(w http.ResponseWriter, _ *http.Request, n int) { w.WriteHeader(codes[min(n, len(codes))-1]) }
	}
	type want struct {
		Told  int
		Text  string
		Err   bool
		State plugins.EffectState
	}
	cases := map[string]struct {
		reason string
		reply  func(http.ResponseWriter, *http.Request, int)
		extra  m
		want   want
	}{
		"Recovers":   {reason: "what passes is waited for", reply: status(503, 503, 200), want: want{Told: 3, Text: "delivered: 200 OK (3 attempts)", State: plugins.EffectDone}},
		"Busy":       {reason: "a receiver may ask for time", reply: status(429, 202), want: want{Told: 2, Text: "delivered: 202 Accepted (2 attempts)", State: plugins.EffectDone}},
		"Down":       {reason: "five attempts, and the step ends well", reply: status(500), want: want{Told: 5, Text: "not delivered: the receiver answers 500 Internal Server Error (5 attempts)", State: plugins.EffectDone}},
		"Required":   {reason: "the same, and the step fails", reply: status(500), extra: m{"required": true}, want: want{Told: 5, Err: true, State: plugins.EffectIntended}},
		"Forbidden":  {reason: "what is refused for good is not asked again", reply: status(403), want: want{Told: 1, Text: "not delivered: the receiver answers 403 Forbidden", State: plugins.EffectDone}},
		"Words":      {reason: "what the receiver says is shown", reply: func(w http.ResponseWriter, _ *http.Request, _ int) { http.Error(w, "invalid_payload\x1b[31m", 400) }, want: want{Told: 1, Text: "not delivered: the receiver answers 400 Bad Request: invalid_payload\uFFFD[31m", State: plugins.EffectDone}},
		"SameHost":   {reason: "a redirect within the host keeps the message", reply: func(w http.ResponseWriter, r *http.Request, n int) { redirect(w, r, n, "/there", 307) }, want: want{Told: 2, Text: "delivered: 200 OK", State: plugins.EffectDone}},
		"LosesBody":  {reason: "a redirect that would drop the message is no delivery", reply: func(w http.ResponseWriter, r *http.Request, n int) { redirect(w, r, n, "/there", 302) }, want: want{Told: 1, Text: "not delivered: the receiver answers 302 Found, a redirect that is not followed: it leads to https://HOST", State: plugins.EffectDone}},
		"OtherHost":  {reason: "a secret URL's body goes to no other host", reply: func(w http.ResponseWriter, r *http.Request, n int) { redirect(w, r, n, "https://evil.example/x", 307) }, want: want{Told: 1, Text: "not delivered: the receiver answers 307 Temporary Redirect, a redirect that is not followed: it leads to https://evil.example", State: plugins.EffectDone}},
		"NoTLS":      {reason: "nor without TLS", reply: func(w http.ResponseWriter, r *http.Request, n int) { redirect(w, r, n, "http://"+r.Host+"/", 308) }, want: want{Told: 1, State: plugins.EffectDone, Text: "not delivered: the receiver answers 308 Permanent Redirect, a redirect that is not followed: it leads to http://HOST"}},
		"Untrusted":  {reason: "TLS is always verified", extra: m{"ca": ""}, want: want{Text: "not delivered: tls: failed to verify certificate: x509: certificate signed by unknown authority; if a CA of your own signed it, give that as ca", State: plugins.EffectDone}},
		"GoesInLoop": {reason: "redirects end", reply: func(w http.ResponseWriter, r *http.Request, _ int) { http.Redirect(w, r, "/again", 307) }, want: want{Told: 4, Text: "not delivered: the receiver answers 307 Temporary Redirect, a redirect that is not followed: it leads to https://HOST", State: plugins.EffectDone}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReceiver(t, tc.reply)
			host := &plugintest.Host{}
			_, resp, err := tell(t.Context(), t, newStep(), r.input(t, tc.extra), host)
			got := want{Told: len(r.all()), Err: err != nil, State: host.State(effectKey)}
			for _, e := range resp.Evidence {
				got.Text = strings.ReplaceAll(e.Text, strings.TrimPrefix(r.URL, "https://"), "HOST")
				if delivered := strings.HasPrefix(e.Text, "delivered"); delivered != (e.Verdict == plugins.OK) {
					t.Errorf("%s has the verdict %s", e.Text, e.Verdict)
				}
				if resp.Summary != r.URL+": "+e.Text {
					t.Errorf("summary %q", resp.Summary)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: %v (-want, +got):\n%s", tc.reason, err, diff)
			}
			if tc.want.Err && !strings.Contains(plugins.HintOf(err), "resume") {
				t.Errorf("hint %q", plugins.HintOf(err))
			}
		})
	}
}

func redirect(w http.ResponseWriter, r *http.Request, n int, to string, code int) {
	if n == 1 {
		http.Redirect(w, r, to, code)
		return
	}
	w.WriteHeader(http.StatusOK)
}

// TestUnreachable has nobody listen.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, nil)
	in := r.input(t, nil)
	r.Close()
	_, resp, err := tell(t.Context(), t, newStep(), in, &plugintest.Host{})
	if err != nil || !strings.Contains(resp.Summary, "connection refused (5 attempts)") {
		t.Errorf("%q, %v", resp.Summary, err)
	}
}

// TestSlow has a receiver that never answers.
func TestSlow(t *testing.T) {
	t.Parallel()
	hang := func(_ http.ResponseWriter, r *http.Request, _ int) {
		<-r.Context().Done()
		// A handler that returns answers 200, which can still reach a client that is hanging up.
		panic(http.ErrAbortHandler)
	}
	t.Run("Patience", func(t *testing.T) {
		t.Parallel()
		r := newReceiver(t, hang)
		s := newStep()
		s.patience = 200 * time.Millisecond
		_, resp, err := tell(t.Context(), t, s, r.input(t, nil), &plugintest.Host{})
		if err != nil || !strings.HasSuffix(resp.Summary, "not delivered: no answer in time") {
			t.Errorf("%q, %v", resp.Summary, err)
		}
	})
	t.Run("Cancelled", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		r := newReceiver(t, func(w http.ResponseWriter, req *http.Request, n int) { cancel(); hang(w, req, n) })
		host := &plugintest.Host{}
		in := r.input(t, nil)
		if _, _, err := tell(ctx, t, newStep(), in, host); !errors.Is(err, context.Canceled) || host.State(effectKey) != plugins.EffectIntended {
			t.Errorf("%v, journal %s", err, host.State(effectKey))
		}
	})
}

// TestSentAgain is what a crash between sending and noting leads to: the same event, which a receiver can drop.
func TestSentAgain(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, nil)
	in := r.input(t, nil)
	lost := &plugintest.Host{Before: func(c plugintest.Call) error {
		if c.Method == plugintest.MethodDone {
			return errors.New("killed")
		}
		return nil
	}}
	if _, _, err := tell(t.Context(), t, newStep(), in, lost); err == nil {
		t.Fatal("the end was journalled")
	}
	lost.Before = nil
	for range 2 { // the second finds it done
		if _, _, err := tell(t.Context(), t, newStep(), in, lost); err != nil {
			t.Fatal(err)
		}
	}
	got := r.all()
	if len(got) != 2 || string(got[0].Body) != string(got[1].Body) {
		t.Errorf("told %d times: %+v", len(got), got)
	}
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		in     m
		want   string
		hint   string
	}{
		"NoText":     {reason: "nothing to tell", in: m{"text": "", "url": "https://h/"}, want: `"text" is empty`},
		"LongText":   {reason: "too much", in: m{"text": strings.Repeat("x", 16<<10+1), "url": "https://h/"}, want: "16384 at most"},
		"NoURL":      {reason: "nobody to tell", in: m{"text": "t"}, want: "exactly one of url and urlFile", hint: "0600"},
		"TwoURLs":    {reason: "two", in: m{"text": "t", "url": "https://h/", "urlFile": "/f"}, want: "exactly one of url and urlFile"},
		"Format":     {reason: "a format that is none", in: m{"text": "t", "url": "https://h/", "format": "xml"}, want: "cloudevents or slack"},
		"SlackData":  {reason: "slack takes text", in: m{"text": "t", "url": "https://h/", "format": "slack", "data": m{}}, want: "text alone"},
		"Plain":      {reason: "http to another machine", in: m{"text": "t", "url": "http://hooks.example/" + pathSecret}, want: "http://hooks.example: without TLS", hint: "https"},
		"Scheme":     {reason: "another scheme", in: m{"text": "t", "url": "file:///etc/passwd"}, want: "is not a URL such as"},
		"Odd":        {reason: "no URL at all", in: m{"text": "t", "url": "https://h/%zz" + pathSecret}, want: "is not a URL such as"},
		"Open":       {reason: "a secret that all may read", in: m{"text": "t", "urlFile": file(t, "https://h/"+pathSecret, 0o644)}, want: "may be read by others (mode 0644)", hint: "chmod 600"},
		"Missing":    {reason: "no file", in: m{"text": "t", "urlFile": "/no/such"}, want: "no such file"},
		"HeaderOpen": {reason: "headers that all may read", in: m{"text": "t", "url": "https://h/", "headersFile": file(t, "A: "+pathSecret, 0o640)}, want: "may be read by others (mode 0640)"},
		"HeaderLine": {reason: "a line that is no header", in: m{"text": "t", "url": "https://h/", "headersFile": file(t, "A: b\n"+pathSecret, 0o600)}, want: "line 2 of"},
		"HeaderOurs": {reason: "a header that is ours", in: m{"text": "t", "url": "https://h/", "headersFile": file(t, "Content-Type: "+pathSecret, 0o600)}, want: "Content-Type is set by notify"},
		"NoCA":       {reason: "no CA", in: m{"text": "t", "url": "https://h/", "ca": file(t, "x", 0o600)}, want: "CA file"},
		"DataNoList": {reason: "details that are none", in: m{"text": "t", "url": "https://h/", "data": []int{1}}, want: `"data" must be an object`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := newStep().Plan(t.Context(), plugins.PlanRequest{Effect: plugins.Announce, Input: encoded(t, tc.in)})
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(plugins.HintOf(err), tc.hint) {
				t.Fatalf("%s: want %q with hint %q, got %v with %q", tc.reason, tc.want, tc.hint, err, plugins.HintOf(err))
			}
			if strings.Contains(err.Error()+plugins.HintOf(err), pathSecret) {
				t.Errorf("%s: the secret is seen: %v", tc.reason, err)
			}
		})
	}
}

// TestPlanIsForTheSameReceiver changes the URL between plan and apply.
func TestPlanIsForTheSameReceiver(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, nil)
	in := r.input(t, nil)
	plan, err := newStep().Plan(t.Context(), plugins.PlanRequest{Input: encoded(t, in)})
	if err != nil {
		t.Fatal(err)
	}
	in["urlFile"] = file(t, "https://other.example/"+pathSecret, 0o600)
	_, err = newStep().Apply(t.Context(), plugins.ApplyRequest{Input: encoded(t, in), Changes: plan.Changes}, &plugintest.Host{})
	if plugins.KindOf(err) != plugins.KindConflict || len(r.all()) != 0 {
		t.Errorf("told %d times, %v", len(r.all()), err)
	}
}
