package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/plugins"
)

// SavedFormat names the encoding of a saved plan.
const SavedFormat = "tkgfix.dev/saved-plan/v1alpha1"

// MaxSaved bounds a saved plan, in bytes.
const MaxSaved = 32 << 20

// Saved is a plan in a file: all that a run of exactly this plan needs.
type Saved struct {
	Format  string    `json:"format"`
	Created Created   `json:"created"`
	Plan    plan.Plan `json:"plan"`
}

// Save returns a plan that was made for the request, to be kept in a file.
func (e *Engine) Save(req Request, p *plan.Plan) Saved {
	return Saved{Format: SavedFormat, Created: e.created(req), Plan: *p}
}

// ReadSaved reads a saved plan and holds it against itself: its digests are computed again. name is for messages.
func ReadSaved(name string, data []byte) (*Saved, error) {
	if len(data) > MaxSaved {
		return nil, fmt.Errorf("read plan %s: larger than %d bytes", name, MaxSaved)
	}
	again := plugins.Hint
	var s Saved
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&s); err != nil || dec.More() {
		return nil, again(fmt.Errorf("read plan %s: not a saved plan", name), "tkgfix plan FILE -o %s", name)
	}
	if s.Format != SavedFormat || s.Plan.Format != plan.Format {
		return nil, again(fmt.Errorf("read plan %s: format %q with plan %q; this tkgfix reads %q with %q", name, s.Format, s.Plan.Format, SavedFormat, plan.Format),
			"tkgfix plan FILE -o %s", name)
	}
	if err := s.whole(); err != nil {
		return nil, again(fmt.Errorf("read plan %s: %w: it was altered after it was made", name, err), "tkgfix plan FILE -o %s", name)
	}
	return &s, nil
}

// whole returns what in a saved plan does not belong to the rest.
func (s *Saved) whole() error {
	sum := sha256.Sum256([]byte(s.Created.Source))
	if hex.EncodeToString(sum[:]) != s.Plan.WorkflowSHA256 {
		return fmt.Errorf("its workflow is not the one that was planned")
	}
	if !sameInputs(s.Created.Inputs, s.Plan.Inputs) {
		return fmt.Errorf("its inputs are not those that were planned with")
	}
	gates := 0
	for i := range s.Plan.Steps {
		st := &s.Plan.Steps[i]
		if len(st.PlannedChanges()) == 0 || st.Effect == plugins.Announce {
			continue
		}
		gates++
		g, ok := s.Plan.Gate(st.ID)
		if !ok {
			return fmt.Errorf("step %s has changes and no gate", st.ID)
		}
		digest, err := s.Plan.Digest(*st)
		if err != nil || digest != g.Digest {
			return fmt.Errorf("the changes of step %s are not those of its digest", st.ID)
		}
	}
	if gates != len(s.Plan.Gates) {
		return fmt.Errorf("it has %d gates for %d steps with changes", len(s.Plan.Gates), gates)
	}
	return nil
}

// CreateSaved begins a run with a plan that was made before. Whoever begins it is its requester, whoever made the plan.
func (e *Engine) CreateSaved(ctx context.Context, id string, s *Saved) error {
	c := s.Created
	c.By, c.Version = e.Me, e.Version
	first, err := e.draft(kindCreated, c)
	if err != nil {
		return err
	}
	second, err := e.draft(kindPlanned, planned{Plan: s.Plan})
	if err != nil {
		return err
	}
	if _, err := e.Store.Append(ctx, id, 1, first, second); err != nil {
		return fmt.Errorf("create run %s: %w", id, err)
	}
	return nil
}
