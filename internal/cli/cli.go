// Package cli is tkgfix's command line: one file a command. It wires the parts together and holds no logic of theirs.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/internal/telemetry"
	"github.com/tkgfix/tkgfix/internal/ui"
	"github.com/tkgfix/tkgfix/internal/version"
	"github.com/tkgfix/tkgfix/plugins"
)

// IO is the world that a command talks to.
type IO struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
	// Interactive is true if a person sits at In and Err.
	Interactive bool
}

// The exit codes, a contract with scripts: docs/exit-codes.md. An unknown one must be taken for a failure.
const (
	ExitDone        = 0
	ExitFailed      = 1
	ExitChanges     = 2
	ExitWaiting     = 3
	ExitRejected    = 4
	ExitLocked      = 5
	ExitInterrupted = 130
)

// errInterrupted is the cause of a context that a signal ended.
var errInterrupted = errors.New("interrupted")

// exit is an error that only carries an exit code: all has been said.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// Main runs the command line and returns the exit code. It blocks until the command is done; SIGINT and SIGTERM interrupt
// it in a way that can be resumed.
func Main(ctx context.Context, stdio IO, args []string) int {
	stop := make(chan struct{})
	a := &app{
		ui:  &ui.UI{In: stdio.In, Out: stdio.Out, Err: stdio.Err, Interactive: stdio.Interactive, Now: time.Now},
		now: time.Now, stop: stop,
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	go a.interrupts(ctx, signals, stop, cancel)
	root := a.command(stdio)
	code := a.code(root.RunContext(ctx, interleave(root, args)))
	a.sendSpans(ctx)
	return code
}

// interrupts takes the signals. What can stop softly does so at the first one and is cancelled at the second; all else is cancelled
// at the first. The one after that gets the system's own treatment: nobody is held by a run that does not end.
func (a *app) interrupts(ctx context.Context, signals chan os.Signal, stop chan struct{}, cancel context.CancelCauseFunc) {
	select {
	case <-signals:
	case <-ctx.Done():
		return
	}
	close(stop)
	if a.soft.Load() {
		select {
		case <-signals:
		case <-ctx.Done():
			return
		}
	}
	signal.Stop(signals)
	cancel(errInterrupted)
}

// code says an error and returns the exit code for it.
func (a *app) code(err error) int {
	var (
		plain  exit
		locked *state.LockedError
	)
	switch {
	case err == nil:
		return ExitDone
	case errors.As(err, &plain):
		return int(plain)
	}
	a.ui.Error(err)
	switch {
	case errors.As(err, &locked):
		a.ui.Hint("%s", lockHint(locked, a.now()))
		return ExitLocked
	case interrupted(err):
		return ExitInterrupted
	}
	return ExitFailed
}

// interrupted says whether an error is a signal's doing.
func interrupted(err error) bool {
	return errors.Is(err, errInterrupted) || errors.Is(err, engine.ErrStopped)
}

// app is what the commands share.
type app struct {
	ui  *ui.UI
	now func() time.Time
	// stop is closed at the first signal. soft says that the command heeds it, so that it need not be cancelled yet.
	stop <-chan struct{}
	soft atomic.Bool
	// tracing is nil until a command needs an engine.
	tracing *telemetry.Tracing
}

func (a *app) command(stdio IO) *cli.App {
	return &cli.App{
		Name:  "tkgfix",
		Usage: "make a TKG cluster trust a private registry's CA, with proof, plan and approval",
		Description: `tkgfix plan shows what a workflow would do and changes nothing. tkgfix run does it: it stops at each gate until
the changes shown there are approved, and can be killed at any instant and resumed.

   tkgfix plan examples/workflows/documented-fix.yaml --input cluster=team-a/dev1 --input ca=corp-root.pem
   tkgfix run  examples/workflows/documented-fix.yaml --input cluster=team-a/dev1 --input ca=corp-root.pem`,
		Version:                version.Version(),
		HideVersion:            true,
		Reader:                 stdio.In,
		Writer:                 stdio.Out,
		ErrWriter:              stdio.Err,
		ExitErrHandler:         func(*cli.Context, error) {},
		UseShortOptionHandling: true,
		// A comma belongs to an input's value.
		DisableSliceFlagSeparator: true,
		OnUsageError:              usage,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "state", Usage: "keep runs in `DIR`; or kube:[CONTEXT/]NAMESPACE: those of a controller", EnvVars: []string{"TKGFIX_STATE"}, DefaultText: "$XDG_STATE_HOME/tkgfix"},
			lockfileFlag(),
		},
		CommandNotFound: func(c *cli.Context, name string) {
			a.ui.Error(plugins.Hint(fmt.Errorf("no such command: %s", name), "tkgfix help"))
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				a.ui.Error(plugins.Hint(fmt.Errorf("no such command: %s", c.Args().First()), "tkgfix help"))
				return exit(ExitFailed)
			}
			return cli.ShowAppHelp(c)
		},
		Commands: []*cli.Command{
			a.validate(), a.plan(), a.run(), a.resume(), a.approve(), a.reject(), a.runs(), a.report(), a.showPlan(),
			a.diagnose(), a.probe(), a.resolve(), a.schema(), a.pluginsCommand(), a.crashtest(), a.stateCommand(), a.bundle(), a.initCommand(), a.completion(),
			a.versionCommand(), a.controller(), a.plugin(),
		},
	}
}

