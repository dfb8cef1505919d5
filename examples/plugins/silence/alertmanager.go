package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tkgfix/tkgfix/plugins"
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 8 << 20

// silence is a silence of Alertmanager's API, version 2. Everybody's is in the list, so only what is needed is read.
type silence struct {
	ID        string    `json:"id,omitempty"`
	Matchers  []matcher `json:"matchers"`
	StartsAt  time.Time `json:"startsAt"`
	EndsAt    time.Time `json:"endsAt"`
	CreatedBy string    `json:"createdBy"`
	Comment   string    `json:"comment"`
	Status    *struct {
		State string `json:"state"`
	} `json:"status,omitempty"`
}

func (s silence) over() bool { return s.Status != nil && s.Status.State == "expired" }

// matcher says which alerts are meant.
type matcher struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	IsRegex bool   `json:"isRegex"`
	IsEqual *bool  `json:"isEqual,omitempty"` // Alertmanager leaves it out, or says true, for =
}

// matchers turns name=value pairs into matchers, in their order.
func matchers(labels map[string]string) []matcher {
	var out []matcher
	for name, value := range labels {
		out = append(out, matcher{Name: name, Value: value})
	}
	slices.SortFunc(out, func(a, b matcher) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// same tells whether two lists match the same alerts.
func same(a, b []matcher) bool {
	if len(a) != len(b) {
		return false
	}
	for _, m := range a {
		if !slices.ContainsFunc(b, func(n matcher) bool {
			return n.Name == m.Name && n.Value == m.Value && n.IsRegex == m.IsRegex && (n.IsEqual == nil || *n.IsEqual)
		}) {
			return false
		}
	}
	return true
}

// alertmanager talks to one Alertmanager.
type alertmanager struct {
	base   *url.URL
	client *http.Client
}

func newAlertmanager(raw string) (*alertmanager, error) {
	base, err := url.Parse(raw)
	if err != nil || (base.Scheme != "http" && base.Scheme != "https") || base.Host == "" {
		return nil, errors.New(`input "url" must be the address of an Alertmanager, such as https://alertmanager.example.com`)
	}
	if base.User != nil {
		return nil, errors.New(`input "url" must hold no password: it is in the plan and in the journal`)
	}
	// The environment's proxy is taken, as tkgfix lets it through.
	return &alertmanager{base: base.JoinPath("api", "v2", "silences"), client: &http.Client{Timeout: 20 * time.Second}}, nil
}

// list returns the silences that are there.
func (a *alertmanager) list(ctx context.Context) ([]silence, error) {
	var out []silence
	err := a.call(ctx, http.MethodGet, nil, &out)
	return out, err
}

// create makes a silence. That no answer came does not mean that none was made.
func (a *alertmanager) create(ctx context.Context, s silence) error {
	return a.call(ctx, http.MethodPost, s, nil)
}

func (a *alertmanager) call(ctx context.Context, method string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, a.base.String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := a.client.Do(req)
	if err != nil {
		return plugins.WithKind(plugins.KindTransient, fmt.Errorf("ask Alertmanager: %w", err))
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch {
	case err != nil:
		return plugins.WithKind(plugins.KindTransient, fmt.Errorf("read Alertmanager's answer: %w", err))
	case resp.StatusCode >= http.StatusInternalServerError:
		return plugins.WithKind(plugins.KindTransient, fmt.Errorf("Alertmanager answers %s", resp.Status))
	case resp.StatusCode != http.StatusOK:
		return plugins.Hint(fmt.Errorf("Alertmanager answers %s", resp.Status), "curl -i %s", a.base)
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return plugins.Hint(fmt.Errorf("read Alertmanager's answer: %w", err), "see whether that is an Alertmanager: curl -i %s", a.base)
	}
	return nil
}
