package engine

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

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
	// Moved holds, by step, what moved between an approval and the step's turn.
	Moved map[string][]string `json:"moved,omitempty"`
	// Error and Hint say why the run ended, if it failed.
	Error string `json:"error,omitempty"`
	Hint  string `json:"hint,omitempty"`

	processes []Process
}

// Progress is what happened to a step after it was planned.
type Progress struct {
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished,omitzero"`
	// Attempts counts the transient errors that its retry budget has paid for.
	Attempts   int               `json:"attempts"`
	ApprovedBy approval.Identity `json:"approvedBy"`
	Digest     string            `json:"digest"`
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
	Note     string         `json:"note,omitempty"`
}

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
		kindResumed: on(func(r *Run, _ time.Time, _ resumed) { r.Status, r.Error, r.Hint = Running, "", "" }),
		// Only a run that has changed nothing yet is planned anew, so nothing that is forgotten here was done.
		kindPlanned: on(func(r *Run, _ time.Time, d planned) {
			r.Plan, r.Status, r.Steps, r.Moved = &d.Plan, Running, map[string]*Progress{}, map[string][]string{}
		}),
		kindWaiting:   on(func(r *Run, _ time.Time, _ waiting) { r.Status = Waiting }),
		kindFinished:  on(func(r *Run, _ time.Time, d finished) { r.Status, r.Error, r.Hint = d.Status, d.Error, d.Hint }),
		kindProcess:   on(func(r *Run, _ time.Time, d Process) { r.processes = append(r.processes, d) }),
		kindDecided:   on(func(r *Run, _ time.Time, d approval.Decision) { r.Decisions = append(r.Decisions, d) }),
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

func foldReplanned(r *Run, _ time.Time, d replanned) {
	if r.Plan == nil {
		return
	}
	if i := slices.IndexFunc(r.Plan.Steps, func(s plan.Step) bool { return s.ID == d.Step.ID }); i >= 0 {
		r.Plan.Steps[i] = d.Step
	}
	r.Plan.Gates = slices.DeleteFunc(r.Plan.Gates, func(g plan.Gate) bool { return g.Step == d.Step.ID })
	if d.Gate != nil {
		r.Plan.Gates = append(r.Plan.Gates, *d.Gate)
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
	if s, ok := r.Plan.Step(d.Step); ok {
		s.Status, s.Outputs = plan.Done, merge(s.Outputs, d.Outputs)
	}
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

func (r *Run) effect(step, key string) *Effect {
	i := slices.IndexFunc(r.Effects, func(e Effect) bool { return e.Step == step && e.Key == key })
	if i < 0 {
		return nil
	}
	return &r.Effects[i]
}

// begun says whether an effect of the step was intended: from then on its effects tell what happened, not a new plan. A
// step that was started and intended nothing has done nothing, and is planned again.
func (r *Run) begun(step string) bool {
	return slices.ContainsFunc(r.Effects, func(e Effect) bool { return e.Step == step })
}

// Final says whether nothing more can come of the run.
func (r *Run) Final() bool { return r.Status == Done || r.Status == Rejected }

// PendingGates returns the gates whose changes are neither made nor decided.
func (r *Run) PendingGates() []plan.Gate {
	if r.Plan == nil {
		return nil
	}
	var out []plan.Gate
	for _, g := range r.Plan.Gates {
		s, ok := r.Plan.Step(g.Step)
		if !ok || s.Status != plan.Changes || r.begun(g.Step) {
			continue
		}
		if v, _ := approval.Judge(g.Digest, r.Decisions); v == approval.Pending {
			out = append(out, g)
		}
	}
	return out
}
