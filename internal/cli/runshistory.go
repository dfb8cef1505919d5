package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/history"
	"github.com/tkgfix/tkgfix/internal/report"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/plugins"
)

// entries reads the journal of a run. Entries before a damage are returned beside the error.
func (a *app) entries(c *cli.Context, id string) ([]state.Entry, error) {
	e, err := a.reader(c)
	if err != nil {
		return nil, err
	}
	all, err := e.Store.Read(c.Context, id, 1)
	return all, explain(c, err)
}

// noEntry says that a run has no entry of that number.
func noEntry(c *cli.Context, id string, seq uint64, have int) error {
	return plugins.Hint(fmt.Errorf("run %s has no entry %d: it has 1 to %d", id, seq, have), "%s", next(c, "runs log %s", id))
}

// runAt returns a run as it was after an entry. The entries up to there must be whole; damage behind them does not matter.
func (a *app) runAt(c *cli.Context, id string, seq uint64) (*engine.Run, int, error) {
	all, err := a.entries(c, id)
	if seq >= 1 && seq <= uint64(len(all)) {
		if err != nil {
			a.ui.Say("the journal is damaged behind entry %d: %s", len(all), next(c, "state verify %s", id))
		}
		r, err := engine.Replay(id, all[:seq])
		return r, len(all), err
	}
	if err != nil {
		return nil, 0, err
	}
	return nil, 0, noEntry(c, id, seq, len(all))
}

// showRunAt shows how a run stood. What was to be typed then is not shown: it may do something else now.
func (a *app) showRunAt(c *cli.Context) error {
	args, err := arguments(c, "RUN")
	if err != nil {
		return err
	}
	r, last, err := a.runAt(c, args[0], c.Uint64("at"))
	if err != nil {
		return err
	}
	if c.String("output") == "json" {
		return report.JSON(a.ui.Out, r)
	}
	fmt.Fprintf(a.ui.Out, "Run %s: %s, as it was after entry %d of %d, at %s\n\n", r.ID, r.Status, r.Seq, last, r.Updated.UTC().Format(time.RFC3339))
	if r.Plan == nil {
		fmt.Fprintln(a.ui.Out, "Not planned yet.")
		return nil
	}
	if err := report.PlanText(a.ui.Out, r.Plan); err != nil {
		return err
	}
	if gates := r.PendingGates(r.Updated); len(gates) > 0 && !r.Final() {
		fmt.Fprintln(a.ui.Out, "\nWaited for approval then:")
		for _, g := range gates {
			fmt.Fprintf(a.ui.Out, "  gate %s: %s\n", printable(g.Step), printable(g.Message))
		}
	}
	a.ui.Say("this is how it stood; how it stands: %s", next(c, "runs show %s", r.ID))
	return nil
}

func (a *app) runsLog() *cli.Command {
	return &cli.Command{
		Name: "log", Usage: "tell a run's journal, an entry a line", ArgsUsage: "RUN", OnUsageError: usage,
		Description: `With --output json the entries are printed as they are stored, a JSON object a line.

   tkgfix runs log 01jd5x2v9k3q4m8r7t6w5y1z0a
   tkgfix runs log 01jd5x2v9k3q4m8r7t6w5y1z0a --from 12 --output json

EXIT STATUS: 0 told, 1 there is no such run or entry, or the journal is damaged; what stands before the damage is told.`,
		Flags: []cli.Flag{
			outputFlag("text", "json"),
			&cli.Uint64Flag{Name: "from", Usage: "begin at entry `SEQ`", Value: 1, DefaultText: "1"},
		},
		Action: func(c *cli.Context) error {
			args, err := arguments(c, "RUN")
			if err != nil {
				return err
			}
			all, err := a.entries(c, args[0])
			from := c.Uint64("from")
			if err == nil && (from < 1 || from > uint64(len(all))) {
				return noEntry(c, args[0], from, len(all))
			}
			for _, e := range all[min(uint64(len(all)), max(from, 1)-1):] {
				if werr := a.logEntry(c.String("output"), e); werr != nil {
					return werr
				}
			}
			return err
		},
	}
}

func (a *app) logEntry(format string, e state.Entry) error {
	if format != "json" {
		_, err := fmt.Fprintf(a.ui.Out, "%5d  %s  %-15s  %s\n", e.Seq, e.Time.UTC().Format(time.RFC3339), printable(e.Kind), history.Words(e))
		return err
	}
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode entry %d: %w", e.Seq, err)
	}
	_, err = fmt.Fprintf(a.ui.Out, "%s\n", line)
	return err
}

func (a *app) runsDiff() *cli.Command {
	return &cli.Command{
		Name: "diff", Usage: "tell in what two runs differ", ArgsUsage: "A B", OnUsageError: usage,
		Description: `A and B are runs, or RUN@SEQ for a run as it was after that entry. Compared are the workflow, the inputs, the
connections, the plugins, what the steps found and would change, the effects, the decisions and the outcome; not the times.

   tkgfix runs diff 01jd5x2v9k3q4m8r7t6w5y1z0a 01jd5x8m1c7n2p4q6r8s0t2v4w
   tkgfix runs diff 01jd5x2v9k3q4m8r7t6w5y1z0a@7 01jd5x2v9k3q4m8r7t6w5y1z0a

EXIT STATUS: 0 they do not differ, 1 failed, 2 they differ.`,
		Flags: []cli.Flag{outputFlag("text", "json")},
		Action: func(c *cli.Context) error {
			args, err := arguments(c, "A", "B")
			if err != nil {
				return err
			}
			left, err := a.named(c, args[0])
			if err != nil {
				return err
			}
			right, err := a.named(c, args[1])
			if err != nil {
				return err
			}
			found := history.Diff(left, right)
			if c.String("output") == "json" {
				err = report.JSON(a.ui.Out, found)
			} else {
				err = a.printDiff(args, found)
			}
			if err == nil && len(found) > 0 {
				return exit(ExitChanges)
			}
			return err
		},
	}
}

// named returns the run that RUN or RUN@SEQ names.
func (a *app) named(c *cli.Context, arg string) (*engine.Run, error) {
	id, at, cut := strings.Cut(arg, "@")
	if !cut {
		all, err := a.entries(c, id)
		if err != nil {
			return nil, err
		}
		return engine.Replay(id, all)
	}
	seq, err := strconv.ParseUint(at, 10, 64)
	if err != nil {
		return nil, plugins.Hint(errors.New("a run at an entry is written RUN@SEQ, and SEQ is a number; not "+strconv.Quote(arg)), "%s", next(c, "runs log %s", id))
	}
	r, _, err := a.runAt(c, id, seq)
	return r, err
}

func (a *app) printDiff(names []string, found []history.Difference) error {
	w := &strings.Builder{}
	if len(found) == 0 {
		fmt.Fprintf(w, "%s and %s do not differ.\n", names[0], names[1])
	} else {
		fmt.Fprintf(w, "- %s\n+ %s\n", names[0], names[1])
	}
	for _, d := range found {
		fmt.Fprintf(w, "\n%s\n", strings.TrimSpace(d.Part+" "+printable(d.Name)))
		if d.A != "" {
			fmt.Fprintf(w, "  - %s\n", d.A)
		}
		if d.B != "" {
			fmt.Fprintf(w, "  + %s\n", d.B)
		}
		for _, l := range d.Details {
			fmt.Fprintf(w, "      %s\n", l)
		}
	}
	_, err := fmt.Fprint(a.ui.Out, w)
	return err
}
