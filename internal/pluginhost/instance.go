package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"

	"github.com/tkgfix/tkgfix/internal/wire"
	"github.com/tkgfix/tkgfix/internal/wire/host2plugin"
	"github.com/tkgfix/tkgfix/plugins"
)

// The patience with a process.
const (
	stopTime  = 3 * time.Second // for it to end when it is asked to
	crashTime = 3 * time.Second // for a lost connection to turn out to be a crash
)

// instance is one process of a plugin and the connection to it.
type instance struct {
	host     *Host
	name     string
	client   *plugin.Client
	process  *process
	identity Process
	step     *host2plugin.Client
	// sockets is where go-plugin makes its sockets.
	sockets string
	// program and home are a third party's: its executable, and the private folder of the copy. Others have none.
	program *Program
	home    string
	// stdout and stderr are what the step prints, which go-plugin brings over the connection; crash is what
	// the process itself wrote to its stderr. They are apart because their lines arrive in any order.
	stdout, stderr, crash *tail

	mu  sync.Mutex
	why string // why the host killed it
}

// launch starts a plugin and connects to it. When ctx ends first the process is killed.
func (h *Host) launch(ctx context.Context, name string) (*instance, error) {
	i := &instance{
		host:   h,
		name:   name,
		stdout: newTail(name, h.options.Stderr, tailPrinted),
		stderr: newTail(name, h.options.Stderr, tailPrinted),
		crash:  newTail(name, h.options.Stderr, tailCrash),
	}
	ctx, cancel := context.WithTimeout(ctx, h.options.StartTimeout)
	defer cancel()
	cmd, err := i.command()
	if err != nil {
		i.leave()
		return nil, fmt.Errorf("start plugin %s: %w", name, err)
	}
	if i.process, err = newProcess(cmd, h.starter); err != nil {
		i.leave()
		return nil, fmt.Errorf("start plugin %s: %w", name, err)
	}
	defer context.AfterFunc(h.life, cancel)()
	defer context.AfterFunc(ctx, func() { _ = i.process.Kill(ctx) })()
	i.client = plugin.NewClient(i.config(cmd))
	if err := i.connect(ctx); err != nil {
		i.kill("")
		return nil, fmt.Errorf("start plugin %s: %w%s", name, i.startError(ctx, err), i.lastLines())
	}
	h.options.Logger.Debug("plugin started", "plugin", name, "pid", i.identity.PID)
	return i, nil
}

// command is what the process will be: the host's executable, or a private copy of a third party's.
func (i *instance) command() (*exec.Cmd, error) {
	options := i.host.options
	var err error
	if i.sockets, err = i.host.folder(); err != nil {
		return nil, err
	}
	if options.Foreign != nil {
		if i.program, err = options.Foreign(i.name); err != nil {
			return nil, err
		}
	}
	if i.program == nil {
		if options.Executable == "" {
			return nil, errors.New("nothing serves it")
		}
		cmd := exec.Command(options.Executable, options.Args(i.name)...) //nolint:gosec,noctx // the engine's own choice; ended by Kill
		cmd.Dir, cmd.Env = options.Dir, scrubbed(options.Environ)
		if options.Agent != nil && options.Agent(i.name) {
			cmd.Env = append(cmd.Env, only(options.Environ, "SSH_AUTH_SOCK")...)
		}
		return cmd, nil
	}
	if i.home, err = os.MkdirTemp(i.sockets, "home"); err != nil {
		return nil, err
	}
	work := filepath.Join(i.home, "work")
	if err := os.Mkdir(work, 0o700); err != nil {
		return nil, err
	}
	path, err := i.program.takePrivate(i.name, i.home)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path) //nolint:gosec,noctx // its digest was checked; ended by Kill
	// What it writes goes where it is removed after it.
	cmd.Dir, cmd.Env = work, append(without(scrubbed(options.Environ), "TMPDIR"), "TMPDIR="+work, "PWD="+work)
	return cmd, nil
}

// startError says why a plugin did not start, in words for its user.
func (i *instance) startError(ctx context.Context, err error) error {
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("it did not say what it is within %s: %w", i.host.options.StartTimeout, ctx.Err())
	case ctx.Err() != nil:
		return ctx.Err()
	case i.home != "" && errors.Is(err, fs.ErrPermission):
		return plugins.Hint(err, "if %s is on a file system mounted noexec, name a folder that is not: export TMPDIR=DIR", filepath.Dir(i.sockets))
	}
	if versions, ok := strings.CutPrefix(err.Error(), "incompatible API version with plugin. "); ok {
		return plugins.Hint(fmt.Errorf("it speaks another version of the plugin protocol: %s", versions),
			"use a release of the plugin that was built for version %d of the protocol", wire.ProtocolVersion)
	}
	return err
}

