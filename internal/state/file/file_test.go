package file_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

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

// TestEveryFlippedByte flips each byte of a journal in turn: none goes unnoticed.
func TestEveryFlippedByte(t *testing.T) {
	t.Parallel()
	s, path := written(t)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		entries, err := s.Read(t.Context(), "a", 1)
		// The last line's content is covered by no later hash: that is what a signature of the head is for. Its form is.
		last := bytes.LastIndexByte(good[:len(good)-1], '\n')
		if err == nil && i <= last {
			t.Errorf("byte %d (%q became %q) was not noticed", i, good[i], bad[i])
		}
		corrupt, ok := errors.AsType[*state.CorruptError](err)
		if err != nil && !ok {
			t.Errorf("byte %d: got %v, want a CorruptError", i, err)
		}
		if ok && (corrupt.Offset > int64(i) && corrupt.Offset > int64(last)+1 || int(corrupt.Seq) != len(entries)+1) {
			t.Errorf("byte %d: reported at offset %d, entry %d, after %d entries", i, corrupt.Offset, corrupt.Seq, len(entries))
		}
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
