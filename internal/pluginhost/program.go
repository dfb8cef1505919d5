package pluginhost

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/tkgfix/tkgfix/plugins"
)

// MaxProgram is the most bytes that a third party's executable may have.
const MaxProgram = 512 << 20

// Program is the executable of a third party's plugin.
type Program struct {
	// Path is the executable's absolute path.
	Path string
	// SHA256 is the digest that it must have, in hex.
	SHA256 string
	// Said is what the step must say of itself; nil lets it say anything.
	Said *plugins.Description
}

// MismatchError says that an executable is not the one that is wanted. It was not started.
type MismatchError struct {
	// Name is the plugin's.
	Name string
	Path string
	// Want and Found are SHA-256 digests in hex.
	Want, Found string
}

// Error names the plugin, the file and both digests.
func (e *MismatchError) Error() string {
	return fmt.Sprintf("plugin %s: %s is not the file that is locked: wanted sha256 %s, found %s", e.Name, e.Path, e.Want, e.Found)
}

// Digest returns the SHA-256 of the regular file at path, in hex. It blocks on the disk.
func Digest(path string) (string, error) {
	f, err := openProgram(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	return copyProgram(io.Discard, f)
}

// takePrivate copies the program into dir, and returns the path of the copy if it is the one that is wanted.
//
// What is checked must be what is run. A path that was hashed and is then executed may name another file by then, and a file that was
// hashed while open may be written to before it is executed: so may go-plugin's SecureConfig be passed by. Here the digest is that of the
// bytes that went into a copy which only this user can reach, and the copy is what runs. It runs on every system, scripts too, which
// an executable without a name, as Linux would have it, would not.
func (p Program) takePrivate(name, dir string) (string, error) {
	src, err := openProgram(p.Path)
	if err != nil {
		return "", fmt.Errorf("plugin %s: %w", name, err)
	}
	defer func() { _ = src.Close() }()
	path := filepath.Join(dir, filepath.Base(p.Path))
	found, err := writeProgram(path, src)
	if err != nil {
		return "", fmt.Errorf("plugin %s: copy %s: %w", name, p.Path, err)
	}
	if found != p.SHA256 {
		return "", plugins.Hint(&MismatchError{Name: name, Path: p.Path, Want: p.SHA256, Found: found},
			"if it was replaced on purpose, and you trust it: tkgfix plugins lock %s", name)
	}
	return path, nil
}

// writeProgram writes src to path and returns the digest of what it wrote. No process is forked meanwhile: the child would hold
// the file open for writing until its own exec, and ours would fail with "text file busy".
func writeProgram(path string, src io.Reader) (string, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	dst, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o500)
	if err != nil {
		return "", err
	}
	digest, err := copyProgram(dst, src)
	if cerr := dst.Close(); err == nil {
		err = cerr
	}
	return digest, err
}

func copyProgram(dst io.Writer, src io.Reader) (string, error) {
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(dst, h), io.LimitReader(src, MaxProgram+1))
	switch {
	case err != nil:
		return "", err
	case n > MaxProgram:
		return "", fmt.Errorf("larger than %d bytes", MaxProgram)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// openProgram opens a regular file. It does not wait for the writer of a pipe.
func openProgram(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New(path + " is not a regular file")
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
