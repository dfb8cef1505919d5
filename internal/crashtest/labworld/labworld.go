// Package labworld lets a crash test happen in the laboratory, which it knows by its public face only: the program tkgfix-lab, and the
// files that this leaves in its folder.
package labworld

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/tkgfix/tkgfix/internal/crashtest"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/internal/state/file"
	"github.com/tkgfix/tkgfix/plugins"
)

// The patience with the laboratory's program.
const (
	upPatience   = 5 * time.Minute
	downPatience = 2 * time.Minute
	// stopPatience is how long an interrupted tkgfix-lab up may take to take everything down again.
	stopPatience = time.Minute
)

// World makes a laboratory for each run.
type World struct {
	// Program is the path of tkgfix-lab.
	Program string
	// Scenario is the fault that it plants.
	Scenario string
	// Generation is the generation of TKG that it has; empty is the program's own choice.
	Generation string
	// Engine returns the words of a command that serves an engine for a place. KUBECONFIG is set for it.
	Engine func(Place) []string
	// Temp is where laboratories are made; empty is the system's folder for that.
	Temp string
}

var _ crashtest.World = World{}

// Place is a laboratory that is up.
type Place struct {
	// Dir is the laboratory's folder, State that of the runs.
	Dir, State string
	// SSHPort is the port of the nodes' SSH servers.
	SSHPort int

	world World
	root  string
	// names are the clusters of the audit logs that were ever seen, by file name.
	names map[string]string
	// known replaces the certificates that this laboratory made.
	known *strings.Replacer
}

var (
	_ crashtest.Place   = (*Place)(nil)
	_ crashtest.Meddler = (*Place)(nil)
	_ crashtest.Renamer = (*Place)(nil)
)

// facts is what lab.json says.
type facts struct {
	SSHPort  int
	Clusters []struct{ Namespace, Name, Kubeconfig, Audit string }
}

// Up starts a laboratory. It takes some ten seconds.
func (w World) Up(ctx context.Context) (crashtest.Place, error) {
	root, err := os.MkdirTemp(w.Temp, "tkgfix-crashtest-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the laboratory: %w", err)
	}
	p := &Place{Dir: filepath.Join(root, "lab"), State: filepath.Join(root, "state"), world: w, root: root, names: map[string]string{"supervisor.log": ""}}
	ctx, cancel := context.WithTimeout(ctx, upPatience)
	defer cancel()
	if err := w.lab(ctx, w.up(p.Dir)...); err != nil {
		return nil, errors.Join(err, p.Close(context.WithoutCancel(ctx)))
	}
	f, err := p.facts()
	if err != nil {
		return nil, errors.Join(err, p.Close(context.WithoutCancel(ctx)))
	}
	p.SSHPort = f.SSHPort
	certificates, err := p.certificates()
	if err != nil {
		return nil, errors.Join(err, p.Close(context.WithoutCancel(ctx)))
	}
	p.known = strings.NewReplacer(certificates...)
	return p, nil
}

// up returns the words that start a laboratory in a folder.
func (w World) up(dir string) []string {
	words := []string{"up", "--dir", dir, "--scenario", w.Scenario}
	if w.Generation != "" {
		words = append(words, "--generation", w.Generation)
	}
	return words
}

// lab runs the laboratory's program. An interrupted one may clean up.
func (w World) lab(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, w.Program, args...) //nolint:gosec // the user's own choice
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopPatience
	// Out of reach of the terminal's Ctrl-C: this process says when it is to end.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return fmt.Errorf("%s %s: %w", filepath.Base(w.Program), args[0], context.Cause(ctx))
	}
	if err != nil {
		return plugins.Hint(fmt.Errorf("%s %s: %w\n%s", filepath.Base(w.Program), args[0], err, strings.TrimSpace(string(out))),
			"see whether a laboratory comes up by itself: %s %s", w.Program, strings.Join(w.up("DIR"), " "))
	}
	return nil
}

func (p *Place) facts() (facts, error) {
	var f facts
	raw, err := os.ReadFile(filepath.Join(p.Dir, "lab.json"))
	if err == nil {
		err = json.Unmarshal(raw, &f)
	}
	if err != nil {
		return f, fmt.Errorf("read what the laboratory says of itself: %w", err)
	}
	return f, nil
}

// Engine implements crashtest.Place.
func (p *Place) Engine(ctx context.Context) *exec.Cmd {
	words := p.world.Engine(*p)
	cmd := exec.CommandContext(ctx, words[0], words[1:]...) //nolint:gosec // this program, or a test's double of it
	cmd.Env = append(os.Environ(), "KUBECONFIG="+p.kubeconfig("platform"))
	return cmd
}

func (p *Place) kubeconfig(user string) string {
	return filepath.Join(p.Dir, "kubeconfig", user+".yaml")
}

// Journal implements crashtest.Place.
func (p *Place) Journal() state.Store { return file.New(p.State) }

// Close takes the laboratory down and removes it.
func (p *Place) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, downPatience)
	defer cancel()
	if err := p.world.lab(ctx, "down", "--dir", p.Dir); err != nil {
		return plugins.Hint(err, "%s down --dir %s", p.world.Program, p.Dir)
	}
	if err := os.RemoveAll(p.root); err != nil {
		return fmt.Errorf("remove the laboratory's folder: %w", err)
	}
	return nil
}
