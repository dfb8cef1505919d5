// Package inputfile reads the files that a step's input names: bounded, and only what is a file. The steps that take a CA, a manifest
// or workloads stand on it.
package inputfile

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/plugins"
)

// MaxSize bounds a file, in bytes.
const MaxSize = 1 << 20

// Read returns the content of the file at an absolute path. A folder, a device, a pipe and a file above MaxSize are errors. It
// blocks on the disk.
func Read(path string) ([]byte, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("read %q: the path is not absolute", path)
	}
	// Before it is opened: opening a pipe waits for its writer.
	info, err := os.Stat(path)
	if err != nil {
		return nil, plugins.Hint(fmt.Errorf("read the file: %w", err), "see whether it is there and may be read: ls -l %s", path)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, plugins.Hint(fmt.Errorf("read the file: %w", err), "see whether it may be read: ls -l %s", path)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the file: %w", err)
	case len(data) > MaxSize:
		return nil, fmt.Errorf("read %s: it is larger than %d bytes", path, MaxSize)
	}
	return data, nil
}

// Candidate returns the certificates of the CA file at an absolute path, each once. What certs.ParseCandidate refuses is an
// error with its hint; a private key is never echoed. It blocks on the disk.
func Candidate(path string) ([]*x509.Certificate, error) {
	if path == "" {
		return nil, errors.New("no CA file was given")
	}
	data, err := Read(path)
	if err != nil {
		return nil, err
	}
	found, err := certs.ParseCandidate(data)
	if err != nil {
		return nil, fmt.Errorf("CA file %s: %w", path, err)
	}
	return found, nil
}
