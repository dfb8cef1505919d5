package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/report"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/internal/state/file"
	"github.com/tkgfix/tkgfix/plugins"
)

func (a *app) runsPrune() *cli.Command {
	return &cli.Command{
		Name: "prune", Usage: "remove old runs that are over", OnUsageError: usage,
		Description: `Only runs that are done or rejected are removed, and none that another tkgfix holds. A run that can be resumed is
never removed. With both flags a run must be old enough and not be one of the youngest.

   tkgfix runs prune --older-than 90d --keep 20 --dry-run

EXIT STATUS: 0 removed, 1 failed.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "older-than", Usage: "remove what ended longer ago than `D`, such as 36h or 90d"},
			&cli.UintFlag{Name: "keep", Usage: "keep the `N` youngest of the runs that are over"},
			&cli.BoolFlag{Name: "dry-run", Usage: "say what would be removed, and remove nothing"},
			outputFlag("text", "json"),
		},
		Action: func(c *cli.Context) error {
			if _, err := arguments(c); err != nil {
				return err
			}
			instead := func(at kubeState) string {
				return "a run goes with its Run: " + at.kubectl("delete run.tkgfix.dev NAME")
			}
			if err := onlyHere(c, instead); err != nil {
				return err
			}
			if !c.IsSet("older-than") && !c.IsSet("keep") {
				return plugins.Hint(errors.New("say which runs may go: --older-than D, --keep N, or both"), "%s", next(c, "runs prune --older-than 90d --dry-run"))
			}
			age, err := parseAge(c.String("older-than"))
			if err != nil {
				return err
			}
			e, err := a.engine(c)
			if err != nil {
				return err
			}
			all, err := summaries(c.Context, e, a.now())
			if err != nil {
				return err
			}
			return a.prune(c, e, prunable(all, int(c.Uint("keep")), a.now().Add(-age)))
		},
	}
}

// parseAge reads a duration, in days too.
func parseAge(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	hint := "such as 36h, 90d"
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, plugins.Hint(fmt.Errorf("%q is no number of days", s), "%s", hint)
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, plugins.Hint(fmt.Errorf("%q is no duration", s), "%s", hint)
	}
	return d, nil
}

// prunable returns the runs that are over and ended before a moment, but for the youngest of those that are over. all is in
// the order in which the runs began.
func prunable(all []listed, keep int, before time.Time) []listed {
	var over []listed
	for _, l := range all {
		if l.Status == engine.Done || l.Status == engine.Rejected {
			over = append(over, l)
		}
	}
	out := []listed{}
	for _, l := range over[:max(len(over)-keep, 0)] {
		if l.Updated.Before(before) {
			out = append(out, l)
		}
	}
	return out
}

// prune removes runs, each only if it is free and still over when its lock is taken.
func (a *app) prune(c *cli.Context, e *engine.Engine, old []listed) error {
	dir, err := stateDir(c)
	if err != nil {
		return err
	}
	store, gone := file.New(dir), []listed{}
	me := state.Holder{User: e.Me.Identity.Name, Host: e.Me.Host, PID: e.Me.PID, Since: a.now()}
	for _, l := range old {
		if !c.Bool("dry-run") {
			err := store.Remove(c.Context, l.ID, me, func(entries []state.Entry) error {
				r, err := engine.Replay(l.ID, entries)
				if err == nil && !r.Final() {
					err = fmt.Errorf("run %s is %s now", l.ID, r.Status)
				}
				return err
			})
			if locked, ok := errors.AsType[*state.LockedError](err); ok {
				a.ui.Say("%v: kept", locked)
				continue
			}
			if err != nil {
				return err
			}
		}
		gone = append(gone, l)
		if c.String("output") == "text" {
			fmt.Fprintf(a.ui.Out, "%s  %s  %s  %s\n", l.ID, l.Status, moment(l.Updated), printable(l.Workflow))
		}
	}
	word := "were removed"
	if c.Bool("dry-run") {
		word = "would be removed"
	}
	a.ui.Say("runs that %s: %d", word, len(gone))
	if c.String("output") == "json" {
		return report.JSON(a.ui.Out, gone)
	}
	return nil
}
