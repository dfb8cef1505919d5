// Package plan finds out what a workflow would do, and binds what people approve to exactly that.
//
// Build runs the reading steps for real and asks the changing ones what they would change. The result is a Plan, whose
// gates each carry a digest of the changes that they cover; Approve is the only maker of an Approved step, which is the only
// thing that the engine applies.
package plan

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/tkgfix/tkgfix/plugins"
)

// Format names the plan's encoding. A plan of another format is refused.
const Format = "tkgfix.dev/plan/v1alpha1"

// Plan is what a workflow would do, and what was seen while finding out.
type Plan struct {
	Format   string `json:"format"`
	Workflow string `json:"workflow"`
	// WorkflowSHA256 is the digest of the workflow file's bytes, in hex.
	WorkflowSHA256 string              `json:"workflowSHA256"`
	Inputs         []Input             `json:"inputs"`
	Connections    plugins.Connections `json:"connections"`
	// Plugins tells each step's plugin apart by name: version and digest of its executable.
	Plugins []Plugin `json:"plugins"`
	// Steps are in the order in which they run.
	Steps []Step `json:"steps"`
	// Gates are the approvals that the changes need, in the order in which they will be asked.
	Gates []Gate `json:"gates"`
}

// Input is one input of the workflow as it was given.
type Input struct {
	Name  string `json:"name"`
	Value any    `json:"value"`
	// SHA256 is the digest of the file that Value names, for an input of type file.
	SHA256 string `json:"sha256,omitempty"`
}

// Plugin identifies the code of a step.
type Plugin struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	SHA256  string `json:"sha256"`
}

// Status says what came of planning a step.
type Status string

// The statuses of a planned step.
const (
	// Done is a reading step that has read.
	Done Status = "done"
	// Unchanged is a changing step that has nothing to do.
	Unchanged Status = "unchanged"
	// Changes is a changing step that waits for its gate.
	Changes Status = "changes"
	// Skipped is a step whose if: is false, or that uses the outputs of a skipped one.
	Skipped Status = "skipped"
	// Deferred is a step that cannot be planned before another has been applied.
	Deferred Status = "deferred"
	// Failed is a step that could not be planned.
	Failed Status = "failed"
)

// Step is a planned step.
type Step struct {
	ID     string         `json:"id"`
	Uses   string         `json:"uses"`
	Effect plugins.Effect `json:"effect"`
	Status Status         `json:"status"`
	// Why says why a step is skipped, deferred or failed.
	Why string `json:"why,omitempty"`
	// Hint is the next thing to do about a failed step.
	Hint     string                  `json:"hint,omitempty"`
	Input    json.RawMessage         `json:"input,omitempty"`
	Outputs  json.RawMessage         `json:"outputs,omitempty"`
	Summary  string                  `json:"summary,omitempty"`
	Changes  []plugins.PlannedChange `json:"changes,omitempty"`
	Blocks   []plugins.Block         `json:"blocks,omitempty"`
	Warnings []string                `json:"warnings,omitempty"`
	Evidence []plugins.Evidence      `json:"evidence,omitempty"`
}

// Gate is the approval that a step's changes need.
type Gate struct {
	// Step is the step's id, which is the gate's name too.
	Step    string         `json:"step"`
	Effect  plugins.Effect `json:"effect"`
	Message string         `json:"message"`
	// Digest is sha256: and the hex digest of what is approved.
	Digest string `json:"digest"`
}

// Step returns the planned step of that id.
func (p *Plan) Step(id string) (*Step, bool) {
	i := slices.IndexFunc(p.Steps, func(s Step) bool { return s.ID == id })
	if i < 0 {
		return nil, false
	}
	return &p.Steps[i], true
}

// Gate returns the gate of the step of that id.
func (p *Plan) Gate(step string) (*Gate, bool) {
	i := slices.IndexFunc(p.Gates, func(g Gate) bool { return g.Step == step })
	if i < 0 {
		return nil, false
	}
	return &p.Gates[i], true
}

// HasChanges says whether anything would be changed.
func (p *Plan) HasChanges() bool {
	return slices.ContainsFunc(p.Steps, func(s Step) bool { return len(s.Changes) > 0 })
}

// Err returns why the plan must not be carried out: the first failed step, else the first block; nil if it may.
func (p *Plan) Err() error {
	for _, s := range p.Steps {
		if s.Status == Failed {
			return plugins.Hint(fmt.Errorf("plan step %s: %s", s.ID, s.Why), "%s", s.Hint)
		}
	}
	for _, s := range p.Steps {
		if len(s.Blocks) > 0 {
			return plugins.Hint(fmt.Errorf("the plan is blocked at step %s: %s", s.ID, s.Blocks[0].Reason), "%s", s.Blocks[0].Hint)
		}
	}
	return nil
}

// Blocked says whether a step holds a reason why the plan must not be carried out.
func (p *Plan) Blocked() bool {
	return slices.ContainsFunc(p.Steps, func(s Step) bool { return len(s.Blocks) > 0 })
}
