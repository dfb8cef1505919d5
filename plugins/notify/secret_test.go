package notify

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/plugintest"
)

// TestNoSecretIsSeen has receivers and proxies that say back what they were told, and looks for its bytes in plans, answers, errors, hints
// and the journal.
func TestNoSecretIsSeen(t *testing.T) {
	t.Parallel()
	const token, proxyPassword = "t0kenOfHeader", "pa55ofProxy"
	forbidden := []string{"zz@", `"%zz`, pathSecret, pathSecret[:7], querySecret, password, token, proxyPassword}
	echo := func(code int, before string) func(http.ResponseWriter, *http.Request, int) {
		return func(w http.ResponseWriter, r *http.Request, _ int) {
			user, pass, _ := r.BasicAuth()
			w.WriteHeader(code)
			_, _ = fmt.Fprintf(w, "%s%s %s %s %s %s", before, r.URL, user, pass, r.Header.Get("Authorization"), r.Header.Get("X-Token"))
		}
	}
	cases := map[string]struct {
		reason string
		reply  func(http.ResponseWriter, *http.Request, int)
		proxy  string
		extra  m
		down   bool
		want   string
	}{
		"Echo":      {reason: "a receiver that echoes", reply: echo(400, ""), want: "400 Bad Request: "},
		"EchoAgain": {reason: "each time", reply: echo(503, ""), want: "5 attempts"},
		"EchoEdge":  {reason: "over the edge of what is read", reply: echo(400, "\n"+strings.Repeat("\n", 4096-30)), want: "400 Bad Request"},
		"Location": {
			reason: "a redirect that carries it", want: "not followed",
			reply: func(w http.ResponseWriter, r *http.Request, _ int) {
				w.Header().Set("Location", "https://"+token+".example"+r.URL.String())
				w.WriteHeader(http.StatusTemporaryRedirect)
			},
		},
		"BadLocation": {
			reason: "a redirect that cannot be read", want: "not delivered",
			reply: func(w http.ResponseWriter, r *http.Request, _ int) {
				w.Header().Set("Location", "https://[::1"+r.URL.String())
				w.WriteHeader(http.StatusTemporaryRedirect)
			},
		},
		"Down":     {reason: "nobody listens", down: true, want: "connection refused"},
		"NoTrust":  {reason: "TLS that fails", extra: m{"ca": ""}, want: "unknown authority"},
		"Hangs up": {reason: "a connection that breaks", reply: func(http.ResponseWriter, *http.Request, int) { panic(http.ErrAbortHandler) }, want: "EOF"},
		"Proxy":    {reason: "a proxy that is not there", proxy: "http://me:" + proxyPassword + "@127.0.0.1:1", want: "proxyconnect"},
		"BadProxy": {reason: "a proxy that is no URL", proxy: "http://me:" + proxyPassword + "%zz@127.0.0.1:x", want: "is no URL"},
		"Required": {reason: "an error instead of evidence", reply: echo(401, ""), extra: m{"required": true}, want: "401 Unauthorized"},
		"Taken":    {reason: "a receiver that takes it", want: "delivered: 204 No Content"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReceiver(t, tc.reply)
			extra := m{"headersFile": file(t, "X-Token: Token "+token, 0o600)}
			for k, v := range tc.extra {
				extra[k] = v
			}
			in := r.input(t, extra)
			if tc.down {
				r.Close()
			}
			s := newStep()
			if tc.proxy != "" {
				s.lookup = func(name string) string {
					if name == "HTTPS_PROXY" {
						return tc.proxy
					}
					return ""
				}
				s.proxy = func(*http.Request) (*url.URL, error) { return url.Parse(tc.proxy) }
			}
			host := &plugintest.Host{}
			plan, resp, err := tell(t.Context(), t, plugintest.Connect(t, s), in, host)
			var seen bytes.Buffer
			for _, v := range []any{plan, resp, host.Calls()} {
				if e := json.NewEncoder(&seen).Encode(v); e != nil {
					t.Fatal(e)
				}
			}
			if err != nil {
				seen.WriteString(err.Error() + "\n" + plugins.HintOf(err))
			}
			if !strings.Contains(seen.String(), tc.want) {
				t.Errorf("%s: %q is not in\n%s", tc.reason, tc.want, &seen)
			}
			for _, f := range forbidden {
				if bytes.Contains(seen.Bytes(), []byte(f)) {
					t.Errorf("%s: %s is seen in\n%s", tc.reason, f, &seen)
				}
			}
		})
	}
}

