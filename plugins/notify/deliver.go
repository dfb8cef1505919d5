package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sethvargo/go-retry"

	"github.com/tkgfix/tkgfix/internal/inputfile"
	"github.com/tkgfix/tkgfix/plugins/internal/redact"
)

// The patience with a receiver.
const (
	attempts    = 5
	attemptTime = 15 * time.Second
	dialTime    = 10 * time.Second
	longestWait = 30 * time.Second // also where the receiver asks for more
	maxRedirect = 3
	maxAnswer   = 4 << 10
	maxWords    = 200
)

// sender is all that is needed to send one message.
type sender struct {
	to          endpoint
	client      *http.Client
	headers     http.Header
	secrets     redact.Secrets
	contentType string
	body        []byte
}

// outcome is how it ended, in words without a secret.
type outcome struct {
	delivered bool
	text      string
}

// refused is an answer that is no success. after is how long the receiver asks to wait.
type refused struct {
	text  string
	again bool
	after time.Duration
}

func (r *refused) Error() string { return r.text }

// sender prepares what is sent. It reads files and opens no connection.
func (s step) sender(in input, to endpoint) (sender, error) {
	out := sender{to: to}
	var err error
	if out.headers, err = headers(in.HeadersFile); err != nil {
		return out, err
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool() // a machine without roots of its own
	}
	if in.CA != "" {
		found, err := inputfile.Candidate(in.CA)
		if err != nil {
			return out, err
		}
		for _, c := range found {
			roots.AddCert(c)
		}
	}
	out.secrets = redact.Of(s.hidden(to, out.headers)...)
	out.client = &http.Client{
		CheckRedirect: sameHost,
		Transport: &http.Transport{
			Proxy: s.proxyOf, DialContext: dialer(to).DialContext, ForceAttemptHTTP2: true,
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    dialTime,
			MaxResponseHeaderBytes: 64 << 10,
		},
	}
	return out, nil
}

// proxyOf finds the proxy. That of the environment may be no URL: what is said of that would hold parts of its password.
func (s step) proxyOf(req *http.Request) (*url.URL, error) {
	u, err := s.proxy(req)
	if err != nil {
		return nil, errors.New("HTTPS_PROXY in the environment is no URL")
	}
	return u, nil
}

// hidden lists what no word of the step may hold: the URL and its parts but the host, the values of headers, the proxies' passwords.
func (s step) hidden(to endpoint, further http.Header) []string {
	const shortest = 4 // below it is no secret, and would mask half of every sentence
	var out []string
	add := func(values ...string) {
		for _, v := range values {
			if len(v) >= shortest {
				out = append(out, v)
			}
		}
	}
	u := to.url
	add(u.String(), u.RequestURI(), u.EscapedPath(), u.Path, u.RawQuery)
	for _, path := range []string{u.Path, u.EscapedPath()} {
		add(strings.Split(path, "/")...)
	}
	for _, values := range u.Query() {
		add(values...)
	}
	for pair := range strings.SplitSeq(u.RawQuery, "&") {
		_, value, _ := strings.Cut(pair, "=")
		add(value)
	}
	if u.User != nil {
		password, _ := u.User.Password()
		add(u.User.Username())
		out = append(out, password)
	}
	for _, values := range further {
		for _, v := range values {
			add(v)
			add(strings.Fields(v)...) // the token of Bearer TOKEN
		}
	}
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"} {
		// Not parsed: a proxy that is no URL has its error hold it whole.
		proxy := s.lookup(name)
		_, rest, ok := strings.Cut(proxy, "://")
		if !ok {
			rest = proxy
		}
		if at := strings.LastIndex(rest, "@"); at >= 0 {
			_, password, _ := strings.Cut(rest[:at], ":")
			out = append(out, proxy, rest[:at], password)
		}
	}
	return out
}

// sameHost follows a redirect that keeps to the receiver and to POST; any other is left as the answer.
func sameHost(req *http.Request, via []*http.Request) error {
	first := via[0]
	if len(via) > maxRedirect || req.Method != first.Method || req.URL.Scheme != first.URL.Scheme || req.URL.Host != first.URL.Host {
		return http.ErrUseLastResponse
	}
	return nil
}

// localOnly lets a connection without TLS go to this machine alone, whatever localhost resolves to.
func localOnly(to endpoint) func(context.Context, string, string, syscall.RawConn) error {
	if to.url.Scheme == "https" {
		return nil
	}
	return func(_ context.Context, _, address string, _ syscall.RawConn) error {
		host, _, err := net.SplitHostPort(address)
		if err != nil || !loopback(host) {
			return errors.New("it resolves to another machine, and the way is without TLS")
		}
		return nil
	}
}

