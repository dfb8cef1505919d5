package engine

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/plugins"
)

// Status is how far a run has come.
type Status string

// The statuses of a run.
const (
	Planning    Status = "planning"
	Running     Status = "running"
	Waiting     Status = "waiting"
	Interrupted Status = "interrupted"
	Done        Status = "done"
	Failed      Status = "failed"
	Blocked     Status = "blocked"
	Rejected    Status = "rejected"
)

// Run is what a journal says of a run. It is a pure fold: the same entries always give the same Run.
type Run struct {
	ID      string    `json:"id"`
	Status  Status    `json:"status"`
	Began   time.Time `json:"began"`
	Updated time.Time `json:"updated"`
	// Seq is the number of the last entry.
	Seq     uint64  `json:"seq"`
	Created Created `json:"created"`
	// Plan is nil until the run is planned. Its steps are brought up to date as they are planned again and applied.
	Plan *plan.Plan `json:"plan,omitempty"`
	// Steps holds what happened to the steps that were begun, by id.
	Steps     map[string]*Progress `json:"steps"`
	Effects   []Effect             `json:"effects"`
	Decisions []approval.Decision  `json:"decisions"`
	// Broken lists who broke the run's lock.
	Broken []Breach `json:"broken,omitempty"`
	// Moved holds, by step, what moved between an approval and the step's turn.
	Moved map[string][]string `json:"moved,omitempty"`
	// NotBegun says, by instance, why it was not begun in the last attempt: the brake of its step's strategy.
	NotBegun map[string]string `json:"notBegun,omitempty"`
	// Error and Hint say why the run ended, if it failed; Guard is the guard that did not hold, if that is why.
	Error string `json:"error,omitempty"`
	Hint  string `json:"hint,omitempty"`
	Guard string `json:"guard,omitempty"`
	// WaitsFor are the gates at which the last attempt ended, if it ended waiting.
	WaitsFor []string `json:"waitsFor,omitempty"`

	processes []Process
	attempts  int
	failures  int // how often an attempt ended without success
	// trace is the span under which those of all attempts stand; invalid if the run is not traced.
	trace trace.SpanContext
	// failedStep is the plan's step or instance that failed last in this attempt; empty if none did.
	failedStep string
}

// Breach is a lock that was broken.
type Breach struct {
	At     time.Time    `json:"at"`
	By     Actor        `json:"by"`
	Was    state.Holder `json:"was"`
	Reason string       `json:"reason,omitempty"`
}

// Progress is what happened to a step after it was planned.
type Progress struct {
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished,omitzero"`
	// Attempts counts the transient errors that its retry budget has paid for.
	Attempts   int                 `json:"attempts"`
	ApprovedBy []approval.Identity `json:"approvedBy,omitempty"`
	// Digest is what the approvals name.
	Digest string `json:"digest,omitempty"`
	// Evidence is what was seen while it was applied; that of its plan is in the plan.
	Evidence []plugins.Evidence `json:"evidence,omitempty"`
	Summary  string             `json:"summary,omitempty"`
	Error    string             `json:"error,omitempty"`
	Hint     string             `json:"hint,omitempty"`
}

// Effect is one external act.
type Effect struct {
	Step     string         `json:"step"`
	Key      string         `json:"key"`
	Target   plugins.Target `json:"target"`
	Intended time.Time      `json:"intended"`
	Done     time.Time      `json:"done,omitzero"`
	// Absent is when a person said that it did not happen; from then on it is as if it had never been intended.
	Absent time.Time `json:"absent,omitzero"`
	// Note says how it is known, and by whose word.
	Note string `json:"note,omitempty"`
}

// Open says whether the effect is intended and nobody knows yet that it happened.
func (e *Effect) Open() bool { return e.Done.IsZero() && e.Absent.IsZero() }

// Replay folds a journal. Entries of unknown kinds are passed over.
func Replay(id string, entries []state.Entry) (*Run, error) {
	r := &Run{ID: id, Status: Planning, Steps: map[string]*Progress{}, Moved: map[string][]string{}}
	table := folds()
	for _, e := range entries {
		if err := r.fold(table, e); err != nil {
			return nil, fmt.Errorf("replay run %s: entry %d (%s): %w", id, e.Seq, e.Kind, err)
		}
	}
	if r.Seq == 0 || r.Created.Source == "" {
		return nil, fmt.Errorf("replay run %s: the journal does not begin with %s", id, kindCreated)
	}
	return r, nil
}

func (r *Run) fold(table map[string]fold, e state.Entry) error {
	f, ok := table[e.Kind]
	if r.Began.IsZero() {
		r.Began = e.Time
	}
	r.Seq, r.Updated = e.Seq, e.Time
	if !ok {
		return nil
	}
	return f(r, e)
}

