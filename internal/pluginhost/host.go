package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sort"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tkgfix/tkgfix/internal/wire/host2plugin"
	"github.com/tkgfix/tkgfix/plugins"
)

// ErrClosed is the error of a step whose host has been closed.
var ErrClosed = errors.New("plugin host is closed")

// Options say how plugins are started. Only Executable and Args are required, and not even they if Foreign has every plugin.
type Options struct {
	// Executable is the absolute path of the program that serves the steps.
	Executable string
	// Args returns the program's arguments, without its name, that make it serve the step of that name.
	Args func(name string) []string
	// Foreign returns the program of a third party that serves the step of that name, nil if Executable does. It is started
	// without arguments, from a private copy whose digest was checked, and in a private working folder.
	Foreign func(name string) (*Program, error)
	// Agent reports whether the step of that name, if Executable serves it, may use the SSH agent at SSH_AUTH_SOCK. Nil lets none. A third
	// party's plugin never may: who has the agent has all of the user's keys.
	Agent func(name string) bool
	// Environ is the environment, as os.Environ gives it, of which a plugin gets the harmless part. Nil is that of this process.
	Environ []string
	// Dir is the working folder of the plugins that Executable serves. Empty is that of this process.
	Dir string
	// TempDir is where the host makes a private folder, for sockets and the like, when it first starts a plugin; Close removes
	// it, and the next host removes that of one that was killed. Empty is the system's. Its path must be short, as paths of sockets
	// are: 43 bytes at most.
	TempDir string
	// Stderr gets what the plugins print, line by line, each after the plugin's name; writes may come from several goroutines
	// at once. Nil drops it.
	Stderr io.Writer
	// Logger gets starts, crashes and kills at level Debug. Nil drops them.
	Logger *slog.Logger
	// OnStart is called with each process after it was started and before its first call. An error of it ends the process.
	OnStart func(Process) error
	// StartTimeout bounds the start of a process. Zero is 30 s.
	StartTimeout time.Duration
	// Grace is how long a cancelled call may take to answer before the process is killed. Zero is 10 s.
	Grace time.Duration
}

// Host owns the processes of the plugins. Its methods may be called from several goroutines at once.
type Host struct {
	options Options
	starter *starter
	// starting is held by each start while it uses the starter, and by Close for good.
	starting sync.RWMutex

	// life ends when the host is closed, and with it the starts that are under way.
	life context.Context
	end  context.CancelFunc

	mu     sync.Mutex
	closed bool
	slots  map[string]*slot
	room   *room
}

// New returns a host that has started nothing yet. It must be closed.
func New(options Options) *Host {
	if options.Environ == nil {
		options.Environ = os.Environ()
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	if options.StartTimeout <= 0 {
		options.StartTimeout = 30 * time.Second
	}
	if options.Grace <= 0 {
		options.Grace = host2plugin.DefaultGrace
	}
	life, end := context.WithCancel(context.Background())
	return &Host{options: options, starter: newStarter(), life: life, end: end, slots: map[string]*slot{}}
}

// Step returns the step of that name. The first call for a name starts the plugin's process and blocks until the step has described
// itself; after that the process is used again, and started again by the next call of the step if it has crashed.
func (h *Host) Step(ctx context.Context, name string) (plugins.Step, error) {
	s, err := h.slot(name)
	if err != nil {
		return nil, err
	}
	if _, err := s.get(ctx); err != nil {
		return nil, err
	}
	return &step{slot: s, description: s.described()}, nil
}

// Processes returns the processes that run now, in the order of their names.
func (h *Host) Processes() []Process {
	var out []Process
	for _, s := range h.allSlots() {
		if i := s.running(); i != nil {
			out = append(out, i.identity)
		}
	}
	sort.Slice(out, func(a, b int) bool { return out[a].Name < out[b].Name })
	return out
}

// Close asks every plugin to end, kills those that do not within a moment or when ctx ends, and returns when all are gone. Calls
// that are under way fail. Closing twice is fine.
func (h *Host) Close(ctx context.Context) error {
	h.mu.Lock()
	first := !h.closed
	h.closed = true
	h.mu.Unlock()
	h.end()
	h.starting.Lock() // a start that is under way ends first, and no other begins
	defer h.starting.Unlock()
	var group errgroup.Group
	for _, s := range h.allSlots() {
		if i := s.last(); i != nil {
			group.Go(func() error { i.stop(ctx); return nil })
		}
	}
	err := group.Wait()
	if first {
		h.starter.stop()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if rerr := h.room.remove(); err == nil && rerr != nil {
		err = fmt.Errorf("remove the plugins' folder: %w", rerr)
	}
	return err
}

// folder returns the host's private folder, making it the first time.
func (h *Host) folder() (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.room == nil {
		if err := keepDescriptors(); err != nil {
			return "", fmt.Errorf("keep this process's open files from plugins: %w", err)
		}
		r, err := newRoom(h.options.TempDir, time.Now())
		if err != nil {
			return "", plugins.Hint(fmt.Errorf("make a private folder for plugins: %w", err), "name a folder that can be written to: export TMPDIR=DIR")
		}
		h.room = r
	}
	return h.room.path, nil
}

func (h *Host) slot(name string) (*slot, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, fmt.Errorf("plugin %s: %w", name, ErrClosed)
	}
	s, ok := h.slots[name]
	if !ok {
		s = &slot{host: h, name: name, turn: make(chan struct{}, 1)}
		h.slots[name] = s
	}
	return s, nil
}

func (h *Host) allSlots() []*slot {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]*slot, 0, len(h.slots))
	for _, s := range h.slots {
		out = append(out, s)
	}
	return out
}

func (h *Host) isClosed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.closed
}
