package sshsig

import (
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"
)

// Namespace is what a signature must be made for, so that one made for a commit or a file is not taken for an approval.
const Namespace = "approval@tkgfix.dev"

// The decisions that a Statement may hold.
const (
	Approve = "approve"
	Reject  = "reject"
)

const (
	maxName   = 256  // bytes of a run, a gate or a digest
	maxReason = 1024 // bytes of a reason
)

// Statement is what a person says of a gate: the decision that is signed.
type Statement struct {
	// Run and Gate name the gate.
	Run, Gate string
	// Digest is the digest that the gate shows, whole.
	Digest string
	// Decision is Approve or Reject.
	Decision string
	// Reason may be empty.
	Reason string
}

// Message returns the text that is signed for the statement. One statement has exactly one text, and no two have the same: a field
// with a line end, a control character or anything else that cannot be seen is an error, as is one that is too long.
func (s Statement) Message() ([]byte, error) {
	if s.Decision != Approve && s.Decision != Reject {
		return nil, fmt.Errorf("statement: the decision is %q, want %q or %q", clip(s.Decision), Approve, Reject)
	}
	out := []byte("tkgfix approval v1\n")
	for _, f := range []struct {
		name, value string
		most        int
		empty       bool
	}{
		{"run", s.Run, maxName, false},
		{"gate", s.Gate, maxName, false},
		{"digest", s.Digest, maxName, false},
		{"decision", s.Decision, maxName, false},
		{"reason", s.Reason, maxReason, true},
	} {
		if f.value == "" && !f.empty {
			return nil, fmt.Errorf("statement: the %s is empty", f.name)
		}
		if len(f.value) > f.most {
			return nil, fmt.Errorf("statement: the %s has %d bytes, at most %d are allowed", f.name, len(f.value), f.most)
		}
		if err := visible(f.value); err != nil {
			return nil, fmt.Errorf("statement: the %s %w", f.name, err)
		}
		out = fmt.Appendf(out, "%s: %s\n", f.name, f.value)
	}
	return out, nil
}

// visible refuses what a reader would not see, or would see in another order than it stands: control characters, line and
// paragraph separators, marks that turn the direction of writing.
func visible(s string) error {
	if !utf8.ValidString(s) {
		return errors.New("is not UTF-8")
	}
	for _, r := range s {
		if !unicode.IsGraphic(r) {
			return fmt.Errorf("holds %U, which cannot be seen", r)
		}
	}
	return nil
}

// clip returns the beginning of a text that may be hostile, for an error.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
