package pluginhost

import (
	"context"
	"errors"
	"fmt"

	"github.com/tkgfix/tkgfix/internal/wire/fromproto"
	"github.com/tkgfix/tkgfix/internal/wire/host2plugin"
	"github.com/tkgfix/tkgfix/plugins"
)

// step is a plugin's step as the engine sees it: each call goes to the process that runs then.
type step struct {
	slot        *slot
	description plugins.Description
}

var _ plugins.Step = (*step)(nil)

// Describe returns what the step said of itself when its process was first started.
func (s *step) Describe() plugins.Description { return s.description }

// Plan calls the plugin. The error of a crash names the plugin and shows its last lines.
func (s *step) Plan(ctx context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	i, err := s.slot.get(ctx)
	if err != nil {
		return plugins.PlanResponse{}, err
	}
	resp, err := i.step.Plan(ctx, req)
	return resp, i.explain(ctx, err)
}

// Apply calls the plugin. When it returns with an error the process may be dead, but no act of it is under way.
func (s *step) Apply(ctx context.Context, req plugins.ApplyRequest, host plugins.Host) (plugins.ApplyResponse, error) {
	i, err := s.slot.get(ctx)
	if err != nil {
		return plugins.ApplyResponse{}, err
	}
	resp, err := i.step.Apply(ctx, req, host)
	return resp, i.explain(ctx, err)
}

// explain turns the error of a call into what the engine may show. A process of which it is not known what it does is killed.
func (i *instance) explain(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, host2plugin.ErrIgnoredCancel):
		i.kill(fmt.Sprintf("it went on for %s after it was cancelled", i.host.options.Grace))
		return fmt.Errorf("%w: %w", i.crashError(), context.Cause(ctx))
	case errors.Is(err, fromproto.ErrTransport):
		if i.awaitGone() {
			return i.crashError()
		}
		i.kill("the connection to it was lost")
		return fmt.Errorf("plugin %s: %w", i.name, err)
	default:
		return err
	}
}
