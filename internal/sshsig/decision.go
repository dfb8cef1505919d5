package sshsig

import (
	"fmt"

	"github.com/tkgfix/tkgfix/internal/approval"
)

// Of returns what is signed for a decision on a gate of a run.
func Of(run string, d approval.Decision) Statement {
	word := Reject
	if d.Approved {
		word = Approve
	}
	return Statement{Run: run, Gate: d.Gate, Digest: d.Digest, Decision: word, Reason: d.Reason}
}

// Identify returns whose the signature in a decision is, by the keys that are allowed when it was given. Its errors are Message's and
// Verify's.
func (a *AllowedSigners) Identify(run string, d approval.Decision) (approval.Identity, error) {
	text, err := Of(run, d).Message()
	if err != nil {
		return approval.Identity{}, fmt.Errorf("write what was to be signed: %w", err)
	}
	s, err := a.Verify(text, []byte(d.Signature), d.At)
	if err != nil {
		return approval.Identity{}, err
	}
	return approval.Identity{Name: s.Principal, Verified: true, Key: s.Fingerprint}, nil
}
