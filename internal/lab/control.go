package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/tkgfix/tkgfix/plugins"
)

const (
	// controlDir is a folder that only the owner may enter, since a socket is there before it has its mode.
	controlDir    = "control"
	controlSocket = "socket"
	// maxRequest bounds a request, and askTimeout how long it may take to come.
	maxRequest = 1 << 10
	askTimeout = 5 * time.Second
	maxAnswer  = 1 << 20
)

// request asks a daemon for another scenario.
type request struct {
	Plant string `json:"plant"`
}

// answer is one line of a daemon's answer. The last one says that it is done, or what went wrong.
type answer struct {
	Progress string `json:"progress,omitempty"`
	Done     bool   `json:"done,omitempty"`
	Error    string `json:"error,omitempty"`
}

// socketIn returns a path to the control socket which is short however long dir is: a socket's path has 107 bytes at most
// (unix(7)). It holds until close.
func socketIn(dir string) (path string, closeDir func() error, err error) {
	folder, err := os.Open(filepath.Join(dir, controlDir))
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), controlSocket), folder.Close, nil
}

// listen opens the control socket.
func (d *daemon) listen(ctx context.Context) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Join(d.opts.Dir, controlDir), 0o700); err != nil {
		return nil, fmt.Errorf("opening the control socket: %w", err)
	}
	path, closeDir, err := socketIn(d.opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("opening the control socket: %w", err)
	}
	defer func() { _ = closeDir() }()
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("opening the control socket: %w", err)
	}
	if unix, ok := listener.(*net.UnixListener); ok {
		unix.SetUnlinkOnClose(false) // its path is gone by then; Down removes the folder
	}
	if err := os.Chmod(filepath.Join(d.opts.Dir, controlDir, controlSocket), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the control socket: %w", err), listener.Close())
	}
	return listener, nil
}

// serveControl answers requests, one after the other, until ctx ends.
func (d *daemon) serveControl(ctx context.Context, listener net.Listener) error {
	defer context.AfterFunc(ctx, func() { _ = listener.Close() })()
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("waiting for requests: %w", err)
		}
		d.answer(ctx, conn)
	}
}

// answer serves one request. If who asked goes away the planting ends where it is; another one begins from there.
func (d *daemon) answer(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	out := json.NewEncoder(conn)
	to, err := d.readRequest(conn)
	if err != nil {
		_ = out.Encode(answer{Error: err.Error()}) // who asked may be gone
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, conn)
		cancel()
	}()
	d.tell(func(line string) { _ = out.Encode(answer{Progress: line}) })
	err = d.plant(ctx, to)
	d.tell(nil)
	if err != nil {
		d.opts.Log.Warn("planting", "scenario", to.Name, "error", err)
		_ = out.Encode(answer{Error: err.Error()})
		return
	}
	_ = out.Encode(answer{Done: true})
}

func (d *daemon) readRequest(conn net.Conn) (Scenario, error) {
	if err := conn.SetReadDeadline(time.Now().Add(askTimeout)); err != nil {
		return Scenario{}, err
	}
	line, err := bufio.NewReader(io.LimitReader(conn, maxRequest)).ReadBytes('\n')
	if err != nil {
		return Scenario{}, fmt.Errorf("reading a request: %w", err)
	}
	var asked request
	if err := json.Unmarshal(line, &asked); err != nil {
		return Scenario{}, fmt.Errorf("reading a request: %w", err)
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return Scenario{}, err
	}
	return findScenarioOn(asked.Plant, d.opts.Nodes, d.opts.Generation)
}

// Plant lets the running laboratory in dir go to another scenario and returns when that shows. dev1's nodes are made anew, and so is
// the workload; dev2 stays as it is. progress gets a line for each thing that is done. If ctx ends the laboratory is left where it is
// then, its phase is Planting, and another scenario can be planted.
func Plant(ctx context.Context, dir, scenario string, progress io.Writer) error {
	if _, err := findScenario(scenario); err != nil {
		return err
	}
	state, err := Status(dir)
	if err != nil {
		return plugins.Hint(fmt.Errorf("%s: %w", dir, err), "tkgfix-lab up --dir %s --scenario %s", dir, scenario)
	}
	if state.Phase != Ready && state.Phase != Planting {
		return plugins.Hint(fmt.Errorf("the laboratory in %s is %s", dir, state.Phase), "tkgfix-lab status --dir %s", dir)
	}
	conn, err := dialControl(ctx, dir)
	if err != nil {
		return fmt.Errorf("asking the laboratory (process %d) for %s: %w", state.PID, scenario, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if err := json.NewEncoder(conn).Encode(request{Plant: scenario}); err != nil {
		return fmt.Errorf("asking the laboratory for %s: %w", scenario, err)
	}
	if err := followPlant(conn, progress); err != nil {
		return plugins.Hint(errors.Join(err, ctx.Err()), "what the laboratory did: %s", filepath.Join(dir, logFile))
	}
	return nil
}

func dialControl(ctx context.Context, dir string) (net.Conn, error) {
	path, closeDir, err := socketIn(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = closeDir() }()
	return new(net.Dialer).DialContext(ctx, "unix", path)
}

// followPlant passes on progress until the last line.
func followPlant(conn io.Reader, progress io.Writer) error {
	lines := json.NewDecoder(io.LimitReader(conn, maxAnswer))
	for {
		var a answer
		if err := lines.Decode(&a); err != nil {
			return fmt.Errorf("the laboratory broke off: %w", err)
		}
		switch {
		case a.Error != "":
			return errors.New(a.Error)
		case a.Done:
			return nil
		}
		_, _ = fmt.Fprintln(progress, a.Progress)
	}
}
