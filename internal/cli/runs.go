package cli

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/report"
)

func (a *app) runs() *cli.Command {
	return &cli.Command{
		Name: "runs", Usage: "look at runs, compare them, remove old ones", OnUsageError: usage,
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "list the runs, oldest first", OnUsageError: usage,
				Description: "WAITS FOR says what must happen next: approval of gates, or a resume.\n\n   tkgfix runs list\n\nEXIT STATUS: 0 listed, 1 failed.",
				Flags:       []cli.Flag{outputFlag("text", "json")},
				Action:      a.listRuns,
			},
			a.runsShow(), a.runsLog(), a.runsDiff(), a.runsPrune(),
		},
	}
}

// listed is a line of tkgfix runs list.
type listed struct {
	ID       string        `json:"id"`
	Status   engine.Status `json:"status"`
	Workflow string        `json:"workflow"`
	Began    time.Time     `json:"began"`
	Updated  time.Time     `json:"updated"`
	// WaitsFor says what must happen before more can come of the run; empty if it is over.
	WaitsFor string `json:"waitsFor,omitempty"`
	Error    string `json:"error,omitempty"`
}

func (a *app) listRuns(c *cli.Context) error {
	e, err := a.reader(c)
	if err != nil {
		return err
	}
	all, err := summaries(c.Context, e, a.now())
	if err != nil {
		return err
	}
	if _, controlled, _ := inCluster(c); controlled { // that it can be read was seen
		for i := range all {
			all[i].WaitsFor = waitsInCluster(all[i])
		}
	}
	if c.String("output") == "json" {
		return report.JSON(a.ui.Out, all)
	}
	w := tabwriter.NewWriter(a.ui.Out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "RUN\tSTATUS\tBEGUN\tUPDATED\tWAITS FOR\tWORKFLOW")
	for _, l := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", l.ID, l.Status, moment(l.Began), moment(l.Updated), dash(l.WaitsFor), printable(l.Workflow))
	}
	return w.Flush()
}

// summaries reads all runs, several at a time: each journal is read and verified whole.
func summaries(ctx context.Context, e *engine.Engine, now time.Time) ([]listed, error) {
	ids, err := e.Store.List(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]listed, len(ids))
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, id := range ids {
		g.Go(func() error {
			r, err := e.Load(ctx, id)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil {
				// One damaged journal must not hide the other runs.
				all[i] = listed{ID: id, Status: "damaged", Error: err.Error(), WaitsFor: "tkgfix state verify"}
				return nil
			}
			all[i] = listed{
				ID: id, Status: r.Status, Workflow: r.Created.File, Began: r.Began, Updated: r.Updated, WaitsFor: waitsFor(r, now), Error: r.Error,
			}
			return nil
		})
	}
	return all, g.Wait()
}

// waitsFor says what must happen before more can come of a run.
func waitsFor(r *engine.Run, now time.Time) string {
	var gates []string
	for _, g := range r.PendingGates(now) {
		gates = append(gates, g.Step)
	}
	switch {
	case r.Final():
		return ""
	case r.Status == engine.Planning || r.Status == engine.Running:
		return "its tkgfix, or resume if that has ended"
	case r.Status == engine.Waiting && len(gates) > 0:
		return "approval of " + strings.Join(gates, ", ")
	}
	return "resume"
}

// waitsInCluster is what a run in a cluster waits for: its controller goes on by itself, unless the run failed or is blocked.
func waitsInCluster(l listed) string {
	switch l.Status {
	case engine.Planning, engine.Running, engine.Interrupted:
		return "its controller"
	case engine.Waiting:
		if l.WaitsFor == "resume" {
			return "its controller"
		}
	}
	return l.WaitsFor
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// printable keeps a text that came from elsewhere within its column.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

func (a *app) runsShow() *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "show how a run stands, or stood", ArgsUsage: "RUN", OnUsageError: usage,
		Description: `With --at it is shown as it was after that entry of its journal: tkgfix runs log names them.

   tkgfix runs show 01jd5x2v9k3q4m8r7t6w5y1z0a
   tkgfix runs show 01jd5x2v9k3q4m8r7t6w5y1z0a --at 7

EXIT STATUS: 0 shown, 1 there is no such run or entry.`,
		Flags: []cli.Flag{
			outputFlag("text", "json"),
			&cli.Uint64Flag{Name: "at", Usage: "as the run was after entry `SEQ`"},
		},
		Action: a.showRun,
	}
}

func (a *app) showRun(c *cli.Context) error {
	if c.IsSet("at") {
		return a.showRunAt(c)
	}
	r, err := a.load(c)
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
	if err := report.NotBegun(a.ui.Out, r); err != nil {
		return err
	}
	switch {
	case len(r.PendingGates(a.now())) > 0 && !r.Final():
		a.waiting(c, r)
	case r.Final():
	default:
		if _, controlled, _ := inCluster(c); !controlled || r.Status == engine.Failed || r.Status == engine.Blocked {
			a.ui.Hint("%s", next(c, "resume %s", r.ID))
		}
	}
	return nil
}

func (a *app) report() *cli.Command {
	return &cli.Command{
		Name: "report", Usage: "write what a run found, did and proved", ArgsUsage: "RUN", OnUsageError: usage,
		Description: "The report is made from the run's journal alone.\n\n   tkgfix report 01jd5x2v9k3q4m8r7t6w5y1z0a > report.md\n   tkgfix report 01jd5x2v9k3q4m8r7t6w5y1z0a --output json\n\nEXIT STATUS: 0 written, 1 failed.",
		Flags:       []cli.Flag{outputFlag("markdown", "json")},
		Action: func(c *cli.Context) error {
			r, err := a.load(c)
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
func (a *app) load(c *cli.Context) (*engine.Run, error) {
	args, err := arguments(c, "RUN")
	if err != nil {
		return nil, err
	}
	e, err := a.reader(c)
	if err != nil {
		return nil, err
	}
	r, err := e.Load(c.Context, args[0])
	return r, explain(c, err)
}
