package plugindir

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/tkgfix/tkgfix/internal/pluginhost"
	"github.com/tkgfix/tkgfix/plugins"
)

// State says how a plugin stands against the lock file.
type State string

// The states.
const (
	// Locked is a plugin whose executable is the one that is locked.
	Locked State = "locked"
	// Unlocked is one that the lock file does not have, or not for this platform.
	Unlocked State = "unlocked"
	// Mismatch is one whose executable is another than the one that is locked.
	Mismatch State = "mismatch"
	// Refused is one that must not be used, whatever the lock file says.
	Refused State = "refused"
	// Missing is one that is locked for this platform and was not found.
	Missing State = "missing"
)

// Status is one plugin held against the lock file.
type Status struct {
	Name  string
	State State
	// Path is where it is, empty if it is missing.
	Path string
	// Version is the locked one, empty if there is none.
	Version string
	// Want and Found are the digests of the lock file and of the executable, in hex; empty for what there is none of.
	Want, Found string
	// Err says what is wrong, with the next command. It is nil if State is Locked.
	Err error
}

// Shelf is what this machine has of third parties' plugins, as the lock file allows. Its methods may be called from several goroutines
// at once.
type Shelf struct {
	lockFile string
	folders  []string
	lock     *Lock
	found    []Found
	describe func(ctx context.Context, name, path, sha256 string) (plugins.Description, error)

	mu    sync.Mutex
	asked map[string]answer
}

// answer is what came of asking a plugin what it is.
type answer struct {
	plugin Plugin
	err    error
}

// Plugin is a plugin that may be started.
type Plugin struct {
	Description plugins.Description
	// Path is its executable's.
	Path string
	// SHA256 is its executable's digest, in hex, as it is locked.
	SHA256 string
}

// Open reads the lock file and looks through the folders. It starts nothing. reserved are the names of the steps that tkgfix ships.
func Open(folders []string, lockFile string, reserved []string) (*Shelf, error) {
	lockFile, err := filepath.Abs(lockFile)
	if err != nil {
		return nil, err
	}
	lock, err := ReadLock(lockFile)
	if err != nil {
		return nil, err
	}
	found, err := Find(folders, reserved)
	if err != nil {
		return nil, err
	}
	return &Shelf{
		lockFile: lockFile, folders: folders, lock: lock, found: found, describe: Describe, asked: map[string]answer{},
	}, nil
}

// Lock returns the lock file's content. What is set in it counts at the next Open.
func (s *Shelf) Lock() *Lock { return s.lock }

// LockFile returns the lock file's absolute path.
func (s *Shelf) LockFile() string { return s.lockFile }

// Folders returns where plugins were looked for.
func (s *Shelf) Folders() []string { return s.folders }

// Found returns the plugins that were found, in the order of their names.
func (s *Shelf) Found() []Found { return s.found }

// Has tells whether there is a plugin of that name, be it found or only locked.
func (s *Shelf) Has(name string) bool {
	_, locked := s.lock.Entry(name)
	return locked || slices.ContainsFunc(s.found, func(f Found) bool { return f.Name == name })
}

// Status holds every plugin, found or locked, against the lock file, in the order of their names. It reads the executables, and starts none.
func (s *Shelf) Status() []Status {
	var out []Status
	for _, f := range s.found {
		out = append(out, s.judge(f))
	}
	for _, e := range s.lock.Entries {
		if _, here := e.SHA256[Platform()]; here && !slices.ContainsFunc(s.found, func(f Found) bool { return f.Name == e.Name }) {
			out = append(out, s.missing(e))
		}
	}
	slices.SortFunc(out, func(a, b Status) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Plugin returns the plugin of that name if its executable is the one that is locked. The first call for a name starts it once, to ask it
// what it is; the answer, a refusal too, holds for as long as the Shelf.
func (s *Shelf) Plugin(ctx context.Context, name string) (Plugin, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.asked[name]
	if !ok {
		a.plugin, a.err = s.ask(ctx, name)
		if ctx.Err() == nil {
			s.asked[name] = a
		}
	}
	return a.plugin, a.err
}

func (s *Shelf) ask(ctx context.Context, name string) (Plugin, error) {
	status := s.one(name)
	if status.Err != nil {
		return Plugin{}, status.Err
	}
	d, err := s.describe(ctx, name, status.Path, status.Want)
	if err != nil {
		return Plugin{}, err
	}
	if d.Version != status.Version {
		return Plugin{}, plugins.Hint(fmt.Errorf("plugin %s says that it is version %s, and %s says %s", name, d.Version, s.lockFile, status.Version),
			"tkgfix plugins lock %s", name)
	}
	return Plugin{Description: d, Path: status.Path, SHA256: status.Want}, nil
}

func (s *Shelf) one(name string) Status {
	if i := slices.IndexFunc(s.found, func(f Found) bool { return f.Name == name }); i >= 0 {
		return s.judge(s.found[i])
	}
	if e, ok := s.lock.Entry(name); ok {
		return s.missing(e)
	}
	return Status{Name: name, State: Missing, Err: plugins.Hint(fmt.Errorf("there is no plugin %s in %s", name, strings.Join(s.folders, ", ")), "tkgfix plugins list")}
}

func (s *Shelf) missing(e Entry) Status {
	return Status{
		Name: e.Name, State: Missing, Version: e.Version, Want: e.SHA256[Platform()],
		Err: plugins.Hint(fmt.Errorf("plugin %s %s is locked, and not found in %s", e.Name, e.Version, strings.Join(s.folders, ", ")),
			"put %s%s into one of these folders, or name its folder: export TKGFIX_PLUGIN_PATH=DIR", Prefix, e.Name),
	}
}

// judge holds one executable against the lock file.
func (s *Shelf) judge(f Found) Status {
	out := Status{Name: f.Name, Path: f.Path}
	e, locked := s.lock.Entry(f.Name)
	out.Version, out.Want = e.Version, e.SHA256[Platform()]
	if f.Err != nil {
		out.State, out.Err = Refused, f.Err
		return out
	}
	found, err := pluginhost.Digest(f.Path)
	if err != nil {
		out.State, out.Err = Refused, fmt.Errorf("plugin %s: read %s: %w", f.Name, f.Path, err)
		return out
	}
	out.Found = found
	switch out.Want {
	case found:
		out.State = Locked
	case "":
		out.State = Unlocked
		what := "it"
		if locked {
			what = "its file for " + Platform()
		}
		out.Err = plugins.Hint(fmt.Errorf("plugin %s: %s is not locked: %s does not have %s (found sha256 %s)", f.Name, f.Path, s.lockFile, what, found),
			"if you trust it, which starts it: tkgfix plugins lock %s", f.Name)
	default:
		out.State = Mismatch
		out.Err = plugins.Hint(&pluginhost.MismatchError{Name: f.Name, Path: f.Path, Want: out.Want, Found: found},
			"if it was replaced on purpose, and you trust it: tkgfix plugins lock %s", f.Name)
	}
	return out
}
