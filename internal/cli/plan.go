package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/google/renameio/v2"
	"github.com/urfave/cli/v2"

	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/internal/report"
	"github.com/tkgfix/tkgfix/plugins"
)

func (a *app) plan() *cli.Command {
	return &cli.Command{
		Name: "plan", Usage: "show what a workflow would do, and change nothing", ArgsUsage: "FILE | ADDRESS",
		Description: `Reading steps run for real; changing steps are dry-run on the server. With -o the plan is kept in a file, which
tkgfix show prints and tkgfix run --plan carries out: exactly that, or not at all.

   tkgfix plan documented-fix.yaml --input cluster=team-a/dev1 --input ca=corp-root.pem
   tkgfix plan documented-fix.yaml --input cluster=team-a/dev1 --input ca=corp-root.pem --output markdown
   tkgfix plan documented-fix.yaml --input cluster=team-a/dev1 --input ca=corp-root.pem -o dev1.plan
   tkgfix plan 'git@git.example.com:team/fleet.git//workflows/fix.yaml?ref=main' --input cluster=team-a/dev1

` + addressHelp + `

EXIT STATUS: 0 planned, 1 failed or blocked, 2 there are changes (with --detailed-exitcode).`,
		OnUsageError: usage,
		Flags: []cli.Flag{
			inputFlag(), autoApproveFlag(),
			&cli.StringFlag{Name: "output", Usage: "`FORMAT`: text or json or markdown", Value: "text", Action: oneOf("text", "json", "markdown")},
			&cli.StringFlag{Name: "out", Aliases: []string{"o"}, Usage: "keep the plan in `FILE`", Action: noFormat},
			&cli.BoolFlag{Name: "detailed-exitcode", Usage: "exit with 2 if there are changes"},
		},
		Action: a.makePlan,
	}
}

// noFormat catches -o json, which elsewhere names a format.
func noFormat(_ *cli.Context, v string) error {
	if slices.Contains([]string{"text", "json", "markdown"}, v) {
		return fmt.Errorf("-o names a file here; for a format: --output %s", v)
	}
	return nil
}

func (a *app) makePlan(c *cli.Context) error {
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
	if file := c.String("out"); file != "" {
		if err := savePlan(file, e.Save(req, p)); err != nil {
			return err
		}
		defer func() {
			a.ui.Say("plan is kept in %s", file)
			a.ui.Say("then: %s", next(c, "run --plan %s", file))
		}()
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
}

// savePlan writes a plan in whole or not at all.
func savePlan(path string, s engine.Saved) error {
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode the plan: %w", err)
	}
	if err := renameio.WriteFile(path, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("keep the plan: %w", err)
	}
	return nil
}

// loadPlan reads a saved plan.
func loadPlan(path string) (*engine.Saved, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, plugins.Hint(fmt.Errorf("read plan: %w", err), "tkgfix plan FILE -o %s", path)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, engine.MaxSaved+1))
	if err != nil {
		return nil, fmt.Errorf("read plan %s: %w", path, err)
	}
	return engine.ReadSaved(path, data)
}

func (a *app) showPlan() *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "show a plan that was kept in a file", ArgsUsage: "PLANFILE", OnUsageError: usage,
		Description: `No cluster is asked. The digests in the file are computed again.

   tkgfix show dev1.plan
   tkgfix show dev1.plan --output markdown

EXIT STATUS: 0 shown, 1 the file is no plan or was altered.`,
		Flags: []cli.Flag{outputFlag("text", "json", "markdown")},
		Action: func(c *cli.Context) error {
			args, err := arguments(c, "PLANFILE")
			if err != nil {
				return err
			}
			s, err := loadPlan(args[0])
			if err != nil {
				return err
			}
			if err := a.show(c.String("output"), &s.Plan); err != nil {
				return err
			}
			a.ui.Say("then: %s", next(c, "run --plan %s", args[0]))
			return nil
		},
	}
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
