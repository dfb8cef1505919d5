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
	"time"

	"github.com/tkgfix/tkgfix/internal/approval"
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
	// AllowedSigners is the file by which signed approvals are judged, with its digest; nil without one.
	AllowedSigners *Input `json:"allowedSigners,omitempty"`
	// Plugins tells each step's plugin apart by name: version and digest of its executable.
	Plugins []Plugin `json:"plugins"`
	// Guards are the conditions under which changes may be made, as they were when the plan was made. They are looked at again
	// before each changing step, so no approval covers how they were.
	Guards []Guard `json:"guards,omitempty"`
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

// Guard is a condition that must hold when a changing step is about to act.
type Guard struct {
	Name string `json:"name"`
	// Holds is how it was; nil if that was not known yet.
	Holds *bool `json:"holds,omitempty"`
	// Message says what it means that it does not hold.
	Message string `json:"message,omitempty"`
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
	// ForEach says that the step is taken once for each item of a list: then Instances are the takes, in the order of the list,
	// and Outputs is the list of theirs.
	ForEach   bool     `json:"forEach,omitempty"`
	Strategy  Strategy `json:"strategy,omitzero"`
	Instances []Step   `json:"instances,omitempty"`
	// Item is what an instance is about.
	Item json.RawMessage `json:"item,omitempty"`
	// Supervisor is the one that the step or instance is about; nil when that is the plan's.
	Supervisor *plugins.Kube `json:"supervisor,omitempty"`
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

// Strategy says how the instances of a forEach step are taken.
type Strategy struct {
	// MaxParallel is how many are taken at once, 1 at least.
	MaxParallel int `json:"maxParallel"`
	// Canary is how many are taken, and must succeed, before the others.
	Canary int `json:"canary,omitempty"`
	// MaxFailures is how many may fail without failing the step.
	MaxFailures int `json:"maxFailures,omitempty"`
}

// Gate is the approval that a step's changes need.
type Gate struct {
	// Step is the step's id, which is the gate's name too.
	Step    string         `json:"step"`
	Effect  plugins.Effect `json:"effect"`
	Message string         `json:"message"`
	// Digest is sha256: and the hex digest of what is approved.
	Digest string          `json:"digest"`
	Policy approval.Policy `json:"policy"`
	// Shown is when a run first showed this digest; zero in a plan that is no run's.
	Shown time.Time `json:"shown,omitzero"`
}

// Clone returns a copy whose steps, instances and gates can be changed apart from p's.
func (p *Plan) Clone() *Plan {
	out := *p
	out.Gates = slices.Clone(p.Gates)
	out.Steps = slices.Clone(p.Steps)
	for i := range out.Steps {
		out.Steps[i].Instances = slices.Clone(out.Steps[i].Instances)
	}
	return &out
}

// Step returns the planned step of that id, or the instance of a forEach step.
func (p *Plan) Step(id string) (*Step, bool) {
	for i := range p.Steps {
		if p.Steps[i].ID == id {
			return &p.Steps[i], true
		}
		for j := range p.Steps[i].Instances {
			if p.Steps[i].Instances[j].ID == id {
				return &p.Steps[i].Instances[j], true
			}
		}
	}
	return nil, false
}

// Gate returns the gate of the step of that id.
func (p *Plan) Gate(step string) (*Gate, bool) {
	i := slices.IndexFunc(p.Gates, func(g Gate) bool { return g.Step == step })
	if i < 0 {
		return nil, false
	}
	return &p.Gates[i], true
}

// HasChanges says whether anything would be changed. Telling somebody is no change.
func (p *Plan) HasChanges() bool {
	return slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Effect != plugins.Announce && len(s.PlannedChanges()) > 0 })
}

// Err returns why the plan must not be carried out: the first failed step, else the first block; nil if it may.
func (p *Plan) Err() error {
	for _, s := range p.Steps {
		if s.Status == Failed {
			return plugins.Hint(fmt.Errorf("plan step %s: %s", s.ID, s.Why), "%s", s.Hint)
		}
	}
	for _, s := range p.Steps {
		if b := s.AllBlocks(); len(b) > 0 {
			return plugins.Hint(fmt.Errorf("the plan is blocked at step %s: %s", s.ID, b[0].Reason), "%s", b[0].Hint)
		}
	}
	return nil
}

// Blocked says whether a step holds a reason why the plan must not be carried out.
func (p *Plan) Blocked() bool {
	return slices.ContainsFunc(p.Steps, func(s Step) bool { return len(s.AllBlocks()) > 0 })
}
