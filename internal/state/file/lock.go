package file

import (
	"context"
	"encoding/json"
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

// The lock of a run is a flock on the file at RUN/lock, which the kernel releases when its process ends, however it ends.
// Nobody can release another's flock, so breaking a lock puts another file in the place of the locked one. The rules, and
// why no two holders of the present lock can come of them:
//
//   - A flock counts only on the file that lies at the path *after* the flock was taken; who finds another there lets go and
//     begins again. So who is told that it holds the lock held the flock of the file that was present at that moment, and a
//     flock is exclusive: each file at the path has one holder at most.
//   - The file at the path is exchanged only by Break, by renaming lock.next over it, and taken away only by Remove, by the
//     lock's holder. After that nobody can become holder of the old file, by the rule before.
//   - Of several breakers one acts at a time: it holds the flock of lock.break, which stays. Without that, one who looked at
//     the first holder could take the lock from a second one, who came after another breaker. A breaker that dies leaves
//     lock.next behind, for the next one to use.
//   - The holder's name is written through the open file, never by path. So the release of a broken holder, which clears the
//     name and lets go, touches only the file that is not at the path any more.
//
// A holder that lost its lock is not told. It is fenced: who breaks the lock appends first, and from then on every append
// of the old holder names a number that is taken.
const (
	lockName  = "lock"
	nextName  = "lock.next"
	guardName = "lock.break"
	// maxHolder bounds what is read of a holder's name, in bytes.
	maxHolder = 4096
	// lockTries and lockPause bound the time in which a lock may be held by nobody in particular: by one who has not yet
	// written its name, or by a breaker who looks whether it is held.
	lockTries = 10
	lockPause = 5 * time.Millisecond
	// breakPatience bounds the wait for another breaker.
	breakPatience = 10 * time.Second
)

// errHeld says that another holds a flock.
var errHeld = errors.New("held by another")

// Lock implements state.Store.
func (s *Store) Lock(ctx context.Context, run string, holder state.Holder) (func() error, error) {
	if err := state.CheckRun(run); err != nil {
		return nil, err
	}
	name, err := json.Marshal(holder)
	if err != nil {
		return nil, fmt.Errorf("write who holds run %s: %w", run, err)
	}
	path := filepath.Join(s.dir, run, lockName)
	var held state.Holder
	for try := range lockTries {
		if try > 0 {
			if err := pause(ctx, lockPause); err != nil {
				return nil, err
			}
		}
		if _, err := os.Stat(s.Path(run)); err != nil {
			return nil, fmt.Errorf("lock run %q: %w", run, notFound(err))
		}
		f, err := takeAt(path)
		if errors.Is(err, errHeld) {
			held = readHolder(path)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("lock run %s: %w", run, err)
		}
		if err := rewrite(f, name); err != nil {
			return nil, errors.Join(fmt.Errorf("write who holds run %s: %w", run, err), f.Close())
		}
		return sync.OnceValue(func() error { return letGo(f, run) }), nil
	}
	return nil, &state.LockedError{Run: run, Holder: held}
}

// letGo releases a lock, and says if it was not held any more.
func letGo(f *os.File, run string) error {
	there, err := isAt(f, f.Name())
	if err == nil {
		// Nobody is to be named as the holder of a lock that is taken but not signed yet.
		err = f.Truncate(0)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("release run %s: %w", run, err)
	}
	if !there {
		return fmt.Errorf("release run %s: %w", run, state.ErrNotLocked)
	}
	return nil
}

// Break implements state.Store.
func (s *Store) Break(ctx context.Context, run string) (state.Holder, error) {
	if err := state.CheckRun(run); err != nil {
		return state.Holder{}, fmt.Errorf("%w: %w", state.ErrNotLocked, err)
	}
	h, err := s.replace(ctx, filepath.Join(s.dir, run))
	if err != nil {
		return state.Holder{}, fmt.Errorf("break the lock of run %s: %w", run, err)
	}
	return h, nil
}

// replace puts a free file in the place of a held lock.
func (s *Store) replace(ctx context.Context, dir string) (state.Holder, error) {
	path, next := filepath.Join(dir, lockName), filepath.Join(dir, nextName)
	if _, err := os.Stat(path); err != nil {
		return state.Holder{}, notLocked(err)
	}
	guard, err := guardAt(ctx, filepath.Join(dir, guardName))
	if err != nil {
		return state.Holder{}, err
	}
	defer guard.Close()
	old, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return state.Holder{}, notLocked(err)
	}
	defer old.Close()
	switch free, err := tryFlock(old); {
	case err != nil:
		return state.Holder{}, err
	case free:
		return state.Holder{}, state.ErrNotLocked
	}
	before := decodeHolder(old)
	if err := os.WriteFile(next, nil, 0o600); err != nil {
		return state.Holder{}, err
	}
	if err := os.Rename(next, path); err != nil {
		return state.Holder{}, err
	}
	return brokenHolder(ctx, old, before), nil
}

// brokenHolder returns who holds the flock of a file that is not the lock any more, and whose name was before just before.
// Nobody new can become its holder, so a name that is missing is waited for a moment only.
func brokenHolder(ctx context.Context, old *os.File, before state.Holder) state.Holder {
	for range lockTries {
		if h := decodeHolder(old); h != (state.Holder{}) {
			return h
		}
		if free, err := tryFlock(old); err != nil || free {
			return before // it let go meanwhile, and was told that it had lost the lock
		}
		if pause(ctx, lockPause) != nil {
			return before
		}
	}
	return before
}

// takeAt takes the flock of the file at path, which is made if there is none. It returns errHeld if another has it.
func takeAt(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, notFound(err)
		}
		got, err := tryFlock(f)
		if err == nil && !got {
			err = errHeld
		}
		there := false
		if err == nil {
			there, err = isAt(f, path)
		}
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if there {
			return f, nil
		}
		// Another file came to the path between the opening and the flock.
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
}

// guardAt is takeAt for breakers, who wait for each other.
func guardAt(ctx context.Context, path string) (*os.File, error) {
	for range breakPatience / lockPause {
		f, err := takeAt(path)
		if !errors.Is(err, errHeld) {
			return f, err
		}
		if err := pause(ctx, lockPause); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("another tkgfix has been breaking it for %s", breakPatience)
}

// tryFlock takes the exclusive flock of f if it is free.
func tryFlock(f *os.File) (bool, error) {
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("flock %s: %w", f.Name(), err)
	}
	return true, nil
}

// isAt says whether f is the file that lies at path now.
func isAt(f *os.File, path string) (bool, error) {
	mine, err := f.Stat()
	if err != nil {
		return false, err
	}
	there, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return os.SameFile(mine, there), nil
}

// rewrite replaces what is in a lock file.
func rewrite(f *os.File, text []byte) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt(text, 0)
	return err
}

// readHolder returns who holds the lock at path; the zero Holder if that is just being written.
func readHolder(path string) state.Holder {
	f, err := os.Open(path)
	if err != nil {
		return state.Holder{}
	}
	defer f.Close()
	return decodeHolder(f)
}

func decodeHolder(f *os.File) state.Holder {
	var h state.Holder
	if json.NewDecoder(io.NewSectionReader(f, 0, maxHolder)).Decode(&h) != nil {
		return state.Holder{}
	}
	return h
}

// notFound and notLocked say what a missing file means.
func notFound(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return state.ErrNotFound
	}
	return err
}

func notLocked(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return state.ErrNotLocked
	}
	return err
}

// pause waits, or returns early with the reason when ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
