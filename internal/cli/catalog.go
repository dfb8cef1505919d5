package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/detect"
	"github.com/tkgfix/tkgfix/plugins/diagnose"
	"github.com/tkgfix/tkgfix/plugins/encoding"
	"github.com/tkgfix/tkgfix/plugins/nodecert"
	"github.com/tkgfix/tkgfix/plugins/probe"
	"github.com/tkgfix/tkgfix/plugins/recreate"
	"github.com/tkgfix/tkgfix/plugins/sdk"
	"github.com/tkgfix/tkgfix/plugins/trustconfig"
	"github.com/tkgfix/tkgfix/plugins/verifypull"
	"github.com/tkgfix/tkgfix/workflow"
)

// shipped lists the steps that are in this binary, in the order of the documented fix.
func shipped() []plugins.Step {
	env := sdk.Env{Now: time.Now}
	return []plugins.Step{
		detect.New(env),
		nodecert.New(env),
		probe.New(env),
		encoding.New(env),
		diagnose.New(env),
		trustconfig.New(env),
		recreate.New(env),
		verifypull.New(env),
	}
}

// catalog describes the shipped steps.
type catalog struct {
	steps []plugins.Step
	// digest is the digest of this executable, which is the code of all shipped steps.
	digest func() (string, error)
}

func newCatalog() *catalog {
	return &catalog{steps: shipped(), digest: sync.OnceValues(executableDigest)}
}

func (k *catalog) find(uses string) (plugins.Step, bool) {
	for _, s := range k.steps {
		if s.Describe().Name == uses {
			return s, true
		}
	}
	return nil, false
}

// Step implements workflow.Schemas.
func (k *catalog) Step(uses string) (workflow.StepInfo, bool) {
	s, ok := k.find(uses)
	if !ok {
		return workflow.StepInfo{}, false
	}
	d := s.Describe()
	return workflow.StepInfo{Effect: string(d.Effect), Input: d.Input, Output: d.Output, Connections: d.Connections}, true
}

// Names implements workflow.Schemas.
func (k *catalog) Names() []string {
	var names []string
	for _, s := range k.steps {
		names = append(names, s.Describe().Name)
	}
	return names
}

// Plugin implements engine.Catalog.
func (k *catalog) Plugin(uses string) (plan.Plugin, error) {
	s, ok := k.find(uses)
	if !ok {
		return plan.Plugin{}, fmt.Errorf("no step is called %q", uses)
	}
	digest, err := k.digest()
	if err != nil {
		return plan.Plugin{}, err
	}
	d := s.Describe()
	return plan.Plugin{Name: d.Name, Version: d.Version, SHA256: digest}, nil
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
