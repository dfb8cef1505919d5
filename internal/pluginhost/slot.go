package pluginhost

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/tkgfix/tkgfix/plugins"
)

// slot is the place of one plugin: at most one process at a time.
type slot struct {
	host *Host
	name string
	// turn is held by the one who starts.
	turn chan struct{}

	mu          sync.Mutex
	current     *instance
	description *plugins.Description
}

// get returns the running instance, starting one if there is none.
func (s *slot) get(ctx context.Context) (*instance, error) {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("start plugin %s: %w", s.name, ctx.Err())
	}
	defer func() { <-s.turn }()
	if i := s.running(); i != nil {
		return i, nil
	}
	s.host.starting.RLock()
	defer s.host.starting.RUnlock()
	if s.host.isClosed() {
		return nil, fmt.Errorf("plugin %s: %w", s.name, ErrClosed)
	}
	if dead := s.last(); dead != nil {
		dead.kill("")
	}
	i, err := s.host.launch(ctx, s.name)
	if err != nil {
		return nil, err
	}
	if err := s.keep(i); err != nil {
		i.stop(ctx)
		return nil, err
	}
	return i, nil
}

// keep makes i the instance of the slot if it is still the step that it was.
func (s *slot) keep(i *instance) error {
	d := i.step.Describe()
	if d.Name != s.name {
		return fmt.Errorf("plugin %s serves the step %q", s.name, d.Name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.description == nil && i.program != nil {
		s.description = i.program.Said
	}
	if s.description == nil {
		s.description = &d
	}
	if !sameDescription(*s.description, d) {
		return fmt.Errorf("plugin %s describes itself otherwise than before: was it replaced while tkgfix ran?", s.name)
	}
	s.current = i
	return nil
}

// last returns the instance that was started last, dead or alive.
func (s *slot) last() *instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// running returns the instance if its process lives.
func (s *slot) running() *instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil || s.current.isOver() {
		return nil
	}
	return s.current
}

func (s *slot) described() plugins.Description {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *s.description
}

func sameDescription(a, b plugins.Description) bool {
	return a.Name == b.Name && a.Version == b.Version && a.Summary == b.Summary && a.Effect == b.Effect &&
		bytes.Equal(a.Input, b.Input) && bytes.Equal(a.Output, b.Output) && slices.Equal(a.Connections, b.Connections)
}
