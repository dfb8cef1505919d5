package plan

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/tkgfix/tkgfix/plugins"
)

// InstanceID returns the id of a forEach step's instance.
func InstanceID(step string, index int) string { return fmt.Sprintf("%s[%d]", step, index) }

// PlannedChanges returns the changes of a step: its own, or those of its instances in their order.
func (s *Step) PlannedChanges() []plugins.PlannedChange {
	if len(s.Instances) == 0 {
		return s.Changes
	}
	var out []plugins.PlannedChange
	for i := range s.Instances {
		out = append(out, s.Instances[i].Changes...)
	}
	return out
}

// AllBlocks returns the reasons why a step must not be carried out: its own and those of its instances.
func (s *Step) AllBlocks() []plugins.Block {
	out := s.Blocks
	for i := range s.Instances {
		out = append(out[:len(out):len(out)], s.Instances[i].Blocks...)
	}
	return out
}

// Each returns the step's instances, or the step itself when it has no forEach.
func (s *Step) Each() []*Step {
	if s.ForEach {
		out := make([]*Step, 0, len(s.Instances))
		for i := range s.Instances {
			out = append(out, &s.Instances[i])
		}
		return out
	}
	return []*Step{s}
}

// Gather brings a forEach step up to date with its instances: its status, and its outputs, which are the list of theirs.
func (s *Step) Gather() {
	if !s.ForEach {
		return
	}
	outputs := []json.RawMessage{}
	count := map[Status]int{}
	var firstFailed, firstDeferred *Step
	for i := range s.Instances {
		in := &s.Instances[i]
		count[in.Status]++
		switch in.Status {
		case Failed:
			if firstFailed == nil {
				firstFailed = in
			}
			continue
		case Deferred:
			if firstDeferred == nil {
				firstDeferred = in
			}
		}
		if len(in.Outputs) > 0 {
			outputs = append(outputs, in.Outputs)
		}
	}
	s.Why, s.Hint, s.Outputs = "", "", nil
	switch {
	case count[Failed] > s.Strategy.MaxFailures:
		s.Status, s.Why, s.Hint = Failed, fmt.Sprintf("%s: %s", firstFailed.ID, firstFailed.Why), firstFailed.Hint
		return
	case firstDeferred != nil:
		s.Status, s.Why = Deferred, firstDeferred.Why
		return
	case count[Changes] > 0:
		s.Status = Changes
	case len(s.Instances) > 0 && count[Skipped] == len(s.Instances):
		s.Status, s.Why = Skipped, s.whySkipped()
	case s.Effect == plugins.Read || count[Done] > 0:
		s.Status = Done
	default:
		s.Status = Unchanged
	}
	s.Summary = s.tally(count)
	if raw, err := json.Marshal(outputs); err == nil {
		s.Outputs = raw
	}
}

// leaveOut makes instances that are blocked ones that failed, if the strategy tolerates that many and others are left: these go on without
// them. Else they stay, and block the plan.
func (s *Step) leaveOut() {
	out := 0
	for i := range s.Instances {
		if in := &s.Instances[i]; in.Status == Failed || len(in.Blocks) > 0 {
			out++
		}
	}
	if out > s.Strategy.MaxFailures || out == len(s.Instances) {
		return
	}
	for i := range s.Instances {
		in := &s.Instances[i]
		if in.Status == Failed || len(in.Blocks) == 0 {
			continue
		}
		in.Status, in.Why, in.Hint = Failed, "blocked: "+in.Blocks[0].Reason, in.Blocks[0].Hint
		in.Blocks, in.Changes, in.Outputs = nil, nil, nil
	}
}

// whySkipped says why a step was skipped for each of its items.
func (s *Step) whySkipped() string {
	why := s.Instances[0].Why
	for i := range s.Instances {
		if s.Instances[i].Why != why {
			return "skipped for each item"
		}
	}
	return why + ", for each item"
}

// Title returns the id of a step; of an instance also what it is about, and on which Supervisor.
func (s *Step) Title() string {
	if len(s.Item) == 0 {
		return s.ID
	}
	return s.ID + " " + s.About()
}

// About returns in a few words what an instance is about: the name of its item, and the Supervisor if the plan has another.
func (s *Step) About() string {
	name := itemName(s.Item)
	if s.Supervisor == nil {
		return name
	}
	if s.Supervisor.Context == "" {
		return name + " on " + s.Supervisor.Kubeconfig
	}
	return name + " on " + s.Supervisor.Context
}

// maxItemName bounds how much of an item is shown, in characters.
const maxItemName = 80

// itemName returns an item that is a text, or the name in one that is an object; else the item as JSON, cut.
func itemName(item json.RawMessage) string {
	var text string
	var object map[string]any
	switch {
	case json.Unmarshal(item, &text) == nil:
	case json.Unmarshal(item, &object) == nil:
		for _, key := range []string{"ref", "cluster", "name"} {
			if s, ok := object[key].(string); ok && s != "" {
				text = s
				break
			}
		}
	}
	if text == "" {
		text = string(item)
	}
	if r := []rune(text); len(r) > maxItemName {
		text = string(r[:maxItemName]) + "…"
	}
	return text
}

// index returns which of a step's instances has an id, -1 if none.
func (p *Plan) index(step, instance string) int {
	s, ok := p.Step(step)
	if !ok {
		return -1
	}
	return slices.IndexFunc(s.Instances, func(in Step) bool { return in.ID == instance })
}

func (s *Step) tally(count map[Status]int) string {
	out := fmt.Sprintf("%d of %d items", len(s.Instances)-count[Failed]-count[Skipped], len(s.Instances))
	if n := count[Skipped]; n > 0 {
		out += fmt.Sprintf(", %d skipped", n)
	}
	if n := count[Failed]; n > 0 {
		out += fmt.Sprintf(", %d failed", n)
	}
	return out
}
