// Package bundle makes an evidence bundle of a run, and verifies one.
//
// A bundle is a gzipped tar of what an auditor needs: the journal, and the workflow, plan and report that it folds to, under a
// manifest of digests and the journal's head. All but the journal follows from the journal, so Verify makes the bundle again
// from the journal in it and wants the same bytes. It reads no run and no cluster, and writes nothing to the disk. That the
// journal itself is the one of the run is shown by its head, kept elsewhere: a bundle bears no signature.
package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/report"
	"github.com/tkgfix/tkgfix/internal/state"
)

// Format names the bundle's layout. A bundle of another format is refused.
const Format = "tkgfix.dev/bundle/v1alpha1"

// The names of the files in a bundle.
const (
	manifestName = "manifest.json"
	journalName  = "journal.jsonl"
	planName     = "plan.json"
	jsonName     = "report.json"
	markdownName = "report.md"
	workflowName = "workflow.yaml"
)

// Manifest tells what is in a bundle.
type Manifest struct {
	Format string `json:"format"`
	Run    string `json:"run"`
	// Version is that of the tkgfix that made the plan and the report out of the journal.
	Version string `json:"tkgfix"`
	Head    Head   `json:"head"`
	// Files are in the order of their names. The manifest itself is none of them.
	Files []File `json:"files"`
}

// Head names a journal's last entry: what stands for the whole journal.
type Head struct {
	Seq uint64 `json:"seq"`
	Sum string `json:"sum"`
}

// File is one file of a bundle.
type File struct {
	Name string `json:"name"`
	// Size is in bytes.
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Write writes the bundle of a run whose journal holds entries, as tkgfix of that version makes it, and returns its manifest.
// The same journal and version give the same bytes.
func Write(w io.Writer, run, version string, entries []state.Entry) (*Manifest, error) {
	m, files, err := contents(run, version, entries)
	if err != nil {
		return nil, err
	}
	size := 0
	for _, f := range files {
		size += len(f.data)
	}
	if size > maxBytes/2 {
		return nil, fmt.Errorf("make bundle of run %s: %d bytes, more than %d", run, size, maxBytes/2)
	}
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return nil, fmt.Errorf("write bundle: %w", err)
	}
	if err := writeTar(z, files); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("write bundle: %w", err)
	}
	return m, nil
}

// content is a file with its bytes.
type content struct {
	name string
	data []byte
}

// contents returns the files of a bundle, the manifest first, the others in the order of their names.
func contents(run, version string, entries []state.Entry) (*Manifest, []content, error) {
	r, err := engine.Replay(run, entries)
	if err != nil {
		return nil, nil, fmt.Errorf("make bundle: %w", err)
	}
	files, err := folded(r, entries)
	if err != nil {
		return nil, nil, fmt.Errorf("make bundle of run %s: %w", run, err)
	}
	last := entries[len(entries)-1]
	m := &Manifest{Format: Format, Run: run, Version: version, Head: Head{Seq: last.Seq, Sum: last.Sum}}
	for _, f := range files {
		m.Files = append(m.Files, File{Name: f.name, Size: int64(len(f.data)), SHA256: sum(f.data)})
	}
	var text bytes.Buffer
	if err := report.JSON(&text, m); err != nil {
		return nil, nil, fmt.Errorf("make bundle of run %s: %w", run, err)
	}
	return m, slices.Concat([]content{{manifestName, text.Bytes()}}, files), nil
}

// folded returns the journal and what follows from it.
func folded(r *engine.Run, entries []state.Entry) ([]content, error) {
	var journal, full, markdown, plan bytes.Buffer
	for _, e := range entries {
		line, err := json.Marshal(e)
		if err != nil {
			return nil, fmt.Errorf("encode entry %d: %w", e.Seq, err)
		}
		journal.Write(append(line, '\n'))
	}
	if err := report.JSON(&full, r); err != nil {
		return nil, err
	}
	if err := report.RunMarkdown(&markdown, r); err != nil {
		return nil, err
	}
	files := []content{
		{journalName, journal.Bytes()}, {jsonName, full.Bytes()}, {markdownName, markdown.Bytes()}, {workflowName, []byte(r.Created.Source)},
	}
	if r.Plan != nil {
		if err := report.JSON(&plan, r.Plan); err != nil {
			return nil, err
		}
		files = append(files, content{planName, plan.Bytes()})
	}
	slices.SortFunc(files, func(a, b content) int { return strings.Compare(a.name, b.name) })
	return files, nil
}

// writeTar writes files with nothing in their headers that depends on when, where or by whom they were made.
func writeTar(w io.Writer, files []content) error {
	t := tar.NewWriter(w)
	for _, f := range files {
		h := &tar.Header{
			Typeflag: tar.TypeReg, Name: f.name, Size: int64(len(f.data)), Mode: 0o600, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR,
		}
		if err := t.WriteHeader(h); err != nil {
			return fmt.Errorf("write %s into the bundle: %w", f.name, err)
		}
		if _, err := t.Write(f.data); err != nil {
			return fmt.Errorf("write %s into the bundle: %w", f.name, err)
		}
	}
	if err := t.Close(); err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	return nil
}

func sum(data []byte) string {
	digest := sha256.Sum256(data)
	return hex.EncodeToString(digest[:])
}
