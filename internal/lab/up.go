package lab

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tkgfix/tkgfix/internal/lab/proc"
	"github.com/tkgfix/tkgfix/internal/lab/real"
	"github.com/tkgfix/tkgfix/internal/lab/service"
	"github.com/tkgfix/tkgfix/plugins"
)

// DaemonCommand is the hidden subcommand of the laboratory's program that ends in Daemon.
const DaemonCommand = "daemon"

// ProgressFD is the file descriptor by which a daemon tells Up how far it is.
const ProgressFD = 3

const (
	logFile = "lab.log"
	// endGrace is how long a daemon may take for an orderly end.
	endGrace = 30 * time.Second
	logLines = 12
)

// UpOptions say what laboratory to start.
type UpOptions struct {
	Dir, Scenario, Kube string
	// Nodes is the kind of nodes, ImitatedNodes if empty, or RealNodes.
	Nodes string
	// Generation is that of TKG, DefaultGeneration if empty.
	Generation string
	// Program is the laboratory's program, which Up starts again as the daemon.
	Program string
	// Progress gets a line for each thing that is done.
	Progress io.Writer
}

// Up starts a laboratory and returns when the scenario's state shows. If that fails or ctx ends, everything is taken down again; only
// the log is kept, and the error names it.
func Up(ctx context.Context, opts UpOptions) (State, error) {
	opts.Nodes = cmp.Or(opts.Nodes, ImitatedNodes)
	if err := CheckNodes(opts.Nodes); err != nil {
		return State{}, err
	}
	opts.Generation = cmp.Or(opts.Generation, DefaultGeneration)
	if err := CheckGeneration(opts.Generation); err != nil {
		return State{}, err
	}
	if _, err := findScenarioOn(opts.Scenario, opts.Nodes, service.Generation(opts.Generation)); err != nil {
		return State{}, err
	}
	if err := checkKube(opts.Kube); err != nil {
		return State{}, err
	}
	made, err := claim(opts.Dir)
	if err != nil {
		return State{}, err
	}
	if err := start(ctx, opts, made); err != nil {
		return State{}, failUp(ctx, opts.Dir, err)
	}
	return Load(opts.Dir)
}

func checkKube(path string) error {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return plugins.Hint(fmt.Errorf("no Kubernetes binary at %q", path), "build it with hack/kube/build.sh, which prints its path, and give that with --kube")
	}
	return nil
}

// claim makes the folder the laboratory's. Only one can: the state file is created exclusively.
func claim(dir string) (made bool, err error) {
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		made = true
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return false, fmt.Errorf("making the laboratory's folder: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, fmt.Errorf("reading the laboratory's folder: %w", err)
	}
	for _, e := range entries {
		if e.Name() == stateFile {
			return false, plugins.Hint(fmt.Errorf("there is a laboratory in %s already", dir), "tkgfix-lab status --dir %s; tkgfix-lab down --dir %s", dir, dir)
		}
	}
	if len(entries) > 0 && !onlyLog(entries) {
		return false, plugins.Hint(fmt.Errorf("the folder %s is not empty", dir), "give an empty or a new one")
	}
	file, err := os.OpenFile(filepath.Join(dir, stateFile), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return false, fmt.Errorf("claiming the laboratory's folder: %w", err)
	}
	defer file.Close()
	_, err = fmt.Fprintf(file, `{"phase":"starting","madeDir":%v}`+"\n", made)
	return made, err
}

// onlyLog says whether there is nothing but the log of an Up that failed.
func onlyLog(entries []fs.DirEntry) bool { return len(entries) == 1 && entries[0].Name() == logFile }

