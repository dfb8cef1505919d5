package crashtest

import (
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// director says what happens at the boundaries of a trial. It is used by one goroutine.
type director interface {
	// at is told each boundary that is reached, and returns the point that strikes there, if one does.
	at(b Boundary) (Point, bool)
	// meddles says whether somebody else is to change what was approved.
	meddles() bool
}

// scheduled lets the points of a schedule strike, each once.
type scheduled struct {
	points Schedule
	// reached counts, for each point, how often its boundary was reached.
	reached []int
	struck  []bool
}

func follow(s Schedule) *scheduled {
	return &scheduled{points: s, reached: make([]int, len(s)), struck: make([]bool, len(s))}
}

func (d *scheduled) at(b Boundary) (Point, bool) {
	hit := -1
	for i, p := range d.points {
		if p.Do == Meddle || !p.matches(b) {
			continue
		}
		d.reached[i]++
		if hit < 0 && !d.struck[i] && d.reached[i] >= max(p.Nth, 1) {
			hit = i
		}
	}
	if hit < 0 {
		return Point{}, false
	}
	d.struck[hit] = true
	return d.points[hit], true
}

func (d *scheduled) meddles() bool {
	return slices.ContainsFunc(d.points, func(p Point) bool { return p.Do == Meddle })
}

// missed returns the points that did not strike.
func (d *scheduled) missed() Schedule {
	var out Schedule
	for i, p := range d.points {
		if !d.struck[i] && p.Do != Meddle {
			out = append(out, p)
		}
	}
	return out
}

// matches says whether the point is at a boundary. A point during a call is at the call's beginning.
func (p Point) matches(b Boundary) bool {
	when := p.When
	if when == During {
		when = Before
	}
	return when == b.When && p.Label == b.Label && (p.Since == "" || p.Since == b.Since)
}

// everywhere strikes once at each boundary of one sort.
type everywhere struct {
	// points returns what can strike at a boundary.
	point  func(b Boundary) (Point, bool)
	struck map[Boundary]bool
}

func (d *everywhere) at(b Boundary) (Point, bool) {
	if d.struck[b] {
		return Point{}, false
	}
	p, ok := d.point(b)
	if ok {
		d.struck[b] = true
	}
	return p, ok
}

func (*everywhere) meddles() bool { return false }

// engines kills the engine on one side of every append.
func engines(when When) *everywhere {
	return &everywhere{struck: map[Boundary]bool{}, point: func(b Boundary) (Point, bool) {
		return Point{Do: KillEngine, Boundary: b}, b.When == when && !isCall(b)
	}}
}

// pauses stops the engine on both sides of every effect's entries.
func pauses() *everywhere {
	return &everywhere{struck: map[Boundary]bool{}, point: func(b Boundary) (Point, bool) {
		return Point{Do: PauseEngine, Boundary: b}, isEffect(b)
	}}
}

// longestDelay is how far into a call a plugin is killed at most.
const longestDelay = 300 * time.Millisecond

// killPlugins kills the plugin when it has started, around each effect's entries, and inside its calls.
func killPlugins(rng *rand.Rand) *everywhere {
	return &everywhere{struck: map[Boundary]bool{}, point: func(b Boundary) (Point, bool) {
		switch {
		case isCall(b) && b.When == Before:
			b.When = During
			return Point{Do: KillPlugin, Boundary: b, Delay: time.Duration(rng.Int64N(int64(longestDelay))).Round(time.Millisecond)}, true
		case isEffect(b), strings.HasPrefix(b.Label, entryProcess):
			return Point{Do: KillPlugin, Boundary: b}, true
		}
		return Point{}, false
	}}
}

// undisturbed lets everything be.
func undisturbed() director { return follow(nil) }

func isCall(b Boundary) bool { return strings.HasPrefix(b.Label, callPrefix) }

func isEffect(b Boundary) bool {
	return strings.HasPrefix(b.Label, entryIntended) || strings.HasPrefix(b.Label, entryDone)
}

// random makes a schedule of some of the points that are known to be reachable. Points that come only after others may not strike.
func random(rng *rand.Rand, known Schedule) Schedule {
	if len(known) == 0 {
		return nil
	}
	var out Schedule
	for range 3 + rng.IntN(6) {
		p := known[rng.IntN(len(known))]
		p.Since = ""
		p.Nth = 1 + rng.IntN(2)
		if p.When == During {
			p.Delay = time.Duration(rng.Int64N(int64(20 * longestDelay))).Round(time.Millisecond)
		}
		out = append(out, p)
	}
	return out
}
