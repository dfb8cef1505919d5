package report

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/plan"
)

// event is a line of tkgfix run --events.
type event struct {
	Time  time.Time        `json:"time"`
	Kind  engine.EventKind `json:"kind"`
	ID    string           `json:"step,omitempty"`
	Text  string           `json:"text,omitempty"`
	Moved []string         `json:"moved,omitempty"`
	// NotBegun are the instances that a brake holds back.
	NotBegun []string   `json:"notBegun,omitempty"`
	Step     *plan.Step `json:"planned,omitempty"`
	Plan     *plan.Plan `json:"plan,omitempty"`
}

// EventJSON writes an event as one line of JSON.
func EventJSON(w io.Writer, at time.Time, e engine.Event) error {
	line, err := json.Marshal(event{Time: at.UTC(), Kind: e.Kind, ID: e.ID, Text: e.Text, Moved: e.Moved, NotBegun: e.NotBegun, Step: e.Step, Plan: e.Plan})
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	_, err = fmt.Fprintf(w, "%s\n", line)
	return err
}