// start starts the daemon and passes on what it tells until it is ready.
func start(ctx context.Context, opts UpOptions, made bool) error {
	log, err := os.OpenFile(filepath.Join(opts.Dir, logFile), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening the laboratory's log: %w", err)
	}
	defer log.Close()
	read, write, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("making a pipe: %w", err)
	}
	defer read.Close()
	args := []string{DaemonCommand, "--dir", opts.Dir, "--scenario", opts.Scenario, "--kube", opts.Kube, "--nodes", opts.Nodes, "--generation", opts.Generation}
	if made {
		args = append(args, "--made-dir")
	}
	cmd := exec.Command(opts.Program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{write}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	_ = write.Close()
	if err != nil {
		return fmt.Errorf("starting the daemon: %w", err)
	}
	ready := make(chan bool, 1)
	go func() { ready <- follow(read, opts.Progress) }()
	select {
	case ok := <-ready:
		if ok {
			return cmd.Process.Release()
		}
		return fmt.Errorf("the laboratory did not start (%v)", cmd.Wait())
	case <-ctx.Done():
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ready
		return errors.Join(ctx.Err(), cmd.Wait())
	}
}

// follow copies progress until the daemon is ready, which it says, or gone.
func follow(from io.Reader, to io.Writer) bool {
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		if lines.Text() == readyLine {
			return true
		}
		_, _ = fmt.Fprintln(to, lines.Text())
	}
	return false
}

// failUp takes down what there is, keeps the log and adds its end to the error.
func failUp(ctx context.Context, dir string, err error) error {
	path := filepath.Join(dir, logFile)
	data, readErr := os.ReadFile(path)
	downErr := Down(context.WithoutCancel(ctx), dir)
	if readErr != nil || ctx.Err() != nil {
		return errors.Join(err, downErr)
	}
	if writeErr := os.MkdirAll(dir, 0o700); writeErr == nil {
		_ = os.WriteFile(path, data, 0o600)
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	tail := strings.Join(lines[max(0, len(lines)-logLines):], "\n")
	return plugins.Hint(errors.Join(err, downErr, errors.New(tail)), "the whole log: %s", path)
}

// madeNames returns the names in a laboratory's folder. Down removes these and nothing else.
func madeNames() []string {
	return slices.Concat([]string{"kubeconfig", "ca", "workload.yaml", "audit", "nodes", "planes", "processes"}, real.Names(), []string{controlDir, logFile, stateFile})
}

// Down ends the laboratory in dir, whatever state it is in, and removes all it made. It does nothing if there is none.
func Down(ctx context.Context, dir string) error {
	state, err := Load(dir)
	if errors.Is(err, ErrNone) {
		return nil
	}
	if err != nil {
		return err
	}
	if state.PID > 1 {
		if err := proc.End(ctx, state.PID, state.PIDStarted, endGrace); err != nil {
			return fmt.Errorf("ending the laboratory: %w", err)
		}
	}
	if err := proc.EndLeft(ctx, filepath.Join(dir, "processes"), time.Second); err != nil {
		return fmt.Errorf("ending what the laboratory left: %w", err)
	}
	if err := real.Remove(ctx, dir); err != nil {
		return err
	}
	if err := unmountBelow(dir); err != nil {
		return err
	}
	// The state goes last: a Down that was interrupted can be repeated.
	for _, name := range madeNames() {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("removing the laboratory: %w", err)
		}
	}
	if state.MadeDir {
		if err := os.Remove(dir); err != nil && !errors.Is(err, syscall.ENOTEMPTY) {
			return fmt.Errorf("removing the laboratory's folder: %w", err)
		}
	}
	return nil
}

// unmountBelow takes away mounts in dir. There are none as long as nodes mount in namespaces of their own; removing files through one
// would remove the host's.
func unmountBelow(dir string) error {
	resolved, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return fmt.Errorf("finding the laboratory's folder: %w", err)
	}
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("reading the mounts: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 5 || !strings.HasPrefix(fields[4], resolved+"/") {
			continue
		}
		if err := syscall.Unmount(fields[4], syscall.MNT_DETACH); err != nil {
			return fmt.Errorf("unmounting %s: %w", fields[4], err)
		}
	}
	return nil
}
