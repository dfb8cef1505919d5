// Package approval judges who may approve what. It is pure policy: it reads no clock, no journal and no key.
package approval

import (
	"errors"
	"fmt"
	"time"
)

// Identity is who decided.
type Identity struct {
	// Name is user@host for a person known only by the operating system.
	Name string `json:"name"`
	// Verified is false if nothing but the operating system's word stands for the name.
	Verified bool `json:"verified"`
}

// Decision is a person's word on a gate.
type Decision struct {
	Gate     string    `json:"gate"`
	Digest   string    `json:"digest"`
	Approved bool      `json:"approved"`
	By       Identity  `json:"by"`
	Reason   string    `json:"reason,omitempty"`
	At       time.Time `json:"at"`
}

// ErrDigest is returned for a decision that names another digest than the gate shows.
var ErrDigest = errors.New("the digest is not the one that the gate shows")

// Verdict is what the decisions on a gate come to.
type Verdict string

// The verdicts.
const (
	Pending  Verdict = "pending"
	Approved Verdict = "approved"
	Rejected Verdict = "rejected"
)

// Check refuses a decision that does not name what the gate shows. The digest must be the whole one: a prefix would let an
// approval cover what nobody saw.
func Check(d Decision, digest string) error {
	if d.Digest != digest {
		return fmt.Errorf("%w: %s shows %s, the decision names %q", ErrDigest, d.Gate, digest, d.Digest)
	}
	return nil
}

// Judge returns what the decisions come to for a gate that shows digest. A rejection counts whenever it was given; an
// approval counts only for the digest that it names.
func Judge(digest string, decisions []Decision) (Verdict, *Decision) {
	verdict, by := Pending, (*Decision)(nil)
	for i := range decisions {
		d := &decisions[i]
		if d.Digest != digest {
			continue
		}
		if !d.Approved {
			return Rejected, d
		}
		if by == nil {
			verdict, by = Approved, d
		}
	}
	return verdict, by
}
