package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/tkgfix/tkgfix/internal/state"
)

// removedPrefix begins the names of folders on their way out. No run id begins so.
const removedPrefix = ".removed-"

// Remove takes a run away for good. It locks the run for holder, asks may about its entries, and removes nothing if may
// returns an error, which it then returns. It returns a LockedError if the run is held and ErrNotFound if there is none. It
// is no part of state.Store: an engine never removes.
func (s *Store) Remove(ctx context.Context, run string, holder state.Holder, may func([]state.Entry) error) error {
	if err := s.sweep(); err != nil {
		return err
	}
	release, err := s.Lock(ctx, run, holder)
	if err != nil {
		return err
	}
	entries, err := s.Read(ctx, run, 1)
	if err == nil {
		err = may(entries)
	}
	if err != nil {
		return errors.Join(err, release())
	}
	// One step: a removal that is killed leaves the whole run or a folder that no longer is one.
	out := filepath.Join(s.dir, removedPrefix+run)
	if err := os.Rename(filepath.Join(s.dir, run), out); err != nil {
		return errors.Join(fmt.Errorf("remove run %s: %w", run, err), release())
	}
	s.forget(run)
	if err := errors.Join(syncDir(s.dir), os.RemoveAll(out)); err != nil {
		return fmt.Errorf("remove run %s: %w", run, err)
	}
	if err := release(); err != nil && !errors.Is(err, state.ErrNotLocked) {
		return err
	}
	return nil
}

func (s *Store) forget(run string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.runs, run)
}

// sweep ends removals that were killed.
func (s *Store) sweep() error {
	dirs, err := os.ReadDir(s.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list runs: %w", err)
	}
	for _, d := range dirs {
		if strings.HasPrefix(d.Name(), removedPrefix) {
			if err := os.RemoveAll(filepath.Join(s.dir, d.Name())); err != nil {
				return fmt.Errorf("remove what is left of a run: %w", err)
			}
		}
	}
	return nil
}
