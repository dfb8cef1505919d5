package plan

import (
	"errors"
	"fmt"
	"time"

	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/plugins"
)

// Approved is a step whose changes people have approved. Only Approve, Entered and Announce make one.
type Approved struct {
	step   Step
	digest string
	by     []approval.Identity
}

// Step returns the approved step as it was planned.
func (a Approved) Step() Step { return a.step }

// Changes returns the approved changes, in order.
func (a Approved) Changes() []plugins.PlannedChange { return a.step.PlannedChanges() }

// Digest returns what the approvals name; it is empty for what needs none.
func (a Approved) Digest() string { return a.digest }

// By returns who approved.
func (a Approved) By() []approval.Identity { return a.by }

// Instances returns what is approved of each instance of a forEach step, or a itself.
func (a Approved) Instances() []Approved {
	var out []Approved
	for _, s := range a.step.Each() {
		out = append(out, Approved{step: *s, digest: a.digest, by: a.by})
	}
	return out
}

// NotApproved says that a gate is not open.
type NotApproved struct {
	Gate    Gate
	Outcome approval.Outcome
}

// Error says what the gate waits for, or who rejected it.
func (e *NotApproved) Error() string {
	if e.Outcome.Verdict == approval.Rejected {
		if e.Outcome.Rejection == nil {
			return fmt.Sprintf("gate %s was rejected: %s", e.Gate.Step, e.Outcome.Why)
		}
		return fmt.Sprintf("gate %s was rejected %s", e.Gate.Step, e.Outcome.Why)
	}
	if len(e.Outcome.By) > 0 {
		return fmt.Sprintf("gate %s waits for %d more to approve %s", e.Gate.Step, e.Outcome.Missing, e.Gate.Digest)
	}
	return fmt.Sprintf("gate %s waits for approval of %s", e.Gate.Step, e.Gate.Digest)
}

// Judgement is the ground on which a gate is judged.
type Judgement struct {
	Requester approval.Identity
	Decisions []approval.Decision
	Now       time.Time
}

// Approve opens a step's gate if the decisions approve exactly its changes; the digest is computed again from them, not
// taken from the gate. Otherwise it returns a NotApproved.
func Approve(p *Plan, stepID string, j Judgement) (Approved, error) {
	s, g, err := p.gated(stepID)
	if err != nil {
		return Approved{}, err
	}
	digest, err := p.Digest(*s)
	if err != nil {
		return Approved{}, err
	}
	if blocks := s.AllBlocks(); len(blocks) > 0 {
		return Approved{}, fmt.Errorf("approve: step %s is blocked: %s", stepID, blocks[0].Reason)
	}
	g.Digest = digest
	out := g.Judged(j.Requester).Judge(j.Decisions, j.Now)
	if out.Verdict != approval.Approved {
		return Approved{}, &NotApproved{Gate: *g, Outcome: out}
	}
	return Approved{step: *s, digest: digest, by: out.By}, nil
}

// Entered returns what a step that was begun may go on with. started is the digest with which it was begun: decisions must
// approve it, though the gate may have expired since, and other instances of the step may show something else by now.
func Entered(p *Plan, stepID, instance, started string, j Judgement) (Approved, error) {
	s, ok := p.Step(instance)
	if !ok {
		return Approved{}, fmt.Errorf("go on: the plan has no step %q", instance)
	}
	if s.Effect == plugins.Announce {
		return Announce(s)
	}
	_, g, err := p.gated(stepID)
	if err != nil {
		return Approved{}, err
	}
	if digest, err := p.Digest(*s); err != nil || stepID == instance && digest != started {
		return Approved{}, errors.Join(fmt.Errorf("go on: step %s was begun with %s, and its changes are others now", instance, started), err)
	}
	g.Digest = started
	out := g.Judged(j.Requester).Entered(j.Decisions)
	if out.Verdict != approval.Approved {
		return Approved{}, &NotApproved{Gate: *g, Outcome: out}
	}
	return Approved{step: *s, digest: started, by: out.By}, nil
}

// Announce returns a step that needs nobody's approval, because it only tells somebody something.
func Announce(s *Step) (Approved, error) {
	if s.Effect != plugins.Announce {
		return Approved{}, fmt.Errorf("step %s has the effect %s, which needs approval", s.ID, s.Effect)
	}
	if blocks := s.AllBlocks(); len(blocks) > 0 {
		return Approved{}, fmt.Errorf("step %s is blocked: %s", s.ID, blocks[0].Reason)
	}
	return Approved{step: *s}, nil
}

func (p *Plan) gated(stepID string) (*Step, *Gate, error) {
	s, ok := p.Step(stepID)
	if !ok {
		return nil, nil, fmt.Errorf("approve: the plan has no step %q", stepID)
	}
	g, ok := p.Gate(stepID)
	if !ok {
		return nil, nil, fmt.Errorf("approve: step %s has no gate", stepID)
	}
	again := *g
	return s, &again, nil
}

// Judged returns the gate as approvals are judged by it.
func (g *Gate) Judged(requester approval.Identity) approval.Gate {
	return approval.Gate{Name: g.Step, Digest: g.Digest, Policy: g.Policy, Shown: g.Shown, Requester: requester}
}