type fold func(*Run, state.Entry) error

// folds says what each kind of entry does to a run.
func folds() map[string]fold {
	return map[string]fold{
		kindCreated: on(func(r *Run, _ time.Time, d Created) { r.Created = d }),
		kindResumed: on(func(r *Run, _ time.Time, _ resumed) {
			r.Status, r.Error, r.Hint, r.Guard, r.failedStep, r.NotBegun, r.WaitsFor = Running, "", "", "", "", nil, nil
			r.attempts++
		}),
		kindTrace: on(func(r *Run, _ time.Time, d traceStarted) {
			if parent := d.remote(); parent.IsValid() {
				r.trace = parent
			}
		}),
		kindBraked: on(func(r *Run, _ time.Time, d braked) {
			r.NotBegun = map[string]string{}
			for _, id := range d.NotBegun {
				r.NotBegun[id] = "not begun: brake: " + d.Why
			}
		}),
		kindPlanned: on(foldPlanned),
		kindWaiting: on(func(r *Run, _ time.Time, d waiting) { r.Status, r.WaitsFor = Waiting, d.Gates }),
		kindFinished: on(func(r *Run, _ time.Time, d finished) {
			r.Status, r.Error, r.Hint, r.Guard = d.Status, d.Error, d.Hint, d.Guard
			if d.Status != Done {
				r.failures++
			}
		}),
		kindBroken: on(func(r *Run, at time.Time, d broken) {
			r.Broken = append(r.Broken, Breach{At: at, By: d.By, Was: d.Was, Reason: d.Reason})
		}),
		kindResolved: on(foldResolved),
		kindProcess:  on(func(r *Run, _ time.Time, d Process) { r.processes = append(r.processes, d) }),
		kindDecided:  on(func(r *Run, _ time.Time, d approval.Decision) { r.Decisions = append(r.Decisions, d) }),
		kindWithdrawn: on(func(r *Run, _ time.Time, d withdrawn) {
			r.Decisions = slices.DeleteFunc(r.Decisions, func(was approval.Decision) bool { return was.Ref == d.Ref })
		}),
		kindReplanned: on(foldReplanned),
		kindStarted: on(func(r *Run, at time.Time, d started) {
			p := r.progress(d.Step, at)
			p.Digest, p.ApprovedBy = d.Digest, d.By
		}),
		kindAttempt: on(func(r *Run, at time.Time, d attempted) { r.progress(d.Step, at).Attempts = d.Number }),
		kindApplied: on(foldApplied),
		kindFailed: on(func(r *Run, at time.Time, d failed) {
			p := r.progress(d.Step, at)
			p.Error, p.Hint = d.Error, d.Hint
			if r.Plan == nil {
				return
			}
			if _, planned := r.Plan.Step(d.Step); planned { // and not one of onFailure, which comes after
				r.failedStep = d.Step
			}
		}),
		kindIntended: on(func(r *Run, at time.Time, d intended) {
			r.Effects = append(r.Effects, Effect{Step: d.Step, Key: d.Key, Target: d.Target, Intended: at})
		}),
		kindDone: on(func(r *Run, at time.Time, d effectDone) {
			if e := r.effect(d.Step, d.Key); e != nil {
				e.Done, e.Note = at, d.Note
			}
		}),
	}
}

// on makes a fold of an entry whose data is a T.
func on[T any](f func(*Run, time.Time, T)) fold {
	return func(r *Run, e state.Entry) error {
		var data T
		if err := json.Unmarshal(e.Data, &data); err != nil {
			return fmt.Errorf("read its data: %w", err)
		}
		f(r, e.Time, data)
		return nil
	}
}

// foldPlanned takes a plan. Only a run that has changed nothing yet is planned anew, so nothing that is forgotten here was
// done. A gate that shows what it showed before has been open since then.
func foldPlanned(r *Run, at time.Time, d planned) {
	var before []plan.Gate
	if r.Plan != nil {
		before = r.Plan.Gates
	}
	r.Plan, r.Status, r.Steps, r.Moved = &d.Plan, Running, map[string]*Progress{}, map[string][]string{}
	for i := range r.Plan.Gates {
		r.Plan.Gates[i].Shown = shown(before, r.Plan.Gates[i], at)
	}
}

// shown returns since when a gate shows its digest.
func shown(before []plan.Gate, g plan.Gate, at time.Time) time.Time {
	for _, b := range before {
		if b.Step == g.Step && b.Digest == g.Digest && !b.Shown.IsZero() {
			return b.Shown
		}
	}
	return at
}

