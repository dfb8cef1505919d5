package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/tkgfix/tkgfix/internal/lab"
	"github.com/tkgfix/tkgfix/internal/lab/real"
	"github.com/tkgfix/tkgfix/internal/lab/service"
	"github.com/tkgfix/tkgfix/internal/lab/vm"
	"github.com/tkgfix/tkgfix/plugins"
)

// kubeEnv names the Kubernetes binary when --kube does not.
const kubeEnv = "TKGFIX_KUBE"

// run carries out the command line and returns the exit code.
func run(ctx context.Context, stdout, stderr io.Writer, args []string) int {
	app := &cli.App{
		Name:      "tkgfix-lab",
		Usage:     "a TKG Supervisor with two clusters on this machine, to rehearse on",
		Writer:    stdout,
		ErrWriter: stderr,
		Commands: []*cli.Command{
			upCommand(stdout, stderr), plantCommand(stdout, stderr), scenariosCommand(stdout), downCommand(stderr), statusCommand(stdout),
			daemonCommand(stderr), enterCommand(), containerCommand(), initCommand(),
		},
		// Errors are printed below, once and with their hints; the library must not exit.
		ExitErrHandler: func(*cli.Context, error) {},
	}
	err := app.RunContext(ctx, args)
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "error: %v\n", err)
	if hint := plugins.HintOf(err); hint != "" {
		fmt.Fprintf(stderr, "hint: %s\n", hint)
	}
	if errors.Is(err, context.Canceled) {
		return 130
	}
	return 1
}

func dirFlag() cli.Flag {
	return &cli.StringFlag{Name: "dir", Usage: "the laboratory's `FOLDER`", Required: true}
}

func scenarioFlag() cli.Flag {
	return &cli.StringFlag{Name: "scenario", Value: lab.MissingCA, Usage: "which fault to plant; tkgfix-lab scenarios tells them"}
}

func kubeFlag() cli.Flag {
	return &cli.StringFlag{Name: "kube", EnvVars: []string{kubeEnv}, Usage: "the Kubernetes binary, a `FILE` that hack/kube/build.sh builds"}
}

func nodesFlag() cli.Flag {
	return &cli.StringFlag{Name: "nodes", Value: lab.ImitatedNodes, Usage: "what the nodes are made of: " + strings.Join(lab.NodeKinds(), ", ")}
}

func generationFlag() cli.Flag {
	return &cli.StringFlag{Name: "generation", Value: lab.DefaultGeneration, Usage: "the generation of TKG: " + strings.Join(lab.Generations(), ", ")}
}

func upCommand(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name:  "up",
		Usage: "start a laboratory and return when it is ready",
		Flags: []cli.Flag{dirFlag(), scenarioFlag(), kubeFlag(), nodesFlag(), generationFlag()},
		Action: func(c *cli.Context) error {
			dir, err := filepath.Abs(c.String("dir"))
			if err != nil {
				return err
			}
			kube, err := findKube(c.String("kube"))
			if err != nil {
				return plugins.Hint(err, "hack/kube/build.sh; then again: tkgfix-lab up --dir %s", dir)
			}
			program, err := os.Executable()
			if err != nil {
				return err
			}
			state, err := lab.Up(c.Context, lab.UpOptions{
				Dir: dir, Scenario: c.String("scenario"), Kube: kube, Nodes: c.String("nodes"), Generation: c.String("generation"), Program: program, Progress: stderr,
			})
			if err != nil {
				return err
			}
			printNext(stdout, dir, state)
			return nil
		},
	}
}

// findKube returns the Kubernetes binary: the one given, else the newest that hack/kube/build.sh left in the user's cache.
func findKube(given string) (string, error) {
	if given != "" {
		return filepath.Abs(given)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the Kubernetes binary: %w", err)
	}
	found, err := filepath.Glob(filepath.Join(cache, "tkgfix", "kube", "*", "hyperkube"))
	if err != nil {
		return "", fmt.Errorf("finding the Kubernetes binary: %w", err)
	}
	newest, at := "", time.Time{}
	for _, path := range found {
		if info, err := os.Stat(path); err == nil && info.ModTime().After(at) {
			newest, at = path, info.ModTime()
		}
	}
	if newest == "" {
		return "", errors.New("the Kubernetes binary is not built yet")
	}
	return newest, nil
}

