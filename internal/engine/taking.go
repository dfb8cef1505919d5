package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/tkgfix/tkgfix/internal/plan"
)

// taking is one attempt at a changing step: its way through the step's instances, by the step's strategy.
type taking struct {
	*execution
	b  *plan.Builder
	id string

	// lock guards what follows.
	lock   sync.Mutex
	moved  []replanned
	failed map[string]error // by instance
	fatal  error
}

// stepError is the failure of a step or instance itself: the only kind of which a strategy tolerates some.
type stepError struct{ err error }

func (e *stepError) Error() string { return e.err.Error() }
func (e *stepError) Unwrap() error { return e.err }

// work is what is to be done for one instance. It returns the instance's new plan if its ground has moved: then it was not touched.
type work struct {
	id string
	do func(context.Context) (*replanned, error)
}

// finishBegun applies what was begun in an earlier attempt and is not finished.
func (t *taking) finishBegun(ctx context.Context) error {
	p := t.snapshot()
	s, ok := p.Step(t.id)
	if !ok {
		return fmt.Errorf("the plan has no step %q", t.id)
	}
	var todo []work
	for _, in := range s.Each() {
		begun, digest := t.startedWith(in.ID)
		if !begun || in.Status != plan.Changes {
			continue
		}
		todo = append(todo, work{in.ID, func(ctx context.Context) (*replanned, error) {
			j, err := t.judgement(ctx, true)
			if err != nil {
				return nil, err
			}
			ok, err := plan.Entered(p, t.id, in.ID, digest, j)
			if err != nil {
				return nil, fmt.Errorf("go on with step %s, which was begun: %w", in.ID, err)
			}
			return nil, t.apply(ctx, t.id, ok)
		}})
	}
	if !s.ForEach && len(todo) > 0 {
		_, err := todo[0].do(ctx)
		return err
	}
	return t.phases(ctx, s, todo)
}

// startedWith says whether an effect of a step or instance was intended, and with which digest it was begun.
func (t *taking) startedWith(id string) (bool, string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if done := t.run.Steps[id]; done != nil {
		return t.run.begun(id), done.Digest
	}
	return t.run.begun(id), ""
}

// approved applies the approved instances. It returns those whose ground has moved, which were not touched.
func (t *taking) approved(ctx context.Context, ok plan.Approved) ([]replanned, error) {
	s := ok.Step()
	if !s.ForEach {
		moved, err := t.instance(ctx, t.b, s.ID, ok)
		if moved == nil {
			return nil, err
		}
		return []replanned{*moved}, err
	}
	t.moved = nil
	var todo []work
	for _, a := range ok.Instances() {
		if a.Step().Status == plan.Changes && t.failed[a.Step().ID] == nil {
			todo = append(todo, work{a.Step().ID, func(ctx context.Context) (*replanned, error) { return t.instance(ctx, t.b, s.ID, a) }})
		}
	}
	if err := t.phases(ctx, &s, todo); err != nil || len(t.moved) > 0 {
		return t.moved, err
	}
	return nil, t.record(ctx, kindApplied, applied{Step: s.ID, Tolerated: t.failures(&s)})
}

// phases does the work for the canaries, and when none of them has failed that for the others.
func (t *taking) phases(ctx context.Context, s *plan.Step, todo []work) error {
	first := canaries(s)
	isCanary := func(w work) bool { return slices.Contains(first, w.id) }
	if err := t.phase(ctx, s, slices.DeleteFunc(slices.Clone(todo), func(w work) bool { return !isCanary(w) }), 0); err != nil || len(t.moved) > 0 {
		return err
	}
	return t.phase(ctx, s, slices.DeleteFunc(slices.Clone(todo), isCanary), s.Strategy.MaxFailures)
}

// canaries returns the instances that must succeed before the others begin: the first that have changes, made or not.
func canaries(s *plan.Step) []string {
	var out []string
	for _, in := range s.Each() {
		if len(in.Changes) > 0 && len(out) < s.Strategy.Canary {
			out = append(out, in.ID)
		}
	}
	return out
}

