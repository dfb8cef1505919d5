package workflow

import "time"

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
	// Steps are in the order of the file; Order tells in which they run.
	Steps []Step
	// Source holds the bytes that were parsed, File the name that Parse was given.
	Source []byte
	File   string

	src   *source
	specs span              // where spec: stands, for what is missing in it
	types map[string]*shape // step id to the shape of its outputs; nil before Validate
	reads map[string]bool   // step ids whose effect is read; nil before Validate
}

// Step returns the step of the id, nil if there is none.
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

// SupervisorSpec is the supervisor connection as written.
type SupervisorSpec struct {
	Kubeconfig, Context *Template
}

// NodesSpec is the nodes connection as written, with the defaults filled in.
type NodesSpec struct {
	// Via is ssh. HostKeys is accept-new or strict.
	Via, HostKeys string
	// Port is the number; PortExpr, when it is not zero, is the expression that gives it.
	Port     int
	PortExpr Expr
	// User defaults to vmware-system-user (tkg-facts.md §3). KnownHosts is nil when it was left out.
	User, KnownHosts *Template
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
	// If tells whether the step runs; the zero Expr means always.
	If Expr
	// Needs are the ids that must be done before: those written and those whose outputs are used, sorted.
	Needs []string
	// Approval is nil when none is asked for.
	Approval *Approval
	// Timeout and Retry are the step's own, or the workflow's defaults.
	Timeout time.Duration
	Retry   Retry
	// References holds the ids of the steps whose outputs the expressions of this step use.
	References map[string]bool
	// Pos is where the step's id stands.
	Pos Pos

	idSpan   span
	usesSpan span
	written  []need // needs: as written
	broken   bool   // a part of it could not be read: what may be missing is not reported again
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
}

func builtinDefaults() Defaults {
	return Defaults{
		Timeout: 30 * time.Minute,
		Retry:   Retry{Attempts: 3, Backoff: "exponential", Initial: time.Second, Max: 30 * time.Second, Jitter: 10},
	}
}
