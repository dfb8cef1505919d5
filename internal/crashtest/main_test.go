package crashtest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/crashtest"
	"github.com/tkgfix/tkgfix/internal/crashtest/doubles"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/internal/pluginhost"
	"github.com/tkgfix/tkgfix/internal/state/file"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
	"github.com/tkgfix/tkgfix/workflow"
)

// TestMain lets the test binary be an engine on the leash and the plugins that it starts.
func TestMain(m *testing.M) {
	args := append(os.Args, "", "", "")
	switch args[1] {
	case "engine":
		if err := serveEngine(args[2], args[3], args[4]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "plugin":
		s, err := steps{}.find(args[2])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		sdk.Serve(s)
	default:
		os.Exit(m.Run())
	}
}

// serveEngine is the main of an engine: one that keeps runs in a folder and starts this binary as its plugins.
func serveEngine(mutant, dir, server string) error {
	me, err := os.Executable()
	if err != nil {
		return err
	}
	e := &engine.Engine{
		Store: file.New(dir), Now: time.Now, Version: "test", Catalog: steps{},
		Me: engine.Actor{Identity: approval.Identity{Name: "ann@jump"}, Host: "jump", PID: os.Getpid()},
		Launch: func(_ plugins.Connections, started func(context.Context, engine.Process) error) engine.Plugins {
			return pluginhost.New(pluginhost.Options{
				Executable: me, Args: func(name string) []string { return []string{"plugin", name} },
				OnStart: func(p pluginhost.Process) error { return started(context.Background(), engine.Process(p)) },
			})
		},
		End:  func(ctx context.Context, p engine.Process) error { return pluginhost.End(ctx, pluginhost.Process(p)) },
		File: func(string) (string, error) { return "", errors.New("no files here") },
	}
	mutate, ok := doubles.All()[mutant]
	if !ok {
		return fmt.Errorf("no such mutant: %q", mutant)
	}
	mutate(e)
	return crashtest.Serve(context.Background(), crashtest.Child{
		Engine: e, In: os.Stdin, Out: os.Stdout,
		Request: func(context.Context) (engine.Request, error) {
			w, diags := workflow.Check("lamp.yaml", []byte(lampWorkflow), e.Catalog)
			if err := diags.Err(); err != nil {
				return engine.Request{}, err
			}
			return engine.Request{Workflow: w, Inputs: []plan.Input{{Name: "server", Value: server}}}, nil
		},
	})
}

// steps is the catalog of these tests.
type steps struct{}

func (steps) find(uses string) (plugins.Step, error) {
	for _, s := range []plugins.Step{look{}, turn{}, swap{}} {
		if s.Describe().Name == uses {
			return s, nil
		}
	}
	return nil, fmt.Errorf("no step %q", uses)
}

func (s steps) Step(uses string) (workflow.StepInfo, bool) {
	st, err := s.find(uses)
	if err != nil {
		return workflow.StepInfo{}, false
	}
	d := st.Describe()
	return workflow.StepInfo{Effect: string(d.Effect), Input: d.Input, Output: d.Output}, true
}

func (steps) Names() []string { return []string{"look", "turn", "swap"} }

func (steps) Plugin(uses string) (plan.Plugin, error) {
	return plan.Plugin{Name: uses, Version: "1.0.0", SHA256: "d1"}, nil
}
