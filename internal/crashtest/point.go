package crashtest

import (
	"bufio"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Do says what happens at a point.
type Do string

// What can happen.
const (
	// KillEngine kills the engine with SIGKILL.
	KillEngine Do = "kill-engine"
	// KillPlugin kills the process of the plugin that is at work with SIGKILL.
	KillPlugin Do = "kill-plugin"
	// PauseEngine stops the engine with SIGSTOP, has a second one refused, breaks the lock and lets others go on; it wakes later.
	PauseEngine Do = "pause-engine"
	// Meddle has somebody else change what was approved, between the approval and the act. It has no boundary.
	Meddle Do = "meddle"
)

// When says on which side of an append, or of a call, a boundary lies.
type When string

// The sides.
const (
	Before When = "before"
	After  When = "after"
	// During is some time after the beginning of a call.
	During When = "during"
)

// Boundary is an instant that is the same in each run of a workflow.
type Boundary struct {
	When When
	// Label names the entry, such as effect.intended(trust/patch), or the call, such as call.apply(trust).
	Label string
	// Since is the label of the last entry that made progress. Empty in a point means any.
	Since string
}

// Point is a boundary and what happens there.
type Point struct {
	Do Do
	Boundary
	// Nth counts how often the boundary must be reached, from 1; 0 is 1.
	Nth int
	// Delay is how long after the beginning of a call it happens.
	Delay time.Duration
}

// Schedule is what happens in a run. The order says nothing: each point strikes once, when it is reached.
type Schedule []Point

// String returns the point as ParsePoint reads it.
func (p Point) String() string {
	if p.Do == Meddle {
		return string(Meddle)
	}
	s := fmt.Sprintf("%s:%s:%s", p.Do, p.When, p.Label)
	if p.Since != "" {
		s += "@" + p.Since
	}
	if p.Nth > 1 {
		s += "#" + strconv.Itoa(p.Nth)
	}
	if p.Delay > 0 {
		s += "+" + p.Delay.String()
	}
	return s
}

// String returns the points with spaces between them.
func (s Schedule) String() string {
	words := make([]string, len(s))
	for i, p := range s {
		words[i] = p.String()
	}
	return strings.Join(words, " ")
}

const labelPattern = `[a-z.+]+(?:\([^()\s@]*\))?`

var pointPattern = regexp.MustCompile(`^(kill-engine|kill-plugin|pause-engine):(before|after|during):(` + labelPattern + `)(?:@(` + labelPattern + `))?(?:#([1-9]\d{0,5}))?(?:\+(\S+))?$`)

// ParsePoint reads a point: what:when:label, then perhaps @label of the last progress, #nth time, +delay.
func ParsePoint(s string) (Point, error) {
	if s == string(Meddle) {
		return Point{Do: Meddle}, nil
	}
	m := pointPattern.FindStringSubmatch(s)
	if m == nil {
		return Point{}, fmt.Errorf("point %q: expected WHAT:WHEN:LABEL[@SINCE][#N][+DELAY], such as kill-engine:before:effect.done(trust/patch), or meddle", s)
	}
	p := Point{Do: Do(m[1]), Boundary: Boundary{When: When(m[2]), Label: m[3], Since: m[4]}}
	if m[5] != "" {
		p.Nth, _ = strconv.Atoi(m[5]) // the pattern lets only a number through
	}
	if m[6] != "" {
		d, err := time.ParseDuration(m[6])
		if err != nil || d < 0 {
			return Point{}, fmt.Errorf("point %q: the delay %q is no duration such as 250ms", s, m[6])
		}
		p.Delay = d
	}
	if (p.When == During) != strings.HasPrefix(p.Label, callPrefix) {
		return Point{}, fmt.Errorf("point %q: %q goes with the labels that begin with %s, and with no other", s, During, callPrefix)
	}
	if p.Delay > 0 && p.When != During {
		return Point{}, fmt.Errorf("point %q: only what happens %s a call has a delay", s, During)
	}
	return p, nil
}

// ParseSchedule reads points with white space between them; a line that begins with # is a comment. 1 MiB is read at most.
func ParseSchedule(text string) (Schedule, error) {
	var out Schedule
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if strings.HasPrefix(strings.TrimSpace(lines.Text()), "#") {
			continue
		}
		for _, word := range strings.Fields(lines.Text()) {
			p, err := ParsePoint(word)
			if err != nil {
				return nil, err
			}
			out = append(out, p)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the schedule: %w", err)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("the schedule holds no point")
	}
	return out, nil
}
