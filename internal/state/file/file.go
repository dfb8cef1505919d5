// Package file keeps journals in a folder: one folder a run, holding journal.jsonl and lock.
//
// An append is one write under an exclusive lock of the journal file, followed by fsync; creating a run also syncs the
// folders. Folders have mode 0700 and files 0600, because a journal names internal hosts and people.
package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/tkgfix/tkgfix/internal/state"
)

const (
	journalName = "journal.jsonl"
	// maxJournal bounds what is read of a journal, in bytes.
	maxJournal = 1 << 30
)

// Store is a state.Store in a folder.
type Store struct {
	dir string

	mu sync.Mutex
	// ends remembers where each journal that this process wrote ends, so that an append need not read it all again.
	ends map[string]state.Chain
}

var _ state.Store = (*Store)(nil)

// New returns the store in dir/runs. The folders are made when the first run is.
func New(dir string) *Store {
	return &Store{dir: filepath.Join(dir, "runs"), ends: map[string]state.Chain{}}
}

// Path returns where a run's journal lies.
func (s *Store) Path(run string) string { return filepath.Join(s.dir, run, journalName) }

// Append implements state.Store.
func (s *Store) Append(ctx context.Context, run string, at uint64, drafts ...state.Draft) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := state.CheckRun(run); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := s.open(run, at == 1)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	// Held from looking at the end to the end of the write: two writers cannot both find themselves at the end.
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return 0, fmt.Errorf("lock journal %s: %w", f.Name(), err)
	}
	end, err := s.end(run, f)
	if err != nil {
		return 0, err
	}
	if at != end.Seq+1 {
		return 0, fmt.Errorf("append entry %d to run %s, which ends at %d: %w", at, run, end.Seq, state.ErrConflict)
	}
	lines, next, err := end.Extend(drafts)
	if err != nil {
		return 0, err
	}
	if err := write(f, lines, end.Size); err != nil {
		return 0, fmt.Errorf("append to journal %s: %w", f.Name(), err)
	}
	s.ends[run] = next
	return next.Seq, nil
}

// write appends durably, or leaves the file as it was.
func write(f *os.File, lines []byte, at int64) error {
	_, err := f.WriteAt(lines, at)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		return nil
	}
	if cut := f.Truncate(at); cut != nil {
		return errors.Join(err, fmt.Errorf("take back the partial entry: %w", cut))
	}
	return err
}

func (s *Store) open(run string, create bool) (*os.File, error) {
	path := s.Path(run)
	if !create {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("run %q: %w", run, state.ErrNotFound)
		}
		if err != nil {
			return nil, fmt.Errorf("open journal: %w", err)
		}
		return f, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the run's folder: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create journal: %w", err)
	}
	// A new name is durable only when each folder on the way to it is.
	for _, dir := range []string{filepath.Dir(path), s.dir, filepath.Dir(s.dir)} {
		if err := syncDir(dir); err != nil {
			f.Close()
			return nil, err
		}
	}
	return f, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open folder to sync: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync folder %s: %w", dir, err)
	}
	return nil
}

// end returns where the open journal ends, reading only what this process has not seen.
func (s *Store) end(run string, f *os.File) (state.Chain, error) {
	known := s.ends[run]
	info, err := f.Stat()
	if err != nil {
		return known, fmt.Errorf("look at journal: %w", err)
	}
	if info.Size() == known.Size {
		return known, nil
	}
	if info.Size() < known.Size || info.Size() > maxJournal {
		known = state.Chain{}
	}
	data, err := io.ReadAll(io.NewSectionReader(f, known.Size, maxJournal))
	if err != nil {
		return known, fmt.Errorf("read journal: %w", err)
	}
	_, end, err := state.Decode(f.Name(), known, data)
	return end, err
}

// Read implements state.Store.
func (s *Store) Read(ctx context.Context, run string, from uint64) ([]state.Entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := state.CheckRun(run); err != nil {
		return nil, fmt.Errorf("%w: %w", state.ErrNotFound, err)
	}
	f, err := os.Open(s.Path(run))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("run %q: %w", run, state.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	defer f.Close()
	// Shared with other readers and never during a write, so that a half-written entry is not taken for a torn one.
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH); err != nil {
		return nil, fmt.Errorf("lock journal for reading: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxJournal+1))
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	if len(data) > maxJournal {
		return nil, fmt.Errorf("read journal %s: larger than %d bytes", f.Name(), maxJournal)
	}
	entries, _, err := state.Decode(f.Name(), state.Chain{}, data)
	return entries[min(uint64(len(entries)), max(from, 1)-1):], err
}

// List implements state.Store.
func (s *Store) List(context.Context) ([]string, error) {
	dirs, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	var runs []string
	for _, d := range dirs {
		if _, err := os.Stat(s.Path(d.Name())); err == nil && d.IsDir() && state.CheckRun(d.Name()) == nil {
			runs = append(runs, d.Name())
		}
	}
	return runs, nil
}
