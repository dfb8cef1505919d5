package sshsig

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	blanks = " \t\r\n"
	// maxPrincipals bounds the list of a line, in bytes: matching takes time by its square.
	maxPrincipals = 8 << 10
)

// line is one line of an allowed-signers file.
type line struct {
	number     int
	principals string // a list of patterns
	key        ssh.PublicKey
	authority  bool
	// restricted says that namespaces, a list of patterns, is there. It may be empty and then takes none.
	restricted bool
	namespaces string
	// after and before are zero if the line does not limit them. Both moments are within.
	after, before time.Time
}

// parseLine reads "principals [options] key [comment]" as sshsig.c does. It returns nil for a blank line and a comment.
func parseLine(text string, loc *time.Location) (*line, error) {
	text = strings.TrimLeft(text, blanks)
	if text == "" || text[0] == '#' {
		return nil, nil
	}
	if strings.IndexByte(text, 0) >= 0 {
		return nil, errors.New("the line holds a NUL byte")
	}
	principals, rest, err := cutPrincipals(text)
	if err != nil {
		return nil, err
	}
	l := &line{principals: principals}
	if l.key, err = parseKey(rest); err == nil {
		return l, nil
	}
	if word, _, _ := cutWord(rest); isKeyType(word) {
		return nil, err
	}
	end, closed := optionsEnd(rest)
	if !closed {
		return nil, errors.New("bad options: a quotation mark has no end")
	}
	if end == len(rest) {
		return nil, errors.New("missing key")
	}
	if l.key, err = parseKey(strings.TrimLeft(rest[end:], " \t")); err != nil {
		return nil, err
	}
	if err := l.parseOptions(rest[:end], loc); err != nil {
		return nil, fmt.Errorf("bad options: %w", err)
	}
	return l, nil
}

// cutPrincipals takes the first word, of which a part may be quoted (misc.c, strdelimw).
func cutPrincipals(text string) (principals, rest string, err error) {
	i := strings.IndexAny(text, blanks+`"`)
	if i < 0 {
		return "", "", errors.New("missing key")
	}
	principals, rest = text[:i], text[i+1:]
	if text[i] == '"' {
		quoted, after, ok := strings.Cut(rest, `"`)
		if !ok {
			return "", "", errors.New("a quotation mark has no end")
		}
		principals, rest = principals+quoted, after
	}
	if len(principals) > maxPrincipals {
		return "", "", fmt.Errorf("the principals have more than %d bytes", maxPrincipals)
	}
	if err := visible(principals); err != nil {
		return "", "", fmt.Errorf("the list of principals %w", err)
	}
	return principals, strings.TrimLeft(rest, blanks), nil
}

// cutWord takes what stands before the next space or tab.
func cutWord(s string) (word, rest string, found bool) {
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, "", false
	}
	return s[:i], strings.TrimLeft(s[i:], " \t"), true
}

// parseKey reads "type base64 [comment]".
func parseKey(s string) (ssh.PublicKey, error) {
	kind, rest, ok := cutWord(s)
	if !ok || rest == "" {
		return nil, errors.New("missing key")
	}
	if !isKeyType(kind) {
		return nil, fmt.Errorf("missing key, or a key of an unknown type: %q", clip(kind))
	}
	text, _, _ := cutWord(rest)
	blob, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("invalid key: %w", err)
	}
	key, err := ssh.ParsePublicKey(blob)
	if err != nil {
		return nil, fmt.Errorf("invalid key: %w", err)
	}
	if key.Type() != kind {
		return nil, fmt.Errorf("invalid key: it says %s and is of type %s", kind, key.Type())
	}
	if _, ok := key.(*ssh.Certificate); ok {
		return nil, errors.New("it lists a certificate: list its key, or its authority with cert-authority")
	}
	if err := strongKey(key); err != nil {
		return nil, err
	}
	return key, nil
}

// optionsEnd returns where the options end: at a space or tab that is not quoted (authfile.c, sshkey_advance_past_options).
func optionsEnd(s string) (end int, closed bool) {
	quoted := false
	for end < len(s) && (quoted || (s[end] != ' ' && s[end] != '\t')) {
		switch {
		case strings.HasPrefix(s[end:], `\"`):
			end++
		case s[end] == '"':
			quoted = !quoted
		}
		end++
	}
	return end, end < len(s) || !quoted
}

// parseOptions reads cert-authority, namespaces="…", valid-after="…" and valid-before="…" (sshsig.c, sshsigopt_parse).
func (l *line) parseOptions(s string, loc *time.Location) error {
	for s != "" {
		var err error
		if s, err = l.parseOption(s, loc); err != nil {
			return err
		}
		if s == "" {
			break
		}
		if s[0] != ',' {
			return fmt.Errorf("unknown key option %q", clip(s))
		}
		if s = s[1:]; s == "" {
			return errors.New("they end with a comma")
		}
	}
	if !l.after.IsZero() && !l.before.IsZero() && !l.before.After(l.after) {
		return errors.New("valid-before is not after valid-after")
	}
	return nil
}

// parseOption reads one option and returns what follows it. What it does not know it returns as it is.
func (l *line) parseOption(s string, loc *time.Location) (string, error) {
	if rest, ok := cutFold(s, "cert-authority"); ok {
		l.authority = true
		return rest, nil
	}
	if rest, ok := cutFold(s, "namespaces="); ok {
		if l.restricted {
			return "", errors.New("namespaces stands twice")
		}
		value, rest, err := unquote(rest)
		l.restricted, l.namespaces = true, value
		return rest, err
	}
	for _, o := range []struct {
		name string
		at   *time.Time
	}{{"valid-after", &l.after}, {"valid-before", &l.before}} {
		rest, ok := cutFold(s, o.name+"=")
		if !ok {
			continue
		}
		if !o.at.IsZero() {
			return "", fmt.Errorf("%s stands twice", o.name)
		}
		value, rest, err := unquote(rest)
		if err != nil {
			return "", err
		}
		if *o.at, err = parseTime(value, loc); err != nil {
			return "", fmt.Errorf("%s %q: %w", o.name, clip(value), err)
		}
		return rest, nil
	}
	return s, nil
}

// cutFold removes a prefix, in upper or lower case.
func cutFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// unquote reads a quoted value, in which \" stands for a quotation mark, and returns what follows it (misc.c, opt_dequote).
func unquote(s string) (value, rest string, err error) {
	if !strings.HasPrefix(s, `"`) {
		return "", "", errors.New("a value does not begin with a quotation mark")
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if strings.HasPrefix(s[i:], `\"`) {
			i++
		} else if s[i] == '"' {
			return b.String(), s[i+1:], nil
		}
		b.WriteByte(s[i])
	}
	return "", "", errors.New("a quotation mark has no end")
}
