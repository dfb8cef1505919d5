package cli

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/report"
)

func (a *app) runs() *cli.Command {
	return &cli.Command{
		Name: "runs", Usage: "look at runs", OnUsageError: usage,
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "list the runs, oldest first", OnUsageError: usage,
				Flags:  []cli.Flag{outputFlag("text", "json")},
				Action: a.listRuns,
			},
			{
				Name: "show", Usage: "show how a run stands", ArgsUsage: "RUN", OnUsageError: usage,
				Flags:  []cli.Flag{outputFlag("text", "json")},
				Action: a.showRun,
			},
		},
	}
}

// listed is a line of tkgfix runs list.
type listed struct {
	ID       string        `json:"id"`
	Status   engine.Status `json:"status"`
	Workflow string        `json:"workflow"`
	Began    time.Time     `json:"began"`
	Error    string        `json:"error,omitempty"`
}

func (a *app) listRuns(c *cli.Context) error {
	e, err := a.engine(c)
	if err != nil {
		return err
	}
	ids, err := e.Store.List(c.Context)
	if err != nil {
		return err
	}
	all := []listed{}
	for _, id := range ids {
		r, err := e.Load(c.Context, id)
		if err != nil {
			// One damaged journal must not hide the other runs.
			all = append(all, listed{ID: id, Status: "damaged", Error: err.Error()})
			continue
		}
		all = append(all, listed{ID: id, Status: r.Status, Workflow: r.Created.File, Began: r.Began, Error: r.Error})
	}
	if c.String("output") == "json" {
		return report.JSON(a.ui.Out, all)
	}
	w := tabwriter.NewWriter(a.ui.Out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "RUN\tSTATUS\tBEGUN\tWORKFLOW")
	for _, l := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", l.ID, l.Status, l.Began.UTC().Format(time.RFC3339), l.Workflow)
	}
	return w.Flush()
}

func (a *app) showRun(c *cli.Context) error {
	_, r, err := a.load(c)
	if err != nil {
		return err
	}
	if c.String("output") == "json" {
		return report.JSON(a.ui.Out, r)
	}
	fmt.Fprintf(a.ui.Out, "Run %s: %s\n\n", r.ID, r.Status)
	if r.Plan != nil {
		if err := report.PlanText(a.ui.Out, r.Plan); err != nil {
			return err
		}
	}
	switch {
	case len(r.PendingGates(a.now())) > 0 && !r.Final():
		a.waiting(c, r)
	case !r.Final():
		a.ui.Hint("%s", next(c, "resume %s", r.ID))
	}
	return nil
}

func (a *app) report() *cli.Command {
	return &cli.Command{
		Name: "report", Usage: "write what a run found, did and proved", ArgsUsage: "RUN", OnUsageError: usage,
		Description: "The report is made from the run's journal alone.\n\n   tkgfix report 01jd5x2v9k3q4m8r7t6w5y1z0a > report.md\n   tkgfix report 01jd5x2v9k3q4m8r7t6w5y1z0a --output json",
		Flags:       []cli.Flag{outputFlag("markdown", "json")},
		Action: func(c *cli.Context) error {
			_, r, err := a.load(c)
			if err != nil {
				return err
			}
			if c.String("output") == "json" {
				return report.JSON(a.ui.Out, r)
			}
			return report.RunMarkdown(a.ui.Out, r)
		},
	}
}

// load reads the run that the command names.
func (a *app) load(c *cli.Context) (*engine.Engine, *engine.Run, error) {
	args, err := arguments(c, "RUN")
	if err != nil {
		return nil, nil, err
	}
	e, err := a.engine(c)
	if err != nil {
		return nil, nil, err
	}
	r, err := e.Load(c.Context, args[0])
	return e, r, explain(c, err)
}
