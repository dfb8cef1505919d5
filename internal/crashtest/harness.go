package crashtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tkgfix/tkgfix/internal/engine"
)

// Round names a round of a crash test.
type Round string

// The rounds, in their order.
const (
	// RoundBefore kills the engine before each append.
	RoundBefore Round = "before"
	// RoundAfter kills the engine after each append, before it knows of it.
	RoundAfter Round = "after"
	// RoundPlugin kills plugins around effects and inside calls.
	RoundPlugin Round = "plugin"
	// RoundPause stops engines, breaks their locks and wakes them later.
	RoundPause Round = "pause"
	// RoundMeddle has somebody else change what was approved.
	RoundMeddle Round = "meddle"
	// RoundRandom follows random schedules.
	RoundRandom Round = "random"
)

// Rounds returns all rounds in their order.
func Rounds() []Round {
	return []Round{RoundBefore, RoundAfter, RoundPlugin, RoundPause, RoundMeddle, RoundRandom}
}

// Harness is a crash test of one workflow in one world.
type Harness struct {
	World World
	Now   func() time.Time
	// NewID returns the id of a new run.
	NewID func() (string, error)
	// Alive says whether a plugin's process lives.
	Alive func(engine.Process) (bool, error)
	// Tell is told each point that strikes and each round.
	Tell func(format string, args ...any)
	// Seed is that of all that is random.
	Seed uint64
	// Rounds are those to go; none means all.
	Rounds []Round
	// Random is the number of random schedules.
	Random int
	// Each gives each boundary a place of its own, in the rounds before, after and plugin.
	Each bool
	// Schedule, if there is one, is followed in the place of rounds.
	Schedule Schedule
	// ShrinkBudget bounds the search for a shorter schedule of each failure; it is over with the trial that passes it.
	ShrinkBudget time.Duration
}

// Report is what a crash test found.
type Report struct {
	Seed       uint64        `json:"seed"`
	Rounds     []RoundReport `json:"rounds"`
	Boundaries int           `json:"boundaries"`
	Failures   int           `json:"failures"`
}

// RoundReport is what came of one round.
type RoundReport struct {
	Name Round `json:"name"`
	// Points is how many points struck.
	Points   int           `json:"points"`
	Took     time.Duration `json:"tookInNanoseconds"`
	Failures []Failure     `json:"failures,omitempty"`
}

// Failure is a schedule under which something did not hold.
type Failure struct {
	Violations []Violation `json:"violations"`
	// Schedule is the shortest that was found.
	Schedule string `json:"schedule"`
	// Struck counts the points that had struck when it was first seen.
	Struck int `json:"struck"`
}

// Run tests, and calls each with each round's report as it is there. It blocks until all rounds are over or ctx ends. The error is
// one of the machinery; what does not hold is in the report.
func (h *Harness) Run(ctx context.Context, each func(RoundReport)) (*Report, error) {
	c := &campaign{Harness: h, each: each, rng: rand.New(rand.NewPCG(h.Seed, h.Seed)), struck: map[string]bool{}} //nolint:gosec // a schedule, no secret
	c.report.Seed = h.Seed
	err := c.run(ctx)
	c.report.Boundaries = len(c.struck)
	for _, r := range c.report.Rounds {
		c.report.Failures += len(r.Failures)
	}
	return &c.report, err
}

// campaign is a crash test that is under way.
type campaign struct {
	*Harness
	each   func(RoundReport)
	rng    *rand.Rand
	report Report
	// want and boundaries are of the undisturbed run.
	want       *Outcome
	boundaries map[Boundary]bool
	// struck are the points that struck, each counted once; known are the same as a schedule.
	struck map[string]bool
	known  Schedule
}

