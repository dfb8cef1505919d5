package cli

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/report"
	"github.com/tkgfix/tkgfix/internal/version"
)

func (a *app) validate() *cli.Command {
	return &cli.Command{
		Name: "validate", Usage: "check a workflow file, without asking any cluster", ArgsUsage: "FILE | ADDRESS",
		Description: `Prints every problem with its place in the file.

   tkgfix validate examples/workflows/documented-fix.yaml
   tkgfix validate 'https://git.example.com/team/fleet.git//workflows/fix.yaml?ref=main'

` + addressHelp + `

EXIT STATUS: 0 valid, 1 not.`,
		OnUsageError: usage,
		Action: func(c *cli.Context) error {
			args, err := arguments(c, "FILE")
			if err != nil {
				return err
			}
			w, err := a.openWorkflow(c.Context, args[0], a.newCatalog(c), "")
			if err != nil {
				return err
			}
			a.ui.Say("%s is valid", w.File)
			return nil
		},
	}
}

// addressHelp says what is given in place of a file.
const addressHelp = `In place of FILE an address in a Git repository is taken, REPOSITORY//PATH[?ref=REF], with or without git:: before it; REPOSITORY
is a URL of https, ssh or file, or git@host:path. Your own git fetches it, with your logins. The commit is shown and kept with the run;
inputs that name files are still read from this folder.`

// prepare reads a workflow and binds what it needs.
func (a *app) prepare(c *cli.Context, path string) (*engine.Engine, engine.Request, error) {
	e, err := a.engine(c)
	if err != nil {
		return nil, engine.Request{}, err
	}
	w, err := a.openWorkflow(c.Context, path, e.Catalog, autoApproved(c))
	if err != nil {
		return nil, engine.Request{}, err
	}
	req, err := request(c, w)
	return e, req, err
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
