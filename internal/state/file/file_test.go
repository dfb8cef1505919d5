package file_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/internal/state/file"
	"github.com/tkgfix/tkgfix/internal/state/statetest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	statetest.Run(t, func(t *testing.T) (state.Store, func() state.Store) {
		dir := t.TempDir()
		return file.New(dir), func() state.Store { return file.New(dir) }
	})
}

func written(t *testing.T) (*file.Store, string) {
	t.Helper()
	s := file.New(t.TempDir())
	for i := range uint64(3) {
		d := state.Draft{Time: time.Unix(int64(i), 0), Kind: "k", Data: []byte(`{"a":"bc"}`)}
		if _, err := s.Append(t.Context(), "a", i+1, d); err != nil {
			t.Fatal(err)
		}
	}
	return s, s.Path("a")
}

func TestPrivateModes(t *testing.T) {
	t.Parallel()
	s, path := written(t)
	release, err := s.Lock(t.Context(), "a", state.Holder{User: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	root := filepath.Dir(filepath.Dir(path))
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", p, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestEveryFlippedByte flips each bit of each byte of a journal in turn: none goes unnoticed, the entry that holds it is
// named, and what stands before it is still there. No flip is taken for a tail that was merely cut off.
func TestEveryFlippedByte(t *testing.T) {
	t.Parallel()
	s, path := written(t)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var begins []int // of each entry
	for at := 0; at < len(good); at += bytes.IndexByte(good[at:], '\n') + 1 {
		begins = append(begins, at)
	}
	for i := range good {
		entry := 0
		for entry+1 < len(begins) && begins[entry+1] <= i {
			entry++
		}
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			entries, err := s.Read(t.Context(), "a", 1)
			corrupt, ok := errors.AsType[*state.CorruptError](err)
			if !ok {
				t.Fatalf("byte %d (%q became %q): got %v, want a CorruptError", i, good[i], bad[i], err)
			}
			if corrupt.Offset != int64(begins[entry]) || corrupt.Seq != uint64(entry)+1 || len(entries) != entry || corrupt.Torn {
				t.Errorf("byte %d (%q became %q): entry %d at offset %d (torn %t) after %d entries, want entry %d at %d: %v",
					i, good[i], bad[i], corrupt.Seq, corrupt.Offset, corrupt.Torn, len(entries), entry+1, begins[entry], err)
			}
		}
	}
}

// TestCutOffEntry shows what the chain does not notice: whole entries missing from the end. The last entry's sum, kept
// elsewhere, tells.
func TestCutOffEntry(t *testing.T) {
	t.Parallel()
	s, path := written(t)
	before, err := s.Read(t.Context(), "a", 1)
	if err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, good[:bytes.LastIndexByte(good[:len(good)-1], '\n')+1], 0o600); err != nil {
		t.Fatal(err)
	}
	after, err := s.Read(t.Context(), "a", 1)
	if err != nil || len(after) != 2 {
		t.Fatalf("%d entries, %v; want 2 and no error", len(after), err)
	}
	if before[2].Sum == after[1].Sum {
		t.Error("the head of a shorter journal is the same")
	}
}

func TestTornTail(t *testing.T) {
	t.Parallel()
	s, path := written(t)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	last := bytes.LastIndexByte(good[:len(good)-1], '\n') + 1
	for cut := last + 1; cut < len(good); cut++ {
		if err := os.WriteFile(path, good[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		entries, err := s.Read(t.Context(), "a", 1)
		corrupt, ok := errors.AsType[*state.CorruptError](err)
		if !ok || !corrupt.Torn || corrupt.Offset != int64(last) || len(entries) != 2 {
			t.Fatalf("cut at %d: %d entries, %v; want 2 and a torn tail at %d", cut, len(entries), err, last)
		}
		if _, err := file.New(filepath.Dir(filepath.Dir(filepath.Dir(path)))).Append(t.Context(), "a", 3, state.Draft{Kind: "k"}); err == nil {
			t.Fatalf("cut at %d: appended over a torn tail", cut)
		}
	}
}

// TestOneFsyncForManyEntries counts how often an append waits for the disk.
func TestOneFsyncForManyEntries(t *testing.T) {
	t.Parallel()
	s := file.New(t.TempDir())
	synced := 0
	s.OnSync(func(f *os.File) error { synced++; return f.Sync() })
	seq, err := s.Append(t.Context(), "a", 1, state.Draft{Kind: "a"}, state.Draft{Kind: "b"}, state.Draft{Kind: "c"})
	if err != nil || seq != 3 || synced != 1 {
		t.Errorf("appended up to %d with %d fsyncs, %v; want 3 with 1", seq, synced, err)
	}
	entries, err := s.Read(t.Context(), "a", 1)
	if err != nil || len(entries) != 3 {
		t.Errorf("%d entries, %v; want 3", len(entries), err)
	}
}

// TestRunsDoNotWaitForEachOther has the fsync of each of many runs wait until all are in theirs.
func TestRunsDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	s := file.New(t.TempDir())
	const runs = 4
	var all sync.WaitGroup
	all.Add(runs)
	s.OnSync(func(f *os.File) error {
		all.Done()
		all.Wait()
		return f.Sync()
	})
	var g errgroup.Group
	for i := range runs {
		g.Go(func() error {
			_, err := s.Append(t.Context(), fmt.Sprintf("run-%d", i), 1, state.Draft{Kind: "k"})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

// TestFailedFsync takes back what did not become durable, so that the next append finds the journal as it was.
func TestFailedFsync(t *testing.T) {
	t.Parallel()
	s, _ := written(t)
	errDisk := errors.New("disk")
	s.OnSync(func(*os.File) error { return errDisk })
	if _, err := s.Append(t.Context(), "a", 4, state.Draft{Kind: "k"}); !errors.Is(err, errDisk) {
		t.Errorf("got %v, want the disk's error", err)
	}
	s.OnSync((*os.File).Sync)
	entries, err := s.Read(t.Context(), "a", 1)
	if err != nil || len(entries) != 3 {
		t.Errorf("%d entries, %v; want the 3 of before", len(entries), err)
	}
	if _, err := s.Append(t.Context(), "a", 4, state.Draft{Kind: "k"}); err != nil {
		t.Errorf("append after the disk works again: %v", err)
	}
}

// TestStoppedWriterHoldsNobodyForEver has a writer that stopped within a write: others end when they are told to.
func TestStoppedWriterHoldsNobodyForEver(t *testing.T) {
	t.Parallel()
	s, path := written(t)
	stopped, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer stopped.Close()
	if err := unix.Flock(int(stopped.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Read(ctx, "a", 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Read: got %v, want the end of the context", err)
	}
	if _, err := s.Append(ctx, "a", 4, state.Draft{Kind: "k"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Append: got %v, want the end of the context", err)
	}
}

// TestNamelessHolder has a process that took the lock and has not written its name: the message must still make sense.
func TestNamelessHolder(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{"Empty": "", "Half": `{"user":"ann","ho`, "NotAnObject": "[]", "Huge": strings.Repeat("x", 1<<20)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, path := written(t)
			lock := filepath.Join(filepath.Dir(path), "lock")
			if err := os.WriteFile(lock, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(lock, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
				t.Fatal(err)
			}
			_, err = s.Lock(t.Context(), "a", state.Holder{User: "bob"})
			if err == nil || err.Error() != "run a is locked by someone who has not written a name" {
				t.Errorf("got %v, want that someone without a name holds it", err)
			}
			if h, err := s.Break(t.Context(), "a"); err != nil || h != (state.Holder{}) {
				t.Errorf("Break: %v, %v; want no name and no error", h, err)
			}
			release, err := s.Lock(t.Context(), "a", state.Holder{User: "bob"})
			if err != nil {
				t.Fatal(err)
			}
			if err := release(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestDeadBreaker has a breaker that died before it was done: the next one goes on.
func TestDeadBreaker(t *testing.T) {
	t.Parallel()
	s, path := written(t)
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "lock.next"), []byte("left"), 0o600); err != nil {
		t.Fatal(err)
	}
	ann := state.Holder{User: "ann", PID: 1}
	release, err := s.Lock(t.Context(), "a", ann)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if h, err := s.Break(t.Context(), "a"); err != nil || h != ann {
		t.Errorf("Break: %v, %v; want %v", h, err, ann)
	}
}

func TestRemove(t *testing.T) {
	t.Parallel()
	errNo := errors.New("no")
	for name, tc := range map[string]struct {
		reason string
		locked bool
		may    error
		gone   bool
		want   error
	}{
		"Gone":    {"a free run that may go is removed whole", false, nil, true, nil},
		"Refused": {"what is found under the lock decides", false, errNo, false, errNo},
		"Locked":  {"a run that is held stays", true, nil, false, &state.LockedError{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, path := written(t)
			if tc.locked {
				release, err := file.New(filepath.Dir(filepath.Dir(filepath.Dir(path)))).Lock(t.Context(), "a", state.Holder{User: "ann"})
				if err != nil {
					t.Fatal(err)
				}
				defer release()
			}
			err := s.Remove(t.Context(), "a", state.Holder{User: "bob"}, func(entries []state.Entry) error {
				if len(entries) != 3 {
					t.Errorf("asked about %d entries, want 3", len(entries))
				}
				return tc.may
			})
			if _, locked := errors.AsType[*state.LockedError](err); locked != tc.locked || !tc.locked && !errors.Is(err, tc.want) {
				t.Errorf("%s: got %v, want %v", tc.reason, err, tc.want)
			}
			if _, err := os.Stat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) != tc.gone {
				t.Errorf("%s: the folder: %v, want it gone: %t", tc.reason, err, tc.gone)
			}
			if tc.locked {
				return
			}
			release, err := s.Lock(t.Context(), "a", state.Holder{User: "bob"})
			if errors.Is(err, state.ErrNotFound) != tc.gone {
				t.Errorf("%s: lock afterwards: %v, want not found: %t", tc.reason, err, tc.gone)
			}
			if err == nil {
				_ = release()
			}
			if left, err := os.ReadDir(filepath.Dir(filepath.Dir(path))); err != nil || len(left) != map[bool]int{false: 1}[tc.gone] {
				t.Errorf("%s: left in the folder: %v, %v", tc.reason, left, err)
			}
		})
	}
	if err := file.New(t.TempDir()).Remove(t.Context(), "none", state.Holder{}, nil); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("Remove of what is not there: got %v, want ErrNotFound", err)
	}
}
