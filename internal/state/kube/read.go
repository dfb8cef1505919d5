package kube

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/state"
)

// Read implements state.Store. Where a CorruptError says that the damage is, is the NAMESPACE/NAME of an object; the offset is that in all
// lines of the journal. An entry here is never torn: it is created whole.
func (s *Store) Read(ctx context.Context, run string, from uint64) ([]state.Entry, error) {
	if err := check(run); err != nil {
		return nil, fmt.Errorf("%w: %w", state.ErrNotFound, err)
	}
	entries, end, err := s.read(ctx, run)
	if err == nil {
		s.ends.Add(run, end)
	}
	return entries[min(uint64(len(entries)), max(from, 1)-1):], err
}

// head is an object that holds entries from number seq on, by its name.
type head struct {
	seq uint64
	*v1alpha1.JournalEntry
}

// read reads and verifies a whole journal. It returns what stands before a damage beside the CorruptError.
func (s *Store) read(ctx context.Context, run string) ([]state.Entry, state.Chain, error) {
	objects, err := s.objects(ctx, run)
	if err != nil {
		return nil, state.Chain{}, fmt.Errorf("read the journal of run %s: %w", run, err)
	}
	var heads []head
	for name, o := range objects {
		if seq, ok := entrySeq(run, name); ok { // others are parts, or are none of ours
			heads = append(heads, head{seq, o})
		}
	}
	if len(heads) == 0 {
		return nil, state.Chain{}, fmt.Errorf("run %q: %w", run, state.ErrNotFound)
	}
	slices.SortFunc(heads, func(a, b head) int { return cmp.Compare(a.seq, b.seq) })
	var (
		entries []state.Entry
		end     state.Chain
	)
	for _, h := range heads {
		more, next, err := s.decode(end, run, h, objects)
		entries, end = append(entries, more...), next
		if err != nil {
			return entries, end, err
		}
	}
	return entries, end, nil
}

// objects returns all objects of a run by their names.
func (s *Store) objects(ctx context.Context, run string) (map[string]*v1alpha1.JournalEntry, error) {
	var (
		found map[string]*v1alpha1.JournalEntry
		size  int
	)
	err := s.pages(ctx, func() client.ObjectList { return &v1alpha1.JournalEntryList{} }, func(page client.ObjectList, first bool) error {
		if first {
			found, size = map[string]*v1alpha1.JournalEntry{}, 0
		}
		items := page.(*v1alpha1.JournalEntryList).Items
		for i := range items {
			found[items[i].Name] = &items[i]
			size += len(items[i].Spec.Data)
		}
		if int64(size) > s.journal {
			return fmt.Errorf("its objects hold more than %d bytes", s.journal)
		}
		return nil
	}, client.MatchingLabels{v1alpha1.LabelRun: run})
	return found, err
}

// decode returns the entries in one object and its parts, which must continue the chain end.
func (s *Store) decode(end state.Chain, run string, h head, all map[string]*v1alpha1.JournalEntry) ([]state.Entry, state.Chain, error) {
	bad := func(name, format string, args ...any) error {
		return &state.CorruptError{Where: s.Namespace + "/" + name, Offset: end.Size, Seq: end.Seq + 1, Reason: fmt.Sprintf(format, args...)}
	}
	switch {
	case h.seq > end.Seq+1:
		return nil, end, bad(entryName(run, end.Seq+1), "is missing: %s follows", h.Name)
	case h.seq <= end.Seq:
		return nil, end, bad(h.Name, "was put in: entry %d was there already", h.seq)
	case h.Spec.Run != run || h.Spec.Seq != int64(h.seq):
		return nil, end, bad(h.Name, "says that it is entry %d of run %s: it was altered", h.Spec.Seq, h.Spec.Run)
	}
	data := bytes.Clone(h.Spec.Data)
	for _, name := range h.Spec.Parts {
		part := all[name]
		if part == nil {
			return nil, end, bad(name, "is missing: it is a part of %s", h.Name)
		}
		data = append(data, part.Spec.Data...)
	}
	lines, reason := inflate(data, min(int64(s.lines), s.journal-end.Size))
	if reason != "" {
		return nil, end, bad(h.Name, "%s", reason)
	}
	if len(lines) == 0 {
		return nil, end, bad(h.Name, "holds no entry: it was altered")
	}
	entries, next, err := state.Decode(s.Namespace+"/"+h.Name, end, lines)
	if corrupt, ok := errors.AsType[*state.CorruptError](err); ok && corrupt.Torn {
		corrupt.Torn, corrupt.Reason = false, corrupt.Reason+": it was altered"
	}
	return entries, next, err
}

// inflate returns what was compressed, or why it cannot be. It makes no more than limit bytes, however many there would be.
func inflate(data []byte, limit int64) ([]byte, string) {
	in := bytes.NewReader(data)
	z, err := gzip.NewReader(in)
	if err != nil {
		return nil, "is not compressed by gzip: it was altered"
	}
	z.Multistream(false)
	lines, err := io.ReadAll(io.LimitReader(z, limit+1))
	switch {
	case err != nil:
		return nil, "does not decompress: it was altered"
	case int64(len(lines)) > limit:
		return nil, fmt.Sprintf("decompresses to more than %d bytes", limit)
	case in.Len() > 0:
		return nil, "has bytes behind its end: it was altered"
	}
	return lines, ""
}
