package plan

import (
	"fmt"

	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/plugins"
)

// Approved is a step whose changes a person has approved. Only Approve makes one.
type Approved struct {
	step   Step
	digest string
	by     approval.Identity
}

// Step returns the approved step as it was planned.
func (a Approved) Step() Step { return a.step }

// Changes returns the approved changes, in order.
func (a Approved) Changes() []plugins.PlannedChange { return a.step.Changes }

// Digest returns what the approval names.
func (a Approved) Digest() string { return a.digest }

// By returns who approved.
func (a Approved) By() approval.Identity { return a.by }

// NotApproved says that a gate is not open.
type NotApproved struct {
	Gate    Gate
	Verdict approval.Verdict
	// By is the decision that rejected, if one did.
	By *approval.Decision
}

// Error says what the gate waits for, or who rejected it.
func (e *NotApproved) Error() string {
	if e.Verdict != approval.Rejected {
		return fmt.Sprintf("gate %s waits for approval of %s", e.Gate.Step, e.Gate.Digest)
	}
	reason := ""
	if e.By.Reason != "" {
		reason = ": " + e.By.Reason
	}
	return fmt.Sprintf("gate %s was rejected by %s%s", e.Gate.Step, e.By.By.Name, reason)
}

// Approve opens a step's gate if the decisions approve exactly its changes; the digest is computed again from them, not
// taken from the gate. Otherwise it returns a NotApproved.
func Approve(p *Plan, stepID string, decisions []approval.Decision) (Approved, error) {
	s, ok := p.Step(stepID)
	if !ok {
		return Approved{}, fmt.Errorf("approve: the plan has no step %q", stepID)
	}
	g, ok := p.Gate(stepID)
	if !ok {
		return Approved{}, fmt.Errorf("approve: step %s has no gate", stepID)
	}
	digest, err := p.Digest(*s)
	if err != nil {
		return Approved{}, err
	}
	if len(s.Blocks) > 0 {
		return Approved{}, fmt.Errorf("approve: step %s is blocked: %s", stepID, s.Blocks[0].Reason)
	}
	verdict, by := approval.Judge(digest, decisions)
	if verdict != approval.Approved {
		return Approved{}, &NotApproved{Gate: *g, Verdict: verdict, By: by}
	}
	return Approved{step: *s, digest: digest, by: by.By}, nil
}
