// Package confine keeps the steps of a run to the files that the run was given, and away from the cluster on which the controller runs.
package confine

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/plugins"
)

// Plugins are the plugins of one run, confined.
type Plugins struct {
	engine.Plugins
	// Dir is the folder with the run's files: no connection may name a file elsewhere, such as the controller's own credentials.
	Dir string
	// Home says whether a cluster is the one on which the controller runs.
	Home *Home
}

var _ engine.Plugins = (*Plugins)(nil)

// Launch confines the plugins that next launches.
func Launch(next func(plugins.Connections, func(context.Context, engine.Process) error) engine.Plugins, dir string, home *Home,
) func(plugins.Connections, func(context.Context, engine.Process) error) engine.Plugins {
	return func(c plugins.Connections, started func(context.Context, engine.Process) error) engine.Plugins {
		return &Plugins{Plugins: next(c, started), Dir: dir, Home: home}
	}
}

// Step implements engine.Plugins.
func (p *Plugins) Step(ctx context.Context, uses string) (plugins.Step, error) {
	s, err := p.Plugins.Step(ctx, uses)
	if err != nil {
		return nil, err
	}
	return &step{Step: s, dir: p.Dir, home: p.Home}, nil
}

type step struct {
	plugins.Step
	dir  string
	home *Home
}

// Plan implements plugins.Step.
func (s *step) Plan(ctx context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	if err := s.within(req.Connections); err != nil {
		return plugins.PlanResponse{}, err
	}
	resp, err := s.Step.Plan(ctx, req)
	if err != nil {
		return resp, err
	}
	for _, c := range resp.Changes {
		if !deletesCluster(c) {
			continue
		}
		if b := s.blocks(ctx, req.Connections, c.Target); b != nil {
			resp.Blocks = append(resp.Blocks, *b)
		}
	}
	return resp, nil
}

// Apply implements plugins.Step.
func (s *step) Apply(ctx context.Context, req plugins.ApplyRequest, host plugins.Host) (plugins.ApplyResponse, error) {
	if err := s.within(req.Connections); err != nil {
		return plugins.ApplyResponse{}, err
	}
	return s.Step.Apply(ctx, req, host)
}

// within refuses connections that name a file outside of the run's folder.
func (s *step) within(c plugins.Connections) error {
	paths := map[string]string{}
	if c.Supervisor != nil {
		paths["supervisor.kubeconfig"] = c.Supervisor.Kubeconfig
	}
	if n := c.Nodes; n != nil {
		paths["nodes.knownHosts"], paths["nodes.identityFile"], paths["nodes.passwordFile"] = n.KnownHosts, n.IdentityFile, n.PasswordFile
	}
	for what, path := range paths {
		if path == "" || strings.HasPrefix(filepath.Clean(path), filepath.Clean(s.dir)+string(filepath.Separator)) {
			continue
		}
		return plugins.Hint(fmt.Errorf("%s names %s, which is no file of this run", what, path),
			"name the Secret in the Run's spec.connections; several Supervisors are contexts of one kubeconfig")
	}
	return nil
}

// deletesCluster says whether a change takes a whole workload cluster away.
func deletesCluster(c plugins.PlannedChange) bool {
	gone := c.Action == plugins.Delete || c.Action == plugins.Replace
	return gone && c.Target.Cluster == "" && (c.Target.Kind == "Cluster" || c.Target.Kind == "TanzuKubernetesCluster")
}

// blocks returns why the cluster must not be deleted by a run of this controller; nil if it may.
func (s *step) blocks(ctx context.Context, c plugins.Connections, t plugins.Target) *plugins.Block {
	hint := "run it from a jump host: tkgfix run; or move the controller to the Supervisor or another cluster"
	if c.Supervisor == nil {
		return &plugins.Block{Reason: fmt.Sprintf("%s: it cannot be told whether the controller runs on it: the step has no Supervisor", t), Hint: hint}
	}
	is, err := s.home.Is(ctx, *c.Supervisor, t.Namespace, t.Name)
	switch {
	case err != nil:
		return &plugins.Block{Reason: fmt.Sprintf("%s: it cannot be told whether the controller runs on it: %v", t, err), Hint: hint}
	case is:
		return &plugins.Block{Reason: fmt.Sprintf("%s is the cluster on which this controller runs: it would end itself halfway", t), Hint: hint}
	}
	return nil
}