// phase does work in parallel, and begins no more when too many have failed or the ground of one has moved.
func (t *taking) phase(ctx context.Context, s *plan.Step, todo []work, tolerate int) error {
	if len(todo) == 0 {
		return nil
	}
	var group errgroup.Group
	group.SetLimit(max(s.Strategy.MaxParallel, 1))
	for _, w := range todo {
		group.Go(func() error {
			if ctx.Err() != nil || !t.more(tolerate) {
				return nil
			}
			moved, err := w.do(ctx)
			t.note(w.id, moved, err)
			return nil
		})
	}
	_ = group.Wait()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case t.fatal != nil:
		return t.fatal
	case len(t.failed) > tolerate:
		return t.brake(ctx, s)
	}
	return nil
}

// more says whether another instance may be begun.
func (t *taking) more(tolerate int) bool {
	t.lock.Lock()
	defer t.lock.Unlock()
	return t.fatal == nil && len(t.failed) <= tolerate && len(t.moved) == 0
}

// note takes what came of the work for an instance.
func (t *taking) note(id string, moved *replanned, err error) {
	t.lock.Lock()
	defer t.lock.Unlock()
	if moved != nil {
		t.moved = append(t.moved, *moved)
	}
	if _, ok := errors.AsType[*stepError](err); ok {
		t.failed[id] = err
	} else if err != nil {
		t.fatal = err
	}
}

// failures returns the instances that have failed, in their order.
func (t *taking) failures(s *plan.Step) []string {
	var out []string
	for _, in := range s.Each() {
		if t.failed[in.ID] != nil {
			out = append(out, in.ID)
		}
	}
	return out
}

// brake journals which instances are not begun because of those that failed, and returns why the step fails. The instances that are not
// begun stay as they were planned and approved: a resume begins with those that failed.
func (t *taking) brake(ctx context.Context, s *plan.Step) error {
	failed := t.failures(s)
	var errs []error
	for _, id := range failed {
		errs = append(errs, t.failed[id])
	}
	now, err := t.planned(t.id)
	if err != nil {
		return err
	}
	var notBegun []string
	for _, in := range now.Each() {
		if begun, _ := t.startedWith(in.ID); in.Status == plan.Changes && !begun && t.failed[in.ID] == nil {
			notBegun = append(notBegun, in.ID)
		}
	}
	if len(notBegun) == 0 {
		return errors.Join(errs...)
	}
	why := t.why(s, now, failed)
	if err := t.record(ctx, kindBraked, braked{Step: t.id, Why: why, NotBegun: notBegun}); err != nil {
		return errors.Join(append(errs, err)...)
	}
	t.tell(Event{Kind: EventBrake, ID: t.id, Text: why, NotBegun: notBegun})
	return errors.Join(append(errs, fmt.Errorf("not begun, because of the brake (%s): %s", why, strings.Join(titles(now, notBegun), ", ")))...)
}

// why says in a few words what pulled the brake.
func (t *taking) why(s, now *plan.Step, failed []string) string {
	names := strings.Join(titles(now, failed), ", ")
	if first := canaries(s); slices.ContainsFunc(failed, func(id string) bool { return slices.Contains(first, id) }) {
		return "the canary failed: " + names
	}
	return fmt.Sprintf("failed: %d, and maxFailures is %d: %s", len(failed), s.Strategy.MaxFailures, names)
}

// maxTitles bounds how many instances an error names; the journal has them all.
const maxTitles = 20

// titles returns what the instances are called, with what they are about.
func titles(s *plan.Step, ids []string) []string {
	var out []string
	for _, in := range s.Each() {
		if slices.Contains(ids, in.ID) {
			out = append(out, in.Title())
		}
	}
	if more := len(out) - maxTitles; more > 0 {
		out = append(out[:maxTitles], fmt.Sprintf("and %d more", more))
	}
	return out
}
