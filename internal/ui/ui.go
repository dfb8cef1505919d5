// Package ui is the only one that knows a terminal.
//
// Its rules: results go to standard output, talk to standard error. A line of talk begins with "tkgfix: ", in lower case and
// without a full stop; an error is followed by its hints, each on a line of its own, which name the next command. Nothing that
// a node or an API server said reaches the terminal with control characters in it.
package ui

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/plugins"
)

// UI talks to a person.
type UI struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
	// Interactive is true if a person sits at In and Err.
	Interactive bool
	Now         func() time.Time

	mu   sync.Mutex
	last map[string]said
	// titles are those of the instances that were seen, by id.
	titles map[string]string
}

// said is what was last said of a step, and since when.
type said struct {
	text        string
	since, told time.Time
}

// repeat is how long the same line about a wait is held back.
const repeat = 15 * time.Second

// Say writes a line of talk.
func (u *UI) Say(format string, args ...any) {
	u.mu.Lock()
	defer u.mu.Unlock()
	// Later lines are indented, so that nobody's words can pass for a line of tkgfix's own.
	text := strings.ReplaceAll(clean(fmt.Sprintf(format, args...)), "\n", "\n  ")
	fmt.Fprintln(u.Err, "tkgfix: "+text)
}

// Hint writes what to do next.
func (u *UI) Hint(format string, args ...any) { u.Say("hint: "+format, args...) }

// Error writes an error and the hint that it carries.
func (u *UI) Error(err error) {
	u.Say("error: %v", err)
	if h := plugins.HintOf(err); h != "" {
		u.Hint("%s", h)
	}
}

// Watch shows what happens during a run.
func (u *UI) Watch(e engine.Event) {
	u.learn(e)
	e.ID = u.title(e.ID)
	switch e.Kind {
	case engine.EventPlanning:
		u.Say("%s: looking", e.ID)
	case engine.EventApplying:
		u.Say("%s: applying, changes: %d", e.ID, len(e.Step.PlannedChanges()))
	case engine.EventProgress:
		u.progress(e.ID, e.Text)
	case engine.EventRetry:
		u.progress(e.ID, "trying again: "+e.Text)
	case engine.EventApplied:
		u.Say("%s: done: %s", e.ID, e.Text)
	case engine.EventBrake:
		var names []string
		for _, id := range e.NotBegun {
			names = append(names, u.title(id))
		}
		u.Say("%s: brake: %s; not begun: %s", e.ID, e.Text, strings.Join(names, ", "))
	case engine.EventAnew:
		u.Say("planning anew, and what was approved of other changes is void: %s", e.Text)
	case engine.EventStopping:
		u.Say("interrupted: finishing what is in flight (%s); interrupt again to leave it, which can be resumed too", e.Text)
	case engine.EventVoided:
		u.Say("%s: the approval is void, because what it covered has moved:", e.ID)
		for _, m := range e.Moved {
			u.Say("  %s", m)
		}
	}
}

// learn remembers what instances are about, by the plans that an event holds: an id alone says little among many clusters.
func (u *UI) learn(e engine.Event) {
	var steps []plan.Step
	if e.Plan != nil {
		steps = e.Plan.Steps
	}
	if e.Step != nil {
		steps = append(steps[:len(steps):len(steps)], *e.Step)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.titles == nil {
		u.titles = map[string]string{}
	}
	if e.Kind == engine.EventPlanning && e.Text != "" {
		u.titles[e.ID] = e.ID + " " + e.Text
	}
	for _, s := range steps {
		for _, in := range append(s.Instances[:len(s.Instances):len(s.Instances)], s) {
			if len(in.Item) > 0 {
				u.titles[in.ID] = in.Title()
			}
		}
	}
}

// title returns the id of a step or instance, with what it is about if that is known.
func (u *UI) title(id string) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if t, ok := u.titles[id]; ok {
		return t
	}
	return id
}

// progress shows what is waited for and for how long; the same words come again only after a while.
func (u *UI) progress(id, text string) {
	now := u.Now()
	u.mu.Lock()
	if u.last == nil {
		u.last = map[string]said{}
	}
	s := u.last[id]
	if s.text != text {
		s = said{text: text, since: now}
	}
	show := now.Sub(s.told) >= repeat
	if show {
		s.told = now
	}
	u.last[id] = s
	u.mu.Unlock()
	if !show {
		return
	}
	if waited := now.Sub(s.since).Round(time.Second); waited > 0 {
		u.Say("%s: %s (%s so far)", id, text, waited)
		return
	}
	u.Say("%s: %s", id, text)
}

// Ask asks a person at a gate: yes for a change, the target's name for what cannot be undone. Any other answer leaves the
// gate waiting; nobody is asked without a terminal. by is the person at the terminal.
func (u *UI) Ask(ctx context.Context, by approval.Identity, g plan.Gate, s plan.Step) (approval.Decision, bool, error) {
	if !u.Interactive {
		return approval.Decision{}, false, nil
	}
	want := "yes"
	if g.Effect == plugins.Destroy {
		want = destroyed(s)
	}
	u.Say("gate %s: %s", g.Step, g.Message)
	u.Say("digest %s", g.Digest)
	fmt.Fprintf(u.Err, "tkgfix: type %q to approve: ", clean(want))
	answer, err := u.readLine(ctx)
	if err != nil {
		return approval.Decision{}, false, err
	}
	if answer != want {
		u.Say("not approved")
		return approval.Decision{}, false, nil
	}
	return approval.Decision{Gate: g.Step, Digest: g.Digest, Approved: true, By: by, At: u.Now()}, true, nil
}

// destroyed returns what a person types to approve what cannot be undone: the names of all that is deleted or replaced.
func destroyed(s plan.Step) string {
	var names []string
	for _, c := range s.PlannedChanges() {
		if (c.Action == plugins.Delete || c.Action == plugins.Replace) && !slices.Contains(names, c.Target.Name) {
			names = append(names, c.Target.Name)
		}
	}
	if len(names) == 0 {
		return s.PlannedChanges()[0].Target.Name
	}
	return strings.Join(names, " ")
}

// readLine reads one line of 4 KiB at most. It returns when ctx ends, even if nobody types.
func (u *UI) readLine(ctx context.Context) (string, error) {
	type result struct {
		line string
		err  error
	}
	got := make(chan result, 1)
	go func() {
		line, err := bufio.NewReader(io.LimitReader(u.In, 4096)).ReadString('\n')
		got <- result{line, err}
	}()
	select {
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case r := <-got:
		if r.err != nil && r.err != io.EOF {
			return "", fmt.Errorf("read the answer: %w", r.err)
		}
		return strings.TrimSpace(r.line), nil
	}
}

// clean replaces control characters, which could drive the terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && (r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u202e') {
			return ' '
		}
		return r
	}, s)
}