// TestThisMachineWithoutTLS is the one place to which plain http may go.
func TestThisMachineWithoutTLS(t *testing.T) {
	t.Parallel()
	to, err := endpointOf(input{URL: "http://localhost:1/x"})
	if err != nil {
		t.Fatal(err)
	}
	refuse := localOnly(to)
	for address, ok := range map[string]bool{"127.0.0.1:80": true, "[::1]:80": true, "[::ffff:127.0.0.1]:80": true, "10.0.0.1:80": false, "nonsense": false} {
		if err := refuse(t.Context(), "tcp", address, nil); (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
	}
	for host, ok := range map[string]bool{"127.0.0.1": true, "[::1]": true, "127.9.9.9": true, "localhost": true, "localhost.evil.example": false, "0.0.0.0": false, "10.0.0.1": false} {
		if _, err := endpointOf(input{URL: "http://" + host + "/x"}); (err == nil) != ok {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	const date = "Tue, 24 Nov 2026 01:00:00 GMT"
	for value, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-7": 0, "86400": 30 * time.Second, "99999999999999999999": 0, "soon": 0,
		"Tue, 24 Nov 2026 01:00:09 GMT": 9 * time.Second, "Tue, 24 Nov 2026 00:00:00 GMT": 0, "Wed, 24 Nov 2027 01:00:00 GMT": 30 * time.Second,
	} {
		if got := retryAfter(value, date); got != want {
			t.Errorf("%q: want %s, got %s", value, want, got)
		}
	}
	if got := retryAfter("Tue, 24 Nov 2026 01:00:09 GMT", ""); got != 0 {
		t.Errorf("a date without the receiver's clock: %s", got)
	}
}

// TestWaitsAsAsked has a receiver that asks for a second.
func TestWaitsAsAsked(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request, n int) {
		if n == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		_, _ = io.WriteString(w, "ok")
	})
	start := time.Now()
	if _, resp, err := tell(t.Context(), t, newStep(), r.input(t, nil), &plugintest.Host{}); err != nil || !strings.Contains(resp.Summary, "delivered: 200 OK (2") {
		t.Errorf("%q, %v", resp.Summary, err)
	}
	if waited := time.Since(start); waited < time.Second {
		t.Errorf("waited only %s", waited)
	}
}

// FuzzEndpoint reads any URL. What is shown of it is no more than scheme and host, whatever is accepted or refused.
func FuzzEndpoint(f *testing.F) {
	f.Add("https://u:p@hooks.example:8443/services/T0/B0/x?key=v#frag")
	f.Add("http://[::1]:80/x")
	f.Add("https://h/%zz")
	f.Add("https:opaque")
	f.Fuzz(func(t *testing.T, text string) {
		to, err := endpointOf(input{URL: text})
		if err == nil && to.url.Scheme != "https" && !loopback(to.url.Hostname()) {
			t.Errorf("%q is without TLS", text)
		}
		if strings.ContainsAny(to.shown, "@?#\n ") || strings.Count(to.shown, "/") > 2 {
			t.Errorf("of %q is shown %q", text, to.shown)
		}
		const secret = "xyzzyplugh"
		to, err = endpointOf(input{URL: text + secret})
		if err != nil && strings.Contains(err.Error(), secret) && !strings.Contains(to.shown, secret) {
			t.Errorf("the error holds it all: %v", err)
		}
	})
}

// FuzzHeaders reads any file of headers. An error holds nothing of it but a header's name that is refused.
func FuzzHeaders(f *testing.F) {
	f.Add("Authorization: Bearer abc\nX-Other: b\n")
	f.Add("Host: x")
	f.Add(": \x00")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := headers(file(t, text, 0o600))
		if err != nil {
			if strings.Contains(err.Error(), "\n") || len(err.Error()) > 500 {
				t.Errorf("error %q", err)
			}
			return
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://h/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = h
		var out bytes.Buffer
		if err := req.Write(&out); err != nil {
			t.Errorf("taken, but cannot be sent: %v", err)
		}
		if read := strings.Count(out.String(), "\r\n"); read > 4+maxHeaders {
			t.Errorf("%d lines are sent", read)
		}
	})
}
