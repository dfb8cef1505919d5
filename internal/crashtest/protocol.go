package crashtest

import (
	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/state"
)

// The acts of a child.
const (
	actCreate = "create"
	actRun    = "run"
	actDecide = "decide"
	actUnlock = "unlock"
)

// job is the first line that a child reads. Each line after it lets it go on from where it waits.
type job struct {
	Act string `json:"act"`
	Run string `json:"run"`
	// Decision is what a person says, for decide.
	Decision *approval.Decision `json:"decision,omitempty"`
}

// message is a line that a child writes: where it is, or how it ended.
type message struct {
	Reach  *reach  `json:"reach,omitempty"`
	Ending *ending `json:"ending,omitempty"`
}

// reach says that a child is at a boundary and waits.
type reach struct {
	When  When   `json:"when"`
	Label string `json:"label"`
	// Locked is true if the child says that it holds the run's lock.
	Locked bool `json:"locked"`
	// Step and Uses are the step at work; of an entry only Step is known.
	Step string `json:"step,omitempty"`
	Uses string `json:"uses,omitempty"`
	// Process is the plugin's process of a plugin.started.
	Process *engine.Process `json:"process,omitempty"`
}

// ending is how a child's act ended.
type ending struct {
	Status engine.Status `json:"status,omitempty"`
	Error  string        `json:"error,omitempty"`
	// Conflict is true if the error was that another had appended.
	Conflict bool `json:"conflict,omitempty"`
	// Locked is who held the run, if the act was refused for it.
	Locked *state.Holder `json:"locked,omitempty"`
}

// goOn is the line that lets a child go on.
const goOn = "go\n"
