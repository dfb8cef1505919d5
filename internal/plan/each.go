package plan

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/workflow"
)

// each plans the instances of a forEach step, several at once.
func (b *Builder) each(ctx context.Context, t take, s *Step) error {
	s.ForEach = true
	if !b.Workflow.IfUsesItem(t.ws) {
		if yes, err := b.Workflow.EvalIf(t.ws, t.scope); err != nil {
			s.unknown("if", err)
			return nil
		} else if !yes {
			s.settle(Skipped, "if: is false")
			return nil
		}
	}
	items, err := b.Workflow.EvalForEach(t.ws, t.scope)
	if err != nil {
		s.unknown("forEach", err)
		return nil
	}
	w := t.ws.Strategy
	s.Strategy = Strategy{MaxParallel: w.MaxParallel, Canary: w.Canary, MaxFailures: w.MaxFailures}
	limit := w.MaxParallel
	if limit == 0 { // looking is done in parallel, acting only when it is asked for
		s.Strategy.MaxParallel, limit = 1, readParallel
		if s.Effect == plugins.Read || s.Effect == plugins.Announce {
			s.Strategy.MaxParallel = readParallel
		}
	}
	s.Instances = make([]Step, len(items))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(limit)
	for i, item := range items {
		in := &s.Instances[i]
		*in = Step{ID: InstanceID(s.ID, i), Uses: s.Uses, Effect: s.Effect}
		if in.Item, err = json.Marshal(item); err != nil {
			return fmt.Errorf("write item %d of step %s: %w", i, s.ID, err)
		}
		it := t
		if err := it.about(in.Item, i); err != nil {
			return err
		}
		if !it.itsReady(in, i) {
			continue
		}
		group.Go(func() error { return b.one(gctx, it, in) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	s.leaveOut()
	s.Gather()
	s.vain()
	return nil
}

// vain fails a changing step of which not one item could be planned. What strategy.maxFailures tolerates is that acting fails, or that some
// cannot be planned: where nothing at all would be done, whoever approves the rest must hear of it.
func (s *Step) vain() {
	if s.Effect == plugins.Read || s.Effect == plugins.Announce || len(s.Instances) == 0 || s.Status == Failed {
		return
	}
	for i := range s.Instances {
		if s.Instances[i].Status != Failed {
			return
		}
	}
	first := s.Instances[0]
	s.Status, s.Why, s.Hint, s.Outputs = Failed, first.ID+": "+first.Why, first.Hint, nil
}

// readParallel is how many instances are looked at at once when the workflow does not say.
const readParallel = 8

// PlanInstance plans one instance of a forEach step again, as it is in p.
func (b *Builder) PlanInstance(ctx context.Context, p *Plan, step, instance string, used func(id string) int) (Step, error) {
	was, ok := p.Step(instance)
	if !ok {
		return Step{}, fmt.Errorf("plan step %s: the plan has no instance %s", step, instance)
	}
	t := b.take(p, b.Workflow.Step(step), used)
	s := Step{ID: instance, Uses: was.Uses, Effect: was.Effect, Item: was.Item}
	index := p.index(step, instance)
	if err := t.about(was.Item, index); err != nil {
		return s, err
	}
	if !t.itsReady(&s, index) {
		return s, nil
	}
	err := b.one(ctx, t, &s)
	return s, err
}

// take is the planning of one workflow step: what it stands on.
type take struct {
	plan  *Plan
	ws    *workflow.Step
	scope workflow.Scope
	conns plugins.Connections
	used  func(id string) int
}

func (b *Builder) take(p *Plan, ws *workflow.Step, used func(string) int) take {
	if used == nil {
		used = func(string) int { return 0 }
	}
	return take{plan: p, ws: ws, scope: b.scope(p), conns: p.Connections, used: used}
}

// about sets what expressions see of an item: itself, and what other steps found for it.
func (t *take) about(item json.RawMessage, index int) error {
	dec := json.NewDecoder(bytes.NewReader(item))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return fmt.Errorf("read item of step %s: %w", t.ws.ID, err)
	}
	t.scope.Item, t.scope.Its = wholeNumbers(v), map[string]any{}
	for id := range t.ws.Its {
		if its, ok := t.plan.Step(InstanceID(id, index)); ok && len(its.Outputs) > 0 {
			t.scope.Its[id] = its.Outputs
		}
	}
	return nil
}

// itsReady says whether what other steps found for the item of an instance is there; if not, the instance is settled. What failed for one
// item is no reason not to look at the others.
func (t *take) itsReady(in *Step, index int) bool {
	for _, id := range slices.Sorted(maps.Keys(t.ws.Its)) {
		its, ok := t.plan.Step(InstanceID(id, index))
		switch {
		case !ok || !bytes.Equal(its.Item, in.Item):
			return in.settle(Failed, fmt.Sprintf("step %s went over other items, and knows nothing of this one", id))
		case its.Status == Skipped:
			return in.settle(Skipped, fmt.Sprintf("uses what step %s finds for this item, which was skipped", id))
		case its.Status == Failed:
			return in.settle(Skipped, fmt.Sprintf("uses what step %s finds for this item, which failed", id))
		case its.Status == Deferred:
			return in.settle(Deferred, its.Why)
		}
	}
	return true
}

// wholeNumbers turns the numbers of decoded JSON into those that expressions know.
func wholeNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		f, _ := v.Float64()
		return f
	case []any:
		for i := range v {
			v[i] = wholeNumbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = wholeNumbers(v[k])
		}
	}
	return v
}

// PlanFailure plans an onFailure step, which sees what failed and no step's outputs. id is what it is called this time.
func (b *Builder) PlanFailure(ctx context.Context, p *Plan, ws *workflow.Step, id string, failure map[string]string) (Step, error) {
	t := b.take(p, ws, nil)
	t.scope = workflow.Scope{Inputs: b.Values, Failure: failure}
	s := Step{ID: id, Uses: ws.Uses, Effect: b.effect(ws)}
	err := b.one(ctx, t, &s)
	return s, err
}

// Guards holds the workflow's guards against the time now and what p knows.
func (b *Builder) Guards(p *Plan, now time.Time) []Guard {
	scope := b.scope(p)
	scope.Now = now
	var out []Guard
	for i := range b.Workflow.Guards {
		g := &b.Workflow.Guards[i]
		seen := Guard{Name: g.Name, Message: g.Message}
		if holds, err := b.Workflow.EvalGuard(g, scope); err == nil {
			seen.Holds = &holds
		} else if _, ok := errors.AsType[*workflow.UnknownError](err); !ok {
			seen.Message = err.Error()
		}
		out = append(out, seen)
	}
	return out
}
