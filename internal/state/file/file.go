// Package file keeps journals in a folder: one folder a run, holding journal.jsonl and lock.
//
// An append is one write and one fsync under an exclusive flock of the journal file, however many entries it has; appends to
// different runs do not wait for each other. Creating a run also syncs the folders. Folders have mode 0700 and files 0600, because a journal names internal hosts and people.
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
	"time"

	"golang.org/x/sys/unix"

	"github.com/tkgfix/tkgfix/internal/state"
)

const (
	journalName = "journal.jsonl"
	// maxJournal bounds what is read of a journal, in bytes.
	maxJournal = 1 << 30
)

// Store is a state.Store in a folder. The folder must lie on a file system whose flock works between all who use it.
type Store struct {
	dir string
	// sync makes a written journal durable.
	sync func(*os.File) error

	mu sync.Mutex
	// runs holds what this process knows of the journals that it wrote.
	runs map[string]*journal
}

// journal remembers where a journal ends, so that an append need not read it all again.
type journal struct {
	mu  sync.Mutex
	end state.Chain
}

var _ state.Store = (*Store)(nil)

// New returns the store in dir/runs. The folders are made when the first run is.
func New(dir string) *Store {
	return &Store{dir: filepath.Join(dir, "runs"), sync: (*os.File).Sync, runs: map[string]*journal{}}
}

func (s *Store) journal(run string) *journal {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.runs[run] == nil {
		s.runs[run] = &journal{}
	}
	return s.runs[run]
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
	j := s.journal(run)
	j.mu.Lock()
	defer j.mu.Unlock()
	f, err := s.open(run, at == 1)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	// Held from looking at the end to the end of the write: two writers cannot both find themselves at the end.
	if err := waitFlock(ctx, f, unix.LOCK_EX); err != nil {
		return 0, err
	}
	if j.end, err = end(j.end, f); err != nil {
		return 0, err
	}
	if at != j.end.Seq+1 {
		return 0, fmt.Errorf("append entry %d to run %s, which ends at %d: %w", at, run, j.end.Seq, state.ErrConflict)
	}
	lines, next, err := j.end.Extend(drafts)
	if err != nil {
		return 0, err
	}
	if next.Size > maxJournal {
		return 0, fmt.Errorf("append to journal %s: it would grow over %d bytes", f.Name(), maxJournal)
	}
	if err := s.write(f, lines, j.end.Size); err != nil {
		return 0, fmt.Errorf("append to journal %s: %w", f.Name(), err)
	}
	j.end = next
	return next.Seq, nil
}

// write appends durably, or leaves the file as it was.
func (s *Store) write(f *os.File, lines []byte, at int64) error {
	_, err := f.WriteAt(lines, at)
	if err == nil {
		err = s.sync(f)
	}
	if err == nil {
		return nil
	}
	if cut := f.Truncate(at); cut != nil {
		return errors.Join(err, fmt.Errorf("take back the partial entry: %w", cut))
	}
	return err
}

// flockPatience bounds the wait for the flock of a journal, which is held for the time of one write.
const flockPatience = 30 * time.Second

// waitFlock takes the flock of a journal. It returns early when ctx ends, and gives up when who holds it does not go on: a
// process that was stopped within a write cannot be fenced, only ended.
func waitFlock(ctx context.Context, f *os.File, how int) error {
	for wait, waited := time.Millisecond, time.Duration(0); ; wait = min(2*wait, lockPause) {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, unix.EWOULDBLOCK):
			return fmt.Errorf("lock journal %s: %w", f.Name(), err)
		case waited > flockPatience:
			return fmt.Errorf("lock journal %s: a process has been writing it for %s and does not go on: find it with fuser and end it", f.Name(), flockPatience)
		}
		if err := pause(ctx, wait); err != nil {
			return fmt.Errorf("wait for the lock of journal %s: %w", f.Name(), err)
		}
		waited += wait
	}
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

// end returns where the open journal ends, reading only what is behind known.
func end(known state.Chain, f *os.File) (state.Chain, error) {
	info, err := f.Stat()
	if err != nil {
		return known, fmt.Errorf("look at journal: %w", err)
	}
	if info.Size() == known.Size {
		return known, nil
	}
	if info.Size() < known.Size {
		known = state.Chain{}
	}
	data, err := readFrom(f, known.Size)
	if err != nil {
		return known, err
	}
	_, end, err := state.Decode(f.Name(), known, data)
	return end, err
}

// readFrom reads a journal from an offset to its end.
func readFrom(f *os.File, at int64) ([]byte, error) {
	data, err := io.ReadAll(io.NewSectionReader(f, at, maxJournal+1-at))
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	if at+int64(len(data)) > maxJournal {
		return nil, fmt.Errorf("read journal %s: larger than %d bytes", f.Name(), maxJournal)
	}
	return data, nil
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
	if err := waitFlock(ctx, f, unix.LOCK_SH); err != nil {
		return nil, err
	}
	data, err := readFrom(f, 0)
	if err != nil {
		return nil, err
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