// usage turns a wrong flag into an error with the next command.
func usage(c *cli.Context, err error, _ bool) error {
	name := "tkgfix"
	if c.Command != nil && c.Command.HelpName != "" {
		name = c.Command.HelpName
	}
	return plugins.Hint(err, "%s --help", name)
}

// arguments returns exactly the named arguments of a command.
func arguments(c *cli.Context, names ...string) ([]string, error) {
	if c.NArg() == len(names) {
		return c.Args().Slice(), nil
	}
	want := ""
	for _, n := range names {
		want += " " + n
	}
	return nil, plugins.Hint(fmt.Errorf("%s takes %d arguments:%s; %d were given", c.Command.HelpName, len(names), want, c.NArg()),
		"%s --help", c.Command.HelpName)
}

// next returns a tkgfix command line that can be pasted: it names the state folder if this one did.
func next(c *cli.Context, format string, args ...any) string {
	line := "tkgfix "
	if s := c.String("state"); s != os.Getenv("TKGFIX_STATE") {
		line += "--state " + s + " "
	}
	return line + fmt.Sprintf(format, args...)
}

// outcome says how a run stands and returns the exit code for it.
func (a *app) outcome(c *cli.Context, r *engine.Run, err error) error {
	if r == nil {
		return err
	}
	if errors.Is(err, engine.ErrFinal) {
		a.ui.Error(err)
	} else if err != nil {
		a.ui.Error(err)
		if interrupted(err) || r.Status == engine.Failed || r.Status == engine.Blocked {
			a.ui.Hint("when that is mended: %s", next(c, "resume %s", r.ID))
		}
	}
	switch r.Status {
	case engine.Done:
		if err == nil {
			a.ui.Say("run %s is done", r.ID)
		}
		a.ui.Say("report: %s", next(c, "report %s", r.ID))
		return nil
	case engine.Waiting:
		a.waiting(c, r)
		return exit(ExitWaiting)
	case engine.Rejected:
		return exit(ExitRejected)
	case engine.Interrupted:
		return exit(ExitInterrupted)
	}
	return exit(ExitFailed)
}

// waiting says what waits for approval, and the lines to type.
func (a *app) waiting(c *cli.Context, r *engine.Run) {
	a.ui.Say("run %s waits for approval", r.ID)
	for _, g := range r.PendingGates(a.now()) {
		a.ui.Say("gate %s: %s", g.Step, g.Message)
		if out := r.Outcome(g, a.now()); len(out.By) > 0 {
			a.ui.Say("  approved by %d of %d", len(out.By), len(out.By)+out.Missing)
		}
		a.ui.Say("  to approve: %s", next(c, "approve %s %s --digest %s", r.ID, g.Step, g.Digest))
		a.ui.Say("  to reject:  %s", next(c, "reject %s %s --digest %s --reason WHY", r.ID, g.Step, g.Digest))
	}
	if _, controlled, _ := inCluster(c); !controlled {
		a.ui.Say("then: %s", next(c, "resume %s", r.ID))
	}
}
