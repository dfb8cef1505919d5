package bundle

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/plugins"
)

// The bounds on what is read of a bundle: what a run can be, and no more.
const (
	// maxBytes bounds the bundle without its compression, in bytes.
	maxBytes = 128 << 20
	maxFiles = 6
)

// Verify reads a bundle and returns its manifest if all of it is what a tkgfix of this version makes of the journal in it. It
// says what is not. The bundle may be hostile: it is held in memory, within bounds, and never unpacked.
func Verify(r io.Reader, version string) (*Manifest, error) {
	raw, err := unzip(r)
	if err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	return verifyTar(raw, version)
}

// verifyTar is Verify for what is in the gzip.
func verifyTar(raw []byte, version string) (*Manifest, error) {
	files, err := readTar(raw)
	if err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	m, err := readManifest(files)
	if err != nil {
		return nil, err
	}
	entries, err := readJournal(files, m)
	if err != nil {
		return nil, err
	}
	_, want, err := contents(m.Run, m.Version, entries)
	if err != nil {
		return nil, err
	}
	if err := compare(files, want); err != nil {
		if m.Version != version {
			return nil, plugins.Hint(err, "the bundle was made by tkgfix %s and this is %s, which may write reports otherwise: verify it with that one", m.Version, version)
		}
		return nil, err
	}
	// What is between and behind the files is not free either.
	var again bytes.Buffer
	if err := writeTar(&again, want); err != nil {
		return nil, err
	}
	if !bytes.Equal(again.Bytes(), raw) {
		return nil, errors.New("the bundle holds something beside its files: it was not written by tkgfix")
	}
	return m, nil
}

// unzip returns the tar in a bundle.
func unzip(r io.Reader) ([]byte, error) {
	from := bufio.NewReader(r)
	z, err := gzip.NewReader(from)
	if err != nil {
		return nil, fmt.Errorf("it is no gzip file: %w", err)
	}
	// One stream and no header fields: what else there could be is nobody's evidence.
	z.Multistream(false)
	if z.Name != "" || z.Comment != "" || len(z.Extra) > 0 {
		return nil, errors.New("its gzip header is not one that tkgfix writes")
	}
	raw, err := io.ReadAll(io.LimitReader(z, maxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("unpack it: %w", err)
	}
	if len(raw) > maxBytes {
		return nil, fmt.Errorf("it is larger than %d bytes", maxBytes)
	}
	if _, err := from.ReadByte(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows behind its end")
	}
	return raw, nil
}

// readTar returns the files in a tar, which must be plain files of the names that a bundle has, each once.
func readTar(raw []byte) ([]content, error) {
	names := []string{manifestName, journalName, planName, jsonName, markdownName, workflowName}
	var files []content
	for t := tar.NewReader(bytes.NewReader(raw)); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, fmt.Errorf("its tar: %w", err)
		}
		switch {
		case !slices.Contains(names, h.Name) || h.Typeflag != tar.TypeReg:
			return nil, fmt.Errorf("it holds %.80q, which is no part of a bundle", h.Name)
		case slices.ContainsFunc(files, func(f content) bool { return f.name == h.Name }):
			return nil, fmt.Errorf("it holds %s twice", h.Name)
		case len(files) == maxFiles:
			return nil, fmt.Errorf("it holds more than %d files", maxFiles)
		case h.Size > int64(len(raw)):
			// A sparse file can claim to be larger than what it lies in.
			return nil, fmt.Errorf("%s claims %d bytes, more than the whole bundle", h.Name, h.Size)
		}
		data, err := io.ReadAll(io.LimitReader(t, h.Size))
		if err != nil {
			return nil, fmt.Errorf("its %s: %w", h.Name, err)
		}
		files = append(files, content{h.Name, data})
	}
}

func get(files []content, name string) ([]byte, error) {
	i := slices.IndexFunc(files, func(f content) bool { return f.name == name })
	if i < 0 {
		return nil, fmt.Errorf("the bundle has no %s", name)
	}
	return files[i].data, nil
}

// readManifest reads the manifest and holds the files to it.
func readManifest(files []content) (*Manifest, error) {
	raw, err := get(files, manifestName)
	if err != nil {
		return nil, err
	}
	var m Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("read the bundle's manifest: %w", err)
	}
	if m.Format != Format {
		return nil, fmt.Errorf("the bundle's format is %.80q: expected %q", m.Format, Format)
	}
	if err := state.CheckRun(m.Run); err != nil {
		return nil, fmt.Errorf("read the bundle's manifest: %w", err)
	}
	if len(m.Files) != len(files)-1 {
		return nil, fmt.Errorf("the manifest names %d files, the bundle holds %d", len(m.Files), len(files)-1)
	}
	for _, f := range m.Files {
		data, err := get(files, f.Name)
		if err != nil {
			return nil, err
		}
		if got := sum(data); got != f.SHA256 {
			return nil, fmt.Errorf("%s was altered: its SHA-256 is %s, the manifest says %.80s", f.Name, got, f.SHA256)
		}
	}
	return &m, nil
}

// readJournal verifies the journal's chain and that it ends where the manifest says.
func readJournal(files []content, m *Manifest) ([]state.Entry, error) {
	raw, err := get(files, journalName)
	if err != nil {
		return nil, err
	}
	entries, chain, err := state.Decode(journalName, state.Chain{}, raw)
	if err != nil {
		return nil, fmt.Errorf("verify the bundle: %w", err)
	}
	if got := (Head{Seq: chain.Seq, Sum: chain.Prev}); got != m.Head {
		return nil, fmt.Errorf("the journal ends with entry %d:%s, the manifest says %d:%.80s", got.Seq, got.Sum, m.Head.Seq, m.Head.Sum)
	}
	if len(entries) == 0 {
		return nil, errors.New("the bundle's journal is empty")
	}
	return entries, nil
}

// compare says which file is not what the journal folds to.
func compare(got, want []content) error {
	// The manifest last: it differs whenever another does.
	for _, w := range slices.Concat(want[1:], want[:1]) {
		data, err := get(got, w.name)
		if err != nil {
			return err
		}
		if !bytes.Equal(data, w.data) {
			return fmt.Errorf("%s is not what the journal gives", w.name)
		}
	}
	if len(got) != len(want) {
		return fmt.Errorf("the bundle holds %d files, the journal gives %d", len(got), len(want))
	}
	return nil
}
