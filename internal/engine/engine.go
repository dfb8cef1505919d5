package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/workflow"
)

// Engine runs workflows. All that it needs of the world is handed in.
type Engine struct {
	Store state.Store
	Now   func() time.Time
	Me    Actor
	// Version is tkgfix's own, for the journal.
	Version string
	// Catalog describes the steps that exist.
	Catalog Catalog
	// Launch makes the plugins ready for one run with these connections. started is called after each process starts and before its
	// first call; if it fails the process must not be used.
	Launch func(conns plugins.Connections, started func(context.Context, Process) error) Plugins
	// End proves a process of an earlier attempt dead, ending it if need be. It blocks until it is gone.
	End func(context.Context, Process) error
	// File returns the digest of an input file's content, in hex.
	File func(path string) (sha256 string, err error)
	// Signer judges a decision's signature by the run's file of allowed signers and returns whose it is. It may be nil, if no gate
	// takes signed approvals.
	Signer func(signers, run string, d approval.Decision) (approval.Identity, error)
	// Vouch returns who gave a decision that has a Ref. The error is approval.ErrNotCounted if it does not stand there, or does not count;
	// any other says that it cannot be told now. It is asked again before each step acts. It may be nil, if no decision is given elsewhere.
	Vouch func(ctx context.Context, run string, d approval.Decision) (approval.Identity, error)
	// PlanOnly ends an attempt when there is a plan with changes, with its gates waiting.
	PlanOnly bool
	// AutoApprove is the strongest effect whose gates Me approves without being asked, where the gate's policy lets Me; empty means none.
	AutoApprove plugins.Effect
	// Stop, when it is closed, ends an attempt as soon as no effect is in flight. It may be nil.
	Stop <-chan struct{}
	// Ask, if set, asks a person at a gate. It returns false if nobody could be asked.
	Ask func(context.Context, plan.Gate, plan.Step) (approval.Decision, bool, error)
	// Watch, if set, is told what happens. It must not block for long.
	Watch func(Event)
	// Tracer, if set, is given a trace of each run: docs/observability.md. Its spans must not block.
	Tracer trace.Tracer
}

// Catalog describes the steps that exist, for validation and for the digest.
type Catalog interface {
	workflow.Schemas
	// Plugin returns what the plan says of the code behind a uses: name.
	Plugin(uses string) (plan.Plugin, error)
}

// Plugins are the steps of one run.
type Plugins interface {
	// Step returns the step of that name, starting its process if need be.
	Step(ctx context.Context, uses string) (plugins.Step, error)
	// Close ends the processes.
	Close(ctx context.Context) error
}

// EventKind says what an Event tells.
type EventKind string

// The kinds of events.
const (
	EventPlanning EventKind = "planning" // a step is being planned
	EventPlanned  EventKind = "planned"  // a step was planned; Step is set
	EventPlan     EventKind = "plan"     // the whole plan is there; Plan is set
	EventApplying EventKind = "applying" // a step begins to act
	EventProgress EventKind = "progress" // what is being waited for
	EventRetry    EventKind = "retry"    // an attempt will be followed by another
	EventApplied  EventKind = "applied"  // a step has acted
	EventVoided   EventKind = "voided"   // an approval is void; Moved is set
	EventFailed   EventKind = "failed"   // a step failed
	EventBrake    EventKind = "brake"    // instances are not begun; Text says why, NotBegun which
	EventAnew     EventKind = "anew"     // the run is planned anew, and Text says why
	EventStopping EventKind = "stopping" // the run is stopping, and Text is in flight
)

// Event is something that happens during a run, for people who watch.
type Event struct {
	Kind  EventKind
	ID    string
	Text  string
	Step  *plan.Step
	Plan  *plan.Plan
	Moved []string
	// NotBegun are the ids of the instances that a brake holds back.
	NotBegun []string
}

// Request asks for a new run.
type Request struct {
	// ID is the run's id, new.
	ID          string
	Workflow    *workflow.Workflow
	Inputs      []plan.Input
	Connections plugins.Connections
	// AllowedSigners is the absolute path of the file by which signed approvals are judged; empty if they need no signature.
	AllowedSigners string
	// Dir is the absolute path of the folder in which relative paths of steps begin.
	Dir string
}

func (e *Engine) created(req Request) Created {
	return Created{
		File: req.Workflow.File, Source: string(req.Workflow.Source), Inputs: req.Inputs, Connections: req.Connections,
		AllowedSigners: req.AllowedSigners, Dir: req.Dir, By: e.Me, Version: e.Version,
	}
}

// Create begins a run's journal. Nothing is planned yet.
func (e *Engine) Create(ctx context.Context, req Request) error {
	d, err := e.draft(kindCreated, e.created(req))
	if err != nil {
		return err
	}
	if _, err := e.Store.Append(ctx, req.ID, 1, d); err != nil {
		return fmt.Errorf("create run %s: %w", req.ID, err)
	}
	return nil
}

// Plan plans without a run: nothing is journalled.
func (e *Engine) Plan(ctx context.Context, req Request) (*plan.Plan, error) {
	x := &execution{Engine: e, workflow: req.Workflow}
	x.plugins = e.Launch(req.Connections, func(context.Context, Process) error { return nil })
	defer func() { _ = x.plugins.Close(context.WithoutCancel(ctx)) }()
	return x.build(ctx, e.created(req))
}

// Load returns what the journal says of a run. With damage in the journal it returns the CorruptError.
func (e *Engine) Load(ctx context.Context, id string) (*Run, error) {
	entries, err := e.Store.Read(ctx, id, 1)
	if err != nil {
		return nil, fmt.Errorf("read run: %w", err)
	}
	return Replay(id, entries)
}

// ErrFinal is returned for a run of which nothing more can come.
var ErrFinal = errors.New("the run is over")

// Run carries a run as far as it can go now, from wherever its journal says that it is: a new one is planned, one that was
// killed goes on. It blocks until the run is over, waits for approval or ctx ends, and returns the run as it then is. The
// error is nil for a run that is done or waits.
func (e *Engine) Run(ctx context.Context, id string) (*Run, error) {
	return e.held(ctx, id, func(x *execution) error { return x.execute(ctx) })
}

func (e *Engine) holder() state.Holder {
	user, _, _ := strings.Cut(e.Me.Identity.Name, "@")
	return state.Holder{User: user, Host: e.Me.Host, PID: e.Me.PID, Since: e.Now()}
}

func (e *Engine) draft(kind string, data any) (state.Draft, error) {
	raw, err := json.Marshal(data)
	if err != nil {
		return state.Draft{}, fmt.Errorf("encode %s: %w", kind, err)
	}
	return state.Draft{Time: e.Now(), Kind: kind, Data: raw}, nil
}

func (e *Engine) tell(ev Event) {
	if e.Watch != nil {
		e.Watch(ev)
	}
}
