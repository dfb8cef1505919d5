package workflow

import (
	"slices"
	"time"
)

// The values of apiVersion and kind that a workflow file has.
const (
	APIVersion = "tkgfix.dev/v1alpha1"
	Kind       = "Workflow"
)

// Workflow is a workflow file that was read. It is made by Parse and does not change after Validate; then its methods
// may be called from several goroutines.
type Workflow struct {
	Name        string
	Description string
	// Inputs are in the order of the file.
	Inputs      []Input
	Connections Connections
	Defaults    Defaults
	// Approvals says how approvers are known; nil when the file does not.
	Approvals *ApprovalsSpec
	// Guards must hold when a changing step is about to run.
	Guards []Guard
	// Steps are in the order of the file; Order tells in which they run.
	Steps []Step
	// OnFailure are the steps, in the order of the file, of a run that failed, is blocked or was rejected.
	OnFailure []Step
	// Source holds the bytes that were parsed, File the name that Parse was given.
	Source []byte
	File   string

	src   *source
	specs span              // where spec: stands, for what is missing in it
	types map[string]*shape // step id to the shape of its outputs, of one item with forEach; nil before Validate
	items map[string]*shape // step id to the shape of an item of its forEach; nil before Validate
	reads map[string]bool   // step ids whose effect is read; nil before Validate
}

// Step returns the step of the id, nil if there is none. Those of OnFailure are not among them.
func (w *Workflow) Step(id string) *Step {
	for i := range w.Steps {
		if w.Steps[i].ID == id {
			return &w.Steps[i]
		}
	}
	return nil
}

// Input is a value that a run is started with.
type Input struct {
	Name string
	// Type is string, integer, boolean, file or list (of strings).
	Type        string
	Description string
	// Default is a string, int64, bool or []any of strings, as Type says; nil when HasDefault is false.
	Default    any
	HasDefault bool
	// Required is true when there is no default.
	Required bool
	// Pos is where the input is declared.
	Pos Pos
}

// Connections say where things are. Each is nil when the file does not have it.
type Connections struct {
	Supervisor *SupervisorSpec
	Nodes      *NodesSpec
}

// SupervisorSpec is a Supervisor as written, of the file or of a step.
type SupervisorSpec struct {
	Kubeconfig, Context *Template
}

// NodesSpec is the nodes connection as written, with the defaults filled in.
type NodesSpec struct {
	// Via is ssh or debug-pod. HostKeys is accept-new or strict.
	Via, HostKeys string
	// Agent tells whether the keys of the SSH agent are tried first.
	Agent bool
	// Port is the number; PortExpr, when it is not zero, is the expression that gives it.
	Port     int
	PortExpr Expr
	// User defaults to vmware-system-user (tkg-facts.md §3).
	User *Template
	// Each of these is nil when it was left out.
	KnownHosts, Jump, IdentityFile, PasswordFile, Image *Template
}

// Defaults hold for each step that does not say otherwise.
type Defaults struct {
	Timeout time.Duration
	Retry   Retry
}

// Retry says how often and how quickly a step is tried again after a transient failure.
type Retry struct {
	// Attempts counts the first one too: 1 means no retry.
	Attempts int
	// Backoff is constant or exponential.
	Backoff string
	// Initial is the first wait, Max the longest.
	Initial, Max time.Duration
	// Jitter is how far a wait may be off, in percent, 0 to 100.
	Jitter int
}

// Step is one step of a workflow.
type Step struct {
	// ID is unique and matches [a-z][a-z0-9_]*.
	ID string
	// Uses names what the step does; Name is a title for people and may be empty.
	Uses, Name string
	// With is the input as written; nil when there is none. EvalWith makes the input of it.
	With *Value
	// Effect is read, change or destroy as written, empty if not; the method Effect tells which effect holds.
	Effect string
	// ForEach gives the list of items, for each of which the step is taken once; the zero Expr means once and without an item.
	ForEach Expr
	// As is the name by which the expressions of the step see the item; empty without ForEach.
	As string
	// Strategy says how the items are gone through.
	Strategy Strategy
	// If tells whether the step runs; the zero Expr means always. IfUsesItem tells whether that is asked for each item.
	If Expr
	// Needs are the ids that must be done before: those written and those whose outputs are used, sorted.
	Needs []string
	// Approval is nil when none is asked for.
	Approval *Approval
	// Timeout and Retry are the step's own, or the workflow's defaults.
	Timeout time.Duration
	Retry   Retry
	// Supervisor says which Supervisor the step is about; nil when that is the file's. EvalSupervisor gives the value.
	Supervisor *SupervisorSpec
	// References holds the ids of the steps whose outputs the expressions of this step use as a whole: with forEach, as a list.
	References map[string]bool
	// Its holds the ids of the steps whose outputs for the same item the expressions of this step, which has forEach, use.
	Its map[string]bool
	// Pos is where the step's id stands.
	Pos Pos

	idSpan         span
	usesSpan       span
	effectSpan     span   // zero when there is no effect:
	approversSpan  span   // zero when there are no approvers:
	supervisorSpan span   // zero when there is no supervisor:
	written        []need // needs: as written
	each           bool   // forEach: is there, however broken
	broken         bool   // a part of it could not be read: what may be missing is not reported again
}

// NeedsAll tells whether the step needs all of another step: its outputs as a whole, or that it is done. Else it needs at most what that
// found for the same item.
func (s *Step) NeedsAll(id string) bool {
	return s.References[id] || slices.ContainsFunc(s.written, func(n need) bool { return n.id == id })
}

// Strategy says how a step goes through its items.
type Strategy struct {
	// MaxParallel is how many items are under way at once, 1 to 100; 0 when it is not written.
	MaxParallel int
	// Canary is how many items, 0 to 100, must succeed before the others begin.
	Canary int
	// MaxFailures is how many items, 0 to 100, may fail before no further one begins.
	MaxFailures int
}

// Guard is a condition that must hold when a changing step is about to run.
type Guard struct {
	// Name is unique among the guards.
	Name string
	// Expr tells whether the guard holds.
	Expr Expr
	// Message says what does not hold.
	Message string
	// Pos is where the guard's name stands.
	Pos Pos
}

// ApprovalsSpec says how approvers are known.
type ApprovalsSpec struct {
	// AllowedSigners is the path of a file as ssh-keygen -Y verify takes it. EvalAllowedSigners gives the value.
	AllowedSigners *Template
}

// need is one written entry of needs.
type need struct {
	id string
	at span
}

// Approval is a gate before a step.
type Approval struct {
	// Message is what the approver is asked.
	Message *Template
	// Required is how many must approve, 1 to 20.
	Required int
	// ExpiresAfter is how long the gate waits; 0 means for ever.
	ExpiresAfter time.Duration
	// Requester is true if who asked for the run may approve it.
	Requester bool
	// Approvers are the principals that may approve; empty means anybody.
	Approvers []string
}

func builtinDefaults() Defaults {
	return Defaults{
		Timeout: 30 * time.Minute,
		Retry:   Retry{Attempts: 3, Backoff: "exponential", Initial: time.Second, Max: 30 * time.Second, Jitter: 10},
	}
}
