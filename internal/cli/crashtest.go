package cli

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/tkgfix/tkgfix/internal/crashtest"
	"github.com/tkgfix/tkgfix/internal/crashtest/labworld"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/pluginhost"
	"github.com/tkgfix/tkgfix/internal/report"
	"github.com/tkgfix/tkgfix/internal/ui"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/workflow"
)

// engineCommand is the hidden command as which this binary serves an engine to a crash test.
const engineCommand = "engine"

// shownPoints is how many points of a schedule a hint shows.
const shownPoints = 5

// crashtest is the command, and the hidden one that is the engine on its leash.
func (a *app) crashtest() *cli.Command {
	return &cli.Command{
		Name: "crashtest", Usage: "kill a run at every boundary in a laboratory, and hold the end against what must hold", ArgsUsage: "WORKFLOW",
		Description: `Starts laboratories (tkgfix-lab), runs the workflow in them, kills the engine before and after every append to its journal and
the plugins inside their calls, resumes, and asserts: the same end, at most one effect for each target, no effect without an
approval, no lost lock. What fails is shrunk to the shortest schedule that still fails, which --schedule runs again.

   tkgfix crashtest examples/workflows/documented-fix.yaml
   tkgfix crashtest examples/workflows/documented-fix.yaml --round before --round after
   tkgfix crashtest examples/workflows/documented-fix.yaml --generation v1alpha2
   tkgfix crashtest examples/workflows/documented-fix.yaml --schedule 'kill-engine:before:effect.done(trust/patch-tkgserviceconfiguration)'

In a value of --input {lab} stands for the laboratory's folder and {ssh} for its SSH port. The inputs cluster, ca, workloads and
sshPort, if the workflow has them and they are not given, are those of the laboratory's broken cluster.

EXIT STATUS: 0 nothing failed, 1 something did or could not be tested, 130 interrupted.`,
		OnUsageError: usage,
		Flags: []cli.Flag{
			inputFlag(), outputFlag("text", "json"),
			&cli.StringFlag{Name: "lab", Usage: "the laboratory's program, a `FILE`", DefaultText: "tkgfix-lab beside tkgfix, else in PATH"},
			&cli.StringFlag{Name: "scenario", Usage: "which fault the laboratory plants: `NAME`", Value: "wrong-ca"},
			&cli.StringFlag{Name: "generation", Usage: "of which generation of TKG the laboratory is: `NAME`, as tkgfix-lab up --help lists them", DefaultText: "tkgfix-lab's own choice"},
			&cli.StringSliceFlag{Name: "round", Usage: "go only the round `NAME`: " + roundNames() + " (again for more)"},
			&cli.BoolFlag{Name: "each", Usage: "give each boundary a laboratory of its own: takes hours"},
			&cli.IntFlag{Name: "random", Usage: "follow `N` random schedules", Value: 1},
			&cli.Uint64Flag{Name: "seed", Usage: "the `NUMBER` that makes what is random the same again", DefaultText: "another each time"},
			&cli.StringFlag{Name: "schedule", Usage: "run this schedule and no rounds: `FILE|TEXT`"},
			&cli.DurationFlag{Name: "shrink-budget", Usage: "look at most `TIME` for a shorter schedule of each failure", Value: 10 * time.Minute},
		},
		Action:      a.runCrashtest,
		Subcommands: []*cli.Command{a.crashtestEngine(nil)},
	}
}

func roundNames() string {
	var names []string
	for _, r := range crashtest.Rounds() {
		names = append(names, string(r))
	}
	return strings.Join(names, ", ")
}

// crashtestEngine serves the engine as every command builds it. double, which only tests give, changes it into what a crash test
// must catch.
func (a *app) crashtestEngine(double func(*engine.Engine)) *cli.Command {
	return &cli.Command{
		Name: engineCommand, Hidden: true, OnUsageError: usage, Flags: []cli.Flag{inputFlag()}, ArgsUsage: "WORKFLOW",
		Action: func(c *cli.Context) error {
			args, err := arguments(c, "WORKFLOW")
			if err != nil {
				return err
			}
			e, err := a.engine(c)
			if err != nil {
				return err
			}
			e.Ask = nil // standard input is the leash
			if double != nil {
				double(e)
			}
			return crashtest.Serve(c.Context, crashtest.Child{
				Engine: e, In: a.ui.In, Out: a.ui.Out,
				Request: func(context.Context) (engine.Request, error) {
					_, req, err := a.prepare(c, args[0])
					return req, err
				},
			})
		},
	}
}

// CrashtestDouble is Main with the engine of crash tests replaced: double changes the engine that the hidden command serves. It is
// for tests that hold the crash test itself against doubles of the product's parts.
func CrashtestDouble(ctx context.Context, stdio IO, args []string, double func(*engine.Engine)) int {
	a := &app{
		ui:  &ui.UI{In: stdio.In, Out: stdio.Out, Err: stdio.Err, Now: time.Now},
		now: time.Now,
	}
	root := a.command(stdio)
	for _, c := range root.Commands {
		if c.Name == "crashtest" {
			c.Subcommands = []*cli.Command{a.crashtestEngine(double)}
		}
	}
	return a.code(root.RunContext(ctx, interleave(root, args)))
}

func (a *app) runCrashtest(c *cli.Context) error {
	args, err := arguments(c, "WORKFLOW")
	if err != nil {
		return err
	}
	w, err := a.readWorkflow(args[0], a.newCatalog(c), "")
	if err != nil {
		return err
	}
	h, err := a.harness(c, w)
	if err != nil {
		return err
	}
	a.ui.Say("crash test of %s, seed %d", w.File, h.Seed)
	text := c.String("output") == "text"
	r, err := h.Run(c.Context, func(r crashtest.RoundReport) {
		if text {
			a.showRound(c, w, h.Seed, r)
		}
	})
	if err != nil {
		return err
	}
	if !text {
		if err := report.JSON(a.ui.Out, r); err != nil {
			return err
		}
	} else if _, err := fmt.Fprintf(a.ui.Out, "boundaries: %d, failures: %d\n", r.Boundaries, r.Failures); err != nil {
		return err
	}
	if r.Failures > 0 {
		return exit(ExitFailed)
	}
	return nil
}

