package engine

import (
	"encoding/json"
	"time"

	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/plugins"
)

// The kinds of journal entries. A reader ignores kinds that it does not know.
const (
	kindCreated   = "run.created"
	kindResumed   = "run.resumed"
	kindTrace     = "trace.started"
	kindPlanned   = "run.planned"
	kindWaiting   = "run.waiting"
	kindFinished  = "run.finished"
	kindProcess   = "plugin.started"
	kindReplanned = "step.planned"
	kindStarted   = "step.started"
	kindAttempt   = "step.attempt"
	kindApplied   = "step.finished"
	kindFailed    = "step.failed"
	kindBraked    = "step.braked"
	kindIntended  = "effect.intended"
	kindDone      = "effect.done"
	kindResolved  = "effect.resolved"
	kindDecided   = "gate.decided"
	kindWithdrawn = "gate.withdrawn"
	kindBroken    = "lock.broken"
)

// Actor is who runs the engine, and where.
type Actor struct {
	Identity approval.Identity `json:"identity"`
	Host     string            `json:"host"`
	PID      int               `json:"pid"`
}

// Process identifies a plugin's process well enough to prove it dead later.
type Process struct {
	Name string `json:"name"`
	PID  int    `json:"pid"`
	// StartTicks and BootID tell the process from a later one with the same number.
	StartTicks uint64 `json:"startTicks"`
	BootID     string `json:"bootID"`
}

// Created begins a journal: all that is needed to run the workflow again from nothing.
type Created struct {
	// File is the workflow's file as it was named; Source is its text.
	File        string              `json:"file"`
	Source      string              `json:"source"`
	Inputs      []plan.Input        `json:"inputs"`
	Connections plugins.Connections `json:"connections"`
	// AllowedSigners is the file by which signed approvals are judged.
	AllowedSigners string `json:"allowedSigners,omitempty"`
	// Dir is the folder in which relative paths of steps begin; empty in journals of before there were any.
	Dir     string `json:"dir,omitempty"`
	By      Actor  `json:"by"`
	Version string `json:"version"`
}

type resumed struct {
	By Actor `json:"by"`
}

type planned struct {
	Plan plan.Plan `json:"plan"`
	// Why says why there is another plan than before, if there is.
	Why string `json:"why,omitempty"`
}

type waiting struct {
	Gates []string `json:"gates"`
}

type finished struct {
	Status Status `json:"status"`
	Error  string `json:"error,omitempty"`
	Hint   string `json:"hint,omitempty"`
	// Guard is the guard that did not hold, if that is why.
	Guard string `json:"guard,omitempty"`
}

type replanned struct {
	Step plan.Step `json:"step"`
	// Of is the step that Step is an instance of.
	Of   string     `json:"of,omitempty"`
	Gate *plan.Gate `json:"gate,omitempty"`
	// Moved says what differs from the changes that were planned before, whose approvals are void.
	Moved []string `json:"moved,omitempty"`
}

type started struct {
	Step   string              `json:"step"`
	Digest string              `json:"digest,omitempty"`
	By     []approval.Identity `json:"approvedBy,omitempty"`
}

type attempted struct {
	Step   string        `json:"step"`
	Number int           `json:"number"`
	Error  string        `json:"error"`
	Next   time.Duration `json:"nextInNanoseconds"`
}

type applied struct {
	Step     string             `json:"step"`
	Outputs  json.RawMessage    `json:"outputs,omitempty"`
	Summary  string             `json:"summary,omitempty"`
	Evidence []plugins.Evidence `json:"evidence,omitempty"`
	// Tolerated are the instances that failed and that the step's strategy allows to fail.
	Tolerated []string `json:"tolerated,omitempty"`
}

type failed struct {
	Step  string            `json:"step"`
	Kind  plugins.ErrorKind `json:"errorKind"`
	Error string            `json:"error"`
	Hint  string            `json:"hint,omitempty"`
}

// braked says that a step begins no more of its instances in this attempt.
type braked struct {
	Step string `json:"step"`
	// Why says what failed. NotBegun are the instances that were not begun, in their order.
	Why      string   `json:"why"`
	NotBegun []string `json:"notBegun"`
}

// withdrawn says that a decision that stands elsewhere does not count any more.
type withdrawn struct {
	Ref string `json:"ref"`
	Why string `json:"why"`
}

type intended struct {
	Step   string         `json:"step"`
	Key    string         `json:"key"`
	Target plugins.Target `json:"target"`
}

type effectDone struct {
	Step string `json:"step"`
	Key  string `json:"key"`
	Note string `json:"note,omitempty"`
}

// Outcome is what a person says became of an effect that nobody else can tell.
type Outcome string

// The outcomes.
const (
	// Happened means that the effect happened: it is not done again.
	Happened Outcome = "done"
	// Absent means that it did not and will not: it may be done.
	Absent Outcome = "absent"
)

type resolved struct {
	Step    string  `json:"step"`
	Key     string  `json:"key"`
	Outcome Outcome `json:"outcome"`
	By      Actor   `json:"by"`
	Reason  string  `json:"reason,omitempty"`
}

type broken struct {
	By     Actor        `json:"by"`
	Was    state.Holder `json:"was"`
	Reason string       `json:"reason,omitempty"`
}
