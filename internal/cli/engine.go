package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/urfave/cli/v2"
	"go.opentelemetry.io/otel/trace"

	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/internal/state/file"
	"github.com/tkgfix/tkgfix/internal/telemetry"
	"github.com/tkgfix/tkgfix/internal/version"
	"github.com/tkgfix/tkgfix/plugins"
)

// engine makes the engine over the state folder.
func (a *app) engine(c *cli.Context) (*engine.Engine, error) {
	dir, err := stateDir(c)
	if err != nil {
		return nil, err
	}
	me, err := actor()
	if err != nil {
		return nil, err
	}
	executable, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this executable: %w", err)
	}
	known := a.newCatalog(c)
	return &engine.Engine{
		Store: file.New(dir), Now: a.now, Me: me, Version: version.Version(), Catalog: known,
		Launch: launcher(executable, known), End: endProcess, File: fileDigest, Watch: a.ui.Watch, Signer: signer,
		Ask: func(ctx context.Context, g plan.Gate, s plan.Step) (approval.Decision, bool, error) {
			return a.ui.Ask(ctx, me.Identity, g, s)
		},
		Tracer: a.tracer(c.Context),
	}, nil
}

// sending bounds how long the spans of the last second may keep a command from ending.
const sending = 5 * time.Second

// tracer returns what makes the spans of runs; nil unless the environment asks for traces.
func (a *app) tracer(ctx context.Context) trace.Tracer {
	if a.tracing == nil {
		a.tracing = telemetry.Start(ctx, version.Version(), func(err error) { a.ui.Say("traces: %v", err) })
	}
	return a.tracing.Tracer()
}

// sendSpans sends the spans that were made and not yet sent.
func (a *app) sendSpans(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sending)
	defer cancel()
	a.tracing.Stop(ctx)
}

// actor returns who runs this, by the word of the operating system.
func actor() (engine.Actor, error) {
	host, err := os.Hostname()
	if err != nil {
		return engine.Actor{}, fmt.Errorf("find the name of this machine: %w", err)
	}
	u, err := user.Current()
	if err != nil {
		return engine.Actor{}, fmt.Errorf("find who runs this: %w", err)
	}
	return engine.Actor{Identity: approval.Identity{Name: u.Username + "@" + host}, Host: host, PID: os.Getpid()}, nil
}

// newRunID returns an id that sorts by time.
func (a *app) newRunID() (string, error) {
	id, err := ulid.New(ulid.Timestamp(a.now()), rand.Reader)
	if err != nil {
		return "", fmt.Errorf("make a run id: %w", err)
	}
	return strings.ToLower(id.String()), nil
}

// explain adds the next command to the errors of a run's journal.
func explain(c *cli.Context, err error) error {
	var corrupt *state.CorruptError
	switch {
	case errors.As(err, &corrupt) && corrupt.Torn:
		return plugins.Hint(err, "the last entry was cut off while it was written, so nothing was done on its account; keep a copy of the file, then: truncate -s %d %s",
			corrupt.Offset, corrupt.Where)
	case errors.As(err, &corrupt):
		return plugins.Hint(err, "the journal was altered after it was written: restore %s from a backup", corrupt.Where)
	case errors.Is(err, state.ErrNotFound):
		return plugins.Hint(err, "%s", next(c, "runs list"))
	}
	return err
}
