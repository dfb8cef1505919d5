package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/pluginhost"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// plugin is the hidden command as which this binary serves one of its own steps.
func (a *app) plugin() *cli.Command {
	return &cli.Command{
		Name: "plugin", Hidden: true, OnUsageError: usage,
		Subcommands: []*cli.Command{{
			Name: "serve", Usage: "serve a shipped step to the tkgfix that started this process", ArgsUsage: "NAME", OnUsageError: usage,
			Action: func(c *cli.Context) error {
				args, err := arguments(c, "NAME")
				if err != nil {
					return err
				}
				step, ok := shippedStep(args[0])
				if !ok {
					return fmt.Errorf("no step is called %q", args[0])
				}
				sdk.Serve(step)
				return nil
			},
		}},
	}
}

// launcher makes the steps ready for a run, each in a process of its own: the shipped ones are this executable, started again, and
// those of third parties are what the catalog has verified.
func launcher(executable string, known *catalog) func(plugins.Connections, func(context.Context, engine.Process) error) engine.Plugins {
	return func(conns plugins.Connections, started func(context.Context, engine.Process) error) engine.Plugins {
		return pluginhost.New(pluginhost.Options{
			Executable: executable,
			Args:       func(name string) []string { return []string{"plugin", "serve", name} },
			Foreign:    known.program,
			Agent:      func(name string) bool { return needsAgent(conns, name) },
			OnStart: func(p pluginhost.Process) error {
				return started(context.Background(), engine.Process(p))
			},
		})
	}
}

// needsAgent reports whether a shipped step is to log in to nodes with the keys of the user's SSH agent.
func needsAgent(conns plugins.Connections, name string) bool {
	step, ok := shippedStep(name)
	return ok && conns.Nodes != nil && conns.Nodes.Agent && slices.Contains(step.Describe().Connections, plugins.ConnNodes)
}

// endProcess proves a plugin's process of an earlier attempt dead.
func endProcess(ctx context.Context, p engine.Process) error {
	return pluginhost.End(ctx, pluginhost.Process(p))
}
