// Package redact keeps secrets out of what a step says, byte for byte. It is pure.
package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// Mask stands for what is redacted.
const Mask = "***"

// Secrets are byte strings that must not leave a step. The zero value holds none.
type Secrets [][]byte

// Of returns the values and what a program makes of them: without the white space around them, as JSON and as base64 write them,
// and, of a URL such as a proxy's, its user and password alone. An empty value is no secret.
func Of(values ...string) Secrets {
	var out Secrets
	add := func(s string) {
		if s != "" && !slices.ContainsFunc(out, func(b []byte) bool { return string(b) == s }) {
			out = append(out, []byte(s))
		}
	}
	for _, v := range values {
		add(v)
		add(strings.TrimSpace(v))
		add(quoted(v))
		add(base64.StdEncoding.EncodeToString([]byte(v)))
		u, err := url.Parse(v)
		if err != nil || u.User == nil {
			continue
		}
		add(u.User.String())
		if password, ok := u.User.Password(); ok {
			add(password)
			add(url.QueryEscape(password))
			add(url.PathEscape(password))
			if _, raw, ok := strings.Cut(u.User.String(), ":"); ok {
				add(raw)
			}
		}
	}
	return out
}

// quoted is a string as JSON writes it, without the quotes around it.
func quoted(v string) string {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if enc.Encode(v) != nil {
		return ""
	}
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(out.String()), `"`), `"`)
}

// Longest returns the length of the longest secret, in bytes.
func (s Secrets) Longest() int {
	n := 0
	for _, b := range s {
		n = max(n, len(b))
	}
	return n
}

// Part returns the bytes of raw between two places, with each byte that belongs to a secret masked. Secrets that overlap are masked
// whole. What lies outside tells where a secret at the edge begins or ends.
func (s Secrets) Part(raw []byte, from, to int) []byte {
	hidden := make([]bool, len(raw))
	for _, secret := range s {
		marked := 0 // up to here the bytes of an earlier hit are marked
		for at := 0; ; at++ {
			i := bytes.Index(raw[at:], secret)
			if i < 0 {
				break
			}
			at += i
			for j := max(at, marked); j < at+len(secret); j++ {
				hidden[j] = true
			}
			marked = at + len(secret)
		}
	}
	var out []byte
	for i := from; i < to; i++ {
		switch {
		case !hidden[i]:
			out = append(out, raw[i])
		case i == from || !hidden[i-1]:
			out = append(out, Mask...)
		}
	}
	return out
}

// Text redacts a text of which all is there.
func (s Secrets) Text(t string) string { return string(s.Part([]byte(t), 0, len(t))) }

// Object redacts the keys and strings in a copy of a decoded JSON object: JSON may write a secret in other bytes.
func (s Secrets) Object(m map[string]any) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[s.Text(k)] = s.value(v)
	}
	return out
}

func (s Secrets) value(v any) any {
	switch v := v.(type) {
	case string:
		return s.Text(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = s.value(v[i])
		}
		return out
	case map[string]any:
		return s.Object(v)
	}
	return v
}

// Printable makes a text fit to be shown, whatever another program or machine put into it.
func Printable(t string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, strings.ToValidUTF8(t, "\uFFFD"))
}

// Line is the first line of a text, fit to be shown and cut to most characters.
func Line(t string, most int) string {
	line, _, _ := strings.Cut(strings.TrimSpace(t), "\n")
	return Short(Printable(line), most)
}

// Short cuts a text to most characters.
func Short(t string, most int) string {
	if r := []rune(t); len(r) > most {
		return string(r[:most]) + "…"
	}
	return t
}
