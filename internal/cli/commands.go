package cli

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/internal/report"
	"github.com/tkgfix/tkgfix/internal/version"
)

func (a *app) validate() *cli.Command {
	return &cli.Command{
		Name: "validate", Usage: "check a workflow file, without asking any cluster", ArgsUsage: "FILE",
		Description:  "Prints every problem with its place in the file.\n\n   tkgfix validate examples/workflows/documented-fix.yaml\n\nEXIT STATUS: 0 valid, 1 not.",
		OnUsageError: usage,
		Action: func(c *cli.Context) error {
			args, err := arguments(c, "FILE")
			if err != nil {
				return err
			}
			if _, err := a.readWorkflow(args[0], newCatalog()); err != nil {
				return err
			}
			a.ui.Say("%s is valid", args[0])
			return nil
		},
	}
}

func (a *app) plan() *cli.Command {
	return &cli.Command{
		Name: "plan", Usage: "show what a workflow would do, and change nothing", ArgsUsage: "FILE",
		Description: `Reading steps run for real; changing steps are dry-run on the server.

   tkgfix plan documented-fix.yaml --input cluster=team-a/dev1 --input ca=corp-root.pem
   tkgfix plan documented-fix.yaml --input cluster=team-a/dev1 --input ca=corp-root.pem --output markdown

EXIT STATUS: 0 planned, 1 failed or blocked, 2 there are changes (with --detailed-exitcode).`,
		OnUsageError: usage,
		Flags: []cli.Flag{
			inputFlag(), outputFlag("text", "json", "markdown"),
			&cli.BoolFlag{Name: "detailed-exitcode", Usage: "exit with 2 if there are changes"},
		},
		Action: func(c *cli.Context) error {
			args, err := arguments(c, "FILE")
			if err != nil {
				return err
			}
			e, req, err := a.prepare(c, args[0])
			if err != nil {
				return err
			}
			p, err := e.Plan(c.Context, req)
			if err != nil {
				return err
			}
			if err := a.show(c.String("output"), p); err != nil {
				return err
			}
			if err := p.Err(); err != nil {
				return err
			}
			if c.Bool("detailed-exitcode") && p.HasChanges() {
				return exit(ExitChanges)
			}
			return nil
		},
	}
}

func (a *app) run() *cli.Command {
	return &cli.Command{
		Name: "run", Usage: "plan a workflow, stop at its gates, apply what is approved", ArgsUsage: "FILE",
		Description: `On a terminal each gate asks; without one the run is saved at the first gate, and the line to approve is printed.

   tkgfix run documented-fix.yaml --input cluster=team-a/dev1 --input ca=corp-root.pem

EXIT STATUS: 0 done, 1 failed or blocked, 3 waiting for approval, 4 rejected, 5 locked by another, 130 interrupted and resumable.`,
		OnUsageError: usage,
		Flags:        []cli.Flag{inputFlag(), outputFlag("text", "json")},
		Action: func(c *cli.Context) error {
			args, err := arguments(c, "FILE")
			if err != nil {
				return err
			}
			e, req, err := a.prepare(c, args[0])
			if err != nil {
				return err
			}
			if req.ID, err = a.newRunID(); err != nil {
				return err
			}
			if err := e.Create(c.Context, req); err != nil {
				return err
			}
			a.ui.Say("run %s", req.ID)
			return a.proceed(c, e, req.ID)
		},
	}
}

func (a *app) resume() *cli.Command {
	return &cli.Command{
		Name: "resume", Usage: "go on with a run that waited, failed or was killed", ArgsUsage: "RUN",
		Description: `What happened before is read from the run's journal; what is not in it is observed, never guessed.

   tkgfix resume 01jd5x2v9k3q4m8r7t6w5y1z0a

EXIT STATUS: as of tkgfix run.`,
		OnUsageError: usage,
		Flags:        []cli.Flag{outputFlag("text", "json")},
		Action: func(c *cli.Context) error {
			args, err := arguments(c, "RUN")
			if err != nil {
				return err
			}
			e, err := a.engine(c)
			if err != nil {
				return err
			}
			return a.proceed(c, e, args[0])
		},
	}
}

// prepare reads a workflow and binds what it needs.
func (a *app) prepare(c *cli.Context, path string) (*engine.Engine, engine.Request, error) {
	e, err := a.engine(c)
	if err != nil {
		return nil, engine.Request{}, err
	}
	w, err := a.readWorkflow(path, e.Catalog)
	if err != nil {
		return nil, engine.Request{}, err
	}
	req, err := request(c, w)
	return e, req, err
}

// proceed carries a run as far as it goes and says how it stands.
func (a *app) proceed(c *cli.Context, e *engine.Engine, id string) error {
	watch := e.Watch
	e.Watch = func(ev engine.Event) {
		if ev.Kind == engine.EventPlan && c.String("output") == "text" {
			// The plan goes to standard output; a failure to print it shows when the outcome is printed.
			_ = report.PlanText(a.ui.Out, ev.Plan)
		}
		watch(ev)
	}
	r, err := e.Run(c.Context, id)
	if r == nil {
		return explain(c, err)
	}
	if c.String("output") == "json" {
		if jerr := report.JSON(a.ui.Out, r); jerr != nil {
			return jerr
		}
	}
	return a.outcome(c, r, err)
}

// show prints a plan in one of the formats.
func (a *app) show(format string, p *plan.Plan) error {
	switch format {
	case "json":
		return report.JSON(a.ui.Out, p)
	case "markdown":
		return report.PlanMarkdown(a.ui.Out, p)
	}
	return report.PlanText(a.ui.Out, p)
}

func (a *app) versionCommand() *cli.Command {
	return &cli.Command{
		Name: "version", Usage: "print the version", OnUsageError: usage,
		Flags: []cli.Flag{outputFlag("text", "json")},
		Action: func(c *cli.Context) error {
			if c.String("output") == "json" {
				return report.JSON(a.ui.Out, map[string]string{"version": version.Version()})
			}
			_, err := fmt.Fprintln(a.ui.Out, "tkgfix", version.Version())
			return err
		},
	}
}
