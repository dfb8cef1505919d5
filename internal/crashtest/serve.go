package crashtest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/plugins"
)

// errLeash is returned at a boundary when the process that holds the leash is gone.
var errLeash = errors.New("the crash test that started this engine is gone")

// maxLine bounds a line of a leash, in bytes.
const maxLine = 1 << 20

// Child is what Serve needs to know.
type Child struct {
	// Engine is the engine as the product builds it. Its Store and Launch are wrapped.
	Engine *engine.Engine
	// Request returns what a new run is begun with.
	Request func(ctx context.Context) (engine.Request, error)
	// In and Out are the leash.
	In  io.Reader
	Out io.Writer
}

// Serve carries out the one job that In brings, and waits at each boundary for the word to go on. It blocks until the job
// is done or In ends. The job's own error goes to Out; the error returned is the leash's.
func Serve(ctx context.Context, c Child) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	lines := bufio.NewReaderSize(c.In, 64<<10)
	first, err := lines.ReadBytes('\n')
	if err != nil || len(first) > maxLine {
		return fmt.Errorf("read the job: %w", errors.Join(err, errLeash))
	}
	var j job
	if err := json.Unmarshal(first, &j); err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	l := &leash{out: json.NewEncoder(c.Out), word: make(chan struct{}), gone: make(chan struct{})}
	var group errgroup.Group
	group.Go(func() error {
		defer cancel(errLeash)
		defer close(l.gone)
		for {
			if _, err := lines.ReadSlice('\n'); err != nil {
				return nil
			}
			select {
			case l.word <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
		}
	})
	e := *c.Engine
	e.Store = &leashedStore{Store: e.Store, leash: l}
	launch := e.Launch
	e.Launch = func(conns plugins.Connections, started func(context.Context, engine.Process) error) engine.Plugins {
		return leashedPlugins{Plugins: launch(conns, started), leash: l}
	}
	return l.out.Encode(message{Ending: endingOf(c.act(ctx, &e, j))})
}

func (c Child) act(ctx context.Context, e *engine.Engine, j job) (*engine.Run, error) {
	switch j.Act {
	case actCreate:
		req, err := c.Request(ctx)
		if err != nil {
			return nil, err
		}
		req.ID = j.Run
		return nil, e.Create(ctx, req)
	case actRun:
		return e.Run(ctx, j.Run)
	case actDecide:
		if j.Decision == nil {
			return nil, errors.New("decide without a decision")
		}
		return e.Decide(ctx, j.Run, *j.Decision)
	case actUnlock:
		_, err := e.Unlock(ctx, j.Run, "crashtest")
		return nil, err
	}
	return nil, fmt.Errorf("no such act: %q", j.Act)
}

func endingOf(r *engine.Run, err error) *ending {
	out := &ending{}
	if r != nil {
		out.Status = r.Status
	}
	if err == nil {
		return out
	}
	out.Error, out.Conflict = err.Error(), errors.Is(err, state.ErrConflict)
	if locked, ok := errors.AsType[*state.LockedError](err); ok {
		out.Locked = &locked.Holder
	}
	return out
}

// leash is the child's end of it.
type leash struct {
	// mu makes boundaries one after the other: plugins journal effects from goroutines of their own.
	mu   sync.Mutex
	out  *json.Encoder
	word chan struct{}
	gone chan struct{}

	locks sync.Mutex
	held  int
}

// reach tells where this process is and waits for the word to go on. It may never come back.
func (l *leash) reach(r reach) error {
	l.locks.Lock()
	r.Locked = l.held > 0
	l.locks.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.out.Encode(message{Reach: &r}); err != nil {
		return errors.Join(errLeash, err)
	}
	select {
	case <-l.word:
		return nil
	case <-l.gone:
		return errLeash
	}
}

func (l *leash) hold(n int) {
	l.locks.Lock()
	defer l.locks.Unlock()
	l.held += n
}

// leashedStore stops before and after each append.
type leashedStore struct {
	state.Store
	leash *leash
}

var _ state.Store = (*leashedStore)(nil)

// Append implements state.Store.
func (s *leashedStore) Append(ctx context.Context, run string, at uint64, drafts ...state.Draft) (uint64, error) {
	r := reach{When: Before, Label: labelOf(drafts)}
	for _, d := range drafts {
		r.Step = read(d.Kind, d.Data).Step
		if d.Kind == entryProcess {
			var p engine.Process
			if err := json.Unmarshal(d.Data, &p); err != nil {
				return 0, fmt.Errorf("read a plugin's process: %w", err)
			}
			r.Process = &p
		}
	}
	if err := s.leash.reach(r); err != nil {
		return 0, err
	}
	seq, err := s.Store.Append(ctx, run, at, drafts...)
	if err != nil {
		return seq, err
	}
	r.When = After
	return seq, s.leash.reach(r)
}

// Lock implements state.Store.
func (s *leashedStore) Lock(ctx context.Context, run string, holder state.Holder) (func() error, error) {
	release, err := s.Store.Lock(ctx, run, holder)
	if err != nil {
		return nil, err
	}
	s.leash.hold(1)
	return func() error {
		s.leash.hold(-1)
		return release()
	}, nil
}

// leashedPlugins stops at the beginning and the end of each call of a plugin.
type leashedPlugins struct {
	engine.Plugins
	leash *leash
}

// Step implements engine.Plugins.
func (p leashedPlugins) Step(ctx context.Context, uses string) (plugins.Step, error) {
	s, err := p.Plugins.Step(ctx, uses)
	if err != nil {
		return nil, err
	}
	return leashedStep{Step: s, uses: uses, leash: p.leash}, nil
}

type leashedStep struct {
	plugins.Step
	uses  string
	leash *leash
}

// Plan implements plugins.Step.
func (s leashedStep) Plan(ctx context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	r := reach{When: Before, Label: callLabel("plan", req.StepID), Step: req.StepID, Uses: s.uses}
	if err := s.leash.reach(r); err != nil {
		return plugins.PlanResponse{}, err
	}
	resp, err := s.Step.Plan(ctx, req)
	return resp, s.leash.ended(r, err)
}

// Apply implements plugins.Step.
func (s leashedStep) Apply(ctx context.Context, req plugins.ApplyRequest, host plugins.Host) (plugins.ApplyResponse, error) {
	r := reach{When: Before, Label: callLabel("apply", req.StepID), Step: req.StepID, Uses: s.uses}
	if err := s.leash.reach(r); err != nil {
		return plugins.ApplyResponse{}, err
	}
	resp, err := s.Step.Apply(ctx, req, host)
	return resp, s.leash.ended(r, err)
}

// ended stops at the end of a call. The call's own error comes back as it is: its kind and its hint must not be lost.
func (l *leash) ended(r reach, err error) error {
	r.When = After
	if gone := l.reach(r); gone != nil {
		return gone
	}
	return err
}