// printNext says what can be done with a laboratory that is up.
func printNext(out io.Writer, dir string, state lab.State) {
	fmt.Fprintf(out, "laboratory %s is up (scenario %s)\n\n", dir, state.Scenario)
	fmt.Fprintf(out, "  export KUBECONFIG=%s\n", filepath.Join(dir, "kubeconfig", "platform.yaml"))
	fmt.Fprintf(out, "  tkgfix run examples/workflows/%s \\\n    --input cluster=team-a/dev1 --input registry=%s --input ca=%s --input workloads=%s --input sshPort=%d\n\n",
		workflowFor(state.Generation), state.Registry, filepath.Join(dir, "ca", "root.pem"), filepath.Join(dir, "workload.yaml"), state.SSHPort)
	fmt.Fprintf(out, "  tkgfix-lab down --dir %s\n", dir)
}

// workflowFor names the workflow that mends a cluster of a generation: what the vendor has documented is about TanzuKubernetesClusters.
func workflowFor(generation string) string {
	if service.Generation(generation).Classes() {
		return "registry-trust.yaml"
	}
	return "documented-fix.yaml"
}

func plantCommand(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name:      "plant",
		Usage:     "let a running laboratory go to another scenario and return when that shows",
		ArgsUsage: "SCENARIO",
		Flags:     []cli.Flag{dirFlag()},
		Action: func(c *cli.Context) error {
			dir, err := filepath.Abs(c.String("dir"))
			if err != nil {
				return err
			}
			if c.Args().Len() != 1 {
				return plugins.Hint(fmt.Errorf("one scenario is to be planted, not %d", c.Args().Len()), "tkgfix-lab scenarios; tkgfix-lab plant --dir %s SCENARIO", dir)
			}
			if err := lab.Plant(c.Context, dir, c.Args().First(), stderr); err != nil {
				return err
			}
			state, err := lab.Load(dir)
			if err != nil {
				return err
			}
			printNext(stdout, dir, state)
			return nil
		},
	}
}

