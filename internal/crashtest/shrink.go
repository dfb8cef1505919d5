package crashtest

import (
	"errors"
	"slices"
)

// errBudget ends a search: what was found until then counts.
var errBudget = errors.New("the budget for shrinking is spent")

// shrink returns a short schedule for which fails is true, as it is for the whole one. What failed last is the likeliest
// culprit, so the ends of the schedule are tried first; then points are left out as long as it still fails (delta debugging, Zeller and
// Hildebrandt 2002).
func shrink(all Schedule, fails func(Schedule) (bool, error)) (Schedule, error) {
	best := all
	try := func(s Schedule) (bool, error) {
		if len(s) == 0 || len(s) >= len(best) {
			return false, nil
		}
		ok, err := fails(s)
		if ok {
			best = s
		}
		return ok, err
	}
	err := shrinkWith(all, try, func() Schedule { return best })
	if errors.Is(err, errBudget) {
		err = nil
	}
	return best, err
}

func shrinkWith(all Schedule, try func(Schedule) (bool, error), best func() Schedule) error {
	for n := 1; n < len(all); n *= 2 {
		ok, err := try(slices.Clone(all[len(all)-n:]))
		if err != nil {
			return err
		}
		if ok {
			break
		}
	}
	for parts := 2; len(best()) > 1; {
		s := best()
		parts = min(parts, len(s))
		smaller, err := leaveOut(s, parts, try)
		switch {
		case err != nil:
			return err
		case smaller:
			parts = max(parts-1, 2)
		case parts == len(s):
			return nil
		default:
			parts = min(parts*2, len(s))
		}
	}
	return nil
}

// leaveOut tries the schedule without each of its parts.
func leaveOut(s Schedule, parts int, try func(Schedule) (bool, error)) (bool, error) {
	for i := range parts {
		from, to := i*len(s)/parts, (i+1)*len(s)/parts
		ok, err := try(slices.Concat(s[:from], s[to:]))
		if ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}