func foldReplanned(r *Run, at time.Time, d replanned) {
	if r.Plan == nil {
		return
	}
	if s, ok := r.Plan.Step(d.Step.ID); ok {
		*s = d.Step
	}
	gated := d.Step.ID
	if d.Of != "" {
		gated = d.Of
		if s, ok := r.Plan.Step(d.Of); ok {
			s.Gather()
		}
	}
	before := slices.Clone(r.Plan.Gates)
	r.Plan.Gates = slices.DeleteFunc(r.Plan.Gates, func(g plan.Gate) bool { return g.Step == gated })
	if d.Gate != nil {
		g := *d.Gate
		g.Shown = shown(before, g, at)
		r.Plan.Gates = append(r.Plan.Gates, g)
	}
	if len(d.Moved) > 0 {
		r.Moved[d.Step.ID] = d.Moved
	}
}

func foldApplied(r *Run, at time.Time, d applied) {
	p := r.progress(d.Step, at)
	p.Finished, p.Evidence, p.Summary, p.Error, p.Hint = at, d.Evidence, d.Summary, "", ""
	if r.Plan == nil {
		return
	}
	s, ok := r.Plan.Step(d.Step)
	if !ok {
		return
	}
	if s.ForEach {
		for _, id := range d.Tolerated {
			if in, ok := r.Plan.Step(id); ok {
				in.Status, in.Why = plan.Failed, r.progress(id, at).Error
			}
		}
		s.Gather()
		return
	}
	s.Status, s.Outputs = plan.Done, merge(s.Outputs, d.Outputs)
	for i := range r.Plan.Steps {
		r.Plan.Steps[i].Gather()
	}
}

func foldResolved(r *Run, at time.Time, d resolved) {
	e := r.effect(d.Step, d.Key)
	if e == nil {
		return
	}
	e.Note = "by the word of " + d.By.Identity.Name
	if d.Reason != "" {
		e.Note += ": " + d.Reason
	}
	if d.Outcome == Happened {
		e.Done = at
		return
	}
	e.Absent = at
}

// merge returns the fields of b over those of a.
func merge(a, b json.RawMessage) json.RawMessage {
	var left, right map[string]json.RawMessage
	if json.Unmarshal(b, &right) != nil {
		return a
	}
	if json.Unmarshal(a, &left) != nil || left == nil {
		return b
	}
	maps.Copy(left, right)
	out, err := json.Marshal(left)
	if err != nil {
		return b
	}
	return out
}

func (r *Run) progress(step string, at time.Time) *Progress {
	if r.Steps[step] == nil {
		r.Steps[step] = &Progress{Started: at}
	}
	return r.Steps[step]
}

// effect returns the effect of that key; nil if it is not intended.
func (r *Run) effect(step, key string) *Effect {
	i := slices.IndexFunc(r.Effects, func(e Effect) bool { return e.Step == step && e.Key == key && e.Absent.IsZero() })
	if i < 0 {
		return nil
	}
	return &r.Effects[i]
}

// begun says whether an effect of the step or instance was intended: from then on its effects tell what happened, not a new plan.
// A step that was started and intended nothing has done nothing, and is planned again.
func (r *Run) begun(id string) bool {
	return slices.ContainsFunc(r.Effects, func(e Effect) bool { return e.Step == id && e.Absent.IsZero() })
}

// acted says whether anything was begun at all.
func (r *Run) acted() bool {
	return slices.ContainsFunc(r.Effects, func(e Effect) bool { return e.Absent.IsZero() })
}

// Final says whether nothing more can come of the run.
func (r *Run) Final() bool { return r.Status == Done || r.Status == Rejected }

// Outcome returns what the decisions on a gate come to at the time now.
func (r *Run) Outcome(g plan.Gate, now time.Time) approval.Outcome {
	return g.Judged(r.Created.By.Identity).Judge(r.Decisions, now)
}

// judgement is the ground on which the run's gates are judged.
func (r *Run) judgement(now time.Time) plan.Judgement {
	return plan.Judgement{Requester: r.Created.By.Identity, Decisions: slices.Clone(r.Decisions), Now: now}
}

// PendingGates returns the gates that are still to be approved at the time now.
func (r *Run) PendingGates(now time.Time) []plan.Gate {
	if r.Plan == nil {
		return nil
	}
	var out []plan.Gate
	for _, g := range r.Plan.Gates {
		s, ok := r.Plan.Step(g.Step)
		if !ok || !slices.ContainsFunc(s.Each(), func(in *plan.Step) bool { return in.Status == plan.Changes && !r.begun(in.ID) }) {
			continue
		}
		if r.Outcome(g, now).Verdict == approval.Pending {
			out = append(out, g)
		}
	}
	return out
}
