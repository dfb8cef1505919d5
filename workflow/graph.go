package workflow

import (
	"slices"
	"strings"
)

// Order returns the ids of the steps so that each comes after those that it needs, and else in the order of the file. Steps in
// a cycle, which Validate refuses, come last.
func (w *Workflow) Order() []string {
	order := make([]string, 0, len(w.Steps))
	done := map[string]bool{}
	ready := func(s Step) bool {
		return !done[s.ID] && !slices.ContainsFunc(s.Needs, func(id string) bool { return !done[id] })
	}
	for {
		i := slices.IndexFunc(w.Steps, ready)
		if i < 0 {
			break
		}
		done[w.Steps[i].ID] = true
		order = append(order, w.Steps[i].ID)
	}
	for _, s := range w.Steps {
		if !done[s.ID] {
			order = append(order, s.ID)
		}
	}
	return order
}

// cycles reports each group of steps that wait for each other, once, by its shortest way round from its first step.
func (v *validator) cycles() {
	told := map[string]bool{}
	for i := range v.w.Steps {
		s := &v.w.Steps[i]
		if told[s.ID] {
			continue
		}
		loop := v.shortestLoop(s)
		if loop == nil {
			continue
		}
		for _, id := range loop {
			told[id] = true
		}
		v.add(s.idSpan, kindCycle, "steps wait for each other: %s", strings.Join(loop, " -> "))
	}
}

// shortestLoop returns the shortest way from a step over needs back to itself, nil if there is none.
func (v *validator) shortestLoop(start *Step) []string {
	from := map[string]string{}
	queue := []string{start.ID}
	for len(queue) > 0 {
		id := queue[0]
		queue = queue[1:]
		for _, next := range v.w.Step(id).Needs {
			if next == start.ID {
				loop := []string{start.ID}
				for at := id; at != start.ID; at = from[at] {
					loop = append(loop, at)
				}
				loop = append(loop, start.ID)
				slices.Reverse(loop)
				return loop
			}
			if _, seen := from[next]; !seen {
				from[next] = id
				queue = append(queue, next)
			}
		}
	}
	return nil
}
