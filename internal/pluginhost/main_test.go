package pluginhost_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-plugin"

	"github.com/tkgfix/tkgfix/internal/pluginhost"
	"github.com/tkgfix/tkgfix/internal/wire"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/plugintest"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// TestMain lets the test binary be the plugin, the host that is killed, and a process that a plugin leaves behind.
func TestMain(m *testing.M) {
	mode, arg := "", ""
	if len(os.Args) > 2 {
		mode, arg = os.Args[1], os.Args[2]
	}
	switch mode {
	case "plugin":
		servePlugin(arg)
	case "host":
		if err := serveHost(arg); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "block":
		block()
	default:
		os.Exit(m.Run())
	}
}

// servePlugin is the plugin's main: some names misbehave.
func servePlugin(name string) {
	switch name {
	case "no-handshake":
		fmt.Fprintln(os.Stderr, "cannot find my feet")
		os.Exit(5)
	case "never-ready":
		block()
	case "protocol-2":
		plugin.Serve(&plugin.ServeConfig{
			HandshakeConfig:  wire.Handshake(),
			VersionedPlugins: map[int]plugin.PluginSet{2: {wire.PluginName: &wire.Plugin{Step: odd{name: name}}}},
			GRPCServer:       wire.NewServer,
		})
	case "misnamed":
		sdk.Serve(odd{name: "other"})
	default:
		sdk.Serve(odd{name: name})
	}
}

// serveHost is a host that is in the middle of an Apply, says so, and waits to be killed.
func serveHost(dir string) error {
	host := pluginhost.New(pluginhost.Options{Executable: os.Args[0], Args: pluginArgs, TempDir: dir})
	step, err := host.Step(context.Background(), "odd")
	if err != nil {
		return err
	}
	journal := &plugintest.Host{Before: func(plugintest.Call) error {
		return json.NewEncoder(os.Stdout).Encode(host.Processes())
	}}
	_, err = step.Apply(context.Background(), plugins.ApplyRequest{Input: json.RawMessage(`{"do":"hang"}`)}, journal)
	return err
}

func pluginArgs(name string) []string { return []string{"plugin", name} }

// block never returns. A timer keeps the runtime from calling it a deadlock.
func block() {
	for range time.NewTicker(time.Hour).C {
	}
}

// odd is a step that does what its input says.
type odd struct{ name string }

func (o odd) Describe() plugins.Description {
	return plugins.Description{
		Name:    o.name,
		Version: "1.2.3",
		Summary: "Does what its input says.",
		Effect:  plugins.Destroy,
		Input:   json.RawMessage(`{"type":"object"}`),
		Output:  json.RawMessage(`{"type":"object"}`),
	}
}

type said struct {
	PID     int      `json:"pid"`
	Group   int      `json:"group"`
	Child   int      `json:"child"`
	Dir     string   `json:"dir"`
	Environ []string `json:"environ"`
	// Files are the files that the process has open, as far as the system says.
	Files []string `json:"files"`
}

func (o odd) Plan(ctx context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	out, err := o.do(ctx, req.Input, nil)
	return plugins.PlanResponse{Outputs: out}, err
}

func (o odd) Apply(ctx context.Context, req plugins.ApplyRequest, host plugins.Host) (plugins.ApplyResponse, error) {
	out, err := o.do(ctx, req.Input, host)
	return plugins.ApplyResponse{Outputs: out}, err
}

func (o odd) do(ctx context.Context, input json.RawMessage, host plugins.Host) (json.RawMessage, error) {
	in, err := sdk.Input[struct{ Do string }](input)
	if err != nil {
		return nil, err
	}
	if host != nil {
		_ = host.Progress(ctx, in.Do) // tells the test that the step has begun; the test may cancel it there
	}
	switch in.Do {
	case "say":
		dir, err := os.Getwd()
		if err != nil {
			return nil, err
		}
		return sdk.Output(said{PID: os.Getpid(), Group: group(), Dir: dir, Environ: os.Environ(), Files: openFiles()})
	case "child":
		cmd := exec.Command(os.Args[0], "block", "1")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		return sdk.Output(said{PID: os.Getpid(), Child: cmd.Process.Pid})
	case "exit":
		for i := range 100 {
			fmt.Fprintf(os.Stdout, "out %d\n", i)
		}
		println("the \x1b[31mred\x1b[0m last line")
		os.Exit(7)
	case "panic elsewhere":
		var none *odd
		done := make(chan string)
		go func() { done <- none.name }()
		<-done
	case "panic":
		panic("oh no")
	case "hang":
		block()
	case "wait":
		<-ctx.Done()
		return nil, plugins.Hint(plugins.WithKind(plugins.KindConflict, fmt.Errorf("stopped at the lights: %w", ctx.Err())), "go on")
	case "large":
		return sdk.Output(strings.Repeat("x", 17<<20))
	}
	return nil, plugins.Hint(errors.New("boom"), "say what to do")
}

func openFiles() []string {
	entries, _ := os.ReadDir("/proc/self/fd")
	var out []string
	for _, e := range entries {
		if path, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			out = append(out, path)
		}
	}
	return out
}
