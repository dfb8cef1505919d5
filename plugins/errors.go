package plugins

import (
	"errors"
	"fmt"
)

// ErrorKind sorts the errors of a step into what the engine does about them.
type ErrorKind string

// The kinds of error.
const (
	// KindFailed ends the step. It is the kind of any plain error.
	KindFailed ErrorKind = "failed"
	// KindTransient may pass: the engine retries within the step's budget.
	KindTransient ErrorKind = "transient"
	// KindNotYet is a condition being waited for: the engine asks again until the step's timeout.
	KindNotYet ErrorKind = "not-yet"
	// KindUnknowable is an effect of which nobody can say whether it happened: the run stops for a person.
	KindUnknowable ErrorKind = "unknowable"
	// KindConflict is a precondition that no longer holds.
	KindConflict ErrorKind = "conflict"
)

// Error is an error of a step with what to do about it. It travels over the wire whole.
type Error struct {
	Kind ErrorKind
	// Message says what was being done and what went wrong, lower case, without a full stop.
	Message string
	// Hint is the next command or the next thing to do. It may be empty.
	Hint string
	err  error
}

// Error returns the message without the hint.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause, which does not travel over the wire.
func (e *Error) Unwrap() error { return e.err }

// Hint returns err with a hint. It keeps the kind that err has. A nil err stays nil.
func Hint(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: KindOf(err), Message: err.Error(), Hint: fmt.Sprintf(format, args...), err: err}
}

// WithKind returns err as one of the kind, keeping its hint. A nil err stays nil.
func WithKind(kind ErrorKind, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: kind, Message: err.Error(), Hint: HintOf(err), err: err}
}

// NotYet returns an error that says what is being waited for.
func NotYet(format string, args ...any) error {
	return &Error{Kind: KindNotYet, Message: fmt.Sprintf(format, args...)}
}

// KindOf returns the kind of the outermost Error in err's chain, KindFailed if there is none.
func KindOf(err error) ErrorKind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return KindFailed
}

// HintOf returns the hint of the outermost Error in err's chain, empty if there is none.
func HintOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Hint
	}
	return ""
}
