package notify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/tkgfix/tkgfix/internal/inputfile"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// The formats of a message.
const (
	formatCloudEvents = "cloudevents"
	formatSlack       = "slack"
)

const defaultType = "dev.tkgfix.notification"

// What a message may be at most, in bytes but for the number of headers.
const (
	maxText    = 16 << 10
	maxData    = 64 << 10
	maxURL     = 4 << 10
	maxHeaders = 32
)

// endpoint is a receiver. Its url is a secret, shown is not.
type endpoint struct {
	url   *url.URL
	shown string
}

// parse reads the input and the URL.
func parse(raw json.RawMessage) (input, endpoint, error) {
	in, err := sdk.Input[input](raw)
	if err != nil {
		return in, endpoint{}, err
	}
	if in.Format == "" {
		in.Format = formatCloudEvents
	}
	data := bytes.TrimSpace(in.Data)
	switch {
	case in.Text == "":
		return in, endpoint{}, errors.New(`input "text" is empty: there is nothing to tell`)
	case len(in.Text) > maxText:
		return in, endpoint{}, fmt.Errorf(`input "text" has %d bytes, %d at most`, len(in.Text), maxText)
	case len(data) > maxData:
		return in, endpoint{}, fmt.Errorf(`input "data" has %d bytes, %d at most`, len(data), maxData)
	case len(data) > 0 && data[0] != '{':
		return in, endpoint{}, errors.New(`input "data" must be an object`)
	case in.Format != formatCloudEvents && in.Format != formatSlack:
		return in, endpoint{}, fmt.Errorf(`input "format" must be cloudevents or slack, not %q`, in.Format)
	case in.Format == formatSlack && (in.Type != "" || in.Subject != "" || len(data) > 0):
		return in, endpoint{}, errors.New("type, subject and data are for a CloudEvent: format slack takes text alone")
	case (in.URL == "") == (in.URLFile == ""):
		return in, endpoint{}, plugins.Hint(errors.New("exactly one of url and urlFile is needed"),
			"put a URL that is a secret into a file of mode 0600 and give its absolute path as urlFile")
	}
	if in.Type == "" && in.Format == formatCloudEvents {
		in.Type = defaultType
	}
	to, err := endpointOf(in)
	return in, to, err
}

// endpointOf reads the URL. No error of it holds more of the URL than scheme and host.
func endpointOf(in input) (endpoint, error) {
	text, where := in.URL, `input "url"`
	if in.URLFile != "" {
		raw, err := private(in.URLFile)
		if err != nil {
			return endpoint{}, fmt.Errorf("urlFile: %w", err)
		}
		text, where = strings.TrimSpace(string(raw)), "the URL in "+in.URLFile
	}
	if len(text) > maxURL {
		return endpoint{}, fmt.Errorf("%s has %d bytes, %d at most", where, len(text), maxURL)
	}
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" || u.Hostname() == "" || strings.ContainsAny(text, " \t\r\n") {
		return endpoint{}, fmt.Errorf("%s is not a URL such as https://host/path", where)
	}
	u.Fragment, u.RawFragment = "", ""
	to := endpoint{url: u, shown: u.Scheme + "://" + u.Host}
	switch {
	case u.Scheme == "https":
	case u.Scheme == "http" && loopback(u.Hostname()):
	case u.Scheme == "http":
		return to, plugins.Hint(fmt.Errorf("%s: without TLS anybody on the way can read the message and its URL", to.shown),
			"use https, with ca for a CA of your own; http is for this machine alone")
	default:
		return to, fmt.Errorf("%s is neither https nor http", where)
	}
	return to, nil
}

// loopback reports whether a host is this machine, by its address or by the one name that is reserved for it.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// private reads a file that holds a secret.
func private(path string) ([]byte, error) {
	raw, err := inputfile.Read(path)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return nil, plugins.Hint(fmt.Errorf("%s may be read by others (mode %04o)", path, perm), "chmod 600 %s", path)
	}
	return raw, nil
}

// headers reads the further headers. No error of it holds a value.
func headers(path string) (http.Header, error) {
	out := http.Header{}
	if path == "" {
		return out, nil
	}
	raw, err := private(path)
	if err != nil {
		return nil, fmt.Errorf("headersFile: %w", err)
	}
	n := 0
	for i, line := range strings.Split(string(raw), "\n") {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if !ok || !token(name) || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return nil, fmt.Errorf("headersFile: line %d of %s is not Name: value", i+1, path)
		}
		switch name = http.CanonicalHeaderKey(name); name {
		case "Host", "Content-Type", "Content-Length", "Transfer-Encoding", "Connection", "Trailer", "Upgrade":
			return nil, fmt.Errorf("headersFile: line %d of %s: %s is set by notify itself", i+1, path, name)
		}
		if n++; n > maxHeaders {
			return nil, fmt.Errorf("headersFile: more than %d headers", maxHeaders)
		}
		out.Add(name, value)
	}
	return out, nil
}

// token reports whether a text can be a header's name (RFC 9110 §5.6.2).
func token(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r)
	})
}

func targetOf(to endpoint) plugins.Target {
	return plugins.Target{Kind: kind, Name: to.url.Host}
}

func messageOf(in input, to endpoint) message {
	return message{To: to.shown, Format: in.Format, Type: in.Type, Subject: in.Subject, Text: in.Text, Data: in.Data}
}

// plannedOf returns the one change and the message that it says, which must be for the same receiver still.
func plannedOf(changes []plugins.PlannedChange, to endpoint) (plugins.PlannedChange, message, error) {
	var msg message
	if len(changes) != 1 {
		return plugins.PlannedChange{}, msg, fmt.Errorf("%s was planned with %d changes, not one", Name, len(changes))
	}
	if err := json.Unmarshal(changes[0].After, &msg); err != nil {
		return changes[0], msg, fmt.Errorf("read the planned message: %w", err)
	}
	if msg.To != to.shown {
		err := plugins.WithKind(plugins.KindConflict, fmt.Errorf("the URL leads to %s now, and the plan said %s", to.shown, msg.To))
		return changes[0], msg, plugins.Hint(err, "plan again if that is meant")
	}
	return changes[0], msg, nil
}

// encode makes the body of the request. The id and the source are the same for the same step of the same run.
func encode(msg message, id, run string, now time.Time) (body []byte, contentType string, err error) {
	if msg.Format == formatSlack {
		body, err = json.Marshal(map[string]string{"text": msg.Text})
		return body, "application/json", err
	}
	e := event.New()
	e.SetID(id)
	e.SetSource("urn:tkgfix:run:" + url.PathEscape(run))
	e.SetType(msg.Type)
	e.SetTime(now.UTC())
	if msg.Subject != "" {
		e.SetSubject(msg.Subject)
	}
	data := struct {
		Text string          `json:"text"`
		Data json.RawMessage `json:"data,omitempty"`
	}{msg.Text, msg.Data}
	if err := e.SetData(event.ApplicationJSON, data); err != nil {
		return nil, "", fmt.Errorf("encode the CloudEvent: %w", err)
	}
	if err := e.Validate(); err != nil {
		return nil, "", fmt.Errorf("make the CloudEvent: %w", err)
	}
	if body, err = json.Marshal(e); err != nil {
		return nil, "", fmt.Errorf("encode the CloudEvent: %w", err)
	}
	return body, event.ApplicationCloudEventsJSON, nil
}

// dialer refuses to leave this machine for a receiver that is said to be it.
func dialer(to endpoint) *net.Dialer {
	return &net.Dialer{Timeout: dialTime, ControlContext: localOnly(to)}
}