// deliver sends until the receiver takes it, refuses it for good, or patience ends. Its error is only that ctx ended.
func (s step) deliver(ctx context.Context, snd sender) (outcome, error) {
	defer snd.client.CloseIdleConnections()
	bounded, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	tries := 0
	var last error
	pauses := retry.WithCappedDuration(longestWait, retry.NewExponential(s.pause))
	backoff := retry.BackoffFunc(func() (time.Duration, bool) {
		pause, stop := pauses.Next()
		var r *refused
		if errors.As(last, &r) {
			pause = max(pause, r.after)
		}
		return pause, stop || tries >= attempts
	})
	var how string
	err := retry.Do(bounded, backoff, func(ctx context.Context) error {
		tries++
		var err error
		how, err = snd.send(ctx)
		if err == nil {
			return nil
		}
		last = err
		if r := new(refused); errors.As(err, &r) && !r.again || untrusted(err) {
			return err
		}
		return retry.RetryableError(err)
	})
	switch {
	case err == nil:
		return outcome{delivered: true, text: fmt.Sprintf("delivered: %s%s", how, after(tries))}, nil
	case ctx.Err() != nil:
		return outcome{}, fmt.Errorf("tell %s: %w", snd.to.shown, ctx.Err())
	case last == nil:
		last = errors.New("there was no time to try")
	}
	return outcome{text: fmt.Sprintf("not delivered: %s%s", snd.clean(last), after(tries))}, nil
}

func after(tries int) string {
	if tries < 2 {
		return ""
	}
	return fmt.Sprintf(" (%d attempts)", tries)
}

// send makes one attempt and returns how the receiver answered.
func (snd sender) send(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, snd.to.url.String(), bytes.NewReader(snd.body))
	if err != nil {
		return "", err
	}
	req.Header = snd.headers.Clone()
	req.Header.Set("Content-Type", snd.contentType)
	req.Header.Set("User-Agent", "tkgfix")
	resp, err := snd.client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	// Only words for people. What is read beyond the bound shows where a secret at its edge ends.
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, int64(maxAnswer+snd.secrets.Longest())))
	if resp.StatusCode/100 == 2 {
		return statusOf(resp), nil
	}
	return "", snd.refusal(resp, string(snd.secrets.Part(answer, 0, min(len(answer), maxAnswer))))
}

func statusOf(resp *http.Response) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode)))
}

// refusal judges an answer that is no success. The answer's text holds no secret any more.
func (snd sender) refusal(resp *http.Response, answer string) error {
	r := &refused{text: "the receiver answers " + statusOf(resp)}
	switch code := resp.StatusCode; {
	case code/100 == 3:
		r.text += ", a redirect that is not followed"
		if to, err := resp.Location(); err == nil && to.Host != "" {
			r.text += ": it leads to " + redact.Line(snd.secrets.Text(to.Scheme+"://"+to.Host), maxWords)
		}
		return r
	case code == http.StatusTooManyRequests || code == http.StatusRequestTimeout || code/100 == 5:
		r.again = true
		r.after = retryAfter(resp.Header.Get("Retry-After"), resp.Header.Get("Date"))
	}
	if words := redact.Line(answer, maxWords); words != "" {
		r.text += ": " + words
	}
	return r
}

// retryAfter reads how long the receiver asks to wait: seconds, or a date by its own clock. It is bounded.
func retryAfter(value, date string) time.Duration {
	if seconds, err := strconv.Atoi(value); err == nil {
		return time.Duration(min(max(seconds, 0), int(longestWait/time.Second))) * time.Second
	}
	until, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(date)
	if err != nil {
		return 0
	}
	return min(max(until.Sub(now), 0), longestWait)
}

// untrusted reports whether the receiver could not prove who it is. Asking again does not change that.
func untrusted(err error) bool {
	var wrong *tls.CertificateVerificationError
	return errors.As(err, &wrong)
}

// clean words an error for people. The client's own begins with the whole URL.
func (snd sender) clean(err error) string {
	if r := new(refused); errors.As(err, &r) {
		return r.text
	}
	var outer *url.Error
	for errors.As(err, &outer) {
		err = outer.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	text := redact.Short(strings.ReplaceAll(redact.Printable(snd.secrets.Text(err.Error())), "\n", " "), 3*maxWords)
	if untrusted(err) {
		text += "; if a CA of your own signed it, give that as ca"
	}
	return text
}
