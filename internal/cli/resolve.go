package cli

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/tkgfix/tkgfix/internal/engine"
)

func (a *app) resolve() *cli.Command {
	return &cli.Command{
		Name: "resolve", Usage: "say what became of an effect of which tkgfix cannot tell", ArgsUsage: "RUN EFFECT done|absent", OnUsageError: usage,
		Description: `A run that cannot tell whether an effect happened stops, says what to check, and names the effect as STEP/KEY.
done: it happened, and is not done again. absent: it did not happen and will not, and may be done.

   tkgfix resolve 01jd5x2v9k3q4m8r7t6w5y1z0a recreate/create-cluster absent --reason "kubectl get tkc dev1: not found"

With --state kube:NAMESPACE the controller is told, which writes it down.

EXIT STATUS: 0 written down, or handed to the controller; 1 refused; 5 locked by another.`,
		Flags: []cli.Flag{&cli.StringFlag{Name: "reason", Usage: "how you know: `WHY`, for the journal"}},
		Action: func(c *cli.Context) error {
			args, err := arguments(c, "RUN", "EFFECT", "done|absent")
			if err != nil {
				return err
			}
			if at, ok, err := inCluster(c); ok || err != nil {
				if err != nil {
					return err
				}
				return a.resolveInCluster(c, at, args[0], args[1], engine.Outcome(args[2]))
			}
			e, err := a.engine(c)
			if err != nil {
				return err
			}
			var r *engine.Run
			err = patiently(c.Context, func(ctx context.Context) (err error) {
				r, err = e.Resolve(ctx, args[0], args[1], engine.Outcome(args[2]), c.String("reason"))
				return err
			})
			if err != nil {
				return explain(c, err)
			}
			a.ui.Say("run %s: effect %s is %s by your word", r.ID, args[1], args[2])
			a.ui.Say("then: %s", next(c, "resume %s", r.ID))
			return nil
		},
	}
}