// showRound prints a line for a round, and what failed in it.
func (a *app) showRound(c *cli.Context, w *workflow.Workflow, seed uint64, r crashtest.RoundReport) {
	// A failure to print shows when the last line is printed.
	_, _ = fmt.Fprintf(a.ui.Out, "round %-11s  points: %3d, failures: %d, %s\n", r.Name, r.Points, len(r.Failures), r.Took.Round(time.Second))
	for _, f := range r.Failures {
		for _, v := range f.Violations {
			_, _ = fmt.Fprintf(a.ui.Out, "  %s\n", v)
		}
		_, _ = fmt.Fprintf(a.ui.Out, "  shortest failing schedule: %s\n", f.Schedule)
		schedule := "'" + f.Schedule + "'"
		if strings.Count(f.Schedule, " ") >= shownPoints {
			schedule = "FILE, with the line above in FILE"
		}
		if f.Schedule != "" {
			a.ui.Hint("tkgfix crashtest %s --scenario %s%s --seed %d --schedule %s", w.File, c.String("scenario"), generation(c), seed, schedule)
		}
	}
}

// generation returns the flag that asks for the same generation again; empty if none was asked for.
func generation(c *cli.Context) string {
	if g := c.String("generation"); g != "" {
		return " --generation " + g
	}
	return ""
}

// harness makes the crash test that the flags ask for.
func (a *app) harness(c *cli.Context, w *workflow.Workflow) (*crashtest.Harness, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this executable: %w", err)
	}
	lab, err := labProgram(c.String("lab"), self)
	if err != nil {
		return nil, err
	}
	file, err := filepath.Abs(w.File)
	if err != nil {
		return nil, fmt.Errorf("find the workflow: %w", err)
	}
	h := &crashtest.Harness{
		World: labworld.World{
			Program: lab, Scenario: c.String("scenario"), Generation: c.String("generation"),
			Engine: func(p labworld.Place) []string {
				words := []string{self, "--state", p.State, "crashtest", engineCommand}
				return slices.Concat(words, labInputs(w, c.StringSlice("input"), p), []string{file})
			},
		},
		Now: a.now, NewID: a.newRunID, Tell: a.ui.Say, Seed: c.Uint64("seed"), Random: c.Int("random"), Each: c.Bool("each"),
		Alive:        func(p engine.Process) (bool, error) { return pluginhost.Alive(pluginhost.Process(p)) },
		ShrinkBudget: c.Duration("shrink-budget"),
	}
	if !c.IsSet("seed") {
		if err := binary.Read(rand.Reader, binary.LittleEndian, &h.Seed); err != nil {
			return nil, fmt.Errorf("choose a seed: %w", err)
		}
		h.Seed >>= 32 // short enough to be typed
	}
	for _, name := range c.StringSlice("round") {
		if !slices.Contains(crashtest.Rounds(), crashtest.Round(name)) {
			return nil, fmt.Errorf("no such round: %q: expected one of %s", name, roundNames())
		}
		h.Rounds = append(h.Rounds, crashtest.Round(name))
	}
	if s := c.String("schedule"); s != "" {
		if h.Schedule, err = readSchedule(s); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// readSchedule reads a schedule from a file of that name, or else the text itself.
func readSchedule(s string) (crashtest.Schedule, error) {
	if _, err := os.Stat(s); err == nil {
		raw, err := readFile(s)
		if err != nil {
			return nil, fmt.Errorf("read the schedule: %w", err)
		}
		s = string(raw)
	}
	out, err := crashtest.ParseSchedule(s)
	if err != nil {
		return nil, plugins.Hint(err, "tkgfix crashtest --help")
	}
	return out, nil
}

// labProgram finds tkgfix-lab: the one that was given, the one beside this executable, or the one in PATH.
func labProgram(given, self string) (string, error) {
	if given == "" {
		beside := filepath.Join(filepath.Dir(self), "tkgfix-lab")
		if _, err := os.Stat(beside); err == nil {
			return beside, nil
		}
		given = "tkgfix-lab"
	}
	path, err := exec.LookPath(given)
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return "", plugins.Hint(fmt.Errorf("find the laboratory: no program %s", given), "go install github.com/tkgfix/tkgfix/cmd/tkgfix-lab@latest, or give --lab FILE")
	}
	if err != nil {
		return "", fmt.Errorf("find the laboratory: %w", err)
	}
	return filepath.Abs(path)
}

// labInputs returns the flags that bind a workflow's inputs in a laboratory.
func labInputs(w *workflow.Workflow, given []string, p labworld.Place) []string {
	port := strconv.Itoa(p.SSHPort)
	var out []string
	set := map[string]bool{}
	for _, kv := range given {
		name, _, _ := strings.Cut(kv, "=")
		set[name] = true
		out = append(out, "--input", strings.NewReplacer("{lab}", p.Dir, "{ssh}", port).Replace(kv))
	}
	own := map[string]string{
		"cluster": "team-a/dev1", "ca": filepath.Join(p.Dir, "ca", "root.pem"),
		"workloads": filepath.Join(p.Dir, "workload.yaml"), "sshPort": port,
	}
	for _, in := range w.Inputs {
		if value, ok := own[in.Name]; ok && !set[in.Name] {
			out = append(out, "--input", in.Name+"="+value)
		}
	}
	return out
}
