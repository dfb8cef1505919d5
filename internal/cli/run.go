package cli

import (
	"context"
	"errors"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/report"
	"github.com/tkgfix/tkgfix/plugins"
)

// waitPoll is the pause between two looks for a decision under --wait.
const waitPoll = 2 * time.Second

// runFlags are the flags of what carries a run further.
func runFlags(more ...cli.Flag) []cli.Flag {
	return append(more, outputFlag("text", "json"), autoApproveFlag(),
		&cli.BoolFlag{Name: "wait", Usage: "wait at a gate until it is approved, rejected or expired"},
		&cli.BoolFlag{Name: "events", Usage: "write what happens to standard output, a JSON object a line"},
	)
}

func (a *app) run() *cli.Command {
	return &cli.Command{
		Name: "run", Usage: "plan a workflow, stop at its gates, apply what is approved", ArgsUsage: "FILE | ADDRESS | --plan PLANFILE",
		Description: `On a terminal each gate asks; without one the run is saved at the first gate, and the line to approve is printed.
An interrupt lets the effect in flight finish and stops; a second one leaves it. Either way the run can be resumed.

   tkgfix run documented-fix.yaml --input cluster=team-a/dev1 --input ca=corp-root.pem
   tkgfix run --plan dev1.plan
   tkgfix run documented-fix.yaml --input cluster=team-a/dev1 --input ca=corp-root.pem --wait
   tkgfix run 'https://git.example.com/team/fleet.git//workflows/fix.yaml?ref=v3' --input cluster=team-a/dev1

` + addressHelp + `

--auto-approve gives your own approval ahead at gates of changes, --auto-approve=destroy also at gates of what cannot be undone. It
is written into the journal, and opens no gate that wants somebody else's approval.

EXIT STATUS: 0 done, 1 failed or blocked, 3 waiting for approval, 4 rejected, 5 locked by another, 130 interrupted and resumable.`,
		OnUsageError: usage,
		Flags:        runFlags(inputFlag(), &cli.StringFlag{Name: "plan", Usage: "carry out the plan in `PLANFILE`"}),
		Action: func(c *cli.Context) error {
			instead := func(at kubeState) string {
				return "make a Run, as docs/controller.md has it: " + at.kubectl("create -f RUN.yaml")
			}
			if err := onlyHere(c, instead); err != nil {
				return err
			}
			e, id, err := a.begin(c)
			if err != nil {
				return err
			}
			a.ui.Say("run %s", id)
			return a.proceed(c, e, id)
		},
	}
}

// begin creates the run that the command line asks for.
func (a *app) begin(c *cli.Context) (*engine.Engine, string, error) {
	id, err := a.newRunID()
	if err != nil {
		return nil, "", err
	}
	if file := c.String("plan"); file != "" {
		if c.NArg() > 0 || c.IsSet("input") {
			return nil, "", plugins.Hint(errors.New("a plan holds its workflow and its inputs: give no others"), "tkgfix run --plan %s", file)
		}
		saved, err := loadPlan(file)
		if err != nil {
			return nil, "", err
		}
		e, err := a.engine(c)
		if err != nil {
			return nil, "", err
		}
		return e, id, e.CreateSaved(c.Context, id, saved)
	}
	args, err := arguments(c, "FILE")
	if err != nil {
		return nil, "", err
	}
	e, req, err := a.prepare(c, args[0])
	if err != nil {
		return nil, "", err
	}
	req.ID = id
	return e, id, e.Create(c.Context, req)
}

func (a *app) resume() *cli.Command {
	return &cli.Command{
		Name: "resume", Usage: "go on with a run that waited, failed or was killed", ArgsUsage: "RUN",
		Description: `What happened before is read from the run's journal; what is not in it is observed, never guessed.

   tkgfix resume 01jd5x2v9k3q4m8r7t6w5y1z0a

With --state kube:NAMESPACE the controller is asked to go on with a Run that failed or is blocked.

   tkgfix resume --state kube:team-a dev1-3f2a91bc

EXIT STATUS: as of tkgfix run; 0 also if the controller was asked.`,
		OnUsageError: usage,
		Flags:        runFlags(),
		Action: func(c *cli.Context) error {
			args, err := arguments(c, "RUN")
			if err != nil {
				return err
			}
			if at, ok, err := inCluster(c); ok || err != nil {
				if err != nil {
					return err
				}
				return a.resumeInCluster(c, at, args[0])
			}
			e, err := a.engine(c)
			if err != nil {
				return err
			}
			return a.proceed(c, e, args[0])
		},
	}
}

// proceed carries a run as far as it goes and says how it stands.
func (a *app) proceed(c *cli.Context, e *engine.Engine, id string) error {
	e.Watch = a.watcher(c, e.Watch)
	e.AutoApprove = autoApproved(c)
	e.Stop = a.stop
	a.soft.Store(true)
	r, err := e.Run(c.Context, id)
	for err == nil && r.Status == engine.Waiting && c.Bool("wait") {
		a.waiting(c, r)
		if err = a.awaitDecision(c.Context, e, r); err == nil {
			r, err = e.Run(c.Context, id)
		}
	}
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

// watcher returns what is told of a run's events: the talk, and on standard output the plan or the events.
func (a *app) watcher(c *cli.Context, talk func(engine.Event)) func(engine.Event) {
	events := c.Bool("events")
	return func(ev engine.Event) {
		switch {
		// What goes to standard output may fail; that shows when the outcome is printed.
		case events:
			_ = report.EventJSON(a.ui.Out, a.now(), ev)
		case ev.Kind == engine.EventPlan && c.String("output") == "text":
			_ = report.PlanText(a.ui.Out, ev.Plan)
		}
		talk(ev)
	}
}

// awaitDecision returns when a gate of the run is no longer pending, or a signal comes.
func (a *app) awaitDecision(ctx context.Context, e *engine.Engine, r *engine.Run) error {
	pending := len(r.PendingGates(a.now()))
	tick := time.NewTicker(waitPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-a.stop:
			return engine.ErrStopped
		case <-tick.C:
		}
		now, err := e.Load(ctx, r.ID)
		if err != nil {
			return err
		}
		if len(now.PendingGates(a.now())) != pending || now.Final() {
			return nil
		}
	}
}

// approveAhead is the value of --auto-approve: a flag that may be given a value and need not be.
type approveAhead struct{ effect plugins.Effect }

// Set implements flag.Value.
func (v *approveAhead) Set(s string) error {
	switch s {
	case "true", string(plugins.Change):
		v.effect = plugins.Change
	case string(plugins.Destroy):
		v.effect = plugins.Destroy
	case "false":
		v.effect = ""
	default:
		return errors.New("give --auto-approve, or --auto-approve=destroy")
	}
	return nil
}

// String implements flag.Value.
func (v *approveAhead) String() string {
	if v == nil {
		return ""
	}
	return string(v.effect)
}

// IsBoolFlag lets the flag stand without a value.
func (v *approveAhead) IsBoolFlag() bool { return true }

const autoApprove = "auto-approve"

func autoApproveFlag() cli.Flag {
	return &cli.GenericFlag{Name: autoApprove, Value: &approveAhead{}, Usage: "approve changes without being asked, as yourself; `[=destroy]`: and what cannot be undone"}
}

// autoApproved returns the strongest effect that --auto-approve covers; empty without it.
func autoApproved(c *cli.Context) plugins.Effect {
	if v, ok := c.Generic(autoApprove).(*approveAhead); ok {
		return v.effect
	}
	return ""
}