func (c *campaign) run(ctx context.Context) error {
	first, err := c.round(ctx, "undisturbed", undisturbed())
	if err != nil {
		return err
	}
	if len(first.bad) > 0 || first.outcome == nil {
		return nil // the report says why; without an end there is nothing to compare with
	}
	c.want, c.boundaries = first.outcome, first.reached
	if len(c.Schedule) > 0 {
		d := follow(c.Schedule)
		_, err := c.round(ctx, "schedule", d)
		return err
	}
	rounds := c.Rounds
	if len(rounds) == 0 {
		rounds = Rounds()
	}
	for _, name := range rounds {
		if err := c.named(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// named goes one round.
func (c *campaign) named(ctx context.Context, name Round) error {
	var d director
	switch name {
	case RoundBefore:
		return c.engineRound(ctx, name, Before)
	case RoundAfter:
		return c.engineRound(ctx, name, After)
	case RoundPlugin:
		if c.Each {
			return c.eachOf(ctx, name, c.pluginPoints())
		}
		d = killPlugins(c.rng)
	case RoundPause:
		d = pauses()
	case RoundMeddle:
		d = follow(Schedule{{Do: Meddle}})
	case RoundRandom:
		for range c.Random {
			if _, err := c.round(ctx, name, follow(random(c.rng, c.known))); err != nil {
				return err
			}
		}
		return nil
	default:
		return fmt.Errorf("no such round: %q", name)
	}
	_, err := c.round(ctx, name, d)
	return err
}

// engineRound kills the engine on one side of every append, and makes sure that none that the undisturbed run had is left out.
func (c *campaign) engineRound(ctx context.Context, name Round, when When) error {
	var all Schedule
	for b := range c.boundaries {
		if b.When == when {
			all = append(all, Point{Do: KillEngine, Boundary: b})
		}
	}
	slices.SortFunc(all, byText)
	if c.Each {
		return c.eachOf(ctx, name, all)
	}
	if r, err := c.round(ctx, name, engines(when)); err != nil || len(r.bad) > 0 {
		return err
	}
	left := slices.DeleteFunc(all, func(p Point) bool { return c.struck[p.String()] })
	if len(left) == 0 {
		return nil
	}
	_, err := c.round(ctx, name, follow(left))
	return err
}

func byText(a, b Point) int {
	switch {
	case a.String() < b.String():
		return -1
	case a.String() > b.String():
		return 1
	}
	return 0
}

func (c *campaign) pluginPoints() Schedule {
	var out Schedule
	d := killPlugins(c.rng)
	for b := range c.boundaries {
		if p, ok := d.at(b); ok {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, byText)
	return out
}

// eachOf gives each point a place of its own.
func (c *campaign) eachOf(ctx context.Context, name Round, all Schedule) error {
	for _, p := range all {
		if _, err := c.round(ctx, name, follow(Schedule{p})); err != nil {
			return err
		}
	}
	return nil
}

// round makes one trial, shrinks its failure and reports it.
func (c *campaign) round(ctx context.Context, name Round, d director) (*result, error) {
	began := c.Now()
	c.Tell("round %s", name)
	r, err := c.trial(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("round %s: %w", name, err)
	}
	if s, ok := d.(*scheduled); ok && name != RoundRandom && len(r.bad) == 0 {
		for _, p := range s.missed() {
			r.bad = append(r.bad, Violation{Reached, []string{p.String() + " was never reached"}})
		}
	}
	report := RoundReport{Name: name, Points: len(r.struck)}
	for _, p := range r.struck {
		if !c.struck[p.String()] {
			c.struck[p.String()] = true
			c.known = append(c.known, p)
		}
	}
	if len(r.bad) > 0 {
		f := Failure{Violations: r.bad, Struck: len(r.struck)}
		short, err := c.shrink(ctx, r.struck, r.bad)
		if err != nil {
			return nil, fmt.Errorf("look for a shorter schedule: %w", err)
		}
		f.Schedule = short.String()
		report.Failures = append(report.Failures, f)
	}
	report.Took = c.Now().Sub(began)
	c.report.Rounds = append(c.report.Rounds, report)
	c.each(report)
	return r, nil
}

// trial carries one run to its end in a place of its own.
func (c *campaign) trial(ctx context.Context, d director) (*result, error) {
	id, err := c.NewID()
	if err != nil {
		return nil, err
	}
	place, err := c.World.Up(ctx)
	if err != nil {
		return nil, err
	}
	t := &trial{
		Harness: c.Harness, place: place, director: d, want: c.want, id: id,
		approved: approvals{}, reached: map[Boundary]bool{}, uses: map[string]string{},
	}
	r, err := t.carry(ctx)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx) // whatever it was about, it is why
	}
	return r, errors.Join(err, place.Close(context.WithoutCancel(ctx)))
}

// shrink returns the shortest schedule it finds under which the same assertion fails.
func (c *campaign) shrink(ctx context.Context, struck Schedule, bad []Violation) (Schedule, error) {
	if c.want == nil || len(struck) < 2 || c.ShrinkBudget <= 0 {
		return struck, nil
	}
	wanted := map[Assertion]bool{}
	for _, v := range bad {
		wanted[v.Assertion] = true
	}
	began := c.Now()
	return shrink(struck, func(s Schedule) (bool, error) {
		if c.Now().Sub(began) > c.ShrinkBudget {
			return false, errBudget
		}
		c.Tell("does it fail with %d of %d points?", len(s), len(struck))
		r, err := c.trial(ctx, follow(s))
		if err != nil {
			return false, err
		}
		return slices.ContainsFunc(r.bad, func(v Violation) bool { return wanted[v.Assertion] }), nil
	})
}

// Assertions returns the assertions that failed, each once, in order.
func (r *Report) Assertions() []Assertion {
	out := map[Assertion]bool{}
	for _, round := range r.Rounds {
		for _, f := range round.Failures {
			for _, v := range f.Violations {
				out[v.Assertion] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(out))
}