func scenariosCommand(stdout io.Writer) *cli.Command {
	return &cli.Command{
		Name:  "scenarios",
		Usage: "say which faults can be planted",
		Flags: []cli.Flag{nodesFlag(), generationFlag()},
		Action: func(c *cli.Context) error {
			if err := lab.CheckGeneration(c.String("generation")); err != nil {
				return err
			}
			for _, s := range lab.Scenarios() {
				if s.On(c.String("nodes"), c.String("generation")) != nil {
					continue
				}
				if _, err := fmt.Fprintf(stdout, "%-21s %s\n", s.Name, s.Text); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func downCommand(stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name:  "down",
		Usage: "end a laboratory and remove all it made",
		Flags: []cli.Flag{dirFlag()},
		Action: func(c *cli.Context) error {
			dir, err := filepath.Abs(c.String("dir"))
			if err != nil {
				return err
			}
			if err := lab.Down(c.Context, dir); err != nil {
				return err
			}
			fmt.Fprintf(stderr, "no laboratory is left in %s\n", dir)
			return nil
		},
	}
}

func statusCommand(stdout io.Writer) *cli.Command {
	return &cli.Command{
		Name:  "status",
		Usage: "say what laboratory there is",
		Flags: []cli.Flag{dirFlag(), &cli.StringFlag{Name: "output", Value: "text", Usage: "text or json"}},
		Action: func(c *cli.Context) error {
			dir, err := filepath.Abs(c.String("dir"))
			if err != nil {
				return err
			}
			state, err := lab.Status(dir)
			if errors.Is(err, lab.ErrNone) {
				return plugins.Hint(fmt.Errorf("%s: %w", dir, err), "tkgfix-lab up --dir %s", dir)
			}
			if err != nil {
				return err
			}
			switch c.String("output") {
			case "json":
				encoder := json.NewEncoder(stdout)
				encoder.SetIndent("", "  ")
				return encoder.Encode(state)
			case "text":
				printStatus(c.Context, stdout, state)
				return nil
			default:
				return fmt.Errorf("no output %q, there are: text, json", c.String("output"))
			}
		},
	}
}

func printStatus(ctx context.Context, out io.Writer, state lab.State) {
	fmt.Fprintf(out, "%s, scenario %s, generation %s, process %d\n", state.Phase, state.Scenario, state.Generation, state.PID)
	fmt.Fprintf(out, "Supervisor  %s\nregistry    %s (%s)\n", state.Supervisor, state.Registry, state.RegistryAddress)
	for _, c := range state.Clusters {
		fmt.Fprintf(out, "%s/%s  %s\n", c.Namespace, c.Name, c.Endpoint)
		for _, n := range c.Nodes {
			fmt.Fprintf(out, "  node %-28s %s:%d\n", n.Name, n.Address, state.SSHPort)
		}
		if state.Phase == lab.Ready {
			printPods(ctx, out, c)
		}
	}
}

// printPods shows the cluster's pods, or why they cannot be listed. What several say alike is said once.
func printPods(ctx context.Context, out io.Writer, c lab.ClusterState) {
	pods, err := lab.Pods(ctx, c)
	if err != nil {
		fmt.Fprintf(out, "  pods: %v\n", err)
		return
	}
	said := map[string]bool{}
	for _, p := range pods {
		fmt.Fprintf(out, "  pod  %-28s %-18s %s\n", p.Name, p.Status, p.Node)
		if p.Message != "" && !said[p.Message] {
			said[p.Message] = true
			fmt.Fprintf(out, "       %s\n", p.Message)
		}
	}
}

func daemonCommand(stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name:   lab.DaemonCommand,
		Hidden: true,
		Flags:  []cli.Flag{dirFlag(), scenarioFlag(), kubeFlag(), nodesFlag(), generationFlag(), &cli.BoolFlag{Name: "made-dir"}},
		Action: func(c *cli.Context) error {
			program, err := os.Executable()
			if err != nil {
				return err
			}
			progress := os.NewFile(lab.ProgressFD, "progress")
			defer progress.Close()
			return lab.Daemon(c.Context, lab.DaemonOptions{
				Dir: c.String("dir"), Scenario: c.String("scenario"), Kube: c.String("kube"), Nodes: c.String("nodes"), MadeDir: c.Bool("made-dir"),
				Generation: service.Generation(c.String("generation")), Helper: program, Progress: progress, Log: slog.New(slog.NewTextHandler(stderr, nil)), Now: time.Now,
			})
		},
	}
}

func enterCommand() *cli.Command {
	return &cli.Command{
		Name:   vm.EnterCommand,
		Hidden: true,
		Flags:  []cli.Flag{&cli.StringFlag{Name: "root"}, &cli.StringFlag{Name: "name"}, &cli.BoolFlag{Name: "sftp"}},
		Action: func(c *cli.Context) error {
			return vm.Enter(c.String("root"), c.String("name"), c.Args().First(), c.Bool("sftp"))
		},
	}
}

func containerCommand() *cli.Command {
	return &cli.Command{
		Name:   vm.ContainerCommand,
		Hidden: true,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "root"}, &cli.StringFlag{Name: "name"}, &cli.StringFlag{Name: "host"}, &cli.BoolFlag{Name: "read-only"},
		},
		Action: func(c *cli.Context) error {
			return vm.EnterContainer(c.String("root"), c.String("name"), c.String("host"), c.Bool("read-only"), c.Args().Slice())
		},
	}
}

func initCommand() *cli.Command {
	return &cli.Command{
		Name:   real.InitCommand,
		Hidden: true,
		Flags:  []cli.Flag{&cli.StringFlag{Name: "root"}, &cli.StringFlag{Name: "name"}, &cli.StringFlag{Name: "address"}, &cli.StringFlag{Name: "trust"}, kubeFlag()},
		Action: func(c *cli.Context) error {
			return real.Init(real.InitOptions{
				Root: c.String("root"), Name: c.String("name"), Address: c.String("address"), Kube: c.String("kube"), Trust: c.String("trust"), Now: time.Now,
			})
		},
	}
}
