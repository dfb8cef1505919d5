package kube

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/state"
)

const (
	// maxPiece bounds the compressed bytes in one object. In base64 that is two thirds of what etcd takes.
	maxPiece = 700 << 10
	// maxParts is how many further objects an append may have: as many as the kind allows.
	maxParts = 64
	// maxLines bounds the lines of one append, in bytes: two of the largest entries.
	maxLines = 2*state.MaxEntry + 2
	// maxJournal bounds a journal, in bytes.
	maxJournal = 256 << 20
)

// limits are those above, for tests that cannot be that large.
type limits struct {
	piece, lines int
	journal      int64
}

// Append implements state.Store. It is one call of the API server if this store wrote or read the end of the journal before, and the
// drafts fit into one object. It gives up when Patience is at its end; the entries may then be there, or come to be. If this store held
// the run's lock and lost it, it returns ErrConflict, although the entries may have been written.
func (s *Store) Append(ctx context.Context, run string, at uint64, drafts ...state.Draft) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := check(run); err != nil {
		return 0, err
	}
	lock := s.lock(run)
	if !s.fresh(lock) {
		return 0, lostError(run, at)
	}
	ctx, done := lock.bound(ctx)
	defer done()
	next, err := s.extend(ctx, run, at, drafts)
	// Asked again, as the answer may have taken longer than the lock was held: who gets no number begins nothing.
	if !s.fresh(lock) {
		s.ends.Remove(run)
		return 0, lostError(run, at)
	}
	if err != nil {
		s.ends.Remove(run)
		return 0, fmt.Errorf("append entry %d to run %s: %w", at, run, err)
	}
	s.ends.Add(run, next)
	return next.Seq, nil
}

func lostError(run string, at uint64) error {
	return fmt.Errorf("append entry %d to run %s: the lock was not renewed in time and may be another's: %w", at, run, state.ErrConflict)
}

func (s *Store) extend(ctx context.Context, run string, at uint64, drafts []state.Draft) (state.Chain, error) {
	end, err := s.end(ctx, run, at)
	if err != nil {
		return end, err
	}
	lines, next, err := end.Extend(drafts)
	switch {
	case err != nil:
		return end, err
	case len(lines) == 0:
		return end, nil
	case len(lines) > s.lines:
		return end, fmt.Errorf("%d bytes at once, more than %d", len(lines), s.lines)
	case next.Size > s.journal:
		return end, fmt.Errorf("the journal would grow over %d bytes", s.journal)
	}
	data, err := deflate(lines)
	if err != nil {
		return end, err
	}
	return next, s.write(ctx, run, at, data)
}

// end returns the end of a journal that entry number at would continue. Whether it still is the end, creating the entry tells.
func (s *Store) end(ctx context.Context, run string, at uint64) (state.Chain, error) {
	switch at {
	case 0:
		return state.Chain{}, state.ErrConflict
	case 1:
		return state.Chain{}, nil
	}
	if known, ok := s.ends.Get(run); ok {
		if end := known.(state.Chain); end.Seq == at-1 {
			return end, nil
		}
	}
	_, end, err := s.read(ctx, run)
	if err != nil && !errors.Is(err, state.ErrNotFound) {
		return end, err
	}
	if end.Seq+1 != at {
		return end, fmt.Errorf("it ends at %d: %w", end.Seq, state.ErrConflict)
	}
	return end, nil
}

// write creates the objects of an append, the one that counts last: without it the others are nothing. Those that are left behind are
// removed with their owner; a right to delete entries would be worse than they are.
func (s *Store) write(ctx context.Context, run string, at uint64, data []byte) error {
	pieces := slices.Collect(slices.Chunk(data, s.piece))
	if len(pieces) > 1+maxParts {
		return fmt.Errorf("%d bytes compressed, more than %d", len(data), (1+maxParts)*s.piece)
	}
	head := &v1alpha1.JournalEntry{
		ObjectMeta: s.meta(run, entryName(run, at)),
		Spec:       v1alpha1.JournalEntrySpec{Run: run, Seq: int64(at), Writer: token(), Data: pieces[0]},
	}
	if at == 1 {
		head.Labels[v1alpha1.LabelFirst] = "true"
	}
	for n, piece := range pieces[1:] {
		part := &v1alpha1.JournalEntry{ObjectMeta: s.meta(run, partName(run, at, head.Spec.Writer, n+1)), Spec: head.Spec}
		part.Spec.Data, part.Spec.Parts = piece, nil
		if err := s.create(ctx, part); err != nil {
			return fmt.Errorf("part %d of %d: %w", n+1, len(pieces)-1, err)
		}
		head.Spec.Parts = append(head.Spec.Parts, part.Name)
	}
	return s.create(ctx, head)
}

// create creates an object, or finds that it did before and the answer was lost. It returns ErrConflict if the name is another's.
func (s *Store) create(ctx context.Context, o *v1alpha1.JournalEntry) error {
	return s.tries(ctx, func(ctx context.Context) error {
		err := s.Client.Create(ctx, o.DeepCopy())
		switch {
		case apierrors.IsConflict(err): // of what counts against a quota, not of the name
			return fmt.Errorf("%w: %w", errAgain, err)
		case !apierrors.IsAlreadyExists(err):
			return err
		}
		// The client itself may have tried twice, so this can be the answer to the first try.
		there := &v1alpha1.JournalEntry{}
		switch err := s.Client.Get(ctx, client.ObjectKeyFromObject(o), there); {
		case apierrors.IsNotFound(err):
			return state.ErrConflict
		case err != nil:
			return err
		case there.Spec.Writer != o.Spec.Writer:
			return state.ErrConflict
		}
		return nil
	})
}

func deflate(lines []byte) ([]byte, error) {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(lines); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	return out.Bytes(), nil
}
