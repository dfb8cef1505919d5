package fromproto

import (
	"encoding/json"
	"errors"
	"fmt"
)

// MaxMessage is the most bytes that a message may have, in either direction.
const MaxMessage = 16 << 20

// What a message may hold at most.
const (
	maxSchema   = 1 << 20
	maxEvidence = 64 << 10
	maxItems    = 20_000
	maxErrors   = 10
)

// errorList gathers what is wrong with a message, a few at most: the message is hostile.
type errorList struct {
	errs []error
}

func (l *errorList) add(err error) {
	if err != nil && len(l.errs) < maxErrors {
		l.errs = append(l.errs, err)
	}
}

// orZero returns v if nothing was wrong, so that nobody goes on with half a value.
func orZero[T any](v T, l errorList) (T, error) {
	if len(l.errs) == 0 {
		return v, nil
	}
	var zero T
	return zero, errors.Join(l.errs...)
}

// take translates one value.
func take[M, T any](l *errorList, what string, m M, f func(M) (T, error)) T {
	v, err := f(m)
	if err != nil {
		l.add(fmt.Errorf("%s: %w", what, err))
	}
	return v
}

// each translates a list. An empty one becomes nil.
func each[M, T any](l *errorList, what string, in []M, f func(M) (T, error)) []T {
	if len(in) > maxItems {
		l.add(fmt.Errorf("%s: %d of them, %d at most", what, len(in), maxItems))
		return nil
	}
	if len(in) == 0 {
		return nil
	}
	out := make([]T, 0, len(in))
	for i, m := range in {
		out = append(out, take(l, fmt.Sprintf("%s %d", what, i), m, f))
	}
	return out
}

// lines takes a list of texts.
func lines(l *errorList, what string, in []string) []string {
	return each(l, what, in, func(s string) (string, error) { return s, nil })
}

// document takes a JSON document. An empty one becomes nil.
func document(l *errorList, what string, raw []byte, limit int) json.RawMessage {
	switch {
	case len(raw) == 0:
		return nil
	case len(raw) > limit:
		l.add(fmt.Errorf("%s: %d bytes, %d at most", what, len(raw), limit))
		return nil
	case !json.Valid(raw):
		l.add(fmt.Errorf("%s: not a JSON document", what))
		return nil
	default:
		return json.RawMessage(raw)
	}
}
