package engine

import (
	"fmt"

	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/plugins"
)

// GuardError says that a guard does not hold now, so that nothing may be changed.
type GuardError struct {
	Guard   string
	Message string
}

// Error names the guard and what it means.
func (e *GuardError) Error() string {
	return fmt.Sprintf("guard %s does not hold: %s", e.Guard, e.Message)
}

// guard holds the workflow's guards against this moment.
func (x *execution) guard(b *plan.Builder) error {
	for _, g := range b.Guards(x.snapshot(), x.Now()) {
		switch {
		case g.Holds == nil:
			return &GuardError{Guard: g.Name, Message: "it cannot be told yet: " + g.Message}
		case !*g.Holds:
			return plugins.Hint(&GuardError{Guard: g.Name, Message: g.Message}, "when it holds: tkgfix resume %s", x.run.ID)
		}
	}
	return nil
}