// leave removes the private folder of a third party's plugin that is gone.
func (i *instance) leave() {
	if i.home != "" {
		_ = os.RemoveAll(i.home) // what resists goes with the host's folder, or is left to the next host
	}
}

// config ties go-plugin to the process.
func (i *instance) config(cmd *exec.Cmd) *plugin.ClientConfig {
	options := i.host.options
	return &plugin.ClientConfig{
		HandshakeConfig:  wire.Handshake(),
		VersionedPlugins: wire.Plugins(&wire.Plugin{}),
		RunnerFunc: func(_ hclog.Logger, given *exec.Cmd, _ string) (runner.Runner, error) {
			cmd.Env = append(cmd.Env, given.Env...)
			return i.process, nil
		},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		AutoMTLS:         true,
		SkipHostEnv:      true,
		StartTimeout:     options.StartTimeout,
		Stderr:           i.crash,
		SyncStdout:       i.stdout,
		SyncStderr:       i.stderr,
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: i.sockets},
		Logger:           hclog.NewNullLogger(),
	}
}

// connect shakes hands, has the process journalled and asks it what its step is.
func (i *instance) connect(ctx context.Context) error {
	protocol, err := i.client.Client()
	if err != nil {
		return err
	}
	if i.identity, err = identify(i.name, i.process.pid()); err != nil {
		return err
	}
	if i.host.options.OnStart != nil {
		if err := i.host.options.OnStart(i.identity); err != nil {
			return fmt.Errorf("journal its process: %w", err)
		}
	}
	raw, err := protocol.Dispense(wire.PluginName)
	if err != nil {
		return err
	}
	conn, ok := raw.(*host2plugin.Conn)
	if !ok {
		return fmt.Errorf("dispensed a %T", raw)
	}
	i.step, err = conn.Step(ctx, i.host.options.Grace)
	return err
}

// isOver reports whether the process is dead.
func (i *instance) isOver() bool {
	select {
	case <-i.process.exited:
		return true
	default:
		return false
	}
}

// stop asks the process to end, kills it if it does not, and waits until it is gone.
func (i *instance) stop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, stopTime)
	defer cancel()
	release := context.AfterFunc(ctx, func() { i.killProcess("it did not end when asked to") })
	defer release()
	i.client.Kill() // asks first
	<-i.process.exited
	i.leave()
}

// kill kills the process if it lives, waits until it is gone and its output is read, and removes what it left.
func (i *instance) kill(why string) {
	i.killProcess(why)
	i.client.Kill() // only cleans up
	defer i.leave()
	if i.process.pid() == 0 {
		i.process.closePipes()
		return
	}
	<-i.process.exited
}

func (i *instance) killProcess(why string) {
	i.mu.Lock()
	if i.why == "" {
		i.why = why
	}
	i.mu.Unlock()
	_ = i.process.Kill(context.Background())
	if why != "" {
		i.host.options.Logger.Debug("plugin killed", "plugin", i.name, "why", why)
	}
}

func (i *instance) killedBecause() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.why
}

// awaitGone waits a moment for the process to be gone and its output to be read, and reports whether it is.
func (i *instance) awaitGone() bool {
	timer := time.NewTimer(crashTime)
	defer timer.Stop()
	select {
	case <-i.process.gone:
		return true
	case <-timer.C:
		return false
	}
}

// crashError is the error of a call during which the process ended.
func (i *instance) crashError() error {
	if why := i.killedBecause(); why != "" {
		return fmt.Errorf("plugin %s was killed: %s", i.name, why)
	}
	how := "exit status 0"
	if err := i.process.exitError(); err != nil {
		how = err.Error()
	}
	i.host.options.Logger.Debug("plugin crashed", "plugin", i.name, "how", how)
	return fmt.Errorf("plugin %s crashed: %s%s", i.name, how, i.lastLines())
}

// lastLines is what the process printed last, ready to follow a message.
func (i *instance) lastLines() string {
	lines := slices.Concat(i.stdout.Last(), i.stderr.Last(), i.crash.Last())
	if len(lines) == 0 {
		return ""
	}
	return "; its last lines:\n  " + strings.Join(lines, "\n  ")
}
