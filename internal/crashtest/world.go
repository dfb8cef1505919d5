package crashtest

import (
	"context"
	"fmt"
	"os/exec"
	"time"

	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/state"
)

// World makes places to run the workflow in, each as the others at the beginning.
type World interface {
	// Up makes a place. It blocks until the place is ready.
	Up(ctx context.Context) (Place, error)
}

// Place is where one run happens.
type Place interface {
	// Engine returns a command that serves an engine of this place: one that calls Serve on its standard streams. ctx ends it.
	Engine(ctx context.Context) *exec.Cmd
	// Journal returns the store that the engines of this place use.
	Journal() state.Store
	// Writes returns what tkgfix has written to the API servers of this place, dry-runs left out, by the servers' own audit logs,
	// in the order of time. Only writes that were carried out count.
	Writes(ctx context.Context) ([]Write, error)
	// End returns how the things that the run was about are now, a line each, without what differs from place to place.
	End(ctx context.Context, r *engine.Run) ([]string, error)
	// Close ends the place and removes it.
	Close(ctx context.Context) error
}

// Meddler is a place in which somebody else can change what a run was approved to change.
type Meddler interface {
	// Meddle changes it and returns what takes that back.
	Meddle(ctx context.Context) (undo func(context.Context) error, err error)
}

// Renamer is a place that made things of its own, such as certificates, which no two places have alike.
type Renamer interface {
	// Rename puts names that are the same in each place for them. text is a JSON document or plain text.
	Rename(text string) string
}

// Write is one write that an API server carried out.
type Write struct {
	At   time.Time
	Verb string
	// Cluster is empty for the Supervisor, else namespace/name.
	Cluster string
	Group   string
	// Resource is the plural, in lower case.
	Resource  string
	Namespace string
	Name      string
	// UID is that of the object if the request names it.
	UID string
	// By is who asked.
	By string
}

// Object names what was written to, without its incarnation.
func (w Write) Object() string {
	s := w.Resource
	if w.Group != "" {
		s += "." + w.Group
	}
	s += " "
	if w.Namespace != "" {
		s += w.Namespace + "/"
	}
	s += w.Name
	if w.Cluster != "" {
		s += " in " + w.Cluster
	}
	return s
}

// String returns the write as evidence.
func (w Write) String() string {
	s := fmt.Sprintf("%s %s %s", w.At.UTC().Format("15:04:05.000"), w.Verb, w.Object())
	if w.UID != "" {
		s += " uid " + w.UID
	}
	return s + " by " + w.By
}
