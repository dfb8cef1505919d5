package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/internal/plugindir"
	"github.com/tkgfix/tkgfix/internal/pluginhost"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/backup"
	"github.com/tkgfix/tkgfix/plugins/clusters"
	"github.com/tkgfix/tkgfix/plugins/clustertrust"
	"github.com/tkgfix/tkgfix/plugins/detect"
	"github.com/tkgfix/tkgfix/plugins/diagnose"
	"github.com/tkgfix/tkgfix/plugins/encoding"
	"github.com/tkgfix/tkgfix/plugins/exec"
	"github.com/tkgfix/tkgfix/plugins/nodecert"
	"github.com/tkgfix/tkgfix/plugins/notify"
	"github.com/tkgfix/tkgfix/plugins/owner"
	"github.com/tkgfix/tkgfix/plugins/probe"
	"github.com/tkgfix/tkgfix/plugins/recreate"
	"github.com/tkgfix/tkgfix/plugins/restart"
	"github.com/tkgfix/tkgfix/plugins/rollnodes"
	"github.com/tkgfix/tkgfix/plugins/sdk"
	"github.com/tkgfix/tkgfix/plugins/trustconfig"
	"github.com/tkgfix/tkgfix/plugins/verifypull"
	"github.com/tkgfix/tkgfix/workflow"
)

// shipped lists the steps that are in this binary, in the order of the documented fix.
func shipped() []plugins.Step {
	env := sdk.Env{Now: time.Now}
	return []plugins.Step{
		clusters.New(env),
		owner.New(env),
		detect.New(env),
		nodecert.New(env),
		probe.New(env),
		encoding.New(env),
		diagnose.New(env),
		restart.New(env),
		rollnodes.New(env),
		clustertrust.New(env),
		trustconfig.New(env),
		backup.New(env),
		recreate.New(env),
		verifypull.New(env),
		exec.New(env),
		notify.New(env),
	}
}

// shippedStep returns the step of that name that is in this binary.
func shippedStep(uses string) (plugins.Step, bool) {
	for _, s := range shipped() {
		if s.Describe().Name == uses {
			return s, true
		}
	}
	return nil, false
}

func shippedNames() []string {
	var names []string
	for _, s := range shipped() {
		names = append(names, s.Describe().Name)
	}
	return names
}

// catalog describes the shipped steps and those of third parties that are locked. Of these it starts only what it is asked about.
type catalog struct {
	ctx context.Context
	// digest is the digest of this executable, which is the code of all shipped steps.
	digest func() (string, error)
	// shelf has the third parties' plugins. It is opened when a step is asked for that is not shipped.
	shelf func() (*plugindir.Shelf, error)
	// problem is told why a third party's plugin cannot be used, once for each: workflow.Schemas can only say that there is none.
	problem func(error)

	mu   sync.Mutex
	told map[string]bool
}

// newCatalog returns what there is for this command line. Nothing is read yet.
func (a *app) newCatalog(c *cli.Context) *catalog {
	return &catalog{
		ctx: c.Context, digest: sync.OnceValues(executableDigest), problem: a.ui.Error, told: map[string]bool{},
		shelf: sync.OnceValues(func() (*plugindir.Shelf, error) { return openShelf(c) }),
	}
}

// openShelf looks for third parties' plugins as the command line and the environment say.
func openShelf(c *cli.Context) (*plugindir.Shelf, error) {
	lockFile := c.String("lockfile")
	if lockFile == "" {
		lockFile = plugindir.LockFile
	}
	return plugindir.Open(plugindir.Folders(os.Getenv), lockFile, shippedNames())
}

// foreign returns a third party's plugin, ready to be started. The error is errNoStep if there is none of that name.
func (k *catalog) foreign(uses string) (plugindir.Plugin, error) {
	shelf, err := k.shelf()
	if err != nil {
		return plugindir.Plugin{}, err
	}
	if !shelf.Has(uses) {
		return plugindir.Plugin{}, fmt.Errorf("%w %q", errNoStep, uses)
	}
	return shelf.Plugin(k.ctx, uses)
}

var errNoStep = errors.New("no step is called")

// Step implements workflow.Schemas.
func (k *catalog) Step(uses string) (workflow.StepInfo, bool) {
	var d plugins.Description
	if s, ok := shippedStep(uses); ok {
		d = s.Describe()
	} else if p, err := k.foreign(uses); err == nil {
		d = p.Description
	} else {
		if errors.Is(err, errNoStep) {
			return workflow.StepInfo{}, false
		}
		k.tell(uses, err)
		return workflow.StepInfo{Problem: err.Error()}, true
	}
	return workflow.StepInfo{Effect: string(d.Effect), Input: d.Input, Output: d.Output, Connections: d.Connections}, true
}

// tell says once why a step cannot be used, with the next command, for which a diagnostic has no place.
func (k *catalog) tell(uses string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.told[uses] || errors.Is(err, errNoStep) {
		return
	}
	k.told[uses] = true
	k.problem(err)
}

// Names implements workflow.Schemas. It leaves out what has been found not to be of use.
func (k *catalog) Names() []string {
	names := shippedNames()
	shelf, err := k.shelf()
	if err != nil {
		return names
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, f := range shelf.Found() {
		if f.Err == nil && !k.told[f.Name] && !slices.Contains(names, f.Name) {
			names = append(names, f.Name)
		}
	}
	return names
}

// Plugin implements engine.Catalog.
func (k *catalog) Plugin(uses string) (plan.Plugin, error) {
	if s, ok := shippedStep(uses); ok {
		digest, err := k.digest()
		return plan.Plugin{Name: uses, Version: s.Describe().Version, SHA256: digest}, err
	}
	p, err := k.foreign(uses)
	return plan.Plugin{Name: uses, Version: p.Description.Version, SHA256: p.SHA256}, err
}

// program returns how a third party's plugin is started: from the bytes that the plan's digest names, and only as long as it says of
// itself what the workflow was checked against. A shipped step has none.
func (k *catalog) program(uses string) (*pluginhost.Program, error) {
	if _, ok := shippedStep(uses); ok {
		return nil, nil
	}
	p, err := k.foreign(uses)
	if err != nil {
		return nil, err
	}
	return &pluginhost.Program{Path: p.Path, SHA256: p.SHA256, Said: &p.Description}, nil
}

func executableDigest() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this executable: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read this executable: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read this executable: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
